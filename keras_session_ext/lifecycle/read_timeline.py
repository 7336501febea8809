"""The story of a run, read from its directory."""

from typing import Any, Dict

from keras_session_ext.arguments import path_or_url
from keras_session_ext.errors import CheckpointNotFound
from keras_session_ext.lifecycle.journal import read_journal
from keras_session_ext.lifecycle.timeline import timeline, title


def read_timeline(directory: Any) -> Dict[str, Any]:
    """What the views draw of a run.

    Args:
        directory: the run directory, or its URL.

    Raises:
        CheckpointNotFound: there is no journal in it.
    """
    directory = path_or_url(directory, "directory")
    events, skipped = read_journal(directory)
    if not events:
        raise CheckpointNotFound(
            "There is no journal in {}. Name the directory that SessionCheckpoint was given; its journal begins with "
            "the first fit.".format(directory))
    return timeline(events, name=title(directory), directory=directory, skipped=skipped)
