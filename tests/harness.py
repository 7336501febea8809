"""Starts trainings, kills them, and compares what comes out."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from keras_session_ext import list_checkpoints

HERE = os.path.dirname(os.path.abspath(__file__))
SLIM = os.path.join(HERE, "slim")  # on a process's path: Keras is imported in half the time


def environment(engine):
    made = dict(os.environ, KERAS_BACKEND=engine, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="",
                OMP_NUM_THREADS="1", TF_ENABLE_ONEDNN_OPTS="0",
                JAX_COMPILATION_CACHE_DIR=os.path.join(tempfile.gettempdir(), "keras-session-tests-jax"),
                JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0", JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1")
    made["PYTHONPATH"] = os.pathsep.join([HERE, os.path.dirname(HERE), SLIM])
    return made


class Server:
    """A process that has an engine imported and forks a training for every task."""

    script = os.path.join(HERE, "child.py")
    _running = {}
    #: trainings of the families that are no engine's: name -> its script, and more environment variables
    others = {}

    def __init__(self, engine):
        script, variables = self.others.get(engine, (self.script, {}))
        self._process = subprocess.Popen(
            [sys.executable, script, "--serve"], env=dict(environment(engine), **variables),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    @classmethod
    def of(cls, engine):
        if engine not in cls._running:
            cls._running[engine] = cls(engine)
            atexit.register(cls._running[engine].stop)
        return cls._running[engine]

    def run(self, task):
        self._process.stdin.write((json.dumps(task) + "\n").encode())
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline().decode())

    def stop(self):
        self._process.stdin.close()
        self._process.wait(30)


def start(engine, task):
    """Runs one training to its end, or to its death; returns (exit status, result or None, output)."""
    task = dict(task, output=task["result"] + ".txt")
    if os.path.exists(task["result"]):
        os.remove(task["result"])
    status = Server.of(engine).run(task)
    with open(task["output"], errors="replace") as handle:
        output = handle.read()
    result = None
    if not status and os.path.exists(task["result"]):  # a process that was killed may have been writing it
        with open(task["result"]) as handle:
            result = json.load(handle)
    return status, result, output


def finish(engine, task):
    status, result, output = start(engine, task)
    assert status == 0 and result is not None, output
    return result


def kill(engine, task, moment):
    status, _, output = start(engine, dict(task, kill=moment))
    assert status == -signal.SIGKILL, "the process was to die at {} but ended with {}:\n{}".format(
        moment, status, output)


def keep_only(directory, info):
    """Leaves one checkpoint of a finished run, as if the process had died right behind it."""
    for other in list_checkpoints(directory):
        if other.id != info.id:
            os.remove(other.path)


def killed_like(engine, task, folder, moments, seeded):
    """The uninterrupted run, and the same run killed at `moments`.

    An unseeded run cannot be repeated from its start: the killed one begins
    with the first checkpoint of the other.
    """
    whole = dict(task, directory=os.path.join(folder, "whole"), result=os.path.join(folder, "whole.json"))
    reference = finish(engine, whole)
    killed = dict(task, directory=os.path.join(folder, "killed"), result=os.path.join(folder, "killed.json"))
    if not seeded:
        shutil.copytree(whole["directory"], killed["directory"])
        keep_only(killed["directory"], list_checkpoints(killed["directory"])[-1])
    for moment in moments:
        kill(engine, killed, moment)
    return reference, finish(engine, killed)


def telling(infos):
    """Checkpoints of a finished run whose resumes differ in kind: within a later epoch, at its start, at its end."""
    later = [info for info in infos if info.progress.epoch >= 1 and not info.finished]
    kinds = {
        "between epochs": [info for info in later if not info.progress.batch],
        "within an epoch": [info for info in later if info.progress.batch],
        "the latest": later[:1],
    }
    return list({found[len(found) // 2].id: found[len(found) // 2] for found in kinds.values() if found}.values())


def resume_copies(engine, task, folder, count):
    """Resumes a copy of the finished run in `folder`/whole from its first `count` telling checkpoints."""
    whole = os.path.join(folder, "whole")
    for info in telling(list_checkpoints(whole))[:count]:
        copy = os.path.join(folder, "copy")
        shutil.copytree(whole, copy)
        keep_only(copy, info)
        yield info, finish(engine, dict(task, directory=copy, result=copy + ".json"))
        shutil.rmtree(copy)


def assert_same(reference, resumed):
    for name in ("sha256", "history", "epochs", "peers"):
        assert resumed[name] == reference[name], "{} differs after the resume".format(name)
