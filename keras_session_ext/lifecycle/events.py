"""Lifecycle events, and the one hook they go through."""

import logging
import time
from typing import Any, Callable, Dict, List, NamedTuple

logger = logging.getLogger("keras_session_ext")

#: kind -> what happened; the figures of each are listed in docs/tensorboard.md
KINDS = {
    "process_started": "a process began to work on the run",
    "graph_built": "the model was built",
    "session_created": "a session was created",
    "variables_initialised": "the variables have their values",
    "fit_started": "fit began",
    "settings": "what the script says of model, data, callbacks and policies",
    "fit_finished": "fit ended",
    "epoch_started": "an epoch began",
    "epoch_finished": "an epoch ended",
    "evaluate_started": "an evaluation or a validation began",
    "evaluate_finished": "it ended",
    "predict_started": "predict began",
    "predict_finished": "predict ended",
    "progress": "a sign of life",
    "snapshot_taken": "the session was captured in memory",
    "checkpoint_saved": "a checkpoint is durable",
    "checkpoint_mirrored": "a checkpoint is in the mirror, too",
    "mirror_failed": "a checkpoint could not be copied to the mirror; it is safe where it is",
    "save_failed": "a save failed; earlier checkpoints are untouched",
    "checkpoint_rejected": "a damaged checkpoint was passed over",
    "checkpoint_deleted": "the keep policy gave a checkpoint up",
    "restored": "a checkpoint was restored",
    "replayed": "batches that were trained on were drawn again and dropped",
    "witnessed": "steps were trained again, and gave what they had given before",
    "diverged": "a step was trained again, and gave something else",
    "signal_received": "a signal asked for a save",
    "interrupted": "the process before vanished; found at this start",
    "failed": "fit ended by an exception",
    "finished": "the process ended",
    "session_closed": "the session was closed",
    "summary": "older events, in figures",
}


class LifecycleEvent(NamedTuple):
    """One thing that happened to the session.

    Attributes:
        kind: what, such as "fit_started"; one of `KINDS`.
        time: when, in seconds since the epoch.
        figures: numbers and texts that belong to it.
        seq: its number in the journal of its run, which only grows; 0 outside a run.
        process: which process of the run it happened in.
    """

    kind: str
    time: float
    figures: Dict[str, Any]
    seq: int = 0
    process: str = ""


_listeners: List[Callable[[LifecycleEvent], None]] = []
_failed: List[Callable[[LifecycleEvent], None]] = []


def listen(function: Callable[[LifecycleEvent], None]) -> Callable[[], None]:
    """Calls `function` with every event from now on.

    An event of a run is in its journal, and in TensorBoard, before it is told here.

    Args:
        function: takes a `LifecycleEvent`. What it raises is logged once, and never reaches training.

    Returns:
        A function that ends the listening.

    Raises:
        TypeError: it is not callable.

    Examples:
        >>> seen = []
        >>> stop = listen(seen.append)
        >>> emit("session_created", family="graph")
        >>> stop()
        >>> [event.kind for event in seen]
        ['session_created']
    """
    if not callable(function):
        raise TypeError("Expected a function that takes a LifecycleEvent. Received: {!r}".format(function))
    _listeners.append(function)

    def stop() -> None:
        if function in _listeners:
            _listeners.remove(function)

    return stop


def emit(kind: str, **figures: Any) -> None:
    """Tells every listener of an event that happens now, outside a run."""
    tell(LifecycleEvent(kind, time.time(), figures))


def tell(event: LifecycleEvent) -> None:
    """Tells every listener of an event."""
    for function in list(_listeners):
        try:
            function(event)
        except Exception:  # a listener is a guest: training goes on
            if function not in _failed:
                _failed.append(function)
                logger.exception("The lifecycle listener %r failed at %s; further failures are not told", function,
                                 event.kind)
