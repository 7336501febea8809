"""Sums over the events of a run: what it cost, what was lost, and whether it can be believed."""

from typing import Any, Dict, List, Optional, Tuple

from keras_session_ext.lifecycle.events import LifecycleEvent


def number(value: Any) -> float:
    """A number within reason, or 0.0: figures of a journal are not trusted."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if good else 0.0


def whole(value: Any) -> Optional[int]:
    """A count, or None."""
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


class Totals:
    """Adds up events one by one.

    Attributes:
        step: how far the run is known to have come.
        steps_per_second: in the last stretch of training that was seen.
        exact: whether the last resume was; None before the first one.
        witnessed: how many steps of the last resume were trained again and compared.

    Examples:
        >>> totals = Totals()
        >>> totals.add(LifecycleEvent("checkpoint_saved", 5.0, {"size_bytes": 4096, "stall_seconds": 0.25}))
        >>> totals.headline()["size_bytes"], totals.stall_seconds
        (4096, 0.25)
    """

    def __init__(self) -> None:
        self.step = 0
        self.steps_per_second: Optional[float] = None
        self.exact: Optional[bool] = None
        self.exact_reasons: List[str] = []
        self.witnessed = 0
        self.diverged_at: Optional[int] = None
        self.checkpoints = self.deleted = self.resumes = self.failures = self.events = 0
        self.size_bytes = self.stall_seconds = 0.0
        self.lost_steps = self.repeated_steps = self.replayed_batches = 0
        self.lost_seconds = self.restore_seconds = 0.0
        self._trained_seconds: float = 0.0  # of fits that are over
        self._open: Dict[str, Tuple[float, float]] = {}  # process -> when its fit began, and its last sign of life
        self._place: Dict[str, Tuple[float, int]] = {}  # process -> a moment and its step, to measure speed from
        self._first: Optional[float] = None
        self._last = 0.0

    def add(self, event: LifecycleEvent) -> None:
        """Takes the next event of the journal."""
        self.events += 1
        self._first = event.time if self._first is None else min(self._first, event.time)
        self._last = max(self._last, event.time)
        figures = event.figures
        self._follow(event)
        step = whole(figures.get("step"))
        if step is not None and event.kind != "interrupted":
            self._move(event, step)
        adder = getattr(self, "_" + event.kind, None) if event.kind in _ADDED else None
        if adder is not None:
            adder(figures)

    def _follow(self, event: LifecycleEvent) -> None:
        process = event.figures.get("vanished") if event.kind == "interrupted" else event.process
        if event.kind in ("fit_started", "fit_finished", "evaluate_started", "evaluate_finished"):
            self._place.pop(event.process, None)  # speed is that of training
        if event.kind == "fit_started":
            self._open[event.process] = (event.time, event.time)
        elif event.kind in ("fit_finished", "failed", "interrupted") or (
                event.kind == "signal_received" and event.figures.get("ends")):
            if isinstance(process, str) and (self._open.pop(process, None) is not None):
                self._trained_seconds += number(event.figures.get("seconds"))
        elif event.process in self._open:
            self._open[event.process] = (self._open[event.process][0], event.time)

    def _move(self, event: LifecycleEvent, step: int) -> None:
        self.step = step
        when, before = self._place.get(event.process, (event.time, step))
        if event.kind in ("restored", "replayed") or event.process not in self._place:
            self._place[event.process] = (event.time, step)
        elif step > before and event.time - when > 0.5:
            self.steps_per_second = (step - before) / (event.time - when)
            self._place[event.process] = (event.time, step)

    # -- one method per kind of event that is added up

    def _checkpoint_saved(self, figures: Dict[str, Any]) -> None:
        self.checkpoints += 1
        self.size_bytes += number(figures.get("size_bytes"))
        self.stall_seconds += number(figures.get("stall_seconds"))

    def _checkpoint_deleted(self, figures: Dict[str, Any]) -> None:
        self.deleted += 1

    def _restored(self, figures: Dict[str, Any]) -> None:
        if figures.get("finished"):
            return  # a finished stage hands out its end: nothing was lost, and nothing goes on
        self.resumes += 1
        self.lost_steps += whole(figures.get("lost_steps")) or 0
        self.repeated_steps = self.lost_steps
        self.lost_seconds += number(figures.get("lost_seconds"))
        self.restore_seconds += number(figures.get("seconds"))
        self.witnessed, self.diverged_at = 0, None
        self._say(figures)

    def _witnessed(self, figures: Dict[str, Any]) -> None:
        self.witnessed = whole(figures.get("steps")) or 0

    def _diverged(self, figures: Dict[str, Any]) -> None:
        self.witnessed, self.diverged_at = whole(figures.get("witnessed")) or 0, whole(figures.get("step"))
        self._say(dict(figures, exact=False))

    def _replayed(self, figures: Dict[str, Any]) -> None:
        self.replayed_batches += whole(figures.get("batches")) or 0
        self.restore_seconds += number(figures.get("seconds"))
        self._say(figures)

    def _say(self, figures: Dict[str, Any]) -> None:
        exact, reasons = figures.get("exact"), figures.get("reasons")
        self.exact = exact if isinstance(exact, bool) else None
        self.exact_reasons = [str(reason) for reason in reasons] if isinstance(reasons, list) else []

    def _failed(self, figures: Dict[str, Any]) -> None:
        self.failures += 1

    def _save_failed(self, figures: Dict[str, Any]) -> None:
        self.failures += 1

    def _summary(self, figures: Dict[str, Any]) -> None:
        """What went before is replaced by what the summary says of it: some of those events may still be there."""
        state = figures.get("totals")
        for name, value in (state if isinstance(state, dict) else {}).items():
            if name in _SUMMED and type(getattr(self, name)) in (int, float):
                setattr(self, name, type(getattr(self, name))(number(value)))
        self._open.clear()
        self._place.clear()

    def state(self) -> Dict[str, Any]:
        """The sums as a plain value, for a summary; what is open counts as it stands."""
        return dict({name: getattr(self, name) for name in _SUMMED}, _trained_seconds=self.training_seconds)

    # -- the figures

    @property
    def training_seconds(self) -> float:
        """Seconds inside fit, over all processes."""
        return self._trained_seconds + sum(last - began for began, last in self._open.values())

    @property
    def stall_share(self) -> float:
        """Which part of the time inside fit was spent on saving."""
        return min(1.0, self.stall_seconds / self.training_seconds) if self.training_seconds > 0 else 0.0

    @property
    def goodput(self) -> Optional[float]:
        """Which part of the time inside fit went into steps that count: not lost, not waiting for a save or restore."""
        spent = self.training_seconds
        if spent <= 0:
            return None
        return max(0.0, min(1.0, 1 - (self.lost_seconds + self.stall_seconds + self.restore_seconds) / spent))

    def headline(self) -> Dict[str, Any]:
        """The figures at the head of every view; seconds, bytes, and counts."""
        return {
            "goodput": self.goodput, "wall_seconds": self._last - (self._first or self._last),
            "training_seconds": self.training_seconds, "lost_seconds": self.lost_seconds,
            "lost_steps": self.lost_steps, "repeated_steps": self.repeated_steps,
            "replayed_batches": self.replayed_batches, "resumes": self.resumes, "exact": self.exact,
            "exact_reasons": self.exact_reasons, "witnessed": self.witnessed, "diverged_at": self.diverged_at,
            "checkpoints": self.checkpoints, "kept": max(0, self.checkpoints - self.deleted),
            "size_bytes": int(self.size_bytes),
            "stall_seconds": self.stall_seconds, "stall_share": self.stall_share,
            "steps_per_second": self.steps_per_second, "step": self.step, "failures": self.failures,
        }


_ADDED = frozenset(["checkpoint_saved", "checkpoint_deleted", "restored", "replayed", "witnessed", "diverged",
                    "failed", "save_failed", "summary"])
_SUMMED = ("step", "checkpoints", "deleted", "resumes", "failures", "size_bytes", "stall_seconds", "lost_steps",
           "repeated_steps", "replayed_batches", "lost_seconds", "restore_seconds", "_trained_seconds")
