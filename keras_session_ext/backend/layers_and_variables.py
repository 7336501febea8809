"""Variables as the adapters see them."""

import re
from typing import Any, Callable, Iterable, Iterator, List, NamedTuple, Tuple

from keras_session_ext.backend.nested_values import flat


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


def leaves_of(variables: Iterable[Any], dtype_name: Callable[[Any], str]) -> List[Leaf]:
    """Variables with keys that are the same in every process; each variable once.

    Args:
        variables: of Keras 3.
        dtype_name: tells the dtype of a variable's value.
    """
    made: List[Leaf] = []
    seen = set()
    for variable in variables:
        if id(variable) in seen:
            continue
        seen.add(id(variable))
        local = re.sub(r"_\d+$", "", str(variable.name))
        key = "{:04d}/{}".format(len(made), local)
        made.append(Leaf(key, str(variable.path), tuple(variable.shape), dtype_name(variable), variable))
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
        yield from flat(getattr(layer, "states", None))
    parts = [getattr(layer, name, None) for name in ("layer", "forward_layer", "backward_layer")]
    for part in list(getattr(layer, "layers", None) or []) + parts:
        if part is not None:
            yield from states_of(part)


def layers_of(layer: Any) -> Iterator[Any]:
    """The layers within a layer or model of Keras 2, at all depths, parents first; such as stand in attributes, too."""
    for part in list(getattr(layer, "layers", None) or getattr(layer, "_layers", None) or []) + [
            getattr(layer, name, None) for name in ("layer", "forward_layer", "backward_layer", "cell")]:
        if part is not None and hasattr(part, "call"):
            yield part
            yield from layers_of(part)


