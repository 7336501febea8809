"""`keras-session verify`."""

import os
import time
from typing import Any, Dict, Iterable, List, Tuple

import click

from keras_session_ext import remote_files, urls
from keras_session_ext.checkpoint import reader
from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.output import Output, command
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound
from keras_session_ext.store.find_runs import is_folder


@command()
@click.argument("what", nargs=-1, type=path_arguments.PATH_OR_URL, metavar="[CHECKPOINT|DIRECTORY]...")
@click.option("-a", "--all", "everything", is_flag=True, help="All checkpoints of a directory, not the newest only.")
def verify(out: Output, what: Tuple[str, ...], everything: bool) -> int:
    """Checks every byte of CHECKPOINTs against their checksums; of a DIRECTORY the newest one.

    Exit status 1 if any is damaged. Nothing is changed.
    """
    paths = [path for name in what or (".",) for path in _paths(name, everything)]
    found: List[Dict[str, Any]] = []
    with out.progress("verifying", sum(map(_nbytes, paths))) as told:
        for path in dict.fromkeys(paths):
            found += _verify(out, path, told, alone=path in what)
    out.value({"checkpoints": found, "damaged": sum(not one["valid"] for one in found)})
    return 1 if any(not one["valid"] for one in found) else 0


def _paths(name: str, everything: bool) -> List[str]:
    if not is_folder(name):
        return [path_arguments.locate(name)]
    run = path_arguments.run_directory(name)
    paths = run.paths()
    if not paths:
        raise CheckpointNotFound("There is no checkpoint in {}.".format(run.checkpoints))
    newest = _place(paths[0])  # by name: a damaged one counts; several may have been saved at one step
    return [path for path in paths if everything or _place(path) == newest]


def _place(path: str) -> str:
    return os.path.basename(path).rsplit("-", 1)[0]


def _nbytes(path: str) -> int:
    try:
        return remote_files.size_bytes(path) if urls.is_url(path) else os.path.getsize(path)
    except OSError:
        return 0


def _verify(out: Output, path: str, told: Any, alone: bool) -> Iterable[Dict[str, Any]]:
    began, size = time.monotonic(), _nbytes(path)
    try:
        reader.verify(path, told)
        problem = ""
    except CheckpointNotFound:
        if alone:
            raise
        return []  # a run at work has removed it meanwhile
    except CheckpointCorrupt as error:
        problem = str(error)
    seconds = time.monotonic() - began
    if problem:
        out.line("DAMAGED  {}: {}".format(path, problem), "red")
    else:
        out.line("valid    {}  {} in {}".format(path, readable.size(size), readable.spell(seconds)))
    return [{"path": path, "valid": not problem, "problem": problem, "size_bytes": size, "seconds": seconds}]
