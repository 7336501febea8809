"""Loss and metrics of a run over its steps and its time, as the views draw them: continuous across restarts.

What a process trained behind the checkpoint that the next one went back to
belongs to no curve: it is taken off, and kept beside as thrown away. Lines are
thinned as they grow, with the least and the greatest value of every stretch
kept; so a run of any length fits into a summary, and into a view.
"""

import bisect
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.totals import number, whole

#: how many points a view gets of one line, and of all lines
LINE_POINTS = 1000
ALL_POINTS = 12000
#: how many a summary keeps of them, in a line of JSON
_SUMMED_POINTS = 8000
#: what has more lines than that shows the first
LINES = 64
#: stretches that were thrown away, and the points of one line in one of them
_THROWN = 200
_THROWN_POINTS = 40
_RESTARTS = 500
#: places of checkpoints: of more, every other one
_SAVES = 1000
_NAME_CHARACTERS = 120
_COMPONENTS = 16
#: where the numbers of a line come from: the ends of epochs, or steps within them (means since the epoch began, or not)
EPOCHS, STEPS = "epochs", "steps"
_ODD = ("nan", "inf", "-inf")


class Point(NamedTuple):
    """One value of a line.

    Attributes:
        step: finished steps.
        time: seconds since the epoch.
        value: a number; "nan", "inf" or "-inf" where it is none.
    """

    step: int
    time: float
    value: Any


_Line = List[Point]
_Key = Tuple[str, str]  # name, source


