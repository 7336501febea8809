"""The witness: the steps behind the last checkpoint are noted, and compared when they are trained again.

This is proof in production, without a list: whatever it was that nobody thought
of, a step that is trained again and gives other logs shows that it is there.
"""

import logging
import os
import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from keras_session_ext import state
from keras_session_ext.lifecycle.record import Record
from keras_session_ext.run.witness_notes import Note, StepNotes, figures, read_notes

logger = logging.getLogger("keras_session_ext")

STEPS, EPOCHS = "witness-steps", "witness-epochs"


class Difference(NamedTuple):
    """A step, or the end of an epoch, that gave something else when it was trained again.

    Attributes:
        what: "step 41" or "the end of epoch 3".
        step: finished steps.
        name: of the log.
        then, now: its values.
    """

    what: str
    step: int
    name: str
    then: float
    now: float

    def __str__(self) -> str:
        return "{}, trained again, gave {} {!r} and had given {!r} before (a difference of {:.3g})".format(
            self.what, self.name, self.now, self.then, abs(self.now - self.then))


class Witness:
    """Notes the steps of a run, and compares those that were noted before.

    Args:
        folder: tells where the files are.
        mode: of the files.
        record: is told of what was found.
        tell: prints a line for the user.
        notes: whether anything is noted.

    Attributes:
        repeats: whether the step, or the end of an epoch, that was told last is one that was trained before.
    """

    def __init__(self, folder: Callable[[], str], mode: int, record: Record, tell: Callable[[str], None],
                 notes: bool = True):
        self._folder, self._mode, self._notes = folder, mode, notes
        self._record, self._tell = record, tell
        self._tracks: Dict[str, "_Track"] = {}
        self._run: Optional[state.Run] = None
        self._lock = threading.Lock()  # Keras 3 calls on_train_batch_end on threads of its own
        self._late: List[Tuple[int, Dict[str, Any]]] = []
        self._difference: Optional[Difference] = None
        self._told = True
        self._noted: Dict[str, int] = {}  # up to where the processes before have come
        self._last = 0
        self.repeats = False

    def begin(self, run: state.Run, name: str) -> None:
        """Training begins: steps behind where it stands are compared.

        Args:
            run: the live run.
            name: its lineage.
        """
        self._run, self._difference, self._late = run, None, []
        places = {STEPS: run.progress.step, EPOCHS: _epoch_number(run, run.progress.epoch)}
        self._tracks, self._told, self._noted = {}, True, {}
        for kind, behind in places.items() if self._notes else ():
            path = os.path.join(self._folder(), kind)
            names, notes = read_notes(path, name) if not run.foreign else ((), {})
            earlier = {number: note for number, note in notes.items() if number > behind}
            self._tracks[kind] = _Track(StepNotes(path, self._mode, name), names, earlier)
            self._noted[kind] = max(earlier, default=behind)
            self._told = self._told and not earlier

    def step(self, number: int, logs: Optional[Dict[str, Any]]) -> None:
        """A step is over.

        Args:
            number: finished steps, this one included.
            logs: as Keras gives them to the first callback. What a device has still to compute is read later.
        """
        self._last = number
        self.repeats = number < self._noted.get(STEPS, -1)  # at the last one the others may not have been told any more
        if not self._tracks or not logs:
            return
        with self._lock:
            for value in logs.values():
                if type(value) is not float and _waits(value):
                    self._late.append((number, dict(logs)))
                    if len(self._late) > _LATE:
                        self._compare(STEPS, *self._late.pop(0))
                    return
            self._compare(STEPS, number, logs)

    def epoch_ends(self, logs: Optional[Dict[str, Any]]) -> None:
        """An epoch is over, its validation included."""
        self._read_late()
        if self._run is None:
            return
        number = _epoch_number(self._run, self._run.progress.epoch + 1)
        noted = self._noted.get(EPOCHS, -1)
        self.repeats = number < noted or (number == noted and self._last < self._noted[STEPS])
        if self._tracks and logs:
            with self._lock:
                self._compare(EPOCHS, number, logs)

    def _read_late(self) -> None:
        with self._lock:
            for number, logs in self._late:
                self._compare(STEPS, number, logs)
            self._late = []

    def _compare(self, kind: str, number: int, logs: Dict[str, Any]) -> None:
        track, run = self._tracks[kind], self._run
        try:
            note = track.notes.write(number, logs)
        except OSError as error:
            logger.warning("The steps of the run in %s are no longer witnessed: %s. Training goes on.",
                           self._folder(), error)
            self._tracks.clear()
            return
        then = track.earlier.pop(number, None)
        if then is None or run is None or track.names != track.notes.names:
            return
        if then == note:
            run.report.witnessed += kind == STEPS
        elif self._difference is None:
            self._difference = _difference(kind, number, track.names, then, note, run)
            for one in self._tracks.values():
                one.earlier.clear()  # what comes now is another history

    # -- on the training thread

    def answer(self) -> None:
        """Tells what was found since, once."""
        if self._told:
            return
        if self._difference is not None:
            self._told = True
            self._tell_difference(self._difference)
        elif not self._tracks or not self._tracks[STEPS].earlier:
            self._tell_witnessed()

    def end(self) -> None:
        """Training is over, or has failed."""
        self._read_late()
        self.answer()
        if not self._told and self._difference is None:
            self._tell_witnessed()
        for track in self._tracks.values():
            track.notes.close()
        self._tracks = {}

    def _tell_witnessed(self) -> None:
        self._told = True
        steps = self._run.report.witnessed if self._run is not None else 0
        if steps:
            self._record.emit("witnessed", steps=steps)
            self._tell("Session: witnessed: {} trained again, all as before".format(
                "1 step" if steps == 1 else "{} steps".format(steps)))

    def _tell_difference(self, found: Difference) -> None:
        assert self._run is not None
        report = self._run.report
        expected = [*report.changes, *report.reasons]
        report.diverged_at = found.step
        report.because(str(found) + "; " + (_EXPECTED if expected else _UNEXPECTED))
        self._record.emit("diverged", step=found.step, what=found.what, name=found.name, then=found.then, now=found.now,
                          witnessed=report.witnessed, reasons=report.reasons)
        if not expected:
            logger.warning("The resumed run in %s is not the one that was interrupted: %s; %s", self._folder(), found,
                           _UNEXPECTED)
        self._tell("Session: exact: no, because {}".format(found))


_EXPECTED = "the reasons and changes that the report names would explain it"
_UNEXPECTED = ("something that the rest of the run depends on is not part of the session, or this engine's kernels "
               "differ from run to run by themselves; `keras-session prove` names the first state that differs")
#: so many steps are read behind the one that a device computes now
_LATE = 32


class _Track(NamedTuple):
    """The notes that are made, and those that were there: their names, and number -> note."""

    notes: StepNotes
    names: Tuple[str, ...]
    earlier: Dict[int, Note]


def _waits(value: Any) -> bool:
    """Whether reading it would wait for a device."""
    device = getattr(value, "device", None)
    return device is not None and "cpu" not in str(device).lower()


def _epoch_number(run: state.Run, epoch: int) -> int:
    return (run.progress.stage << 32) + epoch


def _difference(kind: str, number: int, names: Tuple[str, ...], then: Note, now: Note, run: state.Run) -> Difference:
    place = next(place for place in range(len(names)) if then[8 * place:][:8] != now[8 * place:][:8])
    what = "step {}".format(number) if kind == STEPS else "the end of epoch {}".format(run.progress.epoch)
    step = number if kind == STEPS else run.progress.step
    return Difference(what, step, names[place], figures(then)[place], figures(now)[place])
