"""Variables and optimizers as the adapters see them, and what plain Keras needs to open a file of Keras 3."""

import contextlib
import json
import re
import sys
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple


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


def weights_of(layer: Any) -> List[Any]:
    """The weights of a layer or model; none before it is built, which Keras 2 answers with an error."""
    try:
        return list(layer.weights)
    except ValueError:
        return []


def states_of(layer: Any) -> Iterator[Any]:
    """The states that stateful recurrent layers carry from batch to batch."""
    if getattr(layer, "stateful", False):
        yield from _flat(getattr(layer, "states", None))
    parts = [getattr(layer, name, None) for name in ("layer", "forward_layer", "backward_layer")]
    for part in list(getattr(layer, "layers", None) or []) + parts:
        if part is not None:
            yield from states_of(part)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value


class KerasParts(NamedTuple):
    """What plain Keras reads.

    Attributes:
        attributes: of the file's root.
        layers: (layer, [(weight name, variable)]) in the model's order.
        lacks: what could not be had.
        optimizer: the optimizer's (weight name, variable), where this Keras can load them again.
    """

    attributes: Dict[str, bytes]
    layers: List[Tuple[str, List[Tuple[str, Any]]]]
    lacks: List[str]
    optimizer: List[Tuple[str, Any]] = []


@contextlib.contextmanager
def _tensorflow_left_out() -> Iterator[None]:
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


def keras_parts(keras: Any, engine: str, model: Any) -> KerasParts:
    """Collects the parts; the user's `get_config` may fail, which is no reason not to save."""
    from keras.src.legacy.saving import json_utils, legacy_h5_format, saving_options

    attributes = {"keras_version": keras.__version__.encode(), "backend": engine.encode()}
    lacks = ["optimizer_weights: this Keras cannot reload them from .h5"]
    try:
        with saving_options.keras_option_scope(use_legacy_config=True), _tensorflow_left_out():
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


def optimizers_of(model: Any, is_optimizer: Callable[[Any], bool]) -> List[Any]:
    """The compiled optimizer, and those that are attributes of the model (GANs)."""
    found: List[Any] = []

    def visit(value, depth):
        if is_optimizer(value):
            if not any(value is one for one in found):
                found.append(value)
        elif depth and isinstance(value, (list, tuple)):
            for item in value:
                visit(item, depth - 1)
        elif depth and isinstance(value, dict):
            for key in sorted(value, key=str):
                visit(value[key], depth - 1)

    visit(getattr(model, "optimizer", None), 1)
    visit({name: value for name, value in vars(model).items() if not name.startswith("_")}, 3)
    return found


def optimizer_settings(optimizers: List[Any]) -> Dict[str, str]:
    """The settings of a script's optimizers, as text."""
    made: Dict[str, str] = {}
    for number, optimizer in enumerate(optimizers):
        whose = "optimizer {}".format(number) if number else "optimizer"
        made[whose] = type(optimizer).__name__
        try:
            config = dict(optimizer.get_config())
        except Exception:  # a user's get_config; it only serves the list of changes
            config = {}
        made.update({"{}.{}".format(whose, name): as_text(value) for name, value in config.items() if name != "name"})
    return made


def as_text(value: Any) -> str:
    """A setting as text that is the same in every process."""
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return text if len(text) <= 400 else text[:400] + "…"
