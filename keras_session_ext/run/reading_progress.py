"""How far a start has read a checkpoint, for whoever waits for it."""

import time
from typing import Callable

from keras_session_ext.progress import CheckpointInfo

#: before the first line, and between two
FIRST_SECONDS, EVERY_SECONDS = 3.0, 10.0


class ReadingProgress:
    """Is called with the bytes of each piece that was read; tells a line where that takes long.

    Args:
        info: the checkpoint.
        tell: is given the lines.

    Examples:
        >>> # RunDirectory("runs/a").read(info, ReadingProgress(info, print))
        >>> # Session: reading g000003-s0000001234-1a2b3c4d: 38 % of 12.4 GiB, 310 MiB/s
    """

    def __init__(self, info: CheckpointInfo, tell: Callable[[str], None]):
        self._info, self._tell = info, tell
        self._began = time.monotonic()
        self._next = self._began + FIRST_SECONDS
        self._read = 0

    def __call__(self, nbytes: int) -> None:
        self._read += nbytes
        now = time.monotonic()
        if now >= self._next and self._read < self._info.size_bytes:
            self._next = now + EVERY_SECONDS
            self._tell("Session: reading {}: {:.0f} % of {:.1f} GiB, {:.0f} MiB/s".format(
                self._info.id, 100.0 * self._read / self._info.size_bytes, self._info.size_bytes / 2 ** 30,
                self._read / 2 ** 20 / (now - self._began)))
