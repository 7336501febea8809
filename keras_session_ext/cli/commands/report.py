"""`keras-session report`."""

import os
from typing import Tuple

import click

from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.output import Output, command


@command()
@click.argument("directories", nargs=-1, required=True, type=path_arguments.RUNS, metavar="DIRECTORY...")
@click.option("-o", "--output", default="run.html", show_default=True, type=path_arguments.LOCAL_PATH, metavar="FILE",
              help="The page; one that is there is replaced.")
def report(out: Output, directories: Tuple[str, ...], output: str) -> None:
    """Writes the life of the runs in DIRECTORYs as one HTML page that needs nothing else.

    It is the view of TensorBoard's Session tab, to keep or to send around. A
    directory above several runs stands for all of them.
    """
    from keras_session_ext.tensorboard import report_page

    path = report_page.report([run for one in directories for run in path_arguments.runs_at(one)], output)
    size = os.path.getsize(path)
    out.value({"path": path, "size_bytes": size})
    out.line("{}  {}".format(path, readable.size(size)))
