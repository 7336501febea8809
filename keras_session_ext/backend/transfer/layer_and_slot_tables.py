"""What belongs to what in a model and its optimizers, in words that every family shares.

A checkpoint carries these tables, so that another family can find its weights
and slots: layers in the order of the model with their weights, and for each
optimizer its slots by the weight they serve. Names are those of optimizer_v2.
"""

import re
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Set, Tuple

if TYPE_CHECKING:
    from keras_session_ext.backend.contracts.family import Family

#: optimizer -> {attribute of the newer optimizers: name of the slot}
_ATTRIBUTES = {
    "SGD": {"momentums": "momentum"},
    "RMSprop": {"_velocities": "rms", "_momentums": "momentum", "_average_gradients": "mg"},
    "Adam": {"_momentums": "m", "_velocities": "v", "_velocity_hats": "vhat"},
    "AdamW": {"_momentums": "m", "_velocities": "v", "_velocity_hats": "vhat"},
    "Adagrad": {"_accumulators": "accumulator"},
    "Adadelta": {"_accumulated_grads": "accum_grad", "_accumulated_delta_vars": "accum_var"},
    "Adamax": {"_m": "m", "_u": "v"},
    "Nadam": {"_momentums": "m", "_velocities": "v"},
    "Ftrl": {"_accumulators": "accumulator", "_linears": "linear"},
}
#: optimizer -> slots in the order of `weights` in standalone Keras, one for each weight of the model
_ORDER = {
    "SGD": ["momentum"], "RMSprop": ["rms"], "Adam": ["m", "v", "vhat"], "Adagrad": ["accumulator"],
    "Adadelta": ["accum_grad", "accum_var"], "Adamax": ["m", "v"], "Nadam": ["m", "v"],
}
#: settings that decide what a slot means
_SETTINGS = ("decay", "schedule_decay", "momentum", "nesterov", "rho", "centered", "beta_1", "beta_2", "epsilon",
             "amsgrad", "learning_rate_power")
#: settings of layers that decide how their weights are laid out
_LAYOUT = ("reset_after", "data_format", "units", "filters")
#: settings that decide what a layer computes, and whose defaults differ between the versions
_COMPUTES = ("activation", "recurrent_activation", "epsilon")


def layer_table(model: Any, places: Dict[int, int]) -> List[Dict[str, Any]]:
    """The layers that have weights, nested models taken apart.

    Args:
        model: the model.
        places: id of a variable -> its number among the model's variables.

    Returns:
        For each layer its name, class, layout settings, and [local weight name, number] in its order.
    """
    table: List[Dict[str, Any]] = []
    seen: Set[int] = set()
    for layer in _layers(model):
        weights = [weight for weight in _weights(layer) if id(weight) in places and id(weight) not in seen]
        seen.update(id(weight) for weight in weights)
        if weights:
            table.append({"name": str(layer.name), "class": _class(layer), "layout": _layout(layer),
                          "computes": _computes(layer),
                          "weights": [[_local(weight), places[id(weight)]] for weight in weights]})
    return table


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers") and not hasattr(layer, "cell"):
            yield from _layers(layer)
        else:
            yield layer
    yield model  # weights of its own


def _weights(layer: Any) -> List[Any]:
    """A layer's own weights, then those of its parts: an order that freezing does not change."""
    found: List[Any] = []
    _own_weights(layer, found)
    known, listed = {id(weight) for weight in layer.weights}, {id(weight) for weight in found}
    return [weight for weight in found if id(weight) in known] if known <= listed else list(layer.weights)


def _own_weights(layer: Any, found: List[Any]) -> None:
    for names in (("_trainable_weights", "_trainable_variables"), ("_non_trainable_weights",
                                                                   "_non_trainable_variables")):
        own: List[Any] = next(
            (getattr(layer, name) for name in names if isinstance(getattr(layer, name, None), list)), [])
        found += [weight for weight in own if not any(weight is one for one in found)]
    for part in getattr(layer, "_layers", None) or []:
        if hasattr(part, "weights"):
            _own_weights(part, found)


def _class(value: Any) -> str:
    return re.sub(r"V[12]$", "", type(value).__name__)


def _layout(layer: Any) -> Dict[str, Any]:
    found = {}
    for name in _LAYOUT:
        value = getattr(layer, name, getattr(getattr(layer, "cell", None), name, None))
        if isinstance(value, (bool, int, str)):
            found[name] = value
    return found


def _computes(layer: Any) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for name in _COMPUTES:
        value = getattr(layer, name, getattr(getattr(layer, "cell", None), name, None))
        if callable(value):
            found[name] = _function_name(value)
        elif isinstance(value, (float, str)):
            found[name] = value
    return found


def _function_name(function: Any) -> str:
    """An activation's name, and its slope where Keras 3 gave the same name to another function."""
    name = str(getattr(function, "__name__", type(function).__name__))
    if name != "hard_sigmoid":
        return name
    newer = str(getattr(function, "__module__", "")).endswith("activations.activations")
    return "hard_sigmoid of slope {}".format("1/6" if newer else "1/5")


def _local(variable: Any) -> str:
    path = str(getattr(variable, "path", None) or variable.name).split(":")[0]
    return re.sub(r"_\d+$", "", path.split("/")[-1])


