"""What happens to one run: told to its journal, then to TensorBoard, then to whoever listens."""

import atexit
import logging
import os
import platform
import socket
import sys
import threading
import time
import traceback
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

from keras_session_ext.lifecycle import events
from keras_session_ext.lifecycle.curves import logged
from keras_session_ext.lifecycle.earlier_processes import TRAINING, KnownCheckpoints, find_vanished, reached
from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.journal import Journal, read_journal
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.remote_copies import before_exit

logger = logging.getLogger("keras_session_ext")

#: how often a training that is not otherwise heard of gives a sign of life in the journal
BEAT_SECONDS = 10.0
#: how often the logs of a step are told with one: at first, and at most after so many times that of training
STEP_SECONDS = 1.0
_STEP_SHARE = 0.01
#: so many steps later, or so much time, a device has computed them
_LATE_STEPS = 32
#: what older Kerases put among the logs of a step
_COUNTS = frozenset(["batch", "size"])
#: how often it notes how far it has come
NOTE_SECONDS = 0.5
#: how long the end of the process waits for the journal's last words
END_SECONDS = 10.0
#: told by the shim, which knows of no run
OUTSIDE = ("graph_built", "session_created", "variables_initialised", "session_closed")


class Record:
    """Follows a run and tells what happens to it.

    Before `open` nothing is written; what happened until then is told at that
    moment. A journal that cannot be written is told once, and training goes on.

    Args:
        describe: gives names and versions of what the process works with.

    Attributes:
        journal: None until it is open.
        fitting: whether a fit is on its way.
        note: where a last sign of life is left, by name and figure.
        send: makes sure within so many seconds that what the journal says is safe.
    """

    _current: Any = None  # a reference to the one whose run is being worked on

    def __init__(self, describe: Callable[[], Dict[str, Any]]):
        self.journal: Optional[Journal] = None
        self.fitting = False
        self._pid = os.getpid()
        self._signalled = False
        self._evaluating = False
        self._old_error: Any = None  # what Python remembered when fit began
        self._alive = 0.0  # time.monotonic() of the last sign of life
        self.note: Callable[..., None] = lambda **place: None
        self.send: Callable[[float], None] = lambda timeout_seconds: None
        self._describe = describe
        self._sinks: List[Any] = []
        self._following: List[Any] = []  # the sinks that are open
        self._early: List[LifecycleEvent] = []
        self._guard = threading.RLock()
        self._off = False  # whether the journal could not be opened
        self._broken = False
        self._ended = False
        self._saved = KnownCheckpoints()  # when the fit began
        self._vanished = ""
        self._reached: Optional[Tuple[float, int, float]] = None  # when and where training was last heard of, and since
        self._next_beat = self._next_note = self._next_step = 0.0
        self._given: Optional[Tuple[int, float, Dict[str, Any], float]] = None  # a step, when it was made, and its logs
        self._fit_began = 0.0
        self._fit_thread: Optional[threading.Thread] = None
        self._fit_time = 0.0
        self._stop_listening = events.listen(_weakly(self))

    # -- telling

    def emit(self, kind: str, **figures: Any) -> None:
        """Something happened now."""
        self._tell(LifecycleEvent(kind, time.time(), figures))

    def _tell(self, event: LifecycleEvent) -> None:
        if self._is_forked:
            return  # its lock may be taken for ever
        event = event._replace(figures={name: round(value, 6) if name.endswith("seconds") and isinstance(value, float)
                                        else value for name, value in event.figures.items()})
        with self._guard:
            if isinstance(event.figures.get("step"), int) and event.kind in TRAINING:
                self._reached = (event.time, event.figures["step"], self._fit_time)
            self._alive = time.monotonic()
            event = self._write(event)
            self._next_beat = time.monotonic() + BEAT_SECONDS
        events.tell(event)

    @property
    def _is_forked(self) -> bool:
        """Whether this is a forked child of the process that writes the journal."""
        return self.journal is not None and os.getpid() != self._pid

    def _write(self, event: LifecycleEvent) -> LifecycleEvent:
        if self._off or self._ended:
            return event
        if self.journal is None:
            self._early.append(event)
            return event
        try:
            event = self.journal.append(event.kind, event.figures, event.time)
        except Exception as error:  # whatever stands there: training goes on
            if not self._broken:
                self._broken = True
                logger.warning("The journal %s cannot be written: %s. Training goes on.", self.journal.path, error)
            return event
        for sink in list(self._following):
            self._feed(sink, "write", event)
        return event

    def _feed(self, sink: Any, call: str, *arguments: Any) -> None:
        """A view is a guest: one that fails is told once and left out, and training goes on."""
        try:
            getattr(sink, call)(*arguments)
            if sink not in self._following:
                self._following.append(sink)
        except Exception as error:
            self._following = [other for other in self._following if other is not sink]
            logger.warning("%s failed (%s: %s) and is left out from now on. Training goes on, and the journal tells "
                           "all.", sink, type(error).__name__, error)

    def _outside(self, event: LifecycleEvent) -> None:
        """What the shim tells belongs to the run that is being worked on."""
        current = Record._current() if Record._current is not None else None
        if event.kind in OUTSIDE and current in (None, self) and not self._is_forked:
            with self._guard:
                self._write(event)

    def attend(self) -> None:
        """The run of this record is the one that is being worked on."""
        Record._current = weakref.ref(self)

    def add_sink(self, sink: Any) -> None:
        """Lets a view follow the journal, from its first event on."""
        with self._guard:
            if sink not in self._sinks:
                self._sinks.append(sink)
                if self.journal is not None and not self._broken:
                    self._feed(sink, "open", self.journal.path)

    # -- the life of a process

    def open(self, path: str, mode: int = 0o600) -> None:
        """Begins to write."""
        with self._guard:
            if self.journal is not None or self._off:
                return
            try:
                self._pid, self.journal = os.getpid(), Journal(path, mode)
            except Exception as error:  # whatever stands there: training goes on
                self._off = True
                logger.warning("The journal %s cannot be opened: %s. Training goes on without it.", path, error)
                return
            _open.append(self)
            early, self._early = self._early, []
            started = self._write(LifecycleEvent("process_started", time.time(), self._process()))
            for event in early:  # these were told when they happened
                self._write(event)
            for sink in self._sinks if not self._broken else ():
                self._feed(sink, "open", path)
        events.tell(started)

    def _process(self) -> Dict[str, Any]:
        return dict(self._describe(), pid=os.getpid(), host=socket.gethostname(), python=platform.python_version())

    def end(self) -> None:
        """The process ends."""
        self._stop_listening()
        if self._ended or self._is_forked or (self.journal is None and not self._off):
            return
        if self.journal is not None and not os.path.exists(os.path.dirname(self.journal.path)):
            return  # the run was thrown away
        if self.fitting and not self._signalled:
            self.fit_failed()
        if not self._signalled:
            self.emit("finished")
            self.send(END_SECONDS)
        self._ended = True

    @property
    def goes_on(self) -> bool:
        """Whether a fit is on its way in a thread that the end of the main thread does not end."""
        thread = self._fit_thread
        return self.fitting and thread is not None and thread.is_alive() and thread is not threading.main_thread()

    # -- fit, evaluate and predict

    def fit_started(self, owned: bool, left: Any = None, **figures: Any) -> None:
        """A fit begins.

        Args:
            owned: whether the lock is ours, and no other process can be training in this run.
            left: what the process before noted last.
            figures: of the event.
        """
        self.attend()
        if self.fitting:
            self.fit_failed()
        before = self._read()
        self._saved = KnownCheckpoints(before)
        vanished = find_vanished(before, owned, left or {})
        self._reached = reached(before, vanished) or self._reached
        self._vanished = "" if vanished is None else vanished.figures["vanished"]
        if vanished is not None:
            self._tell(vanished)
        self.fitting, self._fit_began, self._fit_time = True, time.monotonic(), time.time()
        self._fit_thread = threading.current_thread()
        self._given, self._next_step = None, 0.0
        self._old_error, self._signalled = getattr(sys, "last_value", None), False
        self.emit("fit_started", **figures)
        self.send(0.0)

    def _read(self) -> List[LifecycleEvent]:
        try:
            return read_journal(self.journal.path).events if self.journal is not None else []
        except Exception:  # told already, by what could not be written
            return []

    def fit_finished(self, **figures: Any) -> None:
        self.fitting = False
        self.emit("fit_finished", seconds=self.fit_seconds(), **figures)

    def fit_failed(self) -> None:
        """Keras calls no hook when fit ends by an exception: it is noticed at the next start, or at the exit."""
        self.fitting = False
        since = time.monotonic() - self._alive  # it is noticed later than it happened
        figures = dict(last_exception(self._old_error), seconds=max(0.0, self._alive - self._fit_began))
        self._old_error = None
        self._tell(LifecycleEvent("failed", time.time() - since, figures))

    def signalled(self, ends: bool, **figures: Any) -> None:
        """A signal was answered; one that ends the process is its last word."""
        self.emit("signal_received", ends=ends, seconds=self.fit_seconds(), **figures)
        self._signalled = self._signalled or ends
        if ends:
            self.send(END_SECONDS)

    def evaluate_started(self, **figures: Any) -> None:
        self._evaluating = True
        self.emit("evaluate_started", **figures)

    def evaluate_finished(self, **figures: Any) -> None:
        if self._evaluating:  # not for an evaluation whose beginning nobody told
            self._evaluating = False
            self.emit("evaluate_finished", **figures)

    def fit_seconds(self) -> float:
        """Seconds since fit began in this process."""
        return time.monotonic() - self._fit_began

    def found(self, id: str, created: float, **figures: Any) -> None:
        """A checkpoint that is there; it is told if the process that saved it could not do so any more."""
        if self._saved.add(id, created):
            event = LifecycleEvent("checkpoint_saved", created, dict(figures, id=id, saved_by=self._vanished))
            with self._guard:
                events.tell(self._write(event))

    def lost(self, step: int, created: Optional[float]) -> Dict[str, Any]:
        """What is trained a second time after going back to a checkpoint, as far as it is known.

        Args:
            step: the checkpoint's.
            created: when it was taken, in seconds since the epoch; None where nobody lost anything.
        """
        if self._reached is None or created is None:
            return {"lost_steps": 0, "lost_seconds": 0.0}
        when, furthest, since = self._reached
        steps = max(0, furthest - step)
        # what lies between an older process's checkpoint and this one's start is no lost work
        return {"lost_steps": steps, "lost_seconds": max(0.0, when - max(created, since)) if steps else 0.0}

    def step(self, number: int, logs: Optional[Dict[str, Any]]) -> None:
        """A step is over; now and then its logs are told, for the curves.

        Args:
            number: finished steps, this one included.
            logs: as Keras gives them, on whatever thread. What a device has still to compute is read later.
        """
        now = time.monotonic()
        if self._given is None and logs and now >= self._next_step:
            self._next_step = now + min(BEAT_SECONDS, max(STEP_SECONDS, _STEP_SHARE * self.fit_seconds()))
            counts = _COUNTS if set(logs) >= _COUNTS else ()
            self._given = (number, now, {name: logs[name] for name in logs if name not in counts}, time.time())

    def beat(self, progress: Any) -> None:
        """Called between batches: gives a sign of life now and then."""
        now = self._alive = time.monotonic()
        given = self._given
        if given is not None and (progress.step >= given[0] + _LATE_STEPS or now >= given[1] + STEP_SECONDS):
            self._given = None
            self.emit("progress", metrics=logged(given[2]), metrics_step=given[0],
                      metrics_time=round(given[3], 3), **place(progress))
        if now >= self._next_beat:
            self.emit("progress", **place(progress))
        if now >= self._next_note:
            self._next_note = now + NOTE_SECONDS
            self._leave_note(progress)

    def _leave_note(self, progress: Any) -> None:
        try:
            self.note(process=self.journal.process if self.journal is not None else "", time=time.time(),
                      **place(progress))
        except OSError as error:
            self._next_note = float("inf")
            logger.warning("The last sign of life cannot be noted: %s. Training goes on.", error)


