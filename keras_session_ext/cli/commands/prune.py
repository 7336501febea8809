"""`keras-session prune`."""

import os
import re
import socket
from typing import Any, Dict, List, Optional, Tuple

import click

from keras_session_ext import files, units
from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.output import Output, command
from keras_session_ext.cli.tables import Cell, Column, Styled
from keras_session_ext.config import policy_makers
from keras_session_ext.config.schema_file import session_schema, within
from keras_session_ext.errors import ConfigError, DirectoryBusy
from keras_session_ext.lifecycle.journal import NAME, Journal
from keras_session_ext.lifecycle.journal_segments import add_segment
from keras_session_ext.policies.keep import KeepPolicy, Plan
from keras_session_ext.policies.monitor import Monitor
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.store.run_directory import RunDirectory

_COLUMNS = (Column(""), Column("id"), Column("step", right=True), Column("created"), Column("size", right=True),
            Column("why", wide="fold"))


class Setting(click.ParamType):
    """A duration or a size, as in configs."""

    def __init__(self, name: str, key: str, convert: Any):
        self.name = name
        self._key = key
        self._convert = convert

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        allowed = within(session_schema(), ("keep", self._key))
        if not isinstance(value, str):
            return value  # converted already
        if not re.match(allowed["pattern"], value):
            self.fail("Expected {}. Received: {!r}".format(allowed["expected"], value), param, ctx)
        return self._convert(value)


@command()
@click.argument("directory", type=path_arguments.PATH_OR_URL)
@click.option("--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep the N newest.")
@click.option("--keep-best", type=click.IntRange(min=1), metavar="N", help="Keep the N best by --monitor.")
@click.option("--monitor", metavar="METRIC", help="The metric of --keep-best.")
@click.option("--mode", type=click.Choice(["auto", "min", "max"]), help="Which value of it is better; auto goes by "
              "its name.")
@click.option("--keep-every-epochs", type=click.IntRange(min=1), metavar="N", help="Keep the first of every N epochs.")
@click.option("--keep-every-steps", type=click.IntRange(min=1), metavar="N", help="Keep the first of every N batches.")
@click.option("--keep-every", type=Setting("duration", "every", units.seconds), metavar="DURATION",
              help="Keep the first of every so long a stretch of training, such as 1h30m.")
