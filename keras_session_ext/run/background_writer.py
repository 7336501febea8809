"""A thread that writes behind training."""

import os
import threading
import time
from typing import Callable, Optional


class BackgroundWriter:
    """One thread, one save in flight, the newest waiting one wins.

    Every wait has a limit. The thread is a daemon: a process that must go can go.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._condition = threading.Condition()
        self._waiting: Optional[Callable[[], None]] = None
        self._dropped: Optional[Callable[[], None]] = None  # to be called where that one is
        self._busy = False
        self._thread: Optional[threading.Thread] = None

    def submit(self, job: Callable[[], None], if_free: bool = False,
               dropped: Optional[Callable[[], None]] = None) -> None:
        """Hands a save over; one that still waits is dropped for it.

        Args:
            job: it.
            if_free: nothing is dropped for it; it is left, where another one waits.
            dropped: is called, where it is dropped for another.
        """
        if os.getpid() != self._pid:
            BackgroundWriter.__init__(self)  # a forked child has no thread, and may have its lock taken for ever
        with self._condition:
            if if_free and self._waiting is not None:
                return
            given_up, self._waiting, self._dropped = self._dropped, job, dropped
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="keras-session-writer", daemon=True)
                self._thread.start()
            self._condition.notify_all()
        if given_up is not None:
            given_up()

    @property
    def has_waiting(self) -> bool:
        """Whether a save waits for the one in flight."""
        return self._waiting is not None

    def withdraw(self) -> bool:
        """Takes back the save that waits, and drops nothing of it; False where none does."""
        with self._condition:
            found, self._waiting, self._dropped = self._waiting, None, None
            self._condition.notify_all()
        return found is not None

    def drain(self, timeout_seconds: float) -> bool:
        """Waits until nothing is in flight; False if the limit came first."""
        if os.getpid() != self._pid:
            return True
        deadline = time.monotonic() + timeout_seconds
        with self._condition:
            while self._busy or self._waiting is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._condition.wait(left)
        return True

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._waiting is None:
                    if not self._condition.wait(60) and self._waiting is None:
                        self._thread = None  # idle: the next save starts a thread anew
                        return
                job, self._waiting, self._dropped, self._busy = self._waiting, None, None, True
            try:
                job()  # jobs catch their own errors
            finally:
                del job
                with self._condition:
                    self._busy = False
                    self._condition.notify_all()
