"""The checkpoints of a run, and which one is meant: by its id, a short id, or as the best."""

import difflib
import logging
from typing import List, Optional, Sequence

from keras_session_ext.arguments import Mode, PathOrUrl, path_or_url, similar
from keras_session_ext.checkpoint import reader
from keras_session_ext.errors import CheckpointNotFound
from keras_session_ext.policies.monitor import Monitor
from keras_session_ext.progress import CheckpointInfo, CheckpointList
from keras_session_ext.store.run_directory import RunDirectory

logger = logging.getLogger("keras_session_ext")

_BEST = "best"
#: what the best one is the best of, where that is not said: the first that any checkpoint has
_MONITORS = ("val_loss", "loss")
#: fewer letters are a slip
_SHORTEST = 4


def list_checkpoints(directory: PathOrUrl) -> List[CheckpointInfo]:
    """Lists the checkpoints of a run directory, newest first.

    Only headers are read. A damaged file is left out and told by a warning of
    the logger "keras_session_ext".

    Args:
        directory: what `SessionCheckpoint` was given.

    Returns:
        A list of `CheckpointInfo`, shown as a table in notebooks; empty if nothing was saved yet.

    Examples:
        >>> list_checkpoints("no/such/run")
        []
    """
    rejected: List[str] = []
    found = RunDirectory(path_or_url(directory, "directory")).infos(rejected)
    for message in rejected:
        logger.warning("%s", message)
    return CheckpointList(found)


def verify_checkpoint(path: PathOrUrl) -> CheckpointInfo:
    """Reads a checkpoint and checks every byte of it against its checksums.

    Args:
        path: the file.

    Returns:
        Its `CheckpointInfo`.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointCorrupt: the file is truncated, altered or not ours.

    Examples:
        >>> verify_checkpoint("no/such/file.h5")
        Traceback (most recent call last):
        keras_session_ext.errors.CheckpointNotFound: There is no checkpoint no/such/file.h5.
    """
    return reader.verify(path_or_url(path, "path")).info


def is_best(name: str) -> bool:
    """Whether a name asks for the best checkpoint.

    Examples:
        >>> is_best("best"), is_best("best:val_loss"), is_best("bestiary")
        (True, True, False)
    """
    return name == _BEST or name.startswith(_BEST + ":")


def ids_like(name: str, ids: Sequence[str]) -> List[str]:
    """The ids that a name may mean: itself, or those whose beginning, or whose last part's beginning, it is.

    Examples:
        >>> ids_like("0d7c", ["g000001-s0000000006-0d7cc024"])
        ['g000001-s0000000006-0d7cc024']
    """
    return [id for id in ids if id == name] or [
        id for id in ids if len(name) >= _SHORTEST and (id.startswith(name) or id.rsplit("-", 1)[-1].startswith(name))]


def named(name: str, known: Sequence[CheckpointInfo], where: str) -> CheckpointInfo:
    """The checkpoint that a name means: an id, as much of one as no other has, "best", or "best:val_loss".

    Args:
        name: it; of an id either the beginning or what follows the last dash may be given.
        known: the checkpoints.
        where: they are, for messages.

    Raises:
        CheckpointNotFound: there is none, or there are several; the message names the nearest.
    """
    if is_best(name):
        return ranked(known, name[len(_BEST) + 1:] or None, "auto", where)[0]
    found = ids_like(name, [info.id for info in known])
    if len(found) == 1:
        return next(info for info in known if info.id == found[0])
    if found:
        raise CheckpointNotFound("There are {} checkpoints {!r} in {}: {}. Give more of the id.".format(
            len(found), name, where, ", ".join(found[:5])))
    nearest = difflib.get_close_matches(name, [info.id for info in known], n=3, cutoff=0.0)
    raise CheckpointNotFound("There is no checkpoint {!r} in {}. {}".format(
        name, where, "The nearest: {}.".format(", ".join(nearest)) if nearest else "It is empty."))


def ranked(known: Sequence[CheckpointInfo], monitor: Optional[str], mode: Mode, where: str) -> List[CheckpointInfo]:
    """The checkpoints that have a metric, the best first; of equal ones the older.

    Args:
        known: the checkpoints.
        monitor: the metric; None: val_loss, or loss where none has that.
        mode: "min", "max", or "auto" (from the metric's name).
        where: they are, for messages.

    Raises:
        CheckpointNotFound: none has the metric; the message says which there are.
    """
    metrics = sorted({name for info in known for name in info.metrics})
    name = monitor if monitor is not None else next((one for one in _MONITORS if one in metrics), _MONITORS[0])
    judge = Monitor(name, mode)
    values = [(judge.value(info.metrics), info) for info in known]
    found = [(judge.rank(value), info.order, info) for value, info in values if value is not None]
    if found:
        return [info for _, _, info in sorted(found, key=lambda one: one[:2])]
    if not known:
        raise CheckpointNotFound("There is no checkpoint in {}, and so no best one.".format(where))
    hint = similar(name, metrics)
    raise CheckpointNotFound("No checkpoint in {} has a value of {!r}{} They have: {}. The metrics of validation are "
                             "known at the end of an epoch.".format(
                                 where, name, "; " + hint if hint else ".", ", ".join(metrics) or "no metrics"))


def best_checkpoint(directory: PathOrUrl, monitor: Optional[str] = None, mode: Mode = "auto") -> CheckpointInfo:
    """The checkpoint with the best value of a metric.

    Args:
        directory: what `SessionCheckpoint` was given.
        monitor: name of the metric. Default: "val_loss", or "loss" where no checkpoint has that.
        mode: "min", "max", or "auto" (from the metric's name).

    Returns:
        Its `CheckpointInfo`; `restore_session(model, info.path)` restores it.

    Raises:
        CheckpointNotFound: nothing was saved yet, or no checkpoint has the metric.
        ConfigError: an argument cannot be used.

    Examples:
        >>> best_checkpoint("no/such/run")
        Traceback (most recent call last):
        keras_session_ext.errors.CheckpointNotFound: There is no checkpoint in no/such/run, and so no best one.
    """
    return ranked(list_checkpoints(directory), monitor, mode, str(directory))[0]
