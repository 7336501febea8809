"""Reaches the `fit`, `evaluate` and `predict` calls of a script that does not know this package.

The classes that Keras trains with are changed at the moment their module is
imported, so that the script may import whichever Keras it likes, and none is
imported for it.
"""

import functools
import importlib.abc
import importlib.util
import inspect
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, List, Optional, Sequence

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


def intercept(around: Around) -> None:
    """From now on every `fit`, `evaluate` and `predict` of a Keras asks first.

    Calls that a call itself makes (validation, a callback that predicts) pass.

    Args:
        around: is given "fit", "evaluate" or "predict", the model, and the
            callbacks of the call; returns the callbacks to use (None leaves the
            call as it is), and a function that is given the call's result and
            what it raised.
    """
    changed = _Intercept(around)
    for name in MODULES & set(sys.modules):
        changed.change(sys.modules[name])
    sys.meta_path.insert(0, changed)


class _Intercept(importlib.abc.MetaPathFinder):
    """Changes the classes of `MODULES` when they are imported."""

    def __init__(self, around: Around):
        self._around = around
        self._active = threading.local()
        self._looking: set = set()

    def find_spec(self, name: str, path: Optional[Sequence[str]] = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        if name not in MODULES or name in self._looking:
            return None
        self._looking.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking.discard(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.change(module)

            # on the loader itself, which stays what inspect and linecache ask for the source
            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

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
            try:
                result = method(*args, **kwargs)
            except BaseException as error:
                done(None, error)
                raise
            finally:
                self._active.call = False
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
