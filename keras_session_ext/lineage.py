"""Which checkpoint a start of the script goes on from.

A *run* is a line of checkpoints, each the child of the one before. A fresh
start begins a new run, and so does `restore=<id>`, which branches off. Every
fit of a callback is a stage of its run.

A stage may have ended by an exception that the script caught. Started again,
the script comes there by training the rest of that stage once more; what the
run holds of later stages follows from it as long as it ends that way again.
"""

import os
from typing import Any, Dict, List, NamedTuple, Optional, Set

import numpy as np

from keras_session_ext.arguments import local_path
from keras_session_ext.checkpoint import reader
from keras_session_ext.checkpoint.directory import RunDirectory
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound, ConfigError
from keras_session_ext.progress import CheckpointInfo


class Candidate(NamedTuple):
    """A checkpoint that was read and verified."""

    info: CheckpointInfo
    fields: Dict[str, Any]
    tensors: Dict[str, np.ndarray]


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

    Attributes:
        run: its name.
        branch_of: the checkpoint it was branched off from by `restore=<id>`.
        infos: its checkpoints, newest first, as far as this process knows.
        rejected: damaged checkpoints met on the way.
        failed_stages: those that ended by an exception which the script caught.
    """

    def __init__(self, directory: RunDirectory, restore: str):
        self._directory = directory
        self.run = os.urandom(8).hex()
        self.branch_of: Optional[str] = None
        self.rejected: List[str] = []
        self.infos: List[CheckpointInfo] = []
        self._first = self._find(restore)
        self._over = self._first is None
        self.failed_stages: Set[int] = set(self._first.fields.get("failed_stages", ()) if self._first else ())
        if self._first is not None and not (self.branch_of and self._first.info.id == self.branch_of):
            self.run = self._first.info.run
            self.branch_of = self._first.info.branch_of
        if self._first is not None:
            known = directory.infos()
            self.infos = [info for info in known if info.run == self.run]

    def _find(self, restore: str) -> Optional[Candidate]:
        if restore == "never":
            return None
        if restore in ("auto", "must"):
            found = self._newest(self._directory.infos(self.rejected))
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
        return self._newest([info for info in known if info.branch_of == origin.info.id]) or origin

    def _newest(self, infos: List[CheckpointInfo]) -> Optional[Candidate]:
        for info in infos:
            try:
                return read(info.path)
            except (CheckpointCorrupt, CheckpointNotFound) as error:
                self.rejected.append(str(error))
        return None

    def candidate(self, stage: int) -> Optional[Candidate]:
        """What stage number `stage` goes on from, or None for a fresh start of it.

        Raises:
            CheckpointNotFound: the run is in a later stage, and the last
                checkpoint of this one is gone.
        """
        if self._over or self._first is None:
            return None
        newest = self._first
        if newest.info.progress.stage == stage:
            return newest
        if newest.info.progress.stage < stage:
            return None
        known = self._directory.infos()
        runs = _ancestors(newest.info, known)
        ends = [info for info in known if info.run in runs and info.order <= newest.info.order
                and info.progress.stage == stage and (info.finished or stage in self.failed_stages)]
        found = self._newest(ends)
        if found is None and stage not in self.failed_stages:
            raise CheckpointNotFound(
                "The run is in stage {}, but the last checkpoint of stage {} is not in {}. Put it back, or start "
                "in a new directory.".format(newest.info.progress.stage, stage, self._directory.checkpoints))
        return found

    def candidate_of_any_stage(self) -> Candidate:
        """The checkpoint that was asked for, whatever stage it is of."""
        if self._first is None:
            raise CheckpointNotFound("There is no checkpoint in {}.".format(self._directory.checkpoints))
        return self._first

    def repeats(self, stage: int) -> bool:
        """Whether this stage ended by an exception, and the run is in a later one."""
        return self._first is not None and stage in self.failed_stages and self._first.info.progress.stage > stage

    def trained(self, stage: int) -> None:
        """Something new was trained: what the run holds of later stages no longer follows from it."""
        if not self.repeats(stage):
            self._over, self._first = True, None  # the memory goes, too

    def ended(self, stage: int, failed: bool) -> None:
        """A fit has ended: by an exception which the script caught, or in good order."""
        if failed:
            self.failed_stages.add(stage)
        elif stage in self.failed_stages:
            self.failed_stages.discard(stage)
            self.trained(stage)  # it ended in another way than before

    def add(self, info: CheckpointInfo) -> None:
        self.infos.insert(0, info)

    def removed(self, ids: List[str]) -> None:
        self.infos = [info for info in self.infos if info.id not in ids]


def _ancestors(info: CheckpointInfo, known: List[CheckpointInfo]) -> Set[str]:
    """The run of a checkpoint and those it branched off from, which hold the ends of its earlier stages."""
    by_id, runs = {one.id: one for one in known}, {info.run}
    while info.branch_of in by_id and by_id[info.branch_of].run not in runs:
        info = by_id[info.branch_of]
        runs.add(info.run)
    return runs


def read(path: str) -> Candidate:
    """Reads and verifies a checkpoint."""
    head, tensors = reader.read_checkpoint(os.path.realpath(path))
    return Candidate(head.info, head.fields, tensors)
