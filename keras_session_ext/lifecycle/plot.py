"""The life of a run as a picture of matplotlib."""

from typing import Any, Dict

from keras_session_ext.arguments import PathOrUrl
from keras_session_ext.lifecycle.read_timeline import read_timeline

#: lane -> colour; the tab's own, in its light theme
_COLOURS = {"fit": "#9db7d5", "epoch": "#3d6fa8", "evaluate": "#8a63b5", "predict": "#2f8f83", "restore": "#c77f1f",
            "replay": "#d9b26a"}
_MARKERS = {"checkpoint": ("v", "#1f7a3d", "checkpoint"), "save_failed": ("X", "#c0392b", "failed save"),
            "rejected": ("P", "#c0392b", "damaged checkpoint"), "failed": ("X", "#7b241c", "exception"),
            "signal": ("*", "#b7950b", "signal")}


def plot_timeline(directory: PathOrUrl, axes: Any = None) -> Any:
    """Draws the life of a run with matplotlib.

    Args:
        directory: the run directory, or its URL.
        axes: matplotlib axes to draw into; made if there are none.

    Returns:
        The matplotlib figure.

    Raises:
        CheckpointNotFound: there is no journal in the directory.
        ImportError: matplotlib is not installed.

    Examples:
        >>> # plot_timeline("runs/a").savefig("run.png")
    """
    try:
        from matplotlib import dates, figure
    except ImportError as error:
        raise ImportError(
            "plot_timeline needs matplotlib ({}). Install it: pip install 'keras_session_ext[plot]'.".format(error))
    story = read_timeline(directory)
    processes = story["processes"]
    if axes is None:
        made = figure.Figure(figsize=(11, 1.6 + 0.55 * len(processes)), layout="constrained")
        axes = made.subplots()
    for gap in story["gaps"]:
        axes.axvspan(_date(gap["start"], dates), _date(gap["end"], dates), color="#888888", alpha=0.15, hatch="//",
                     lw=0)
    for span in story["spans"]:
        _bar(axes, span, processes[span["process"]], dates)
    for kind, (marker, colour, label) in _MARKERS.items():
        marks = [mark for mark in story["marks"] if mark["kind"] == kind]
        if marks:
            axes.scatter([_date(mark["time"], dates) for mark in marks], [mark["process"] + 0.32 for mark in marks],
                         marker=marker, color=colour, s=28, zorder=3, label=label, linewidths=0)
    _dress(axes, story, dates)
    return axes.figure


def _date(when: float, dates: Any) -> float:
    import datetime

    return float(dates.date2num(datetime.datetime.fromtimestamp(when)))


def _bar(axes: Any, span: Dict[str, Any], process: Dict[str, Any], dates: Any) -> None:
    end = span["end"] if span["end"] is not None else process["last_sign"]
    left, right = _date(span["start"], dates), _date(end, dates)
    inner = span["lane"] != "fit"
    axes.barh(span["process"], right - left, left=left, height=0.24 if inner else 0.44,
              color=_COLOURS.get(span["lane"], "#777777"), edgecolor="white", lw=0.4, zorder=2 if inner else 1)


def _dress(axes: Any, story: Dict[str, Any], dates: Any) -> None:
    from matplotlib import patches

    processes = story["processes"]
    axes.set_yticks(range(len(processes)))
    axes.set_yticklabels(["{}  {}".format(one["number"], one["ending"]) for one in processes])
    axes.set_ylim(len(processes) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    head = story["headline"]
    axes.set_title("{}: {} checkpoints, {} resumes, {} steps lost and trained again{}".format(
        story["run"], head["checkpoints"], head["resumes"], head["lost_steps"],
        "" if head["exact"] is None else ", exact" if head["exact"] else ", not exact"), loc="left", fontsize=10)
    lanes = {span["lane"] for span in story["spans"]}
    handles = [patches.Patch(color=colour, label=lane) for lane, colour in _COLOURS.items() if lane in lanes]
    axes.legend(handles=handles + axes.get_legend_handles_labels()[0], loc="upper left", bbox_to_anchor=(1, 1),
                frameon=False, fontsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
