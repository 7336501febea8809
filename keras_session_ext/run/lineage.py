"""Which checkpoint a start of the script goes on from.

A *run* is a line of checkpoints, each the child of the one before. A fresh
start begins a new run, and so does `restore=<id>`, which branches off. Its
stages stand in stages.py.
"""

import os
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from keras_session_ext import urls
from keras_session_ext.arguments import PathOrUrl, flag, path_or_url, similar, store_url
from keras_session_ext.checkpoint import reader
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound, ConfigError
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.run.reading_progress import ReadingProgress
from keras_session_ext.state import components, plain_values, schema
from keras_session_ext.store.find_checkpoints import ids_like, is_best, named
from keras_session_ext.store.run_directory import RunDirectory

_SHORT_ID = re.compile(r"[0-9a-f]{4,8}")
_WORDS = ("auto", "must", "never", "best")
#: what is said elsewhere
_ELSEWHERE = {"latest": "auto", "newest": "auto", "last": "auto", "resume": "auto", "true": "auto", "false": "never",
              "none": "never", "off": "never", "no": "never", "scratch": "never"}


class Candidate(NamedTuple):
    """A checkpoint that was read and verified.

    Attributes:
        info: the listing's view.
        fields: its header.
        states: its state kinds, as plain values.
    """

    info: CheckpointInfo
    fields: Dict[str, Any]
    states: Dict[str, Any]


def as_restore_setting(restore: Any) -> str:
    """Checks the argument `restore`.

    Raises:
        ConfigError: it is no text and no path.
    """
    given = str(restore) if isinstance(restore, (str, os.PathLike)) else ""
    if not given or (given.isalpha() and given not in _WORDS and not _SHORT_ID.fullmatch(given)
                     and not os.path.exists(given)):
        hint = similar(_ELSEWHERE.get(given.lower(), given), _WORDS)
        raise ConfigError("Invalid value for argument `restore`. Expected 'auto' (the newest), 'must', 'never', "
                          "'best', 'best:val_loss', a checkpoint id or a path{}. Received: {!r}".format(
                              "; " + hint.rstrip("?") if hint else "", restore))
    return path_or_url(restore, "restore")


class Lineage:
    """The run that this process belongs to.

    Args:
        directory: where it lives.
        restore: "auto", "must", "never", or a checkpoint's id or path.
        tell: is given a line for the user now and then while a large checkpoint is read.

    Attributes:
        run: its name.
        branch_of: the checkpoint it was branched off from by `restore=<id>`.
        asked: the `restore` that did so, where it was no id: what is best changes, and the run goes on from what was.
        infos: its checkpoints, newest first, as far as this process knows.
        rejected: damaged checkpoints met on the way.
        origin: the checkpoint this process begins with; None for a fresh start, and once it is no longer needed.

    Raises:
        CheckpointNotFound: there is nothing that `restore` asks for.
    """

    def __init__(self, directory: RunDirectory, restore: str, tell: Callable[[str], None] = lambda text: None):
        self._directory, self._tell = directory, tell
        self.branch_of: Optional[str] = None
        self.asked: Optional[str] = None
        self.rejected: List[str] = []
        self.infos: List[CheckpointInfo] = []
        self.origin = self._find(restore)
        if self.origin is None or self.origin.info.id == self.branch_of:
            self.run = directory.reserved_run()
        else:
            self.run = self.origin.info.run
            self.branch_of, asked = self.origin.info.branch_of, self.origin.fields.get("asked")
            self.asked = asked if isinstance(asked, str) else None
        if self.origin is not None:
            self.infos = [info for info in directory.infos() if info.run == self.run]

    def _find(self, restore: str) -> Optional[Candidate]:
        if restore == "never":
            return None
        if restore in ("auto", "must"):
            found = self.newest(self._directory.infos(self.rejected))
            if found is None and restore == "must":
                raise CheckpointNotFound(
                    "restore='must', but there is no valid checkpoint in {}.{} Use restore='auto' for a fresh "
                    "start.".format(self._directory.checkpoints, "".join("\n  - " + one for one in self.rejected)))
            return found
        return self._named(restore)

    def _named(self, name: str) -> Candidate:
        """The checkpoint called `name`, or the newest one of a run that branched off from it."""
        known = self._directory.infos(self.rejected)
        if is_best(name):
            followed = bool(known) and reader.read_header(known[0].path).fields.get("asked") == name
            newest = self.newest(known) if followed else None
            if newest is not None:
                return newest
            self.asked = name
        self.branch_of, path = self._origin(name, known)
        if self.asked is None:
            newest = self.newest([info for info in known if info.branch_of == self.branch_of])
            if newest is not None:
                return newest
        head = reader.read_header(path)
        return read(path, ReadingProgress(head.info, self._tell))

    def _origin(self, name: str, known: List[CheckpointInfo]) -> Tuple[str, str]:
        """The id and the file of what is called `name`; it may be gone, or damaged, where a run goes on from it."""
        is_path = not is_best(name) and (os.sep in name or name.endswith(".h5"))
        path = _real(name) if is_path else name
        try:
            info = reader.read_header(path).info if is_path else named(name, known, self._directory.checkpoints)
            return info.id, info.path
        except (CheckpointNotFound, CheckpointCorrupt):
            begun = ids_like(os.path.basename(name)[:-len(".h5")] if is_path else name,
                             sorted({info.branch_of for info in known if info.branch_of}))
            if len(begun) != 1:
                raise
            return begun[0], path

    def newest(self, infos: List[CheckpointInfo]) -> Optional[Candidate]:
        """The first of these checkpoints of the directory that is whole."""
        for info in infos:
            try:
                return _candidate(*self._directory.read(info, ReadingProgress(info, self._tell)))
            except (CheckpointCorrupt, CheckpointNotFound) as error:
                self.rejected.append(str(error))
        return None

    def names(self) -> Dict[str, Optional[str]]:
        """What each of its checkpoints says of the run."""
        return {"run": self.run, "branch_of": self.branch_of, "asked": self.asked}

    def add(self, info: CheckpointInfo) -> None:
        """A checkpoint was saved."""
        self.infos.insert(0, info)

    def removed(self, ids: List[str]) -> None:
        """Checkpoints were given up."""
        self.infos = [info for info in self.infos if info.id not in ids]


