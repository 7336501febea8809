"""The story of a run as the views draw it: processes, spans, marks, gaps, and the figures at the head.

Pure: events in, plain values out, whatever stands in them. The browser, the
shareable page and the picture all draw what is made here.
"""

import json
import os
import time
from typing import Any, Dict, Iterable, List, Optional

from keras_session_ext import urls
from keras_session_ext.lifecycle.curves import Curves
from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.totals import Totals, number, whole

#: kind that begins a span -> its lane
_BEGINS = {"fit_started": "fit", "epoch_started": "epoch", "evaluate_started": "evaluate",
           "predict_started": "predict"}
_ENDS = {"fit_finished": "fit", "epoch_finished": "epoch", "evaluate_finished": "evaluate",
         "predict_finished": "predict"}
#: kind that is a span by itself, told at its end
_WHOLE = {"restored": "restore", "replayed": "replay"}
_MARKS = {"checkpoint_saved": "checkpoint", "save_failed": "save_failed", "checkpoint_rejected": "rejected",
          "failed": "failed", "diverged": "failed", "signal_received": "signal"}
#: figures of a mark that stand elsewhere
_NOT_ON_CARDS = ("id", "reason", "largest", "kinds", "metrics", "directory", "parent", "saved_by", "finished")
#: a process that gave no sign of life for so long is no longer believed to be running
SILENT_SECONDS = 600.0


def timeline(events: Iterable[LifecycleEvent], name: str = "", directory: str = "", skipped: int = 0,
             now: Optional[float] = None) -> Dict[str, Any]:
    """Turns a run's events into what the views draw.

    Args:
        events: in the order of the journal.
        name: the run's.
        directory: where it lives, for the line that restores a checkpoint.
        skipped: how many lines of the journal could not be read.
        now: seconds since the epoch.

    Returns:
        Plain values: `processes`, `spans`, `marks`, `checkpoints`, `gaps`, `events`, `headline`, `curves`, `settings`;
        times in seconds since the epoch.

    Examples:
        >>> made = timeline([LifecycleEvent("process_started", 5.0, {"pid": 7}, 1, "7-a")], now=6.0)
        >>> made["processes"][0]["pid"], made["processes"][0]["ending"]
        (7, 'running')
    """
    story = _Story(directory, time.time() if now is None else now)
    for event in events:
        story.add(event)
    return dict(story.finish(), run=name, directory=directory, skipped=skipped, generated=story.now, message=None)