@click.option("--keep-size", type=Setting("size", "size", units.size_bytes), metavar="SIZE",
              help="Keep the newest that fit into so much space, such as 20GB.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def prune(out: Output, directory: str, dry_run: bool, yes: bool, **wanted: Any) -> int:
    """Removes checkpoints of the run in DIRECTORY that none of the given policies wants to keep.

    Where several runs share DIRECTORY (a fresh start, a branch), each is
    looked at on its own. The newest of a run, the end of every stage, and what
    another run branched off from always stay. Damaged files are left alone,
    and so is a directory that a live process trains in.
    """
    policy = _policy(wanted)
    run = path_arguments.run_directory(directory)
    if run.holder() is not None:
        raise DirectoryBusy("The directory {} is in use by process {}. Stop it first; its own keep policy removes "
                            "what it does not want.".format(run.path, run.holder()))
    plan = _look(run, policy, wanted["monitor"], out)
    _show(out, plan)
    removed: List[str] = []
    if plan.remove and not dry_run:
        if not yes and not out.ask("Remove {}?".format(readable.count(len(plan.remove), "checkpoint"))):
            out.note("Nothing was removed.")
            return 1
        removed = _remove(run, plan, _planner(policy), out)
    out.value({"directory": run.path, "dry_run": dry_run, "removed": removed,
               "keep": [_told(info, plan) for info in plan.keep],
               "remove": [_told(info, plan) for info in plan.remove]})
    if not out.json:
        out.note("{} removed.{}".format(readable.count(len(removed), "checkpoint"),
                                        " This was a dry run." if dry_run else ""))
    return 0


def _policy(wanted: Dict[str, Any]) -> KeepPolicy:
    settings: Dict[str, Any] = {
        "last": wanted["keep_last"], "every_epochs": wanted["keep_every_epochs"],
        "every_steps": wanted["keep_every_steps"], "every": wanted["keep_every"], "size": wanted["keep_size"]}
    if wanted["keep_best"]:
        if not wanted["monitor"]:
            raise click.UsageError("--keep-best needs --monitor, the metric to go by.")
        settings["best"] = {"n": wanted["keep_best"], "monitor": wanted["monitor"], "mode": wanted["mode"] or "auto"}
    elif wanted["monitor"] or wanted["mode"]:
        raise click.UsageError("--monitor and --mode belong to --keep-best, which is not given.")
    settings = {name: value for name, value in settings.items() if value is not None}
    if not settings:
        raise click.UsageError("Say what is to stay: --keep-last N, --keep-best N --monitor METRIC, "
                               "--keep-every-epochs N, --keep-every-steps N, --keep-every DURATION or "
                               "--keep-size SIZE.")
    policy: KeepPolicy = policy_makers.joined("keep", settings)
    return policy


def _look(run: RunDirectory, policy: KeepPolicy, monitor: Optional[str], out: Output) -> Plan:
    damaged: List[str] = []
    infos = run.infos(damaged)
    for message in damaged:
        out.note("Damaged, and left alone: " + message, "red")
    if monitor and infos and all(Monitor(monitor).value(info.metrics) is None for info in infos):
        known = sorted({name for info in infos for name in info.metrics})
        raise ConfigError("No checkpoint in {} has the metric {!r}. They have: {}.".format(
            run.checkpoints, monitor, ", ".join(known) or "none"))
    return plan_of(infos, policy)


def plan_of(infos: List[CheckpointInfo], policy: KeepPolicy) -> Plan:
    """The plan for a directory: each run by itself, and what another run branched off from stays."""
    keep: List[CheckpointInfo] = []
    remove: List[CheckpointInfo] = []
    reasons: Dict[str, List[str]] = {}
    branches = {info.branch_of for info in infos}
    for run in dict.fromkeys(info.run for info in infos):
        plan = policy.plan([info for info in infos if info.run == run])
        reasons.update(plan.reasons)
        origins = [info for info in plan.remove if info.id in branches]
        reasons.update({info.id: ["a run branched off from it"] for info in origins})
        keep += [*plan.keep, *origins]
        remove += [info for info in plan.remove if info not in origins]
    return Plan(_newest_first(keep), _newest_first(remove), reasons)


def _newest_first(infos: List[CheckpointInfo]) -> List[CheckpointInfo]:
    return sorted(infos, key=lambda info: info.order, reverse=True)


def _planner(policy: KeepPolicy) -> Any:
    return lambda infos: plan_of(infos, policy)


def _show(out: Output, plan: Plan) -> None:
    gone = {info.id for info in plan.remove}
    rows: List[Tuple[Cell, ...]] = []
    for info in _newest_first(plan.keep + plan.remove):
        rows.append((Styled("remove", "red") if info.id in gone else Styled("keep", "green"), info.id,
                     str(info.progress.step), readable.when(info.created), readable.size(info.size_bytes),
                     ", ".join(plan.reasons[info.id])))
    out.table(_COLUMNS, rows)
    out.line("{} to remove, {}; {} to keep".format(
        readable.count(len(plan.remove), "checkpoint"), readable.size(sum(info.size_bytes for info in plan.remove)),
        len(plan.keep)))


def _told(info: CheckpointInfo, plan: Plan) -> Dict[str, Any]:
    return {"id": info.id, "path": info.path, "step": info.progress.step, "size_bytes": info.size_bytes,
            "reasons": plan.reasons[info.id]}


def _remove(run: RunDirectory, listed: Plan, plan: Any, out: Output) -> List[str]:
    """Removes what was listed and what is, now that nobody trains here, still to be removed."""
    ids = {info.id for info in listed.remove}
    with run.held():
        now = plan(run.infos([]))
        now = now._replace(remove=[info for info in now.remove if info.id in ids])
        removed = run.retain(now)
        try:
            _record(run, removed, listed)
        except OSError as error:
            out.note("The journal of {} cannot be written: {}.".format(run.path, error), "yellow")
    return removed


def _record(run: RunDirectory, removed: List[str], plan: Plan) -> None:
    """Tells the journal, where there is one."""
    if not removed:
        return
    if run.is_far:
        with files.temporary_directory() as folder:
            path = os.path.join(folder, NAME)
            _tell(path, removed, plan)
            add_segment(run.path, files.read_all(path))
    elif files.exists(os.path.join(run.path, NAME)):
        _tell(os.path.join(run.path, NAME), removed, plan)


def _tell(path: str, removed: List[str], plan: Plan) -> None:
    journal = Journal(path)
    journal.append("process_started", {"pid": os.getpid(), "host": socket.gethostname(), "command": "prune"})
    for id in removed:
        journal.append("checkpoint_deleted", {"id": id, "reason": ", ".join(plan.reasons[id])})
    journal.append("finished", {})
