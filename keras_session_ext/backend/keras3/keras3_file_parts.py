"""The parts of a Keras 3 model that plain Keras needs to open a file: configuration and weights."""

import contextlib
import json
import sys
from typing import Any, Iterator

from keras_session_ext.backend.contracts.family import KerasParts


@contextlib.contextmanager
def tensorflow_left_out() -> Iterator[None]:
    """Keras imports TensorFlow, for seconds, to serialize a config; where nobody imported it, no value is one of its.

    https://github.com/keras-team/keras/blob/v3.12.0/keras/src/saving/serialization_lib.py
    """
    from keras.src.utils import module_utils

    lazy = module_utils.tensorflow
    if "tensorflow" in sys.modules or getattr(lazy, "_available", False) is not None:
        yield
        return
    lazy._available = False
    try:
        yield
    finally:
        lazy._available = None


def keras3_parts(keras: Any, engine: str, model: Any) -> KerasParts:
    """Collects the parts; the user's `get_config` may fail, which is no reason not to save."""
    from keras.src.legacy.saving import json_utils, legacy_h5_format, saving_options

    attributes = {"keras_version": keras.__version__.encode(), "backend": engine.encode()}
    lacks = ["optimizer_weights: this Keras cannot reload them from .h5"]
    try:
        with saving_options.keras_option_scope(use_legacy_config=True), tensorflow_left_out():
            config = {"class_name": type(model).__name__, "config": model.get_config()}
            attributes["model_config"] = json.dumps(config, default=json_utils.get_json_type).encode()
    except Exception as error:  # the user's get_config may raise anything; the view is best effort
        lacks.append("model_config: {}".format(str(error).split("\n")[0][:200]))
    layers = [(layer.name, [(str(v.path), v) for v in legacy_h5_format._legacy_weights(layer)])
              for layer in model.layers]
    own = model._trainable_variables + model._non_trainable_variables
    weights = {id(v) for v in model.weights}
    layers.append(("top_level_model_weights", [(str(v.path), v) for v in own if id(v) in weights]))
    return KerasParts(attributes, layers, lacks)
