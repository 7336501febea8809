"""`keras-session ls`."""

import os
from typing import Any, Dict, List, Optional, Sequence

import click

from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.output import Output, command
from keras_session_ext.cli.tables import Cell, Column, Styled
from keras_session_ext.errors import CheckpointNotFound
from keras_session_ext.lifecycle import journal
from keras_session_ext.lifecycle.timeline import timeline
from keras_session_ext.progress import CheckpointInfo, metric_names
from keras_session_ext.store.find_checkpoints import ranked
from keras_session_ext.store.find_runs import is_folder, runs_below
from keras_session_ext.store.run_directory import RunDirectory

_COLUMNS = (Column("id"), Column("stage", right=True), Column("epoch", right=True), Column("batch", right=True),
            Column("step", right=True), Column("age", right=True), Column("size", right=True), Column("exact"),
            Column("finished", wide="cut"))
_REASON = Column("reason", wide="cut")
#: more metrics than these are left to `show` and --json
_METRICS = 4
_RUNS = (Column("run", wide="fold"), Column("checkpoints", right=True), Column("step", right=True),
         Column("size", right=True), Column("last sign", right=True), Column("status"))


@command()
@click.argument("directory", default=".", type=path_arguments.RUNS)
@click.option("--sort", metavar="METRIC", help="The best value of a metric first, such as val_loss.")
def ls(out: Output, directory: str, sort: Optional[str]) -> None:
    """Lists the checkpoints of the run in DIRECTORY, newest first.

    Where DIRECTORY is no run but holds some, in itself or further below, each
    of them is a line. Only headers are read; damaged files are named.
    """
    try:
        run = path_arguments.run_directory(directory)
    except CheckpointNotFound:
        runs = runs_below(directory) if is_folder(directory) else []
        if not runs:
            raise
        _list_runs(out, directory, runs)
        return
    _list_checkpoints(out, run, sort)


def _list_checkpoints(out: Output, run: RunDirectory, sort: Optional[str]) -> None:
    damaged: List[str] = []
    infos = run.infos(damaged)
    if sort is not None:
        first = ranked(infos, sort, "auto", run.checkpoints)
        ids = {info.id for info in first}
        infos = first + [info for info in infos if info.id not in ids]
    total = sum(info.size_bytes for info in infos)
    out.value({"directory": run.path, "checkpoints": [path_arguments.described(info) for info in infos],
               "count": len(infos), "size_bytes": total, "damaged": damaged})
    shown = [index for index, column in enumerate(_COLUMNS)
             if column.name != "stage" or any(info.progress.stage for info in infos)]
    metrics = metric_names(infos, sort)[:_METRICS]
    rows = [_row(info) for info in infos]
    out.table(
        [_COLUMNS[index] for index in shown] + [Column(name, right=True, wide="cut") for name in metrics] + [_REASON],
        [[row[index] for index in shown] + [readable.figure(info.metrics.get(name, "")) for name in metrics] +
         [info.reason] for row, info in zip(rows, infos)])
    for message in damaged:
        out.note("Damaged: " + message, "red")
    out.line("{}, {}{}".format(readable.count(len(infos), "checkpoint"), readable.size(total),
                               ", {} damaged".format(len(damaged)) if damaged else ""))


def _row(info: CheckpointInfo) -> Sequence[Cell]:
    progress = info.progress
    return (info.id, str(progress.stage), str(progress.epoch), str(progress.batch), str(progress.step),
            readable.age(info.created), readable.size(info.size_bytes),
            "yes" if info.exact else Styled("no", "yellow"), "yes" if info.finished else "")


def _list_runs(out: Output, directory: str, runs: List[str]) -> None:
    found = [dict(summary(path), directory=path) for path in runs]
    out.value({"directory": os.path.abspath(directory), "runs": found})
    out.table(_RUNS, [(os.path.relpath(one["directory"], directory), str(one["checkpoints"]), str(one["step"]),
                       readable.size(one["size_bytes"]), readable.age(one["last_sign"]) if one["last_sign"] else "",
                       Styled(one["status"], _STYLES.get(one["status"].split(" ")[0], ""))) for one in found])
    for one in found:
        for message in one["damaged"]:
            out.note("Damaged: " + message, "red")
    out.line("{}, {}, {}".format(
        readable.count(len(found), "run"), readable.count(sum(one["checkpoints"] for one in found), "checkpoint"),
        readable.size(sum(one["size_bytes"] for one in found))))


_STYLES = {"running": "green", "interrupted": "yellow", "failed": "red", "silent": "yellow"}


def summary(path: str) -> Dict[str, Any]:
    """A run in a few figures."""
    run, damaged = RunDirectory(path), []  # type: RunDirectory, List[str]
    infos = run.infos(damaged)
    story = timeline(journal.read_journal(run.path).events)
    processes = story["processes"]
    signs = [one["last_sign"] for one in processes] + [info.created for info in infos]
    steps = [info.progress.step for info in infos] + [story["headline"]["step"]]
    return {"checkpoints": len(infos), "step": max(steps), "size_bytes": sum(info.size_bytes for info in infos),
            "last_sign": max(signs) if signs else None, "damaged": damaged,
            "status": _status(run, infos, _last_ending(story))}


def _last_ending(story: Dict[str, Any]) -> str:
    """How the last process that trained ended."""
    trained = [span["process"] for span in story["spans"] if span["lane"] == "fit"]
    ending: str = story["processes"][max(trained)]["ending"] if trained else ""
    return ending


def _status(run: RunDirectory, infos: List[CheckpointInfo], ending: str) -> str:
    """What the run is doing: locks know of this machine's processes, the journal of all."""
    holder = run.holder()
    if holder is not None:
        return "running (pid {})".format(holder)
    if ending in ("running", "silent", "interrupted"):
        ending = "interrupted" if ending != "running" else "no longer running here"
    if ending in ("", "finished"):
        return "finished" if infos and infos[0].finished else "stopped" if ending else "unknown"
    return ending
