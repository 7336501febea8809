"""The user's script: what `run` and `prove` start."""

import hashlib
import json
import os
import re
import sys
from typing import Any, Dict, List, Sequence

import click

from keras_session_ext import files

_LONGEST = 40  # of the arguments in the name of a run


class ScriptError(click.UsageError):
    """The script cannot be run at all."""


def check(script: str) -> None:
    """Looks whether a script can be run, before anything starts.

    Raises:
        ScriptError: there is no such file, or it is no Python.
    """
    if os.path.isdir(script):
        raise ScriptError("{} is a directory. Name the Python file that trains.".format(script))
    try:
        source = files.read_all(script)
    except FileNotFoundError:
        raise ScriptError("There is no script {}.{}".format(script, _near(script)))
    except OSError as error:
        raise ScriptError("The script {} cannot be read: {}.".format(script, error))
    try:
        compile(source, script, "exec")
    except SyntaxError as error:
        raise ScriptError("{}:{}:{}: {}".format(script, error.lineno or 1, error.offset or 1, error.msg))
    except ValueError as error:  # a zero byte
        raise ScriptError("The script {} is no Python: {}.".format(script, error))


def _near(script: str) -> str:
    import difflib

    folder = os.path.dirname(script) or "."
    names = files.names(folder) if os.path.isdir(folder) else []
    near = difflib.get_close_matches(os.path.basename(script), [name for name in names if name.endswith(".py")], n=2)
    return " Did you mean {}?".format(" or ".join(near)) if near else ""


def command(settings: Dict[str, Any], script: str, arguments: List[str]) -> List[str]:
    """The command of `supervise.Child`."""
    return [sys.executable, "-u", "-m", "keras_session_ext.launch", "{tie}", json.dumps(settings), script, *arguments]


def run_name(script: str, arguments: Sequence[str]) -> str:
    """A name for the run of a script, another one for every script and all other arguments.

    Example:
        >>> run_name("train.py", []), run_name("vision/train.py", ["--lr", "0.1"])
        ('train', 'vision-train-lr-0.1-7cd33a')
    """
    name = _plain(os.path.splitext(os.path.normpath(script))[0])
    if arguments:
        digest = hashlib.sha256(json.dumps(list(arguments)).encode()).hexdigest()
        name = "-".join(filter(None, [name, _plain(" ".join(arguments))[:_LONGEST].rstrip("-."), digest[:6]]))
    return name


def _plain(text: str) -> str:
    return re.sub(r"[^\w.=]+", "-", text).strip("-.") or "script"