class _Story:
    def __init__(self, directory: str, now: float):
        self.now = now
        self._directory = directory
        self._totals = Totals()
        self._curves = Curves()
        self._settings: Dict[str, Any] = {}
        self._processes: List[Dict[str, Any]] = []
        self._by_id: Dict[str, int] = {}
        self._spans: List[Dict[str, Any]] = []
        self._open: Dict[Any, Dict[str, Any]] = {}  # (process, lane) -> span
        self._marks: List[Dict[str, Any]] = []
        self._checkpoints: Dict[str, Dict[str, Any]] = {}
        self._events: List[Dict[str, Any]] = []
        self._lost: Dict[int, Dict[str, Any]] = {}  # process that resumed -> figures
        self._dropped = 0

    def add(self, event: LifecycleEvent) -> None:
        self._totals.add(event)
        self._curves.add(event)
        if event.kind == "summary":
            self._dropped = whole(event.figures.get("events")) or 0
            return
        process = self._process(event)
        self._events.append({"seq": event.seq, "time": event.time, "kind": event.kind, "process": process,
                             "figures": _told(event)})
        if event.kind in _BEGINS:
            self._begin(event, process, _BEGINS[event.kind])
        elif event.kind in _ENDS:
            self._end(event, process, _ENDS[event.kind])
        elif event.kind in _WHOLE:
            self._whole(event, process)
        if event.kind in _MARKS:
            self._mark(event, process)
        if event.kind == "checkpoint_deleted":
            self._deleted(event)
        if event.kind == "settings" and isinstance(event.figures.get("settings"), dict):
            self._settings = event.figures["settings"]
        self._ending(event, process)

    # -- processes

    def _process(self, event: LifecycleEvent) -> int:
        known = self._by_id.get(event.process)
        if known is None:
            known = self._by_id[event.process] = len(self._processes)
            self._processes.append({
                "id": event.process, "number": known + 1, "pid": None, "host": "", "start": event.time, "end": None,
                "last_sign": event.time, "ending": "running", "text": "", "versions": {}})
        process = self._processes[known]
        process["last_sign"] = max(process["last_sign"], event.time)
        if event.kind == "process_started":
            figures = event.figures
            process.update(pid=figures.get("pid"), host=figures.get("host", ""), versions={
                name: value for name, value in figures.items() if name not in ("pid", "host")})
        return known

    def _ending(self, event: LifecycleEvent, process: int) -> None:
        figures = event.figures
        if event.kind == "finished" and self._processes[process]["ending"] == "running":
            self._ended(process, "finished", event.time, "ended in good order")
        elif event.kind == "failed":
            self._ended(process, "failed", event.time, "fit failed: {}".format(figures.get("error", "")))
        elif event.kind == "fit_started" and self._processes[process]["ending"] == "failed":
            self._processes[process].update(ending="running", end=None, text="")  # a notebook: fit was called again
        elif event.kind == "signal_received" and figures.get("ends"):
            self._ended(process, "signal", event.time, "{}: saved, then ended".format(figures.get("signal", "signal")))
        elif event.kind == "interrupted":
            vanished = self._by_id.get(str(figures.get("vanished")))
            if vanished is not None:
                where = " at step {}".format(figures["step"]) if figures.get("step") is not None else ""
                last = number(figures.get("last_sign")) or self._processes[vanished]["last_sign"]
                if figures.get("caught"):
                    self._ended(vanished, "failed", last, "fit ended by an exception{}".format(where))
                else:
                    self._ended(vanished, "interrupted", last, "vanished{}: SIGKILL, out of memory or power cut".format(
                        where))

    def _ended(self, process: int, ending: str, when: float, text: str) -> None:
        self._processes[process].update(ending=ending, end=when, text=text)
        for key in [key for key in self._open if key[0] == process]:
            self._open.pop(key)["end"] = when

    # -- spans and marks

    def _begin(self, event: LifecycleEvent, process: int, lane: str) -> None:
        self._end(event, process, lane)  # of one whose end was never told
        span = self._open[process, lane] = {
            "process": process, "lane": lane, "start": event.time, "end": None, "open": True,
            "label": _label(lane, event.figures), "figures": dict(event.figures)}
        self._spans.append(span)

    def _end(self, event: LifecycleEvent, process: int, lane: str) -> None:
        span = self._open.pop((process, lane), None)
        if span is not None:
            span.update(end=event.time, open=False)
            if event.kind in _ENDS:
                span["figures"].update(event.figures)

    def _whole(self, event: LifecycleEvent, process: int) -> None:
        lane = _WHOLE[event.kind]
        self._spans.append({
            "process": process, "lane": lane, "start": event.time - number(event.figures.get("seconds")),
            "end": event.time, "open": False, "label": _label(lane, event.figures), "figures": dict(event.figures)})
        if lane == "restore":
            self._lost[process] = event.figures

    def _mark(self, event: LifecycleEvent, process: int) -> None:
        figures = event.figures
        process = self._by_id.get(str(figures.get("saved_by")), process)
        checkpoint = figures.get("id") if event.kind == "checkpoint_saved" else None
        checkpoint = checkpoint if isinstance(checkpoint, str) else None
        label = checkpoint or figures.get("error") or figures.get("signal") or figures.get("why") or figures.get(
            "what") or event.kind
        self._marks.append({
            "process": process, "kind": _MARKS[event.kind], "time": event.time, "label": label,
            "reason": figures.get("reason", ""), "checkpoint": checkpoint,
            "figures": {name: value for name, value in figures.items() if name not in _NOT_ON_CARDS and value != []}})
        if checkpoint is not None:
            self._checkpoints[checkpoint] = _contents(checkpoint, figures, self._directory)

    def _deleted(self, event: LifecycleEvent) -> None:
        gone = self._checkpoints.get(str(event.figures.get("id")))
        if gone is not None:
            gone["deleted"] = {"time": event.time, "reason": event.figures.get("reason", "")}

    # -- the end

    def finish(self) -> Dict[str, Any]:
        for number_, process in enumerate(self._processes):
            if process["ending"] == "running" and self.now - process["last_sign"] > SILENT_SECONDS:
                self._ended(number_, "silent", process["last_sign"], "no sign of life since then")
        return {
            "processes": self._processes, "spans": self._spans, "marks": self._marks,
            "checkpoints": self._checkpoints, "gaps": self._gaps(), "events": self._events,
            "dropped": self._dropped, "headline": self._totals.headline(), "curves": self._curves.drawn(),
            "settings": self._settings}

    def _gaps(self) -> List[Dict[str, Any]]:
        """Stretches in which no process was at work."""
        gaps, reached, before = [], None, 0
        for number_, process in sorted(enumerate(self._processes), key=lambda pair: pair[1]["start"]):
            end = process["end"] if process["end"] is not None else process["last_sign"]
            if reached is not None and process["start"] > reached:
                gaps.append(self._gap(reached, process["start"], before, number_))
            if reached is None or end > reached:
                reached, before = end, number_
        return gaps

    def _gap(self, start: float, end: float, before: int, after: int) -> Dict[str, Any]:
        lost = self._lost.get(after, {})
        steps = whole(lost.get("lost_steps")) or 0
        text = "nothing ran for {}".format(spell(end - start))
        if steps:
            text += "; {} {} trained again".format(steps, "step was" if steps == 1 else "steps were")
        return {"start": start, "end": end, "after": before, "lost_steps": steps,
                "lost_seconds": number(lost.get("lost_seconds")), "text": text}