def optimizer_table(optimizer: Any, model: Any, places: Dict[int, int], slots: Dict[int, int],
                    plain: List[Any]) -> Dict[str, Any]:
    """One optimizer's slots by the weight they serve.

    Args:
        optimizer: any generation's; a loss scale around it is looked through.
        model: the model it trains.
        places: id of a model variable -> its number.
        slots: id of an optimizer variable -> its number.
        plain: what Keras itself saves for the optimizer, in order.

    Returns:
        Class, settings, {slot: [[number of the weight, number of the slot], ...]}, {scalar: number}, and, where the
        optimizer itself knows, the numbers of the weights that it trains.
    """
    optimizer = getattr(optimizer, "inner_optimizer", getattr(optimizer, "_optimizer", optimizer))
    kind = _class(optimizer)
    pairs = list(_pairs(optimizer, kind, model, plain))
    table: Dict[str, List[List[int]]] = {}
    for name, weight, slot in pairs:
        if id(weight) in places and id(slot) in slots:
            table.setdefault(name, []).append([places[id(weight)], slots[id(slot)]])
    scalars = {name: slots[id(variable)] for name, variable in _scalars(optimizer) if id(variable) in slots}
    trained = getattr(optimizer, "_trainable_variables", None) or []
    return {"class": kind, "settings": _settings(optimizer), "slots": table, "scalars": scalars,
            "form": _form(optimizer, kind), "trains": [places[id(one)] for one in trained if id(one) in places]}


def _form(optimizer: Any, kind: str) -> str:
    """How this generation computes what others compute in another way; empty where all agree.

    RMSprop and Adagrad add epsilon inside the root, or outside; Nadam keeps its momentum schedule as a product over
    steps, over steps and weights, or as a cache:
    https://github.com/keras-team/tf-keras/blob/master/tf_keras/src/optimizers and its folder legacy.
    """
    older = hasattr(optimizer, "get_slot_names") or hasattr(optimizer, "get_updates")
    if kind == "Nadam":
        return "{} {}".format("older" if older else "newer", type(optimizer).__module__.split(".")[0])
    if kind == "Adagrad" or (kind == "RMSprop" and not _fused(optimizer)):
        return "epsilon outside the root" if older else "epsilon inside the root"
    return "epsilon inside the root" if kind == "RMSprop" else ""


def _fused(optimizer: Any) -> bool:
    """Whether optimizer_v2's RMSprop leaves the update to the op, which it does with momentum."""
    return hasattr(optimizer, "get_slot_names") and bool(getattr(optimizer, "_momentum", False))


def _pairs(optimizer: Any, kind: str, model: Any, plain: List[Any]) -> Iterator[Tuple[str, Any, Any]]:
    trained = list(getattr(optimizer, "_trainable_variables", None) or model.trainable_weights)
    if hasattr(optimizer, "get_slot_names"):  # optimizer_v2
        for name in optimizer.get_slot_names():
            for weight in trained:
                try:
                    yield name, weight, optimizer.get_slot(weight, name)
                except KeyError:  # not every weight has every slot
                    continue
        return
    attributes = {name: slot for name, slot in _ATTRIBUTES.get(kind, {}).items()
                  if isinstance(getattr(optimizer, name, None), (list, tuple)) and getattr(optimizer, name)}
    if attributes:  # the newer optimizers and Keras 3
        for name, slot in attributes.items():
            for weight, variable in zip(trained, getattr(optimizer, name)):
                yield slot, weight, variable
        return
    order = _ORDER.get(kind, [])
    blocks = plain[len(plain) - len(order) * len(trained):]  # counters stand before them
    for number, slot in enumerate(order if len(plain) >= len(order) * len(trained) else []):
        part = blocks[number * len(trained):(number + 1) * len(trained)]
        for weight, variable in zip(trained, part):
            if tuple(variable.shape) == tuple(weight.shape):  # Keras 2.3 has dummies for slots that are not used
                yield slot, weight, variable


def _scalars(optimizer: Any) -> Iterator[Tuple[str, Any]]:
    yield "iterations", getattr(optimizer, "iterations", None)
    hyper = getattr(optimizer, "_hyper", None) or {}
    for name in ("_learning_rate", "learning_rate", "lr"):
        value = vars(optimizer).get(name, hyper.get(name))
        if value is not None and hasattr(value, "shape"):
            yield "learning_rate", value
            break
    for attribute, name in (("_u_product", "u_product"), ("_m_cache", "m_schedule"), ("m_schedule", "m_schedule")):
        if attribute in vars(optimizer):  # Nadam's, which newer versions compute in another way
            yield name, vars(optimizer)[attribute]


def _settings(optimizer: Any) -> Dict[str, Any]:
    try:
        config = dict(optimizer.get_config())
    except Exception:  # a user's get_config; it only serves the report
        return {}
    return {name: value if isinstance(value, (bool, str, type(None))) else float(value)
            for name, value in config.items() if name in _SETTINGS and isinstance(value, (bool, int, float, str))}


def tables(family: "Family", model: Any) -> Dict[str, Any]:
    """Both tables of a model, with numbers into `family.model_variables` and `family.optimizer_variables`."""
    places = {id(leaf.variable): number for number, leaf in enumerate(family.model_variables(model))}
    slots = {id(leaf.variable): number for number, leaf in enumerate(family.optimizer_variables(model))}
    return {
        "layers": layer_table(model, places),
        "optimizers": [optimizer_table(optimizer, model, places, slots, family.slots(optimizer))
                       for optimizer in family.optimizers(model)],
    }
