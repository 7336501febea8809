"""Signals that ask for a save.

The handler sets one plain attribute; training looks at it between batches. A
lock or an event in a handler can deadlock. Where the main thread does not come
to look, signal_deadline.py ends the process.
"""

import logging
import os
import signal
import threading
import time
import weakref
from types import FrameType
from typing import Any, Callable, Dict, List, Optional

from keras_session_ext.files import read_stream
from keras_session_ext.run.requeue import requeue
from keras_session_ext.run.signal_deadline import SignalDeadline, end_process

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
        too_late: is told of a signal that the main thread did not answer in time, right before the process ends.
    """

    def __init__(self, policies: List[Any], is_running: Callable[[Optional[FrameType]], bool],
                 too_late: Callable[[int], None] = lambda number: None):
        self._policies = policies
        self._is_running = is_running
        self._previous: Dict[int, Any] = {}
        self._waiting: List[int] = []  # what was received and is not answered, as it came
        self._asked: Dict[int, float] = {}  # a signal that is to end the process -> time.monotonic() of the first one
        self._deadline = SignalDeadline(REPEAT_SECONDS, too_late)

    def install(self) -> None:
        """Takes the signals over; outside the main thread nothing can be taken.

        One that is ignored stays so: `nohup` asks for it, and the shell for what runs in the background.
        """
        if threading.current_thread() is not threading.main_thread():
            if self._policies:
                logger.warning("fit runs outside the main thread, where Python lets no one take signals: %s will "
                               "not save.", self._policies)
            return
        self._asked, self._waiting = {}, []  # of a fit that ended by an exception
        for policy in self._policies:
            policy.received = 0
            for number in policy.signals:
                if _is_caught_in_native_code(number):
                    logger.warning("%s is caught by native code, which Python cannot put back later (jax.distributed "
                                   "does so): it is left as it is, and saves nothing.", signal_name(number))
                elif number not in self._previous and signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        self._deadline.begin(number for number, previous in self._previous.items()
                             if number in ENDING and previous in (signal.SIG_DFL, None))
        _installed.add(self)

    def restore(self) -> None:
        """Gives every signal the meaning it had."""
        _installed.discard(self)
        self._deadline.end()
        for number, previous in list(self._previous.items()):
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous if previous is not None else signal.SIG_DFL)
        self._previous, self._asked, self._waiting = {}, {}, []

    def forked(self) -> None:
        """In a child of fit's process: its signals mean what they meant before."""
        self._deadline.forked()
        self.restore()

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        if not self._is_running(frame):
            self.deliver(number)  # nobody would look
            return
        if number in ENDING:
            now = time.monotonic()
            if now - self._asked.setdefault(number, now) >= REPEAT_SECONDS:
                self.deliver(number)  # asked a second time: it is not to wait any more
                return
        self._waiting.append(int(number))
        for policy in self._policies:
            if number in policy.signals:
                policy.received = int(number)

    @property
    def grace_seconds(self) -> float:
        """How long the process has once it is asked to end."""
        return max([policy.grace_seconds for policy in self._policies] + [0.0])

    def answering(self) -> None:
        """What was asked for is being done now."""
        self._deadline.answering(self.grace_seconds)

    def answer(self, drain: Callable[[], bool], told: Callable[[int, bool], None],
               say: Callable[[bool, str], None]) -> None:
        """Lets the signals that wait act, now that what they asked for is done.

        Args:
            drain: waits until that is durable; returns whether it is.
            told: is called with each, and whether it ends the process.
            say: is called before it acts, with what `drain` returned and what happens now.
        """
        received = self.received()
        requeued = [number for number in received
                    if any(policy.then == "requeue" and number in policy.signals for policy in self._policies)]
        durable = drain() if requeued or any(number in ENDING for number in received) else True
        if requeued:
            say(durable, requeue() if durable else "the job is not requeued")
        for number in received:
            told(number, number in ENDING)
            if number in ENDING:
                say(durable, self._meaning(number))
                self.deliver(number)
            else:
                self.hand_on(number)

    def _meaning(self, number: int) -> str:
        """What the signal does without us, in words."""
        previous = self._previous.get(number)
        if previous is signal.default_int_handler:
            return "KeyboardInterrupt ends the training now"
        return "the script's own handler is called now" if callable(previous) else "the process ends now"

    def deliver(self, number: int) -> None:
        """Lets the signal act the way it would have without us."""
        previous = self._previous.get(number)
        self.restore()
        os.kill(os.getpid(), number)
        if previous in (signal.SIG_DFL, None) and number in ENDING:
            end_process(number)

    def hand_on(self, number: int) -> None:
        """Calls the handler that a signal had before us: it was answered, and training goes on."""
        previous = self._previous.get(number)
        if callable(previous):
            previous(number, None)

    def received(self) -> List[int]:
        """The signals that wait to be answered, each once, those that end the process last; all count as answered."""
        received = list(dict.fromkeys(self._waiting))
        del self._waiting[:len(self._waiting)]
        for policy in self._policies:
            policy.received = 0
        return sorted(received, key=lambda number: number in ENDING)


def _is_caught_in_native_code(number: int) -> bool:
    """Whether a library has put a handler in behind Python's back, where the system tells."""
    try:
        status = read_stream("/proc/self/status").decode("ascii", "replace")
        caught = int(status.split("SigCgt:")[1].split()[0], 16)
    except (OSError, IndexError, ValueError):
        return False
    return signal.getsignal(number) == signal.SIG_DFL and bool(caught >> (number - 1) & 1)


_installed: "weakref.WeakSet[SignalWatch]" = weakref.WeakSet()


def _forked() -> None:
    for watch in list(_installed):
        watch.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def signal_name(number: int) -> str:
    """A signal's name, or its number where it has none.

    Examples:
        >>> signal_name(15)
        'SIGTERM'
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
