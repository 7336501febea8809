"""`keras-session mirror`."""

import time
from typing import Any, Dict, List, Optional

import click

from keras_session_ext import units, urls
from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.commands.prune import Setting
from keras_session_ext.cli.output import Output, command
from keras_session_ext.errors import SessionError
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.store.mirror_run import mirror_run


@command()
@click.argument("run", type=path_arguments.LOCAL_PATH)
@click.argument("url", type=path_arguments.PATH_OR_URL)
@click.option("--every", type=Setting("duration", "every", units.seconds), metavar="DURATION",
              help="Do it again every so long, such as 5m, until Ctrl-C.")
def mirror(out: Output, run: str, url: str, every: Optional[float]) -> int:
    """Copies the checkpoints and the journal of the directory RUN to URL, such as s3://bucket/run, the newest first.

    What is there already is not sent again, and nothing is removed there. RUN
    may be trained meanwhile; a training with `mirror=` does this by itself.
    Exit status 1 if a damaged checkpoint was left out.
    """
    if not urls.is_url(url):
        raise click.UsageError("Expected the URL of a folder in a store, such as s3://bucket/run. Received: "
                               "{!r}".format(url))
    directory = path_arguments.run_directory(run).path
    left_out: List[str] = []

    def told(info: CheckpointInfo) -> None:
        out.line("{}  {}".format(info.id, readable.size(info.size_bytes)))

    while True:
        try:
            sent = mirror_run(directory, url, told, left_out.append)
        except SessionError as error:
            if every is None:
                raise
            out.note("{} It is tried again.".format(error), "yellow")
            sent = []
        for message in left_out:
            out.note("Left out: " + message, "yellow")
        out.value(_told(directory, url, sent, left_out))
        if every is None:
            out.line("{} copied to {}".format(readable.count(len(sent), "checkpoint"), url))
            return 1 if left_out else 0
        left_out.clear()
        time.sleep(every)


def _told(directory: str, url: str, sent: List[CheckpointInfo], left_out: List[str]) -> Dict[str, Any]:
    return {"directory": directory, "url": url, "sent": list(map(path_arguments.described, sent)),
            "left_out": list(left_out)}
