"""Which Keras is in use: one adapter per family, chosen once.

See contracts/ for what an adapter offers.

Private attributes of frameworks in use stand in the table of `private_attributes.py`.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Type, Union

from keras_session_ext.errors import UnsupportedBackend

if TYPE_CHECKING:  # NumPy, which `keras-session doctor` does without
    from keras_session_ext.backend.contracts.family import Family

_chosen: Dict[Tuple[str, str], "Family"] = {}

SUPPORTED = ("Keras 3 on tensorflow, jax or torch; tf.keras of TensorFlow 1.15 to 2.15; tf_keras; "
             "standalone Keras 2.2.5 to 2.3.1 on TensorFlow 1.15")


def choose(model: Any = None) -> "Family":
    """The adapter of the Keras in use.

    Without a model it is the Keras that the script has imported; Keras 3 is
    imported if there is none yet. With a model its class decides.

    Args:
        model: a Keras model, or None.

    Returns:
        The adapter; `family` is "graph", "eager" or "keras3".

    Raises:
        UnsupportedBackend: no Keras, or one that is not supported.

    Examples:
        >>> choose().family  # doctest: +SKIP
        'keras3'
    """
    if model is not None:
        return adapter(_name_of(model), model)
    names = imported()
    return adapter(names[0] if names else _import_one())


def imported() -> List[str]:
    """The Kerases that the script has imported, the likeliest first: "keras", "tf_keras", "tf.keras"."""
    found = []
    if "keras" in sys.modules and (_major("keras") >= 3 or _is_standalone()):
        found.append("keras")
    if "tf_keras" in sys.modules:
        found.append("tf_keras")
    if "tensorflow" in sys.modules and not found and hasattr(sys.modules["tensorflow"], "keras"):
        if _tensorflow_keras_is_keras3():
            found.append("keras")
        else:
            found.append("tf_keras" if _tensorflow_version() >= (2, 16) else "tf.keras")
    elif "tensorflow.keras" in sys.modules and found == ["keras"] and _is_standalone():
        found.append("tf.keras")
    return sorted(found, key=lambda name: not _used(name))


def _used(name: str) -> bool:
    """Whether the script has made layers with a Keras; others may have been imported behind its back."""
    if name == "keras" and _major("keras") >= 3:
        from keras.src.backend.common import global_state

        return bool(global_state.get_global_attribute("object_name_uids"))
    backend = sys.modules.get("tf_keras.src.backend") if name == "tf_keras" else None
    return bool(getattr(backend, "PER_GRAPH_OBJECT_NAME_UIDS", None))


def _import_one() -> str:
    try:
        importlib.import_module("keras")  # the engine is what KERAS_BACKEND says
    except ImportError as error:
        try:
            importlib.import_module("tensorflow")
        except ImportError:
            raise UnsupportedBackend(
                "Keras cannot be imported ({}). Install keras and one of tensorflow, jax, torch, and name it in "
                "the environment variable KERAS_BACKEND. Supported: {}.".format(error, SUPPORTED)) from error
    names = imported()
    if not names:
        raise UnsupportedBackend("TensorFlow and Keras were imported, but neither has a model class this package "
                                 "knows. Supported: {}.".format(SUPPORTED))
    return names[0]


def _name_of(model: Any) -> str:
    """Which Keras a model is of, by the modules of its classes."""
    for base in type(model).__mro__:
        package = base.__module__.split(".")[0]
        if base.__name__ not in ("Model", "Network", "Container", "Functional", "Sequential", "Trainer"):
            continue
        if package == "tf_keras":
            return "tf_keras"
        if package == "keras":
            return "keras" if _major("keras") >= 3 or _is_standalone() else "tf.keras"
        if package in ("tensorflow", "tensorflow_core"):
            if _tensorflow_version() >= (2, 6):
                raise UnsupportedBackend(
                    "The model is a {}.{}, a private copy of Keras inside TensorFlow {}. Build it with tf.keras: "
                    "`from tensorflow import keras`.".format(
                        type(model).__module__, type(model).__name__, sys.modules["tensorflow"].__version__))
            return "tf.keras"
    raise UnsupportedBackend("Expected a Keras model. Received: {!r} of {}.{}. Supported: {}.".format(
        model, type(model).__module__, type(model).__name__, SUPPORTED))


def adapter(name: str, model: Any = None) -> "Family":
    """The adapter of a Keras by its name: "keras", "tf.keras" or "tf_keras"; with a model in the mode it is in."""
    if name == "keras" and _major("keras") >= 3:
        engine = sys.modules["keras"].backend.backend()
        if ("keras3", engine) not in _chosen:
            from keras_session_ext.backend.keras3.keras3_family import Keras3

            _chosen["keras3", engine] = Keras3(sys.modules["keras"])
        return _chosen["keras3", engine]
    from keras_session_ext.backend.keras2 import eager_family, graph_family

    keras = _keras2(name)
    kind: Type[Union[graph_family.Graph, eager_family.Eager]] = eager_family.Eager
    if graph_family.is_graph(name, keras, model):
        kind = graph_family.Graph
    if (name, kind.family) not in _chosen:
        _chosen[name, kind.family] = kind(name, keras)
    return _chosen[name, kind.family]


def _keras2(name: str) -> Any:
    """The Keras 2 module, or why it is not supported."""
    if name == "tf.keras":
        tensorflow: Any = sys.modules["tensorflow"]
        if _tensorflow_version() < (1, 15):
            raise UnsupportedBackend("TensorFlow {} is imported. Supported: {}.".format(
                tensorflow.__version__, SUPPORTED))
        return tensorflow.keras
    keras = importlib.import_module(name)
    if name == "keras":
        version = numbers(keras.__version__)
        if version < (2, 2, 5):
            raise UnsupportedBackend("Keras {} is imported. Supported: {}.".format(keras.__version__, SUPPORTED))
        if keras.backend.backend() != "tensorflow":
            raise UnsupportedBackend("Keras {} computes on {!r}; supported is tensorflow. Set "
                                     "KERAS_BACKEND=tensorflow.".format(keras.__version__, keras.backend.backend()))
        if _tensorflow_version() >= (2, 0):
            raise UnsupportedBackend(
                "Standalone Keras {} runs on TensorFlow {}; it was made for 1.15. Install tensorflow==1.15.5, or use "
                "tf.keras.".format(keras.__version__, sys.modules["tensorflow"].__version__))
    return keras


def _is_standalone() -> bool:
    """Whether `keras` is the multi-backend Keras, not the implementation of tf.keras (from 2.4 on)."""
    return _major("keras") < 3 and numbers(getattr(sys.modules["keras"], "__version__", "2.4")) < (2, 4)


def _major(name: str) -> int:
    return numbers(getattr(sys.modules[name], "__version__", "0"))[0]


def _tensorflow_version() -> Tuple[int, ...]:
    return numbers(sys.modules["tensorflow"].__version__)


def numbers(version: Optional[str]) -> Tuple[int, ...]:
    """A version as numbers, to be compared."""
    parts = []
    for part in str(version).split(".")[:3]:
        digits = "".join(c for c in part if c.isdigit())
        parts.append(int(digits or 0))
    return tuple(parts) or (0,)


def _tensorflow_keras_is_keras3() -> bool:
    """TensorFlow 2.16 and later hand out Keras 3, unless they are told to use tf_keras."""
    if _tensorflow_version() < (2, 16):
        return False
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        return False
    importlib.import_module("keras")
    return True
