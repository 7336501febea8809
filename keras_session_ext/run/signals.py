"""Signals that ask for a save.

The handler sets one plain attribute; training looks at it between batches. A
lock or an event in a handler can deadlock.
"""

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any, Callable, Dict, List, Optional

logger = logging.getLogger("keras_session_ext")

#: the same signal again within so short a time is no second one: a supervisor hands on what the whole group was sent
REPEAT_SECONDS = 0.5
#: signals after which the process is to end
ENDING = (signal.SIGTERM, signal.SIGINT) + ((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ())


class SignalWatch:
    """Handlers for the signals of `OnSignal` policies, while fit runs.

    Args:
        policies: the `OnSignal` policies.
        is_running: tells from the interrupted frame whether fit is still there;
            Keras calls no hook when fit ends by an exception.
    """

    def __init__(self, policies: List[Any], is_running: Callable[[Optional[FrameType]], bool]):
        self._policies = policies
        self._is_running = is_running
        self._previous: Dict[int, Any] = {}
        self._asked: Dict[int, float] = {}  # a signal that is to end the process -> time.monotonic() of the first one

    def install(self) -> None:
        """Takes the signals over; outside the main thread nothing can be taken.

        One that is ignored stays so: `nohup` asks for it, and the shell for what runs in the background.
        """
        if threading.current_thread() is not threading.main_thread():
            if self._policies:
                logger.warning("fit runs outside the main thread, where Python lets no one take signals: %s will "
                               "not save.", self._policies)
            return
        self._asked = {}  # of a fit that ended by an exception
        for policy in self._policies:
            policy.received = 0
            for number in policy.signals:
                if number not in self._previous and signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Gives every signal the meaning it had."""
        for number, previous in list(self._previous.items()):
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous if previous is not None else signal.SIG_DFL)
        self._previous, self._asked = {}, {}

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        if not self._is_running(frame):
            self.deliver(number)  # nobody would look
            return
        if number in ENDING:
            now = time.monotonic()
            if now - self._asked.setdefault(number, now) >= REPEAT_SECONDS:
                self.deliver(number)  # asked a second time: it is not to wait any more
                return
        for policy in self._policies:
            if number in policy.signals and policy.received not in ENDING:
                policy.received = int(number)

    def deliver(self, number: int) -> None:
        """Lets the signal act the way it would have without us."""
        self.restore()
        os.kill(os.getpid(), number)

    def received(self) -> int:
        """The signal that waits to be answered, or 0; all are taken as answered, and one that ends goes first."""
        received = [policy.received for policy in self._policies if policy.received]
        for policy in self._policies:
            policy.received = 0
        return next((number for number in received if number in ENDING), received[0] if received else 0)


def signal_name(number: int) -> str:
    """A signal's name, or its number where it has none.

    Example:
        >>> signal_name(15)
        'SIGTERM'
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
