"""The stages of a run: every fit of one callback, and every outermost loop of one `SessionLoop`, in order.

A stage may have ended by an exception that the script caught. Started again,
the script comes there by training the rest of that stage once more; what the
run holds of later stages follows from it as long as it ends that way again.
"""

from typing import Callable, Dict, List, Optional, Set

from keras_session_ext import urls
from keras_session_ext.errors import CheckpointNotFound, SessionError
from keras_session_ext.lifecycle.record import Record, figures
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.run.lineage import Candidate, Lineage
from keras_session_ext.store.run_directory import RunDirectory


class Stages:
    """What each stage of a run goes on from.

    Args:
        directory: where the run lives.
        lineage: the run; its `origin` goes when no stage needs it any more.

    Attributes:
        lineage: the run.
        failed: those that ended by an exception which the script caught.
    """

    def __init__(self, directory: RunDirectory, lineage: Lineage):
        self._directory = directory
        self.lineage = lineage
        origin = lineage.origin
        self.failed: Set[int] = set(origin.fields.get("failed_stages", ()) if origin is not None else ())

    def candidate(self, stage: int) -> Optional[Candidate]:
        """What stage number `stage` goes on from, or None for a fresh start of it.

        Raises:
            CheckpointNotFound: the run is in a later stage, and the last
                checkpoint of this one is gone.
        """
        newest = self.lineage.origin
        if newest is None or newest.info.progress.stage < stage:
            return None
        if newest.info.progress.stage == stage:
            return newest
        known = self._directory.infos()
        runs = _ancestors(newest.info, known)
        ends = [info for info in known if info.run in runs and info.order <= runs[info.run].order
                and info.progress.stage == stage and (info.finished or stage in self.failed)]
        found = self.lineage.newest(ends)
        if found is None and stage not in self.failed:
            raise CheckpointNotFound(
                "The run is in stage {}, but the last checkpoint of stage {} is not in {}. Put it back, or start "
                "in a new directory.".format(newest.info.progress.stage, stage, self._directory.checkpoints))
        return found

    def candidate_of_any_stage(self) -> Candidate:
        """The checkpoint that was asked for, whatever stage it is of."""
        if self.lineage.origin is None:
            raise CheckpointNotFound("There is no checkpoint in {}.".format(self._directory.checkpoints))
        return self.lineage.origin

    def repeats(self, stage: int) -> bool:
        """Whether this stage ended by an exception, and the run is in a later one."""
        origin = self.lineage.origin
        return origin is not None and stage in self.failed and origin.info.progress.stage > stage

    def trained(self, stage: int) -> None:
        """Something new was trained: what the run holds of later stages no longer follows from it."""
        if not self.repeats(stage):
            self.lineage.origin = None  # the memory goes, too

    def ended(self, stage: int, failed: bool) -> None:
        """A stage has ended: by an exception which the script caught, or in good order."""
        if failed:
            self.failed.add(stage)
        elif stage in self.failed:
            self.failed.discard(stage)
            self.trained(stage)  # it ended in another way than before


def open_run(directory: RunDirectory, restore: str, record: Record, tell: Callable[[str], None]) -> Stages:
    """The run that a start of the script goes on with, its checkpoints told to the record.

    Args:
        directory: where it lives.
        restore: as of `Lineage`.
        record: is told.
        tell: is given lines for the user while a large checkpoint is read.
    """
    _refuse_another_run(directory)
    lineage = Lineage(directory, restore, tell)
    for why in lineage.rejected:
        record.emit("checkpoint_rejected", why=why)
    for info in reversed(lineage.infos):
        record.found(created=info.created, directory=directory.path, **figures(info))
    return Stages(directory, lineage)


def _refuse_another_run(directory: RunDirectory) -> None:
    """A mirror and a folder that know nothing of one another are no two copies of one run."""
    known = directory.infos() if directory.mirror_url else []
    far = [info for info in known if urls.is_url(info.path)]
    near = [info for info in known if not urls.is_url(info.path)]
    ids, runs = {info.id for info in near}, {info.run for info in near}
    if far and near and not any(info.run in runs or info.branch_of in ids for info in far) and not any(
            info.branch_of in {one.id for one in far} for info in near):
        raise SessionError(
            "{} holds run {}, and its mirror {} holds run {}: they are no two copies of one. Name another mirror, or "
            "another directory.".format(directory.path, near[0].run, directory.mirror_url, far[0].run))


def _ancestors(info: CheckpointInfo, known: List[CheckpointInfo]) -> Dict[str, CheckpointInfo]:
    """The run of a checkpoint and those it branched off from, each with the last of its checkpoints that count.

    They hold the ends of its earlier stages; what a run has done behind a branching is another story.
    """
    by_id, runs = {one.id: one for one in known}, {info.run: info}
    while info.branch_of in by_id and by_id[info.branch_of].run not in runs:
        info = by_id[info.branch_of]
        runs[info.run] = info
    return runs