class Curves:
    """Gathers the lines of a run from its events, one by one.

    Examples:
        >>> curves = Curves()
        >>> for step, loss in ((10, 0.9), (20, 0.8), (10, 0.9), (20, 0.7)):
        ...     kind = "restored" if loss == 0.9 and step < curves.step else "epoch_finished"
        ...     curves.add(LifecycleEvent(kind, float(step), {"step": step, "metrics": {"loss": loss}}))
        >>> drawn = curves.drawn()
        >>> [(line["values"], line["thrown"]) for line in drawn["lines"]]
        [([0.9, 0.7], None), ([0.9, 0.8], 0)]
        >>> drawn["thrown"][0]["from"], drawn["thrown"][0]["to"]
        (10, 20)
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.step = 0
        self._lines: Dict[_Key, _Line] = {}
        self._left_out: Dict[str, None] = {}  # names of lines beyond the limit
        self._thrown: List[Dict[str, Any]] = []
        self._thrown_lines: List[Dict[_Key, _Line]] = []
        self._restarts: List[Dict[str, Any]] = []
        self._saves: List[Tuple[int, float]] = []  # step and time
        self._time = 0.0

    def add(self, event: LifecycleEvent) -> None:
        """Takes the next event of the journal."""
        figures, step = event.figures, whole(event.figures.get("step"))
        if event.kind == "summary":
            self._begin_from(figures.get("curves"))
        elif event.kind == "checkpoint_saved" and step is not None:
            self._saves.append((step, event.time))
            if len(self._saves) > 2 * _SAVES:
                del self._saves[1::2]
        elif event.kind in ("interrupted", "failed") or (event.kind == "signal_received" and figures.get("ends")):
            self._ended(event, step)
        elif event.kind in ("restored", "epoch_started", "epoch_finished", "progress") and step is not None:
            if not figures.get("finished"):  # an ended stage hands out its end
                self._move(event, step)
            if event.kind in ("epoch_finished", "progress"):
                source = EPOCHS if event.kind == "epoch_finished" else STEPS
                self._note(event, source, min(step, _or(whole(figures.get("metrics_step")), step)))

    def _note(self, event: LifecycleEvent, source: str, step: int) -> None:
        metrics = event.figures.get("metrics")
        for name, value in metrics.items() if isinstance(metrics, dict) else ():
            value = _value(value)
            if value is None:
                continue
            key = (str(name)[:_NAME_CHARACTERS], source)
            if key not in self._lines and len(self._lines) >= LINES:
                self._left_out.setdefault(key[0]) if len(self._left_out) < 1000 else None
                continue
            line = self._lines.setdefault(key, [])
            if line and line[-1].step == step:  # an epoch that ended again: its last step was saved, its end was not
                del line[-1]
            line.append(Point(step, number(event.figures.get("metrics_time")) or event.time, value))
            if len(line) > 2 * LINE_POINTS:
                line[:] = thin(line, LINE_POINTS)

    # -- restarts

    def _ended(self, event: LifecycleEvent, step: Optional[int]) -> None:
        when = number(event.figures.get("last_sign")) if event.kind == "interrupted" else event.time
        how = "failed" if event.kind == "failed" or event.figures.get("caught") else \
            "signal" if event.kind == "signal_received" else "interrupted"
        self._restarts = self._restarts[1 - _RESTARTS:] + [{
            "how": how, "ended": when or self._time, "ended_step": max(self.step, _or(step, 0)), "time": None,
            "step": None}]

    def _move(self, event: LifecycleEvent, step: int) -> None:
        """Training stands at a step: what lies behind it, and was trained before, is thrown away."""
        last = self._restarts[-1] if self._restarts and self._restarts[-1]["time"] is None else None
        if last is not None:
            last.update(time=event.time, step=step)
            self.step = max(self.step, last["ended_step"])
        elif event.kind == "restored":
            self._restarts = self._restarts[1 - _RESTARTS:] + [{
                "how": "", "ended": None, "ended_step": None, "time": event.time, "step": step}]
        if step < self.step:
            self._throw(step, event, last)
        self.step, self._time = step, event.time

    def _throw(self, step: int, event: LifecycleEvent, last: Optional[Dict[str, Any]]) -> None:
        taken: Dict[_Key, _Line] = {}
        for key, line in self._lines.items():
            at = len(line)
            while at and line[at - 1].step > step:
                at -= 1
            if at < len(line):  # with the point it goes out from
                taken[key] = thin(line[max(0, at - 1):], _THROWN_POINTS)
                del line[at:]
        end = number(last["ended"]) if last is not None and last["ended"] else self._time
        times = [point.time for line in taken.values() for point in line if point.step > step]
        lost = number(event.figures.get("lost_seconds"))
        self._thrown = self._thrown[1 - _THROWN:] + [{
            "from": step, "to": self.step, "start": end - lost if lost else min(times + [end]),
            "end": max(times + [end])}]
        self._thrown_lines = self._thrown_lines[1 - _THROWN:] + [taken]

    # -- as plain values

    def drawn(self) -> Dict[str, Any]:
        """For a view: `lines` of `steps`, `times`, `values`; `thrown` stretches, named by lines; restarts and saves."""
        made = self._plain(ALL_POINTS, LINE_POINTS)
        ends: Dict[str, List[int]] = {}
        for line in made["lines"]:
            if line["source"] == EPOCHS:
                ends.setdefault(line["name"], []).extend(line["steps"])
        made["lines"] = [_in_parts(line, sorted(ends.get(line["name"], []))) for line in made["lines"]]
        made["lines"] = [line for line in made["lines"] if line["steps"]]
        return made

    def state(self) -> Dict[str, Any]:
        """For a summary, from which `add` goes on."""
        return self._plain(_SUMMED_POINTS, LINE_POINTS // 2)

    def _plain(self, budget: int, longest: int) -> Dict[str, Any]:
        limit = max(20, min(longest, budget // max(1, len(self._lines))))
        lines = [_columns(key, thin(line, limit), None) for key, line in self._lines.items() if line]
        left, saves = budget // 2, self._saves[::1 + len(self._saves) // _SAVES]
        thrown: List[Dict[str, Any]] = []
        for at in range(len(self._thrown) - 1, -1, -1):  # the newest, as far as they go
            mine = [_columns(key, line, at) for key, line in self._thrown_lines[at].items()]
            left -= sum(len(line["steps"]) for line in mine)
            if left < 0:
                break
            thrown = mine + thrown
        return {"lines": lines + thrown, "thrown": [dict(one) for one in self._thrown],
                "restarts": [dict(one) for one in self._restarts],
                "saves": {"steps": [step for step, _ in saves], "times": [round(when, 3) for _, when in saves]},
                "left_out": sorted(self._left_out)[:100],
                "step": self.step}

    def _begin_from(self, state: Any) -> None:
        """What went before is replaced by what a summary says of it; nothing in it is trusted."""
        self._clear()
        state = state if isinstance(state, dict) else {}
        self.step = whole(state.get("step")) or 0
        for one in _dicts(state.get("thrown"))[:_THROWN]:
            self._thrown.append({"from": whole(one.get("from")) or 0, "to": whole(one.get("to")) or 0,
                                 "start": number(one.get("start")), "end": number(one.get("end"))})
            self._thrown_lines.append({})
        for one in _dicts(state.get("restarts"))[:_RESTARTS]:
            how = one.get("how")
            self._restarts.append({
                "how": how if how in ("failed", "signal", "interrupted") else "",
                "ended": number(one.get("ended")) or None, "ended_step": whole(one.get("ended_step")) or 0,
                "time": number(one.get("time")) or None, "step": whole(one.get("step"))})
        saves = state.get("saves")
        self._saves = _pairs(saves if isinstance(saves, dict) else {})[:_SAVES]
        for one in _dicts(state.get("lines")):
            at, key = one.get("thrown"), (str(one.get("name"))[:_NAME_CHARACTERS], str(one.get("source")))
            if key[1] not in (EPOCHS, STEPS):
                continue
            if at is None and len(self._lines) < LINES:
                self._lines[key] = _points(one)[:LINE_POINTS]
            elif type(at) is int and 0 <= at < len(self._thrown_lines) and len(self._thrown_lines[at]) < LINES:
                self._thrown_lines[at][key] = _points(one)[:_THROWN_POINTS]


def thin(line: List[Point], limit: int) -> List[Point]:
    """At most so many points: of every stretch of steps the least, the greatest, and the first that is no number.

    Examples:
        >>> line = [Point(step, 0.0, 5.0 if step == 70 else 0.0) for step in range(100)]
        >>> thinned = thin(line, 20)
        >>> len(thinned) <= 20, thinned[0].step, thinned[-1].step, max(point.value for point in thinned)
        (True, 0, 99, 5.0)
    """
    if len(line) <= limit:
        return list(line)
    stretches = max(1, (limit - 2) // 3)
    first, reach = line[0].step, line[-1].step - line[0].step
    kept, current = {0, len(line) - 1}, 0
    best: Dict[str, int] = {}
    for at, point in enumerate(line):
        place = (point.step - first) / reach if reach > 0 else at / len(line)
        stretch = min(stretches - 1, max(0, int(place * stretches)))
        if stretch != current:
            kept.update(best.values())
            best, current = {}, stretch
        if isinstance(point.value, str):
            best.setdefault("odd", at)
            continue
        if "least" not in best or point.value < line[best["least"]].value:
            best["least"] = at
        if "greatest" not in best or point.value > line[best["greatest"]].value:
            best["greatest"] = at
    kept.update(best.values())
    return [line[at] for at in sorted(kept)]


def logged(logs: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """Keras's logs as JSON numbers: "nan" and infinities as text, vectors by components; what is no number is left out.

    Examples:
        >>> logged({"loss": 0.5, "worst": float("inf"), "f1": [0.25, 0.75], "name": "x"})
        {'loss': 0.5, 'worst': 'inf', 'f1[0]': 0.25, 'f1[1]': 0.75}
        >>> logged({"by_class": [1.0] * 10 + [3.0] * 10})
        {'by_class[mean]': 2.0}
    """
    made: Dict[str, Any] = {}
    for name, value in (logs or {}).items():
        try:
            parts = {str(name): float(value)}
        except (TypeError, ValueError):
            parts = _components(str(name), value)
        made.update({key: part if part - part == 0 else repr(part) for key, part in parts.items()})
    return made


def _components(name: str, value: Any) -> Dict[str, float]:
    import numpy as np

    try:
        flat = np.asarray(value, dtype=float).reshape(-1)
    except Exception:  # whatever a callback put there
        return {}
    if value is None:
        return {}  # NumPy calls it NaN
    if len(flat) > _COMPONENTS:
        return {name + "[mean]": float(flat.mean())}
    return {"{}[{}]".format(name, at): float(one) for at, one in enumerate(flat)}


def _columns(key: _Key, line: _Line, thrown: Optional[int]) -> Dict[str, Any]:
    return {"name": key[0], "source": key[1], "thrown": thrown, "steps": [point.step for point in line],
            "times": [round(point.time, 3) for point in line],
            "values": [float("{:.7g}".format(point.value)) if not isinstance(point.value, str) else point.value
                       for point in line]}


def _in_parts(line: Dict[str, Any], ends: List[int]) -> Dict[str, Any]:
    """A line within epochs, with each point's epoch: a mean begins anew with each; one point of an epoch is no line."""
    if line["source"] == EPOCHS:
        return line
    parts = [bisect.bisect_left(ends, step) for step in line["steps"]]
    kept = [at for at, part in enumerate(parts) if part in (parts[at - 1:at] + parts[at + 1:at + 2])]
    made = dict(line, parts=[parts[at] for at in kept])
    made.update({name: [line[name][at] for at in kept] for name in ("steps", "times", "values")})
    return made


def _points(columns: Dict[str, Any]) -> _Line:
    """The points of what `_columns` made; those that are none are left out."""
    parts = [columns.get(name) for name in ("steps", "times", "values")]
    made: _Line = []
    for step, when, value in zip(*[part if isinstance(part, list) else [] for part in parts]):
        step, value = whole(step), _value(value)
        if step is not None and value is not None and (not made or step >= made[-1].step):
            made.append(Point(step, number(when), value))
    return made


def _pairs(columns: Dict[str, Any]) -> List[Tuple[int, float]]:
    parts = [columns.get(name) for name in ("steps", "times")]
    return [(step, number(when)) for step, when in zip(*[part if isinstance(part, list) else [] for part in parts])
            if whole(step) is not None]


def _value(value: Any) -> Any:
    """A number as a line can hold it; None where it is none."""
    if isinstance(value, str):
        return value if value in _ODD else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if value - value == 0 else repr(value)


def _dicts(value: Any) -> List[Dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _or(value: Optional[int], other: int) -> int:
    return other if value is None else value
