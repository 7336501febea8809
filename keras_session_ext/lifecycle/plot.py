"""The life of a run as a picture of matplotlib: the tab's timeline and curves, on one axis of time."""

from typing import Any, Dict, List, Tuple

from keras_session_ext.arguments import PathOrUrl
from keras_session_ext.lifecycle.curves import EPOCHS
from keras_session_ext.lifecycle.folded_time import FoldedTime, busy_times
from keras_session_ext.lifecycle.read_timeline import read_timeline

#: lane -> colour, from the outside in; those of the tab in its light theme
_LANES = {"fit": "#c7d7f4", "epoch": "#9dbaf0", "evaluate": "#8a6fd6", "predict": "#4fb3a9", "restore": "#49a866",
          "replay": "#d9a136"}
_WORDS = {"replay": "skipped batches"}
#: save policy -> marker and colour
_POLICIES = {"EveryEpochs": ("o", "#1f5fd0"), "EverySteps": ("s", "#0b7f78"), "EverySeconds": ("D", "#7446c9"),
             "OnBest": ("*", "#b07a00"), "OnSignal": ("^", "#c2560c")}
_OTHER_POLICY = ("h", "#566072")
_INCIDENTS = {"save_failed": ("s", "#c62f26", "failed save"), "rejected": ("v", "#c2560c", "damaged checkpoint"),
              "failed": ("X", "#c62f26", "failure"), "signal": ("d", "#c2560c", "signal")}
_ENDINGS = {"interrupted": "#b3261e", "failed": "#b3261e", "signal": "#8a5300", "finished": "#1a7040",
            "running": "#1f5fd0"}
_TEXT, _QUIET, _GRID, _GAP = "#1d2330", "#5a6372", "#dfe3e9", "#e9edf2"
_PARTS = ("#1f5fd0", "#c2560c", "#0b7f78", "#bf3a80", "#7446c9", "#b07a00")
#: charts below the timeline, rows that have a name, and marks in a row that are symbols and no strokes
_CHARTS, _NAMED_ROWS, _SYMBOLS = 4, 40, 60


def plot_timeline(directory: PathOrUrl, axes: Any = None) -> Any:
    """Draws the life of a run with matplotlib, and its loss and metrics below it on the same axis of time.

    Long gaps in which nothing ran are folded. What was trained and thrown away is faint.

    Args:
        directory: the run directory, or its URL.
        axes: matplotlib axes to draw the timeline into, without curves; a figure is made if there are none.

    Returns:
        The matplotlib figure.

    Raises:
        CheckpointNotFound: there is no journal in the directory.
        ImportError: matplotlib is not installed.

    Examples:
        >>> # plot_timeline("runs/a").savefig("run.png")
    """
    try:
        from matplotlib import figure
    except ImportError as error:
        raise ImportError(
            "plot_timeline needs matplotlib ({}). Install it: pip install 'keras_session_ext[plot]'.".format(error))
    story = read_timeline(directory)
    time = FoldedTime(busy_times(story))
    if axes is not None:
        _draw_timeline(axes, story, time)
        _dress_time(axes, time)
        return axes.figure
    charts = _charts(story)
    rows = len(story["processes"])
    tall = max(1.0, min(9.0, 0.5 * rows) if rows <= _NAMED_ROWS else 7.0)
    made = figure.Figure(figsize=(11, 1.3 + tall + 1.55 * len(charts)), layout="constrained", facecolor="white")
    parts = made.subplots(1 + len(charts), 1, squeeze=False, sharex=True,
                          gridspec_kw={"height_ratios": [tall] + [1.55] * len(charts)})[:, 0]
    _draw_timeline(parts[0], story, time)
    for part, (name, lines) in zip(parts[1:], charts):
        _draw_chart(part, name, lines, story, time)
    for part in parts[:-1]:
        part.tick_params(axis="x", length=0, labelbottom=False)
    _dress_time(parts[-1], time)
    return made


# -- the timeline


