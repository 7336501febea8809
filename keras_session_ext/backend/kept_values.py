"""What an adapter keeps beyond one call: for a model as long as it lives, and for the fit that runs in a thread."""

import threading
from typing import Any, Callable, Optional

from keras_session_ext.backend.contracts.feed import LoopFeed


class OfModel:
    """A value for each model, which goes when the model goes.

    It stands among the model's own attributes: a value of a
    `WeakKeyDictionary` that leads back to its key keeps it alive for ever,
    while a cycle within the model is found by the garbage collector.

    Args:
        name: of the attribute.
    """

    def __init__(self, name: str):
        self._name = name

    def get(self, model: Any) -> Any:
        """The value, or None."""
        return vars(model).get(self._name)

    def set(self, model: Any, value: Any) -> None:
        """Keeps a value; past Keras's own `__setattr__`, which would track what is in it."""
        vars(model)[self._name] = value


class OfThread(threading.local):
    """What belongs to the fit that runs in this thread: an adapter serves all threads of a process.

    Attributes:
        feed: what follows the data of the fit.
        train_function: Keras's own, while another one stands in.
    """

    feed: Optional[LoopFeed] = None
    train_function: Optional[Callable[..., Any]] = None
