"""The second copy of a run's checkpoints: made behind training, the newest first, until all that are kept are there."""

import logging
import threading
import time
from typing import Callable, Optional, Sequence, Set

from keras_session_ext.errors import DirectoryBusy
from keras_session_ext.lifecycle.record import Record
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.run.uploads import Upload, Uploads
from keras_session_ext.store.contract import Staged
from keras_session_ext.store.run_directory import RunDirectory

logger = logging.getLogger("keras_session_ext")


class Mirror:
    """Sends checkpoints that are durable on this machine; nothing is sent where the directory has no mirror.

    Args:
        directory: where they are.
        record: is told what is there.
        taken_over: is told of the `DirectoryBusy` of a run that another process goes on with.

    Attributes:
        uploads: that are on their way.
    """

    def __init__(self, directory: RunDirectory, record: Record, taken_over: Callable[[BaseException], None]):
        self._directory, self._record, self._taken_over = directory, record, taken_over
        self.uploads = Uploads(self._failed)
        self._kept: Callable[[], Sequence[CheckpointInfo]] = tuple
        self._guard = threading.Lock()  # saves and uploads have a thread each
        self._unread: Set[str] = set()
        self._newest = ""  # that is there

    def send(self, kept: Callable[[], Sequence[CheckpointInfo]]) -> None:
        """Sends what is not there yet.

        Args:
            kept: gives the checkpoints of the run, the newest first.
        """
        self._kept = kept
        if self._directory.mirror_url:
            self._send_next()

    def wait(self, timeout_seconds: float) -> bool:
        """Waits until the newest is there, not for older ones, and not for a store that is away; whether it is."""
        end = time.monotonic() + timeout_seconds
        while not self.uploads.drain(0.1):
            newest = next(iter(self._kept()), None)
            if newest is not None and newest.id == self._newest:
                return True
            if self.uploads.is_failing or time.monotonic() > end:
                return False
        return True

    def _send_next(self) -> None:
        with self._guard:
            for info in list(self._kept()):
                staged = self._staged(info)
                if staged is not None:
                    self._send(info, staged, time.monotonic())
                    return

    def _staged(self, info: CheckpointInfo) -> Optional[Staged]:
        try:
            return self._directory.mirror(info.id)
        except OSError as error:  # the others are sent
            if info.id not in self._unread:
                self._unread.add(info.id)
                logger.warning("%s cannot be copied to %s: %s", info.path, self._directory.mirror_url, error)
            return None

    def _send(self, info: CheckpointInfo, staged: Staged, began: float) -> None:
        self.uploads.submit(Upload(info.progress.step, staged, lambda: self._directory.publish_staged(staged),
                                   lambda: self._is_there(info, began)))

    def _is_there(self, info: CheckpointInfo, began: float) -> None:
        self._record.emit("checkpoint_mirrored", id=info.id, step=info.progress.step,
                          seconds=time.monotonic() - began, size_bytes=info.size_bytes,
                          directory=self._directory.mirror_url)
        self._newest = max(self._newest, info.id)
        self._send_next()
        try:
            self._directory.retain_mirror()
        except OSError as error:  # they go with the next one
            logger.warning("Checkpoints that are to go stay in %s: %s.", self._directory.mirror_url, error)

    def _failed(self, upload: Upload, error: BaseException, ends: bool) -> None:
        self._record.emit("mirror_failed", error="{}: {}".format(type(error).__name__, error), step=upload.step)
        if ends:
            upload.staged.discard()  # it is held open, and no more
        if isinstance(error, DirectoryBusy):
            self._taken_over(error)
        else:
            logger.warning("Step %s is saved in %s, and could not be copied to %s: %s. Training goes on%s.",
                           upload.step, self._directory.path, self._directory.mirror_url, error,
                           "" if ends else ", and it is tried again")