def _draw_timeline(axes: Any, story: Dict[str, Any], time: FoldedTime) -> None:
    processes = story["processes"]
    _draw_gaps(axes, story, time)
    for lane, (height, colour) in {name: (0.52 if name == "fit" else 0.28, colour)
                                   for name, colour in _LANES.items()}.items():
        for row in range(len(processes)):
            spans = [span for span in story["spans"] if span["lane"] == lane and span["process"] == row]
            places = [_span(span, processes[row], time) for span in spans]
            if places:
                axes.broken_barh(places, (row - height / 2, height), facecolors=colour, zorder=2,
                                 edgecolors="white" if lane == "epoch" else "none", linewidth=0.5)
    handles = [_patch(colour, _WORDS.get(lane, lane)) for lane, colour in _LANES.items()
               if any(span["lane"] == lane for span in story["spans"])]
    handles += _draw_marks(axes, story, time)
    _name_rows(axes, processes)
    head = story["headline"]
    axes.set_title("{}: {:,} checkpoints, {:,} resumes, {:,} steps lost and trained again{}".format(
        story["run"], head["checkpoints"], head["resumes"], head["lost_steps"],
        "" if head["exact"] is None else ", exact" if head["exact"] else ", not exact"),
        loc="left", fontsize=10, color=_TEXT)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, labelcolor=_TEXT)


def _patch(colour: str, label: str) -> Any:
    from matplotlib import patches

    return patches.Patch(color=colour, label=label)


def _span(span: Dict[str, Any], process: Dict[str, Any], time: FoldedTime) -> Tuple[float, float]:
    end = span["end"] if span["end"] is not None else process["last_sign"]
    left = time.place(span["start"])
    return left, max(time.length / 2000, time.place(end) - left)


def _draw_gaps(axes: Any, story: Dict[str, Any], time: FoldedTime) -> None:
    for gap in story["gaps"]:
        axes.axvspan(time.place(gap["start"]), time.place(gap["end"]), facecolor=_GAP, edgecolor="#c3c9d3",
                     hatch="////", linewidth=0, zorder=0)


def _draw_marks(axes: Any, story: Dict[str, Any], time: FoldedTime) -> List[Any]:
    """Checkpoints below the bars, incidents above; handles for the legend."""
    handles, marks = [], story["marks"]
    kinds = {_policy(mark): _POLICIES.get(_policy(mark), _OTHER_POLICY) for mark in marks
             if mark["kind"] == "checkpoint"}
    crowded = {row for row in range(len(story["processes"]))
               if sum(mark["process"] == row and mark["kind"] == "checkpoint" for mark in marks) > _SYMBOLS}
    crowded = set(range(len(story["processes"]))) if len(story["processes"]) > _NAMED_ROWS else crowded
    for name, (marker, colour) in kinds.items():
        mine = [mark for mark in marks if mark["kind"] == "checkpoint" and _policy(mark) == name]
        strokes = [mark for mark in mine if mark["process"] in crowded]
        if strokes:
            rows = [mark["process"] + 0.31 for mark in strokes]
            axes.vlines([time.place(mark["time"]) for mark in strokes], rows, [row + 0.14 for row in rows],
                        colors=colour, linewidth=0.5, zorder=3)
        symbols = [mark for mark in mine if mark["process"] not in crowded]
        handles.append(axes.scatter(
            [time.place(mark["time"]) for mark in symbols], [mark["process"] + 0.38 for mark in symbols],
            marker=marker, color=colour, s=24, zorder=3, linewidths=0, label="saved by {}".format(name)))
    for kind, (marker, colour, label) in _INCIDENTS.items():
        mine = [mark for mark in marks if mark["kind"] == kind]
        if mine:
            handles.append(axes.scatter(
                [time.place(mark["time"]) for mark in mine], [mark["process"] - 0.36 for mark in mine],
                marker=marker, color=colour, s=28, zorder=4, linewidths=0, label=label))
    return handles


def _policy(mark: Dict[str, Any]) -> str:
    return str(mark["reason"]).split("(")[0].split("|")[0].strip()[:40] or "no reason"