def run_id(directory: PathOrUrl, restore: PathOrUrl = "auto", group: bool = False,
           mirror: Optional[PathOrUrl] = None) -> str:
    """The id of the run that a training in a directory goes on with, or that it will begin: known before it begins.

    Experiment trackers go on with the same run after a resume, when this is what they call it. It stays the same over
    all starts of the script, also where it dies before its first checkpoint.

    Args:
        directory: what `SessionCheckpoint` is given.
        restore: the same.
        group: the same.
        mirror: the same.

    Returns:
        16 letters and digits; each checkpoint says it as `CheckpointInfo.run`.

    Raises:
        CheckpointNotFound: there is nothing that `restore` asks for.
        ConfigError: an argument cannot be used.
        SessionError: the directory cannot be written.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> run_id(folder) == run_id(folder)
        True
    """
    second = None if mirror is None else store_url(mirror, "mirror")
    place = RunDirectory(path_or_url(directory, "directory"), flag("group", group), mirror=second)
    asked = as_restore_setting(restore)
    if asked not in ("auto", "must", "never"):
        lineage = Lineage(place, asked)
        return lineage.run if lineage.infos else place.reserve_run()
    known = [] if asked == "never" else place.infos()
    if asked == "must" and not known:
        raise CheckpointNotFound("restore='must', but there is no valid checkpoint in {}. Use restore='auto' for a "
                                 "fresh start.".format(place.checkpoints))
    return known[0].run if known else place.reserve_run()


def read(path: str, told: Callable[[int], None] = lambda nbytes: None) -> Candidate:
    """Reads and verifies a checkpoint anywhere; `told` is given the number of bytes after each piece."""
    return _candidate(*reader.read_checkpoint(_real(path), told=told))


def _real(path: str) -> str:
    return path if urls.is_url(path) else os.path.realpath(path)


def _candidate(head: reader.Header, tensors: Dict[str, np.ndarray]) -> Candidate:
    """Decodes what was read.

    Raises:
        CheckpointCorrupt: it is not what this package writes, whatever its checksums say.
    """
    arrays = list(tensors.values())
    try:
        states = {name: plain_values.decode(value, arrays.__getitem__)
                  for name, value in head.fields["session"].items()}
        wrong = schema.problem(states, head.fields)
    except Exception as error:  # whatever a file can hold that NumPy or Python refuses
        wrong = "{}: {}".format(type(error).__name__, error)
    if wrong:
        raise CheckpointCorrupt("Cannot use {}: it is not what this package writes ({}). The file was left as it "
                                "is.".format(head.info.path, wrong))
    return Candidate(head.info, head.fields, components.merge(states))
