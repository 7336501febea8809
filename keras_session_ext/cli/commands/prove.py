"""`keras-session prove`."""

import os
import signal
import tempfile
from typing import Any, List, Tuple

import click

from keras_session_ext.cli import path_arguments
from keras_session_ext.cli import script_argument as scripts
from keras_session_ext.cli.output import Output, command
from keras_session_ext.cli.tables import Cell, Column, Styled
from keras_session_ext.proof.prover import Proof, Verdict

_COLUMNS = (Column("state"), Column("uninterrupted"), Column("killed"), Column("same"))


@command(context_settings={"allow_interspersed_args": False})
@click.option("--kills", type=click.IntRange(1, 1000), default=5, show_default=True, help="How often it is killed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random moments of the kills.")
@click.option("--ignore", multiple=True, metavar="PART", help="A part of the name of states that may differ, such as "
              "a clock reading. May be given again.")
@click.option("--keep", type=path_arguments.LOCAL_PATH, help="An empty or new folder for the runs, their notes and "
              "outputs; otherwise they are thrown away.")
@scripts.loops_option
@scripts.module_option
@click.argument("script", type=click.Path())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def prove(out: Output, kills: int, seed: int, ignore: Tuple[str, ...], keep: Any, loops: bool, is_module: bool,
          script: str, arguments: Tuple[str, ...]) -> int:
    """Proves that a training SCRIPT resumes exactly, or names the first state that does not.

    The script runs once in peace, and once more killed with SIGKILL at random
    moments and started again each time. Every tensor, the history, the random
    state, the place in the data and the other callbacks' state are compared at
    every step. Nothing has to be seeded; but where two fresh starts differ, it
    is said, and the killed run begins with the other's first checkpoint. With
    --loops its own loops are proved, too, and what their variables lead to.

    The script stays as it is, and so do the files that it writes itself: both
    runs write the same ones. One that cannot be started a second time in the
    folder that it has written to gets a copy of the folder for each process,
    and that is said. Give it few epochs.

    Exit status: 0 exact, 1 not exact (or the script failed), 2 wrong usage.
    """
    scripts.check(script, is_module)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end_in_order)

    def prove_in(folder: str) -> Verdict:
        return Proof(lambda settings: scripts.command({"proof": settings, "module": is_module, "loops": loops}, script,
                                                      list(arguments)),
                     folder, out.note, kills, seed, ignore, loops).prove()

    if keep is not None:
        verdict = prove_in(_empty(keep))
    else:
        with tempfile.TemporaryDirectory(prefix="keras-session-prove-") as folder:
            verdict = prove_in(folder)
    out.value(verdict._asdict())
    _show(out, verdict)
    return 0 if verdict.exact else 1


def _end_in_order(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)  # the script ends, and what was made for it goes


def _empty(folder: str) -> str:
    """The folder, absolute: the script may change directory."""
    from keras_session_ext import files

    if files.exists(folder) and (not os.path.isdir(folder) or files.names(folder)):
        raise click.UsageError("{} is not empty. Name a new folder for --keep.".format(folder))
    files.make_directory(folder, 0o700)
    return os.path.abspath(folder)


def _show(out: Output, verdict: Verdict) -> None:
    rows: List[List[Cell]] = []
    for kind, (one, other) in verdict.rows.items():
        if one or other:
            rows.append([kind, one[:16], other[:16], "yes" if one == other else Styled("no", "red")])
    out.table(_COLUMNS, rows)
    out.line()
    steps = "{} steps, killed {} times".format(verdict.steps, len(verdict.killed))
    if verdict.exact:
        out.line("exact: the same after {}".format(steps), "green")
        if verdict.fresh:
            out.line("But two fresh starts differ: {}.".format(verdict.fresh))
        return
    out.line("not exact ({})".format(steps), "red")
    out.line("First to diverge: {}".format(verdict.difference))
    for reason in verdict.reasons:
        out.line("  - " + reason)
