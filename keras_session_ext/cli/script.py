"""The user's script: what `run` and `prove` start."""

import json
import os
import sys
from typing import Any, Dict, List

import click

from keras_session_ext import files


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


def stem(script: str) -> str:
    return os.path.splitext(os.path.basename(script))[0]
