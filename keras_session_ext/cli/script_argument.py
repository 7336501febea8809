"""The user's script: what `run` and `prove` start."""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import sys
from typing import Any, Dict, List, Optional, Sequence

import click

from keras_session_ext import files

_LONGEST = 40  # of the arguments in the name of a run


#: for the options of a command, before its SCRIPT
module_option = click.option("--module", "-m", "is_module", is_flag=True,
                             help="SCRIPT is the name of a module, as for python -m.")

loops_option = click.option("--loops", is_flag=True, help="Wrap the loops of the script that train without fit: for "
                            "and while in its file, its functions and methods, and in modules beside it. What cannot "
                            "be wrapped is told.")


class ScriptError(click.UsageError):
    """The script cannot be run at all."""


def check(script: str, is_module: bool = False) -> None:
    """Looks whether a script can be run, before anything starts.

    Args:
        script: the name of a file or module.
        is_module: which of them.

    Raises:
        ScriptError: there is no such file or module, or it is no Python.
    """
    if is_module:
        script = _file_of(script)
        if not script.endswith(".py"):  # compiled
            return
    if os.path.isdir(script):
        raise ScriptError("{} is a directory. Name the Python file that trains.".format(script))
    try:
        source = files.read_all(script)
    except FileNotFoundError:
        raise ScriptError("There is no script {}.{}".format(script, _near(script) or _instead(script)))
    except OSError as error:
        raise ScriptError("The script {} cannot be read: {}.".format(script, error))
    try:
        compile(source, script, "exec")
    except SyntaxError as error:
        raise ScriptError("{}:{}:{}: {}".format(script, error.lineno or 1, error.offset or 1, error.msg))
    except ValueError as error:  # a zero byte
        raise ScriptError("The script {} is no Python: {}.".format(script, error))


def _file_of(module: str) -> str:
    """The file that `python -m` would run; nothing is imported to find it."""
    path, spec = [os.getcwd(), *sys.path], None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        spec = _spec(name, path) if all(parts) else None
        if spec is None:
            raise ScriptError("There is no module {}.{}".format(
                name if all(parts) else module, " Leave out -m to run a file." if os.path.exists(module) else ""))
        path = list(spec.submodule_search_locations or [])
    if spec is not None and spec.submodule_search_locations is not None:
        spec = _spec(module + ".__main__", path)
        if spec is None:
            raise ScriptError("{} is a package without a __main__. Name the module in it that trains.".format(module))
    return str(spec and spec.origin)


def _instead(script: str) -> str:
    try:
        return " Put -m before it to run the module in {}.".format(_file_of(script))
    except ScriptError:
        return ""


def _spec(name: str, path: List[str]) -> Optional[importlib.machinery.ModuleSpec]:
    found = importlib.machinery.PathFinder.find_spec(name, path)
    if found is not None or "." in name:
        return found
    try:
        return importlib.util.find_spec(name)  # an editable install has a finder of its own
    except ValueError:  # __main__
        return None


def _near(script: str) -> str:
    import difflib

    folder = os.path.dirname(script) or "."
    names = files.names(folder) if os.path.isdir(folder) else []
    near = difflib.get_close_matches(os.path.basename(script), [name for name in names if name.endswith(".py")], n=2)
    return " Did you mean {}?".format(" or ".join(near)) if near else ""


def command(settings: Dict[str, Any], script: str, arguments: List[str]) -> List[str]:
    """The command of `supervisor.Child`."""
    module = "keras_session_ext.launch.run_with_callbacks"
    return [sys.executable, "-u", "-m", module, "{tie}", json.dumps(settings), script, *arguments]


def run_name(script: str, arguments: Sequence[str], is_module: bool = False) -> str:
    """A name for the run of a script, another one for every script and all other arguments.

    Examples:
        >>> run_name("train.py", []), run_name("vision/train.py", ["--lr", "0.1"])
        ('train', 'vision-train-lr-0.1-7cd33a')
    """
    name = _plain(script if is_module else os.path.splitext(os.path.normpath(script))[0])
    if arguments:
        digest = hashlib.sha256(json.dumps(list(arguments)).encode()).hexdigest()
        name = "-".join(filter(None, [name, _plain(" ".join(arguments))[:_LONGEST].rstrip("-."), digest[:6]]))
    return name


def _plain(text: str) -> str:
    return re.sub(r"[^\w.=]+", "-", text).strip("-.") or "script"
