"""Runs `keras-session` as a user does: the installed command, in a process of its own."""

import json
import os
import subprocess
import sys

from harness import SLIM, environment

COMMAND = os.path.join(os.path.dirname(sys.executable), "keras-session")
SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripts")


def start(arguments, cwd, engine="jax", **options):
    made = dict(environment(engine), PYTHONPATH=SLIM)  # the package is found where it is installed
    return subprocess.Popen([COMMAND, *arguments], cwd=str(cwd), env=made, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def finish(arguments, cwd, engine="jax", timeout=400):
    """Runs a command to its end; returns (status, stdout, stderr)."""
    process = start(arguments, cwd, engine)
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        raise
    return process.returncode, out.decode(), err.decode()


def prove(script, cwd, engine, kills):
    """`keras-session prove --json`; returns (status, verdict, stderr)."""
    status, out, err = finish(["prove", "--json", "--kills", str(kills), os.path.join(SCRIPTS, script)], cwd, engine)
    return status, json.loads(out), err
