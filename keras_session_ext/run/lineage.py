"""Which checkpoint a start of the script goes on from.

A *run* is a line of checkpoints, each the child of the one before. A fresh
start begins a new run, and so does `restore=<id>`, which branches off. Its
stages stand in stages.py.
"""

import os
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np

from keras_session_ext.arguments import local_path
from keras_session_ext.checkpoint import reader
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound, ConfigError
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.state import plain_values, schema
from keras_session_ext.store.run_directory import RunDirectory


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
    if not isinstance(restore, (str, os.PathLike)) or not str(restore):
        raise ConfigError("Invalid value for argument `restore`. Expected 'auto', 'must', 'never', a checkpoint "
                          "id or a path. Received: {!r}".format(restore))
    return local_path(restore, "restore")


class Lineage:
    """The run that this process belongs to.

    Args:
        directory: where it lives.
        restore: "auto", "must", "never", or a checkpoint's id or path.

    Attributes:
        run: its name.
        branch_of: the checkpoint it was branched off from by `restore=<id>`.
        infos: its checkpoints, newest first, as far as this process knows.
        rejected: damaged checkpoints met on the way.
        origin: the checkpoint this process begins with; None for a fresh start, and once it is no longer needed.

    Raises:
        CheckpointNotFound: there is nothing that `restore` asks for.
    """

    def __init__(self, directory: RunDirectory, restore: str):
        self._directory = directory
        self.run = os.urandom(8).hex()
        self.branch_of: Optional[str] = None
        self.rejected: List[str] = []
        self.infos: List[CheckpointInfo] = []
        self.origin = self._find(restore)
        if self.origin is not None and not (self.branch_of and self.origin.info.id == self.branch_of):
            self.run = self.origin.info.run
            self.branch_of = self.origin.info.branch_of
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
        looks_like_path = os.sep in name or name.endswith(".h5")
        origin = read(name if looks_like_path else self._directory.named(name, known).path)
        self.branch_of = origin.info.id
        return self.newest([info for info in known if info.branch_of == origin.info.id]) or origin

    def newest(self, infos: List[CheckpointInfo]) -> Optional[Candidate]:
        """The first of these checkpoints of the directory that is whole."""
        for info in infos:
            try:
                return _candidate(*self._directory.read(info))
            except (CheckpointCorrupt, CheckpointNotFound) as error:
                self.rejected.append(str(error))
        return None

    def add(self, info: CheckpointInfo) -> None:
        """A checkpoint was saved."""
        self.infos.insert(0, info)

    def removed(self, ids: List[str]) -> None:
        """Checkpoints were given up."""
        self.infos = [info for info in self.infos if info.id not in ids]


def read(path: str) -> Candidate:
    """Reads and verifies a checkpoint anywhere."""
    return _candidate(*reader.read_checkpoint(os.path.realpath(path)))


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
    return Candidate(head.info, head.fields, states)
