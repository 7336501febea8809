"""A script in a process of its own, watched over: signals reach it, crashes start it again, nothing is left behind.

The process itself is child_process.py's.
"""

import os
import signal
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from keras_session_ext.launch.child_process import Child, adopt_orphans, end_orphans

#: handed on to the script
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
#: after these the script is meant to end, and is not started again
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
#: the exit status of a script that was called in a wrong way: to start it again cannot help
USAGE = 2

_SI_KERNEL = 0x80
_POLL_SECONDS = 0.2
_MOST_ERRORS = 3
_LONGEST_BACK_OFF_SECONDS = 60.0


class Outcome(NamedTuple):
    """How it ended.

    Attributes:
        status: as of `subprocess`: the exit status, or minus the signal.
        restarts: how often the script was started again.
        told: the last process's messages.
        stopped: the signal that ended it all, or 0.
    """

    status: int
    restarts: int
    told: Dict[str, Any]
    stopped: int = 0


def supervise(command: List[str], max_restarts: int, tell: Callable[[str], None], output: Optional[int] = None,
              back_off_seconds: float = 1.0) -> Outcome:
    """Runs a script until it has finished, or is not to be started again.

    A script is started again when it ends with an error or by a signal, each
    time after twice the pause, at most `max_restarts` times in a row; a new
    checkpoint begins the count and the pause anew. It is not when this process
    was told to end, when the script was called in a wrong way (exit status 2)
    or its session was refused, when it failed twice before any `fit` or loop began, or
    ended three times with an error and no new checkpoint.

    A signal that is ignored when this begins stays so, as under `nohup`.

    Args:
        command: see `Child`.
        max_restarts: how often.
        tell: takes a line for the user.
        output: see `Child`.
        back_off_seconds: the first pause.

    Returns:
        An `Outcome`.
    """
    watched = {one for one in FORWARDED if signal.getsignal(one) != signal.SIG_IGN} | {signal.SIGCHLD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        adopts = adopt_orphans()
        restarts, count, furthest = 0, _Count(), -1
        while True:
            began = time.monotonic()
            child = Child(command, output, mask)
            stopped = _follow(child, watched)
            status, told = child.process.returncode, child.listen()
            child.close()
            if adopts:
                end_orphans()
            saved = told.get("saved", {}).get("step", -1)
            count = _Count() if saved > furthest else count
            furthest = max(furthest, saved)
            count = count.after(status, told)
            why = _why_not_again(status, stopped, told, count, max_restarts)
            if why is not None:
                if why:
                    tell("{} {}; {}".format("The script", ending(status), why))
                return Outcome(status, restarts, told, stopped)
            pause = min(back_off_seconds * 2 ** (count.starts - 1), _LONGEST_BACK_OFF_SECONDS)
            tell("The script {} after {:.0f} s; starting it again in {:.0f} s (restart {} of {})".format(
                ending(status), time.monotonic() - began, pause, count.starts, max_restarts))
            stopped = _pause(pause, watched)
            if stopped:
                return Outcome(-stopped, restarts, told, stopped)
            restarts += 1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Count(NamedTuple):
    """What happened since there was a new checkpoint: starts, those without a fit in a row, and errors in a row."""

    starts: int = 0
    fruitless: int = 0
    errors: int = 0

    def after(self, status: int, told: Dict[str, Any]) -> "_Count":
        began = bool({"fit", "loop"} & set(told))
        return _Count(self.starts + 1, 0 if began else self.fruitless + 1, self.errors + 1 if status > 0 else 0)


def ending(status: int) -> str:
    """How a process ended, in words.

    Examples:
        >>> ending(-9), ending(1), ending(0)
        ('was killed by SIGKILL', 'ended with status 1', 'finished')
    """
    if status < 0:
        try:
            return "was killed by " + signal.Signals(-status).name
        except ValueError:
            return "was killed by signal {}".format(-status)
    return "ended with status {}".format(status) if status else "finished"


def _why_not_again(status: int, stopped: int, told: Dict[str, Any], count: _Count, most: int) -> Optional[str]:
    """Why the script is not started again; "" where there is nothing to say, None where it is."""
    if status == 0 or (stopped and stopped in (-status, status - 128)):
        return ""
    if stopped:
        return "{} had told it to end, and it is not started again".format(signal.Signals(stopped).name)
    if "refused" in told:
        return "that would happen again, and it is not started again"
    if status == USAGE:
        return "that is what wrong arguments give, and it is not started again"
    if count.fruitless > 1:
        return "it failed twice before a fit began, and is not started again"
    if count.errors >= _MOST_ERRORS:
        return "it failed {} times without a new checkpoint, and is not started again".format(count.errors)
    if count.starts > most:
        return "it was started again {} times, and is not once more".format(most) if most else ""
    return None


def _follow(child: Child, watched: set) -> int:
    """Hands signals on until the child ends; returns the last one that is to end it, or 0."""
    stopped = 0
    while child.process.poll() is None:
        child.listen()  # or the socket fills up
        number, by_terminal = _wait_for_signal(_POLL_SECONDS, watched)
        if number in FORWARDED:
            if not by_terminal:  # the terminal told the child as well
                child.process.send_signal(number)
            if number in ENDING:
                stopped = number
    return stopped


def _wait_for_signal(seconds: float, watched: set) -> "tuple[int, bool]":
    """The signal that came, or 0, and whether the terminal sent it to the whole group."""
    if hasattr(signal, "sigtimedwait"):
        info = signal.sigtimedwait(watched, seconds)
        return (0, False) if info is None else (info.si_signo, info.si_code == _SI_KERNEL)
    time.sleep(seconds)  # macOS
    pending = signal.sigpending() & watched
    if not pending:
        return 0, False
    number = signal.sigwait(pending)
    return number, number in (signal.SIGINT, signal.SIGQUIT) and sys.stdin.isatty()


def _pause(seconds: float, watched: set) -> int:
    """Waits; returns the signal that ended it, or 0."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number, _ = _wait_for_signal(max(0.0, min(_POLL_SECONDS, end - time.monotonic())), watched)
        if number in ENDING:
            return number
    return 0


def die_like(status: int) -> None:
    """Ends this process the way a child ended, so that whoever waits for it sees the same."""
    if status >= 0:
        sys.exit(status)
    if -status not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    sys.exit(128 - status)  # a signal that did not end us