def _told(event: LifecycleEvent) -> Dict[str, Any]:
    """An event's figures for the table; what a checkpoint holds stands in its panel."""
    if event.kind != "checkpoint_saved":
        return event.figures
    return {name: value for name, value in event.figures.items() if name not in ("largest", "kinds", "directory")}


def _label(lane: str, figures: Dict[str, Any]) -> str:
    if lane == "epoch":
        epoch = whole(figures.get("epoch"))
        return "epoch" if epoch is None else "epoch {}".format(epoch + 1)
    if lane == "fit":
        return "fit, stage {}".format(figures["stage"]) if figures.get("stage") else "fit"
    if lane == "evaluate":
        return "validation" if figures.get("validation") else "evaluate"
    if lane == "restore":
        return "restored {}".format(figures.get("id", ""))
    if lane == "replay":
        return "{} batches skipped".format(figures.get("batches", ""))
    return lane


def _contents(id: str, figures: Dict[str, Any], directory: str) -> Dict[str, Any]:
    """What is in a checkpoint, for the panel that a click opens."""
    place = {name: figures.get(name) for name in ("stage", "epoch", "batch", "step", "elapsed_seconds")}
    known = {name: figures.get(name) for name in (
        "metrics", "reason", "size_bytes", "stall_seconds", "durable_seconds", "kinds", "largest", "exact", "reasons")}
    where = figures.get("directory") or directory
    return dict(known, id=id, progress=place, deleted=None,
                restore="kse.SessionCheckpoint({}, restore={})".format(json.dumps(str(where)), json.dumps(id)))


def spell(seconds: float) -> str:
    """A duration for people: "2 h 5 min".

    Examples:
        >>> spell(7500), spell(0.25), spell(42)
        ('2 h 5 min', '250 ms', '42 s')
    """
    if seconds < 1:
        return "{:.0f} ms".format(seconds * 1000)
    if seconds < 60:
        return "{:.0f} s".format(seconds)
    for size, name, below, unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = int(seconds % size // below)
            return "{} {}".format(int(seconds // size), name) + (" {} {}".format(rest, unit) if rest else "")
    return ""


def title(directory: str) -> str:
    """A run's name for people: the last part of its path."""
    return os.path.basename(directory if urls.is_url(directory) else os.path.abspath(directory)) or directory
