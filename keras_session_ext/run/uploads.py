"""Checkpoints on their way to a store behind a network: one at a time, the newest waiting one wins."""

import logging
import threading
import time
from typing import Callable, NamedTuple, Optional

from keras_session_ext.errors import DirectoryBusy
from keras_session_ext.run.background_writer import BackgroundWriter
from keras_session_ext.store.contract import Staged

logger = logging.getLogger("keras_session_ext")

#: between the tries of one upload
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
#: before so much of an upload is seen it tells no speed
_SEEN_SECONDS = 0.2


class Upload(NamedTuple):
    """One of them.

    Attributes:
        step: that it holds.
        staged: the file.
        publish: sends it.
        acknowledge: tells that it is up, once.
    """

    step: int
    staged: Staged
    publish: Callable[[], None]
    acknowledge: Callable[[], None]


class Uploads:
    """Sends files behind the making of the next ones.

    An upload that fails is told and tried again, with pauses that grow, until it
    is up or a newer one waits.

    Args:
        failed: is told of each try that failed, and whether it was the last one.

    Attributes:
        is_failing: whether the last try failed.
    """

    def __init__(self, failed: Callable[[Upload, BaseException, bool], None]):
        self._failed = failed
        self._sender = BackgroundWriter()
        self._wake = threading.Event()
        self._flying: Optional[Upload] = None
        self.is_failing = False
        self._waiting: Optional[Upload] = None
        self._began = self._speed = 0.0  # bytes a second

    def submit(self, upload: Upload) -> None:
        """Hands a file over; one that still waits is given up for it."""
        def dropped() -> None:
            upload.staged.discard()

        self._waiting = upload
        self._sender.submit(lambda: self._send(upload), dropped=dropped)
        self._wake.set()

    def drain(self, timeout_seconds: float) -> bool:
        """Waits until all is up; False if the limit came first."""
        return self._sender.drain(timeout_seconds)

    def _send(self, upload: Upload) -> None:
        self._flying, self._waiting = upload, None if self._waiting is upload else self._waiting
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._wake.clear()
            self._began = time.monotonic()
            try:
                upload.publish()
                self.is_failing = False
                self._see(upload.staged.size_bytes)
                upload.staged.discard()
                self._acknowledge(upload)
                break
            except BaseException as error:
                self.is_failing = True
                ends = isinstance(error, (DirectoryBusy, FileExistsError)) or not isinstance(error, Exception)
                self._failed(upload, error, ends)
                if isinstance(error, DirectoryBusy):
                    upload.staged.discard()
                if ends:
                    break
            if not self._sender.has_waiting:
                self._wake.wait(pause)
            if self._sender.has_waiting:
                upload.staged.discard()  # a newer one is here
                break
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        self._flying = None

    def _acknowledge(self, upload: Upload) -> None:
        try:
            upload.acknowledge()
        except BaseException as error:  # it is up: no other try
            self._failed(upload, error, True)

    def _see(self, count: int) -> None:
        seconds = time.monotonic() - self._began
        if count and seconds > 0:
            self._speed = count / seconds

    def choose(self, grace_seconds: float) -> str:
        """Where not all can be up in time, lets the one that waits go, so that the one on its way is finished.

        Args:
            grace_seconds: how long there is.

        Returns:
            What was decided and why, for the user; empty where all is expected to be up.
        """
        flying, waiting = self._flying, self._waiting
        if flying is None or waiting is None:
            return ""
        if time.monotonic() - self._began > _SEEN_SECONDS and flying.staged.sent_bytes:
            self._see(flying.staged.sent_bytes)
        left = flying.staged.size_bytes - flying.staged.sent_bytes
        if not self._speed or (left + waiting.staged.size_bytes) / self._speed <= grace_seconds:
            return ""
        if not self._sender.withdraw():
            return ""
        self._waiting = None
        return ("{:.0f} MiB of step {} cannot be up within {:.0f} s at {:.1f} MiB/s{}; step {}, which is on its way, "
                "is finished instead".format(waiting.staged.size_bytes / 2 ** 20, waiting.step, grace_seconds,
                                          self._speed / 2 ** 20, _kept(waiting.staged), flying.step))

    def left(self) -> str:
        """What is not up yet and where it waits, for a message."""
        return " and ".join("step {} is not in the store yet{}".format(one.step, _kept(one.staged))
                            for one in (self._flying, self._waiting) if one is not None)


def _kept(staged: Staged) -> str:
    if staged.waits_in is None:
        return ""
    return " (it stays in {}, and is sent when the script is started again on this machine)".format(staged.waits_in)
