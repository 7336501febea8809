"""From a snapshot to a durable checkpoint and what it lets go of: in the foreground, or behind training."""

import atexit
import heapq
import logging
import os
import time
import weakref
from typing import Any, Callable, Dict, List, Optional

from keras_session_ext.checkpoint import header
from keras_session_ext.checkpoint.encoder import CheckpointImage, Encoder
from keras_session_ext.errors import DirectoryBusy
from keras_session_ext.lifecycle.record import Record, figures
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.remote_copies import before_exit
from keras_session_ext.run.background_writer import BackgroundWriter
from keras_session_ext.run.lineage import Lineage
from keras_session_ext.run.mirror import Mirror
from keras_session_ext.run.snapshot import Snapshot
from keras_session_ext.run.uploads import Upload, Uploads
from keras_session_ext.store.run_directory import RunDirectory

logger = logging.getLogger("keras_session_ext")

_LARGEST = 8  # tensors that the journal names


#: how long the end of training waits for a save in flight, and the exit of the process
DRAIN_SECONDS, EXIT_SECONDS = 600.0, 60.0

_in_use: "weakref.WeakSet[Saves]" = weakref.WeakSet()  # and those in flight, which their threads keep
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_use.clear)  # a child has no writer's thread to wait for


class Saves:
    """The saves of one `SessionCheckpoint`.

    Args:
        directory: where to.
        keep: the keep policy.
        background: whether training goes on meanwhile.
        on_error: "warn" or "raise".
        record: is told of everything.

    Attributes:
        lineage: the run they belong to.
        last_id: the newest checkpoint of this process, or the one it resumed from.
        done: all of this process, oldest first.
        encoder: makes the files.
        decided: what `settle` left for the next start, and why, with "; " behind it; or nothing.
    """

    def __init__(self, directory: RunDirectory, keep: Any, background: bool, on_error: str, record: Record):
        self.directory = directory
        self.lineage: Optional[Lineage] = None
        self.last_id: Optional[str] = None
        self.done: List[CheckpointInfo] = []
        self.keep = keep
        self._background = background
        self._on_error = on_error
        self._record = record
        self.encoder = Encoder()
        self.decided = ""
        self._writer = BackgroundWriter()
        self._uploads = Uploads(self._upload_failed)
        self._mirror = Mirror(directory, record, self._taken_over)
        self._going = False
        self._failure: Optional[BaseException] = None
        _in_use.add(self)

    def commit(self, snapshot: Snapshot, began: float, reason: str = "") -> None:
        """Saves a snapshot.

        Args:
            snapshot: what; it is spent then.
            began: `time.monotonic()` when it was asked for.
            reason: which policy asked for it, if the snapshot does not know.
        """
        snapshot = snapshot.spend()
        snapshot.fields.update({"id": self.directory.new_id(snapshot.fields["progress"]["step"])},
                               **({"reason": reason} if reason else {}))
        self._going = True
        if self._background:
            stall = time.monotonic() - began
            self._writer.submit(lambda: self._write(snapshot, began, stall))
        else:
            self._write(snapshot, began, None)
            self.check()

    def prepare(self, begin: Callable[[], Callable[[], None]]) -> None:
        """Does behind training what the first save would wait for.

        Args:
            begin: does here what cannot be done elsewhere, and returns the rest.
        """
        if not self._background:
            return
        try:
            work = begin()
        except Exception as error:  # a peer's get_state may raise anything; the first save meets it again, and tells
            logger.debug("The first save could not be prepared: %r", error)
            return

        def job() -> None:
            try:
                work()
            except Exception as error:
                logger.debug("The first save could not be prepared: %r", error)

        self._writer.submit(job, if_free=True)

    def end(self) -> bool:
        """Waits for the save in flight, and lets go of the memory; False if the save goes on."""
        is_over = self.drain(DRAIN_SECONDS)
        self.encoder.release()
        self.send_kept()
        if not self._mirror.wait(DRAIN_SECONDS):
            logger.warning("%s. What is in %s is sent as long as this process lives, and by the next start.",
                           self._mirror.uploads.left() or "A checkpoint is not in the mirror yet", self.directory.path)
        return is_over

    def ended(self) -> bool:
        """Whether the saves that went on when this was asked last are over."""
        was_going = self._going
        self._going = was_going and not self.drain(0)
        return was_going and not self._going

    def drain(self, timeout_seconds: float) -> bool:
        """Waits for the saves in flight, not for their second copies; False if the limit came first."""
        end = time.monotonic() + timeout_seconds
        return self._writer.drain(timeout_seconds) and self._uploads.drain(max(0.0, end - time.monotonic()))

    def send_kept(self) -> None:
        """What an earlier process could not send to the mirror any more is sent."""
        if self.lineage is not None:
            self._mirror.send(self._kept)

    def _kept(self) -> List[CheckpointInfo]:
        return sorted(self.lineage.infos if self.lineage else [], key=lambda info: info.order, reverse=True)

    def settle(self, id: Optional[str], grace_seconds: float) -> bool:
        """The process ends: what can be durable in time is.

        Args:
            id: of the checkpoint that was asked for; None where all is there.
            grace_seconds: how long there is.

        Returns:
            Whether it is durable, or, where the store is too slow for it (`decided` says so), the one before it.
        """
        end = time.monotonic() + grace_seconds
        is_written = self._writer.drain(grace_seconds)
        why = self._uploads.choose(max(0.0, end - time.monotonic())) or self._mirror.uploads.choose(
            max(0.0, end - time.monotonic()))
        is_up = self.drain(max(0.0, end - time.monotonic()))
        if self.directory.mirror_url:
            self._mirror.wait(max(0.0, end - time.monotonic()))
            is_up, why = is_written, why or self._mirror.uploads.left()
        self.decided = why + "; " if why else ""
        return is_up and (bool(why and self.directory.is_far) or id in (None, self.last_id))

    def wait_for_mirror(self, timeout_seconds: float) -> bool:
        """Waits for the second copy of the newest; False where it is not there."""
        return self._mirror.wait(timeout_seconds)

    def release_directory(self) -> None:
        """Gives the directory back; where an upload goes on, the end of the process does."""
        if not self.directory.is_far or self.drain(0):
            self.directory.release()

    def left(self) -> str:
        """What goes on behind, for a message."""
        return self._uploads.left() or "the last save goes on in the background"

    def _write(self, snapshot: Snapshot, began: float, stall: Optional[float]) -> None:
        """On the writer's thread: file, name, then retention; in a store the last two are another thread's."""
        fields = snapshot.fields
        id, step = fields["id"], fields["progress"]["step"]
        try:
            image = snapshot.image(self.encoder, parent=self.last_id)
            info = header.info(dict(fields, size_bytes=image.size_bytes), self.directory.path_of(id))
            more = dict(figures(info), **_contents(image))
            if not self.directory.is_far or stall is None:
                self.directory.publish(id, image)
                self._acknowledge(info, more, began, stall)
                return
            staged = self.directory.stage(id, image)
            more["staged_seconds"] = time.monotonic() - began

            self._uploads.submit(Upload(step, staged, lambda: self.directory.publish_staged(staged),
                                        lambda: self._acknowledge(info, more, began, stall)))
        except BaseException as error:  # told on the training thread
            self._tell_failure(error, step)
            self._failure = error

    def _acknowledge(self, info: CheckpointInfo, more: Dict[str, Any], began: float, stall: Optional[float]) -> None:
        durable = time.monotonic() - began
        self.last_id = info.id
        self.done.append(info)
        self._record.emit("checkpoint_saved", stall_seconds=durable if stall is None else stall,
                          durable_seconds=durable, directory=self.directory.path, **more)
        self._retain(info)
        self.directory.send()
        self._mirror.send(self._kept)

    def _upload_failed(self, upload: Upload, error: BaseException, ends: bool) -> None:
        self._tell_failure(error, upload.step)
        if ends or self._on_error == "raise":
            self._failure = error
        else:
            logger.warning("Step %s could not be saved to %s: %s. Training goes on, and it is tried again.",
                           upload.step, self.directory.path, error)

    def _taken_over(self, error: BaseException) -> None:
        self._failure = error

    def _tell_failure(self, error: BaseException, step: int) -> None:
        self._record.emit("save_failed", error="{}: {}".format(type(error).__name__, error), step=step)

    def _retain(self, info: CheckpointInfo) -> None:
        lineage: Any = self.lineage
        lineage.add(info)
        plan = self.keep.plan(lineage.infos)
        try:
            removed = self.directory.retain(plan)
        except OSError as error:  # the save is durable; the plan of the next one has these again
            logger.warning("Checkpoints that are to go stay in %s: %s.", self.directory.path, error)
            return
        lineage.removed(removed)
        for id in removed:
            self._record.emit("checkpoint_deleted", id=id, reason=", ".join(plan.reasons.get(id, ())))

    # -- failures

    def check(self) -> None:
        """Tells of a save that failed behind training."""
        failure, self._failure = self._failure, None
        if failure is not None:
            self.complain(failure)

    def complain(self, failure: BaseException) -> None:
        """Raises, or warns and lets training go on, as the user chose."""
        if isinstance(failure, DirectoryBusy) or self._on_error == "raise":
            raise failure
        logger.warning("Saving the session to %s failed: %s: %s. Training goes on and the next save is tried as "
                       "planned.", self.directory.path, type(failure).__name__, failure)


def drain_directory(path: str) -> None:
    """Waits for all saves of this process in flight to a directory: a stage that failed may have left one."""
    for saves in list(_in_use):
        if saves.directory.path == path:
            saves.drain(DRAIN_SECONDS)


@atexit.register
def _at_exit() -> None:
    for saves in list(_in_use):
        saves.drain(EXIT_SECONDS)
        saves.wait_for_mirror(EXIT_SECONDS)


before_exit(0, _at_exit)


def _contents(image: CheckpointImage) -> Dict[str, Any]:
    """Bytes per state kind, and the largest tensors."""
    kinds: Dict[str, int] = {}
    for _, spec in image.specs:
        kinds[spec.kind] = kinds.get(spec.kind, 0) + spec.nbytes
    largest = heapq.nlargest(_LARGEST, image.specs, key=lambda one: one[1].nbytes)
    return {"kinds": kinds, "largest": [
        {"name": name, "dtype": spec.dtype, "shape": list(spec.shape), "nbytes": spec.nbytes}
        for name, spec in largest]}
