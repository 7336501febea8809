"""`keras-session log`."""

import json
import os
import time
from typing import Any, List, Optional, Tuple

import click

from keras_session_ext import urls
from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.output import Output, command
from keras_session_ext.errors import CheckpointNotFound
from keras_session_ext.lifecycle import journal
from keras_session_ext.lifecycle.events import KINDS, LifecycleEvent
from keras_session_ext.lifecycle.journal_segments import FOLDER
from keras_session_ext.store.find_runs import is_folder

_POLL_SECONDS = 0.5
_FAR_POLL_SECONDS = 5.0
_STYLES = {"failed": "red", "save_failed": "red", "checkpoint_rejected": "red", "interrupted": "yellow",
           "signal_received": "yellow", "restored": "cyan", "checkpoint_saved": "green", "witnessed": "green",
           "diverged": "red", "checkpoint_mirrored": "green", "mirror_failed": "yellow"}
_PLACE = ("stage", "epoch", "batch", "step")
#: figures for machines, or too long for a line
_LEFT_OUT = (*_PLACE, "kinds", "largest", "directory", "totals", "checkpoints", "elapsed_seconds", "parent",
             "metrics_time", "curves")


@command()
@click.argument("directory", default=".", type=path_arguments.PATH_OR_URL)
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N events.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("-k", "--kind", "kinds", multiple=True, metavar="KIND", help="Only events of this kind; repeatable.")
def log(out: Output, directory: str, tail: Optional[int], follow: bool, kinds: Tuple[str, ...]) -> None:
    """Shows what happened to the run in DIRECTORY: when, in which process, what, where in the training, figures.

    With --json every event is one line of JSON, as in the run's journal.jsonl.
    """
    _check_kinds(kinds)
    run = path_arguments.run_directory(directory).path
    path = run if urls.is_url(run) else os.path.join(run, journal.NAME)
    if not follow and not (is_folder(urls.join(run, FOLDER)) if urls.is_url(run) else os.path.exists(path)):
        raise CheckpointNotFound("There is no journal in {}. It begins with the first fit.".format(run))
    if not follow:
        events, skipped = journal.read_journal(path)
        _tell(out, _last(_chosen(events, kinds), tail))
        if skipped:
            out.note("{} could not be read.".format(readable.count(skipped, "line")), "yellow")
        return
    with _FarTail(path) if urls.is_url(path) else journal.Tail(path) as lines:
        _tell(out, _last(_chosen(lines.read(), kinds), tail))
        while True:
            time.sleep(_FAR_POLL_SECONDS if urls.is_url(path) else _POLL_SECONDS)
            _tell(out, _chosen(lines.read(), kinds))


class _FarTail(journal.Tail):
    """The same of a journal in a store, which is read anew each time."""

    def read(self) -> List[LifecycleEvent]:
        events = [event for event in journal.read_journal(self._path).events if event.seq > self._last]
        self._last = max([self._last] + [event.seq for event in events])
        return events


def _chosen(events: List[LifecycleEvent], kinds: Tuple[str, ...]) -> List[LifecycleEvent]:
    return [event for event in events if not kinds or event.kind in kinds]


def _last(events: List[LifecycleEvent], tail: Optional[int]) -> List[LifecycleEvent]:
    return events if tail is None else events[len(events) - min(tail, len(events)):]


def _check_kinds(kinds: Tuple[str, ...]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            import difflib

            near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.0)
            raise click.UsageError("There is no kind of event {!r}. Did you mean {}? All: {}.".format(
                kind, near[0], ", ".join(sorted(KINDS))))


def _tell(out: Output, events: List[LifecycleEvent]) -> None:
    for event in events:
        if out.json:
            click.echo(json.dumps(event._asdict()))
        else:
            out.line(_line(event), _STYLES.get(event.kind))


def _line(event: LifecycleEvent) -> str:
    figures = event.figures
    place = " ".join("{} {}".format(name, figures[name]) for name in _PLACE
                     if figures.get(name) is not None and (name != "stage" or figures[name]))
    rest = " ".join("{}={}".format(name, _short(value)) for name, value in figures.items()
                    if name not in _LEFT_OUT and value not in (None, [], {}))
    told = "  ".join(part for part in (place, rest) if part)
    return "{}  {:<13} {:<19} {}".format(readable.when(event.time), event.process, event.kind, told).rstrip()


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "({})".format(readable.metrics(value))
    return "; ".join(map(str, value)) if isinstance(value, list) else readable.figure(value)


