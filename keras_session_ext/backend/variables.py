"""Keras 3's variables, and the parts of a model that plain Keras needs to open a file."""

import json
import re
from typing import Any, Dict, List, NamedTuple, Tuple


class Leaf(NamedTuple):
    """One variable of a model or optimizer.

    Attributes:
        key: position and local name, the same in every process.
        path: Keras's own path, for messages.
        shape, dtype: of the variable.
        variable: the Keras variable.
    """

    key: str
    path: str
    shape: Tuple[int, ...]
    dtype: str
    variable: Any


def leaves_of(variables) -> List[Leaf]:
    """Variables with keys that are the same in every process; each variable once."""
    made: List[Leaf] = []
    seen = set()
    for variable in variables:
        if id(variable) in seen:
            continue
        seen.add(id(variable))
        local = re.sub(r"_\d+$", "", str(variable.name))
        key = "{:04d}/{}".format(len(made), local)
        made.append(Leaf(key, str(variable.path), tuple(variable.shape), str(variable.dtype), variable))
    return made


class KerasParts(NamedTuple):
    """What plain Keras reads.

    Attributes:
        attributes: of the file's root.
        layers: (layer, [(weight name, variable)]) in the model's order.
        lacks: what could not be had.
    """

    attributes: Dict[str, bytes]
    layers: List[Tuple[str, List[Tuple[str, Any]]]]
    lacks: List[str]


def keras_parts(keras: Any, engine: str, model: Any) -> KerasParts:
    """Collects the parts; the user's `get_config` may fail, which is no reason not to save."""
    from keras.src.legacy.saving import json_utils, legacy_h5_format, saving_options

    attributes = {"keras_version": keras.__version__.encode(), "backend": engine.encode()}
    lacks = ["optimizer_weights: this Keras cannot reload them from .h5"]
    try:
        with saving_options.keras_option_scope(use_legacy_config=True):
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