def place(progress: Any) -> Dict[str, Any]:
    """How far a run has come, as figures."""
    return {"stage": progress.stage, "epoch": progress.epoch, "batch": progress.batch, "step": progress.step}


def figures(info: CheckpointInfo) -> Dict[str, Any]:
    """What the journal says of a checkpoint, so that it can be looked into where the file is not."""
    return dict(info.progress._asdict(), id=info.id, reason=info.reason, size_bytes=info.size_bytes,
                metrics=info.metrics, exact=info.exact, reasons=list(info.reasons), parent=info.parent,
                finished=info.finished)


def last_exception(older: Any) -> Dict[str, Any]:
    """What Python remembers of an exception that nobody caught, if it is not an older one."""
    error = getattr(sys, "last_value", None)
    if error is None or error is older:
        return {"error": "an exception that was caught"}
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    where = "{}:{}".format(os.path.basename(frames[-1].filename), frames[-1].lineno) if frames else ""
    return {"error": text, "where": where}


def _weakly(record: Record) -> Callable[[LifecycleEvent], None]:
    """A listener that does not keep its record, and the model behind it, for ever."""
    reference = weakref.ref(record)

    def listener(event: LifecycleEvent) -> None:
        living = reference()
        if living is not None:
            living._outside(event)

    return listener


_open: List[Record] = []  # those that have a journal, until the process ends


@atexit.register
def _end() -> None:
    for record in _open:
        record.end()


def _end_what_is_over() -> None:
    for record in _open:
        if not record.goes_on:
            record.end()


def _wait_for_fits() -> None:
    """Python would wait for these threads a moment later, when the network can no longer be used."""
    for record in _open:
        thread = record._fit_thread
        if record.goes_on and thread is not None and not thread.daemon:
            thread.join()


before_exit(-1, _wait_for_fits)
before_exit(1, _end_what_is_over)
