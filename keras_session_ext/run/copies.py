"""Where the copies of a callback train: a search copies the callbacks it was given for every trial."""

import os
from typing import Any, Dict, List

_made: Dict[str, int] = {}  # how often a name was given in this process


def directory_of_copy(directory: str, peers: List[Any]) -> str:
    """A directory of its own below the one that the callback was given.

    It is called after the trial, where a callback beside it knows that (KerasTuner's does), or else by the order of the
    copies: a script that is started again gives the same names. A second execution of a trial has a number of its own.

    Args:
        directory: of the callback that was copied.
        peers: the other callbacks.

    Examples:
        >>> directory_of_copy("runs/search", [])
        'runs/search/copy-0'
        >>> directory_of_copy("runs/search", [])
        'runs/search/copy-1'
    """
    trials = [getattr(getattr(peer, "trial", None), "trial_id", None) for peer in peers]
    known = [str(trial) for trial in trials if trial is not None]
    name = "trial-" + known[0].replace(os.sep, "-") if known else "copy"
    path = os.path.join(directory, name)
    number = _made[path] = _made.get(path, -1) + 1
    if known:
        return path if not number else "{}-execution-{}".format(path, number)
    return "{}-{}".format(path, number)
