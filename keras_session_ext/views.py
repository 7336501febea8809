"""The life of a run without TensorBoard: one page to share, one picture."""

import os
from typing import Any, Dict, List

from keras_session_ext import files
from keras_session_ext.arguments import local_path
from keras_session_ext.errors import CheckpointNotFound, ConfigError
from keras_session_ext.lifecycle.journal import read_journal
from keras_session_ext.lifecycle.timeline import timeline, title

#: lane -> colour; the tab's own, in its light theme
_COLOURS = {"fit": "#9db7d5", "epoch": "#3d6fa8", "evaluate": "#8a63b5", "predict": "#2f8f83", "restore": "#c77f1f",
            "replay": "#d9b26a"}
_MARKERS = {"checkpoint": ("v", "#1f7a3d", "checkpoint"), "save_failed": ("X", "#c0392b", "failed save"),
            "rejected": ("P", "#c0392b", "damaged checkpoint"), "failed": ("X", "#7b241c", "exception"),
            "signal": ("*", "#b7950b", "signal")}


def report(directory, path) -> str:
    """Writes the life of a run as one HTML file that needs nothing else: the view of TensorBoard's Session tab.

    Args:
        directory: the run directory, or several to compare.
        path: the file to write, such as "run.html"; one that is there is replaced.

    Returns:
        The path, as text.

    Raises:
        CheckpointNotFound: there is no journal in a directory.
        ConfigError: the path cannot be used.

    Example:
        >>> # report("runs/a", "run.html")
    """
    from keras_session_ext.tensorboard import page

    path = os.path.abspath(local_path(path, "path"))
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path)):
        raise ConfigError(
            "Cannot write the report to {}. Expected the name of a file in a folder that is there.".format(path))
    if not _several(directory):
        raise ConfigError("There is no run to report. Expected a run directory, or several. Received: {!r}".format(
            directory))
    text = page.build([_story(one) for one in _several(directory)])
    temporary = "{}.tmp-{}".format(path, os.urandom(4).hex())
    files.write_new(temporary, text.encode("utf-8", "replace"), 0o644)
    files.replace(temporary, path)
    return path


def _several(directory: Any) -> List[Any]:
    return [directory] if isinstance(directory, (str, os.PathLike)) else list(directory)


def _story(directory: Any) -> Dict[str, Any]:
    directory = local_path(directory, "directory")
    events, skipped = read_journal(directory)
    if not events:
        raise CheckpointNotFound(
            "There is no journal in {}. Name the directory that SessionCheckpoint was given; its journal begins with "
            "the first fit.".format(directory))
    return timeline(events, name=title(directory), directory=directory, skipped=skipped)


def plot_timeline(directory, axes=None) -> Any:
    """Draws the life of a run with matplotlib.

    Args:
        directory: the run directory.
        axes: matplotlib axes to draw into; made if there are none.

    Returns:
        The matplotlib figure.

    Raises:
        CheckpointNotFound: there is no journal in the directory.
        ImportError: matplotlib is not installed.

    Example:
        >>> # plot_timeline("runs/a").savefig("run.png")
    """
    try:
        from matplotlib import dates, figure
    except ImportError as error:
        raise ImportError(
            "plot_timeline needs matplotlib ({}). Install it: pip install 'keras_session_ext[plot]'.".format(error))
    story = _story(directory)
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
