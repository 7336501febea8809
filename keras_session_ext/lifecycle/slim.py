"""The story of a very long run in fewer bytes: what one could not see at the width of a screen is told in sums."""

import json
from typing import Any, Dict, List, Set

from keras_session_ext.lifecycle.curves import Point, thin

#: how much of each a story has at first, where it is too large; then half of it, and half of that
_EVENTS, _DETAILS, _MARKS, _SPANS = 3000, 400, 3000, 3000
#: lines of curves are thinned where that does not help enough
_POINTS, _POINTS_FROM = 1000, 0.1
#: spans of these lanes are told one by one however many there are
_LONE_LANES = ("fit", "restore", "replay")
_LONE_SPANS = 500
#: events that are left out last
_STORY = frozenset(["process_started", "fit_started", "restored", "diverged", "interrupted", "failed",
                    "signal_received", "save_failed", "checkpoint_rejected"])


def slim(story: Dict[str, Any], size_bytes: int) -> Dict[str, Any]:
    """A story that takes no more than so many bytes as JSON, as far as that can be.

    Marks and spans that are left out are counted by those beside them (`count`), events in `dropped`. What was
    kept, the newest, and all that is no ordinary save or epoch comes first.

    Args:
        story: what `timeline` made; it is not changed.
        size_bytes: of its JSON.

    Examples:
        >>> from keras_session_ext.lifecycle.events import LifecycleEvent
        >>> from keras_session_ext.lifecycle.timeline import timeline
        >>> story = timeline([LifecycleEvent("progress", float(n), {}, n, "a") for n in range(9000)], now=9000.0)
        >>> small = slim(story, 100000)
        >>> len(small["events"]) < 2000, len(small["events"]) + small["dropped"]
        (True, 9000)
    """
    share, made = 1.0, story
    while len(json.dumps(made)) > size_bytes and share > 1e-3:
        made = _slimmer(story, share)
        share /= 2
    return made


def _slimmer(story: Dict[str, Any], share: float) -> Dict[str, Any]:
    events = _chosen_events(story["events"], int(_EVENTS * share))
    shown = _chosen_checkpoints(story["checkpoints"], int(_DETAILS * share))
    curves = story["curves"]
    if share < _POINTS_FROM:
        curves = _fewer_points(curves, max(60, int(_POINTS * share / _POINTS_FROM)))
    return dict(story, events=events, curves=curves, dropped=story["dropped"] + len(story["events"]) - len(events),
                checkpoints={id: story["checkpoints"][id] for id in shown},
                marks=_fewer_marks(story["marks"], shown, max(1, int(_MARKS * share))),
                spans=_fewer_spans(story["spans"], max(1, int(_SPANS * share))))


def _fewer_points(curves: Dict[str, Any], limit: int) -> Dict[str, Any]:
    made = []
    for line in curves["lines"]:
        points = [Point(*point) for point in zip(line["steps"], line["times"], line["values"])]
        parts = dict(zip(points, line.get("parts", ())))
        points = thin(points, limit)
        made.append(dict(line, steps=[point.step for point in points], times=[point.time for point in points],
                         values=[point.value for point in points]))
        if parts:
            made[-1]["parts"] = [parts[point] for point in points]
    every = -(-len(curves["saves"]["steps"]) // limit) or 1
    return dict(curves, lines=made, saves={name: places[::every] for name, places in curves["saves"].items()})


def _chosen_events(events: List[Dict[str, Any]], limit: int) -> List[Dict[str, Any]]:
    by_worth = sorted(range(len(events)), key=lambda at: (events[at]["kind"] in _STORY, at), reverse=True)
    return [events[at] for at in sorted(by_worth[:limit])]


def _chosen_checkpoints(checkpoints: Dict[str, Any], limit: int) -> List[str]:
    """Those that were kept, then the newest; in their order."""
    ids = list(checkpoints)
    by_worth = sorted(range(len(ids)), key=lambda at: (checkpoints[ids[at]]["deleted"] is None, at), reverse=True)
    return [ids[at] for at in sorted(by_worth[:limit])]


def _fewer_marks(marks: List[Dict[str, Any]], shown: List[str], limit: int) -> List[Dict[str, Any]]:
    """Incidents and the checkpoints that are shown as they are; of all others each stands for some beside it."""
    whole: Set[Any] = set(shown)
    lone = [mark for mark in marks if mark["kind"] != "checkpoint" or mark["checkpoint"] in whole]
    rest = [mark for mark in marks if mark["kind"] == "checkpoint" and mark["checkpoint"] not in whole]
    made = [{"process": mark["process"], "kind": "checkpoint", "time": mark["time"], "label": "checkpoint",
             "reason": mark["reason"], "checkpoint": None, "figures": {"step": mark["figures"].get("step")},
             "count": count} for mark, count in _stand_ins(rest, limit, ("process", "reason"))]
    return sorted(_newest(lone, limit) + made, key=lambda mark: float(mark["time"]))


def _fewer_spans(spans: List[Dict[str, Any]], limit: int) -> List[Dict[str, Any]]:
    lone = [span for span in spans if span["lane"] in _LONE_LANES or span["open"]]
    rest = sorted((span for span in spans if span["lane"] not in _LONE_LANES and not span["open"]),
                  key=lambda span: (span["process"], span["lane"], span["start"]))
    every = _every(rest, limit)
    made: List[Dict[str, Any]] = []
    for span in rest:
        last = made[-1] if made else None
        if last is not None and last["count"] < every and all(last[name] == span[name] for name in ("process", "lane")):
            last.update(end=span["end"], count=last["count"] + 1)
            last["label"] = "{} – {}".format(last["label"].split(" – ")[0], span["label"])
        else:
            made.append({"process": span["process"], "lane": span["lane"], "start": span["start"], "end": span["end"],
                         "open": False, "label": span["label"], "figures": {}, "count": 1})
    return sorted(_newest(lone, max(_LONE_SPANS, limit)) + made, key=lambda span: float(span["start"]))


def _stand_ins(items: List[Dict[str, Any]], limit: int, alike: Any) -> Any:
    """The first of every few that are alike, with how many it stands for."""
    every = _every(items, limit)
    made: List[List[Any]] = []
    for item in items:
        last = made[-1] if made else None
        if last is not None and last[1] < every and all(last[0][name] == item[name] for name in alike):
            last[1] += 1
        else:
            made.append([item, 1])
    return made


def _every(items: List[Any], limit: int) -> int:
    return -(-len(items) // limit) if items else 1


def _newest(items: List[Any], limit: int) -> List[Any]:
    return items[-limit:] if limit else []
