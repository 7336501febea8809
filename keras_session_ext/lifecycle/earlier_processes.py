"""What a journal says of earlier processes: whether the last one vanished, what was saved, how far training came."""

import os
import socket
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from keras_session_ext.lifecycle.events import LifecycleEvent

#: how a process may be known to have ended
ENDS = ("interrupted", "failed", "finished")
#: events that say how far training has come
TRAINING = ("epoch_started", "epoch_finished", "progress", "snapshot_taken", "checkpoint_saved", "signal_received")


def find_vanished(before: List[LifecycleEvent], owned: bool, left: Dict[str, Any]) -> Optional[LifecycleEvent]:
    """The event that tells of the last training process, if it ended within fit without a word.

    Args:
        before: the journal up to now.
        owned: whether no other process can be training; otherwise its pid is looked for.
        left: the last note that a process left.
    """
    fits = [event for event in before if event.kind == "fit_started"]
    if not fits:
        return None
    process = fits[-1].process
    mine = [event for event in before if event.process == process]
    told = any(event.kind == "interrupted" and event.figures.get("vanished") == process for event in before)
    ended = any(event.kind in ENDS and event.seq > fits[-1].seq for event in mine if event.kind != "interrupted")
    finished = any(event.kind == "fit_finished" and event.seq > fits[-1].seq for event in mine)
    by_signal = mine[-1].kind == "signal_received" and bool(mine[-1].figures.get("ends"))
    if told or ended or finished or by_signal or not (owned or _is_gone(mine)):
        return None
    places = [event.figures for event in mine if type(event.figures.get("step")) is int]
    last, figures = mine[-1].time, dict(places[-1]) if places else {}
    if left.get("process") == process and isinstance(left.get("time"), float) and left["time"] > last:
        last, figures = left["time"], left
    figures = {name: figures[name] for name in ("stage", "epoch", "batch", "step") if name in figures}
    if _started(mine).get("pid") == os.getpid() and _started(mine).get("host") == socket.gethostname():
        figures["caught"] = True  # another callback of this very process: its fit ended by an exception
    return LifecycleEvent("interrupted", time.time(), dict(
        figures, vanished=process, last_sign=last, last_event=mine[-1].kind, seconds=last - fits[-1].time))


class KnownCheckpoints:
    """The checkpoints that a journal has told of: by name, and all that are older than what it has summed up.

    Args:
        before: the events of the journal.
    """

    def __init__(self, before: Sequence[LifecycleEvent] = ()):
        self._names = {str(one.figures.get("id")) for one in before if one.kind == "checkpoint_saved"}
        self._summed_up = max([0.0] + [one.time for one in before if one.kind == "summary"])

    def add(self, id: str, created: float) -> bool:
        """Whether a checkpoint, taken at `created` (seconds since the epoch), is told of for the first time."""
        new = id not in self._names and created > self._summed_up
        self._names.add(id)
        return new


def reached(before: List[LifecycleEvent], vanished: Optional[LifecycleEvent]) -> Optional[Tuple[float, int, float]]:
    """When and where training was last heard of, and since when that process had been at it."""
    last = next((event for event in reversed(before)
                 if event.kind in TRAINING and type(event.figures.get("step")) is int), None)
    if last is None:
        return None
    since = max([0.0] + [event.time for event in before
                         if event.kind == "fit_started" and event.process == last.process])
    when, step = last.time, last.figures["step"]
    if vanished is not None and type(vanished.figures.get("step")) is int:
        when, step = vanished.figures["last_sign"], vanished.figures["step"]
    return when, step, since


def _started(mine: List[LifecycleEvent]) -> Dict[str, Any]:
    return next((event.figures for event in mine if event.kind == "process_started"), {})


def _is_gone(mine: List[LifecycleEvent]) -> bool:
    """Whether a process is no longer there, as far as this host can tell."""
    started = _started(mine)
    pid = started.get("pid")
    if started.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's
        return False
    return pid == os.getpid()
