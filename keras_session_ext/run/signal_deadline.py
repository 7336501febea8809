"""Ends the process where a signal is to end it and the main thread does not answer.

Python's handlers run in the main thread, between two of its instructions: not while it sits in a long step, in a hung
write or in a library that never returns. The kernel's part of the handler runs all the same, and writes to a pipe,
which a thread of its own reads.
"""

import contextlib
import ctypes
import logging
import os
import select
import signal
import sys
import threading
import time
from typing import Callable, Dict, Iterable, List, Optional

logger = logging.getLogger("keras_session_ext")

#: how long the main thread may take to begin with its answer, and then to end it
SECONDS = 60.0
#: how long it may take once it was asked a second time
AGAIN_SECONDS = 1.0
#: how long the last words may take where a longer time for the answer was given
AFTER_SECONDS = 20.0


def end_process(number: int) -> None:
    """Ends this process as a signal ends one that has no handler for it; from any thread."""
    if os.getpid() != 1:  # for process 1, such as a container's, the kernel drops what has no handler
        try:
            ctypes.CDLL(None).signal(int(number), 0)  # Python's own `signal` is for the main thread
            os.kill(os.getpid(), number)
            time.sleep(1.0)  # the kernel may give it to another thread
        except (OSError, AttributeError, TypeError):
            pass
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, full or none: there is nobody left to tell
            stream.flush()
    os._exit(128 + int(number))


class SignalDeadline:
    """Watches the signals that are to end the process, from `begin` to `end`.

    Args:
        repeat_seconds: the same signal again within so short a time is no second one.
        too_late: is told of the signal right before the process is ended; it has a second for it.
    """

    def __init__(self, repeat_seconds: float, too_late: Callable[[int], None]):
        self._repeat_seconds = repeat_seconds
        self._too_late = too_late
        self._pipe: Optional[List[int]] = None  # where signals are read, where they are written
        self._before = -1  # whom they were told before us, such as an event loop
        self._due: Dict[int, float] = {}  # signal -> time.monotonic() at which the process ends
        self._first: Dict[int, float] = {}

    def begin(self, numbers: Iterable[int]) -> None:
        """Watches these signals; on the main thread. Each has a handler of Python's."""
        numbers = frozenset(map(int, numbers))
        if not numbers or os.name != "posix" or self._pipe is not None:
            return
        self._due, self._first = {}, {}
        self._pipe = list(os.pipe())
        for fd in self._pipe:
            os.set_blocking(fd, False)
        self._before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(self._pipe[0], numbers), name="keras-session-signals",
                         daemon=True).start()

    def answering(self, grace_seconds: float = 0.0) -> None:
        """The main thread has begun with its answer, and has as long again to end it, or as long as it was given."""
        now = time.monotonic()
        self._due = dict.fromkeys(self._due, now + max(SECONDS, grace_seconds + AFTER_SECONDS))

    def end(self) -> None:
        """Watches no more; on the main thread."""
        if self._pipe is None:
            return
        writing = self._pipe[1]
        self._pipe, self._due = None, {}
        now = signal.set_wakeup_fd(self._before, warn_on_full_buffer=False)
        if now != writing:  # someone has taken it over meanwhile
            signal.set_wakeup_fd(now, warn_on_full_buffer=False)
        os.close(writing)  # the thread sees the end, and closes its own

    def forked(self) -> None:
        """In a child: there is no thread, and the pipe is the parent's."""
        if self._pipe is not None:
            reading = self._pipe[0]
            self.end()
            os.close(reading)

    def _watch(self, reading: int, numbers: "frozenset[int]") -> None:
        try:
            while True:
                due = min(self._due.values(), default=None)
                left = None if due is None else max(0.0, due - time.monotonic())
                ready, _, _ = select.select([reading], [], [], left)
                received = os.read(reading, 512) if ready else b""
                if ready and not received:
                    return  # `end`
                self._hand_on(received)
                for number in numbers.intersection(received):
                    self._ask(number)
                for number, when in list(self._due.items()):
                    if time.monotonic() >= when:
                        self._end(number)
        finally:
            os.close(reading)

    def _hand_on(self, received: bytes) -> None:
        if self._before >= 0 and received:
            try:
                os.write(self._before, received)
            except OSError:
                pass  # full, or closed: as the kernel's own writing would have it

    def _ask(self, number: int) -> None:
        now = time.monotonic()
        again = now - self._first.setdefault(number, now) >= self._repeat_seconds
        self._due[number] = min(self._due.get(number, now + SECONDS), now + AGAIN_SECONDS if again else now + SECONDS)

    def _end(self, number: int) -> None:
        telling = threading.Thread(target=self._tell, args=(number,), daemon=True)
        telling.start()
        telling.join(1.0)  # the main thread may hold what it needs
        end_process(number)

    def _tell(self, number: int) -> None:
        logger.warning("Signal %s was not answered in time: the process ends now, without a new checkpoint. A resume "
                       "goes on from the last one.", int(number))
        self._too_late(number)
