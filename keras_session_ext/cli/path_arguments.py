"""What the arguments of commands name: checkpoints, run directories, directories of runs."""

import os
from typing import Any, Dict, List, Optional

import click

from keras_session_ext import files, urls
from keras_session_ext.errors import CheckpointNotFound
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.store.find_checkpoints import is_best, named
from keras_session_ext.store.find_runs import is_folder, is_run, runs_below
from keras_session_ext.store.run_directory import RunDirectory


class PathOrUrl(click.Path):
    """A path, or the URL of a store.

    Args:
        may_be_bucket: as of `urls.problem`.
    """

    def __init__(self, may_be_bucket: bool = False):
        super().__init__()
        self._may_be_bucket = may_be_bucket

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        problem = urls.problem(str(value), self._may_be_bucket)
        if problem is not None:
            self.fail("{!r}: {}.".format(urls.without_secrets(str(value)), problem), param, ctx)
        return super().convert(urls.normalised(str(value)), param, ctx)


class LocalPath(PathOrUrl):
    """A path, but no URL."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        path = super().convert(value, param, ctx)
        if urls.is_url(str(path)):
            self.fail("{!r}: expected a path on a file system of this machine.".format(path), param, ctx)
        return path


LOCAL_PATH, PATH_OR_URL, RUNS = LocalPath(), PathOrUrl(), PathOrUrl(may_be_bucket=True)
in_directory = click.option("-d", "--directory", metavar="DIRECTORY", type=PATH_OR_URL,
                            help="The run directory, where an id is given.")


def run_directory(path: str) -> RunDirectory:
    """The run directory at a path.

    Raises:
        CheckpointNotFound: there is none; the message says what is there.
    """
    if is_run(path):
        return RunDirectory(path)
    parent, name = os.path.split(path if urls.is_url(path) else os.path.abspath(path))
    if name == "checkpoints" and is_run(parent):
        return RunDirectory(parent)
    if not (is_folder(path) if urls.is_url(path) else files.exists(path)):
        raise CheckpointNotFound("There is no directory {}.".format(path))
    if not is_folder(path):
        raise CheckpointNotFound("{} is a file. Expected a run directory: what SessionCheckpoint was given.".format(
            path))
    runs = runs_below(path)
    raise CheckpointNotFound("{} is no run directory. {}".format(
        path, "Runs below it: {}.".format(", ".join(runs[:5])) if runs
        else "Expected what SessionCheckpoint was given, or a directory above it."))


def runs_at(path: str) -> List[str]:
    """The run directory at a path, or else those below it."""
    try:
        return [run_directory(path).path]
    except CheckpointNotFound:
        runs = runs_below(path)
        if not runs:
            raise
        return runs


def newest(directory: RunDirectory, rejected: Optional[List[str]] = None) -> CheckpointInfo:
    """The newest checkpoint of a run whose header can be read."""
    damaged: List[str] = [] if rejected is None else rejected
    infos = directory.infos(damaged)
    if not infos:
        raise CheckpointNotFound("There is no checkpoint in {}.{}".format(
            directory.checkpoints, "".join("\n  - " + one for one in damaged)))
    return infos[0]


def locate(name: str, directory: Optional[str] = None, rejected: Optional[List[str]] = None) -> str:
    """The file that a name means.

    Args:
        name: a file, a run directory (its newest checkpoint), DIRECTORY/ID, or an id, which may be short, or "best".
        directory: the run directory of an id.
        rejected: is told of damaged files that were passed over.

    Raises:
        CheckpointNotFound: there is none; the message names the nearest.
    """
    if directory is None:
        if is_folder(name):
            return newest(run_directory(name), rejected).path
        if urls.is_url(name) and name.endswith(".h5"):
            return name
        if files.exists(name):
            return os.path.realpath(name)
    folder, id = ("", name) if is_best(name) else os.path.split(name)
    if os.path.basename(folder) == "checkpoints":
        folder = os.path.dirname(folder)
    place = directory if directory is not None else folder or "."
    if directory is not None or is_run(place):
        run = run_directory(place)
        return named(id[:-3] if id.endswith(".h5") else id, run.infos([]), run.checkpoints).path
    raise CheckpointNotFound(
        "There is no checkpoint {}. Expected a file, a run directory, DIRECTORY/ID, or an id with "
        "--directory.".format(name))


def described(info: CheckpointInfo) -> Dict[str, Any]:
    """A checkpoint for --json."""
    return dict(info._asdict(), progress=info.progress._asdict(), reasons=list(info.reasons))
