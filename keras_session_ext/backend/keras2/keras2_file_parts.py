"""The parts of a Keras 2 model that plain Keras needs to open a file: configuration, weights, optimizer weights."""

import json
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

import numpy as np

from keras_session_ext.backend.contracts.family import KerasParts

if TYPE_CHECKING:
    from keras_session_ext.backend.keras2.shared_by_keras2_families import Keras2


def keras2_parts(family: "Keras2", model: Any) -> KerasParts:
    """Collects the parts; the user's `get_config` may fail, which is no reason not to save.

    The layout is that of `save_model_to_hdf5` in
    https://github.com/keras-team/tf-keras/blob/master/tf_keras/src/saving/legacy/hdf5_format.py
    and the older `keras/engine/saving.py`.
    """
    version = family.describe()["keras"]
    attributes = {"keras_version": version.encode(), "backend": b"tensorflow"}
    lacks: List[str] = []
    for name, make in (("model_config", _model_config), ("training_config", _training_config)):
        try:
            value = make(family, model)
        except Exception as error:  # the user's get_config may raise anything; the view is best effort
            lacks.append("{}: {}".format(name, str(error).split("\n")[0][:200]))
            continue
        if value is not None:
            attributes[name] = json.dumps(value, default=_json_type).encode()
    optimizer: List[Tuple[str, Any]] = []
    if "training_config" in attributes:
        optimizer = [(_name(variable, number), variable)
                     for number, variable in enumerate(family.slots(model.optimizer))]
    else:
        lacks.append("optimizer_weights: no training_config")
    layers = [(layer.name, [(_name(v, i), v) for i, v in enumerate(_weights(layer))]) for layer in model.layers]
    listed = {id(variable) for _, entries in layers for _, variable in entries}
    own = [v for v in _weights(model) if id(v) not in listed]
    if own:
        layers.append(("top_level_model_weights", [(_name(v, i), v) for i, v in enumerate(own)]))
    return KerasParts(attributes, layers, lacks, optimizer)


def _name(variable: Any, number: int) -> str:
    return str(getattr(variable, "name", None) or "param_{}".format(number))


def _weights(layer: Any) -> List[Any]:
    """A layer's weights in the order of the file: trainable ones first, as they were when it was built."""
    return list(layer.trainable_weights) + list(layer.non_trainable_weights) if layer.trainable else list(layer.weights)


def _model_config(family: "Keras2", model: Any) -> Dict[str, Any]:
    return {"class_name": type(model).__name__, "config": model.get_config()}


def _training_config(family: "Keras2", model: Any) -> Any:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or type(optimizer).__name__ == "TFOptimizer":
        return None
    utilities = _saving_utilities(family)
    if utilities is not None:
        return utilities.model_metadata(model, True).get("training_config")
    return {
        "optimizer_config": {"class_name": type(optimizer).__name__, "config": optimizer.get_config()},
        "loss": model.loss, "metrics": getattr(model, "_compile_metrics", getattr(model, "metrics", None)),
        "weighted_metrics": getattr(model, "_compile_weighted_metrics", None),
        "sample_weight_mode": model.sample_weight_mode, "loss_weights": model.loss_weights,
    }


def _saving_utilities(family: "Keras2") -> Any:
    """The module with `model_metadata`, wherever this Keras keeps it; None in standalone Keras."""
    import importlib

    root = family.K.__name__.rsplit(".", 1)[0]
    for place in (".saving.legacy.saving_utils", ".saving.saving_utils"):
        try:
            return importlib.import_module(root + place)
        except ImportError:
            continue
    return None


def _json_type(value: Any) -> Any:
    """What Keras's own encoders make of objects in a configuration."""
    if hasattr(value, "get_config"):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "as_list"):  # a TensorShape
        return value.as_list()
    if type(value).__name__ == "DType":
        return value.name
    wrapped = getattr(value, "__wrapped__", None)  # tf.keras tracks dicts and lists in proxies
    if isinstance(wrapped, (dict, list, tuple)):
        return wrapped
    if hasattr(value, "__name__"):
        return value.__name__
    raise TypeError("Not JSON Serializable: {!r}".format(value))