def _name_rows(axes: Any, processes: List[Dict[str, Any]]) -> None:
    every = -(-len(processes) // _NAMED_ROWS)
    shown = list(range(0, len(processes), every))
    axes.set_yticks(shown)
    labels = axes.set_yticklabels(["#{}  {}".format(processes[row]["number"], _ending(processes[row]))
                                   for row in shown], fontsize=8)
    for label, row in zip(labels, shown):
        label.set_color(_ENDINGS.get(processes[row]["ending"], _QUIET))
    for row in range(len(processes) if every == 1 else 0):
        axes.axhline(row + 0.55, color=_GRID, linewidth=0.6, zorder=0)
    axes.set_ylim(len(processes) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#c3c9d3")


def _ending(process: Dict[str, Any]) -> str:
    cause = process["text"].split(":")[0]
    return {"finished": "finished", "running": "running", "signal": "ended by " + cause}.get(
        process["ending"], cause or process["ending"])


# -- curves


def _charts(story: Dict[str, Any]) -> List[Tuple[str, List[Dict[str, Any]]]]:
    """The first metrics, each with its validation and its components; losses before all."""
    charts: Dict[str, List[Dict[str, Any]]] = {}
    for line in story["curves"]["lines"]:
        name = line["name"][4:] if line["name"].startswith("val_") else line["name"]
        charts.setdefault(name.split("[")[0], []).append(line)
    return sorted(charts.items(), key=lambda pair: pair[0] != "loss")[:_CHARTS]


def _draw_chart(axes: Any, name: str, lines: List[Dict[str, Any]], story: Dict[str, Any], time: FoldedTime) -> None:
    _draw_gaps(axes, story, time)
    names = list(dict.fromkeys(line["name"] for line in lines))
    with_epochs = {line["name"] for line in lines if line["source"] == EPOCHS}
    for line in lines:
        within = line["source"] != EPOCHS and line["name"] in with_epochs
        thrown = line["thrown"] is not None
        values = [float(value) for value in line["values"]]
        finite = [value if abs(value) < float("inf") else float("nan") for value in values]
        places = [time.place(when) for when in line["times"]]
        axes.plot(*_broken(places, finite, line.get("parts")), color=_PARTS[names.index(line["name"]) % 6],
                  linewidth=0.8 if within or thrown else 1.5, alpha=0.4 if within or thrown else 1.0,
                  label=None if within or thrown else line["name"], zorder=2 if within or thrown else 3,
                  marker="." if len(finite) < 12 and not within else None, markersize=4)
        odd = [when for when, value in zip(line["times"], finite) if value != value]
        axes.scatter([time.place(when) for when in odd], [0.97] * len(odd), marker="v", s=18, color="#c62f26",
                     transform=axes.get_xaxis_transform(), zorder=4)
    for restart in story["curves"]["restarts"] if len(story["curves"]["restarts"]) <= _NAMED_ROWS else ():
        if restart["how"] and restart["ended"]:
            axes.axvline(time.place(restart["ended"]), color="#c62f26", linewidth=0.8, linestyle=(0, (3, 3)))
    axes.set_title(name, loc="left", fontsize=9, color=_TEXT)
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
    axes.tick_params(axis="y", labelsize=8, length=0, labelcolor=_QUIET)
    if len(names) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, labelcolor=_TEXT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#c3c9d3")


def _broken(places: List[float], values: List[float], parts: Any) -> Tuple[List[float], List[float]]:
    """The points of a line, with a break where another epoch begins."""
    if not parts:
        return places, values
    made: Tuple[List[float], List[float]] = ([], [])
    for at, part in enumerate(parts):
        if at and part != parts[at - 1]:
            made[0].append(places[at])
            made[1].append(float("nan"))
        made[0].append(places[at])
        made[1].append(values[at])
    return made


# -- the axis of time


def _dress_time(axes: Any, time: FoldedTime) -> None:
    ticks = time.ticks()
    axes.set_xticks([tick.place for tick in ticks])
    axes.set_xticklabels([tick.label for tick in ticks], fontsize=8, color=_QUIET)
    axes.set_xlim(-0.012 * time.length, 1.012 * time.length)
    for start, end in time.folds:
        axes.annotate("//", ((start + end) / 2, 0), xycoords=("data", "axes fraction"), ha="center", va="center",
                      fontsize=9, color=_QUIET, annotation_clip=False)
