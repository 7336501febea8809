"""Reaches the `fit`, `evaluate` and `predict` calls of a script that does not know this package.

The classes that Keras trains with are changed when their module is imported
(change_on_import.py).
"""

import functools
import inspect
import threading
from typing import Any, Callable, List, Optional

from keras_session_ext.backend.hooks.change_on_import import change_on_import

#: the modules whose class `Model` is trained, in every Keras
MODULES = {
    "keras.src.models.model",  # Keras 3
    "keras.src.engine.training", "keras.src.engine.training_v1",  # tf.keras 2.13 to 2.15
    "keras.engine.training", "keras.engine.training_v1",  # tf.keras 2.6 to 2.12; standalone 2.2.5 to 2.3.1
    "tf_keras.src.engine.training", "tf_keras.src.engine.training_v1",
    "tensorflow.python.keras.engine.training", "tensorflow.python.keras.engine.training_v1",  # tf.keras 2.2 to 2.5
    "tensorflow_core.python.keras.engine.training",  # tf.keras 1.15 to 2.1
}
#: a method -> what it does
METHODS = {"fit": "fit", "evaluate": "evaluate", "predict": "predict", "fit_generator": "fit",
           "evaluate_generator": "evaluate", "predict_generator": "predict"}

Done = Callable[[Any, Optional[BaseException]], None]
Around = Callable[[str, Any, List[Any]], "tuple[Optional[List[Any]], Done]"]


def intercept(around: Around) -> "Intercept":
    """From now on every `fit`, `evaluate` and `predict` of a Keras asks first.

    Calls that a call itself makes (validation, a callback that predicts) pass.

    Args:
        around: is given "fit", "evaluate" or "predict", the model, and the
            callbacks of the call; returns the callbacks to use (None leaves the
            call as it is), and a function that is given the call's result and
            what it raised.

    Returns:
        What knows whether such a call is running.
    """
    changed = Intercept(around)
    change_on_import(dict.fromkeys(MODULES, changed.change))
    return changed


class Intercept:
    """Changes the classes of `MODULES`.

    Args:
        around: as of `intercept`.

    Attributes:
        running: how many calls are, over all threads: a strategy trains in threads of its own.
    """

    def __init__(self, around: Around):
        self._around = around
        self._active = threading.local()
        self.running = 0

    def change(self, module: Any) -> None:
        model_class = module.Model
        for name, kind in METHODS.items():
            method = getattr(model_class, name, None)
            if method is not None and not hasattr(method, "asks_session_first"):
                setattr(model_class, name, self._asking(method, kind))

    def _asking(self, method: Any, kind: str) -> Any:
        names = list(inspect.signature(method).parameters)
        if "callbacks" not in names:
            return method  # Keras 2.2.5 evaluates and predicts without callbacks
        position = names.index("callbacks")

        @functools.wraps(method)
        def asks_first(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._active, "call", False) or not args:
                return method(*args, **kwargs)  # without a model it says what is wrong
            given = args[position] if len(args) > position else kwargs.get("callbacks")
            callbacks, done = self._around(kind, args[0], _listed(given))
            if callbacks is not None and len(args) > position:
                args = (*args[:position], callbacks, *args[position + 1:])
            elif callbacks is not None:  # what is a keyword stays one: keras/legacy/interfaces.py of 2.3.1 counts
                kwargs["callbacks"] = callbacks
            self._active.call = True
            self.running += 1
            try:
                result = method(*args, **kwargs)
            except BaseException as error:
                done(None, error)
                raise
            finally:
                self._active.call = False
                self.running -= 1
            done(result, None)
            return result

        asks_first.asks_session_first = True  # type: ignore[attr-defined]
        return asks_first


def _listed(given: Any) -> List[Any]:
    """The callbacks of a call in a list of their own."""
    if given is None:
        return []
    if type(given).__name__ == "CallbackList":  # its callbacks know their model already
        return list(given.callbacks)
    return list(given) if isinstance(given, (list, tuple)) else [given]
