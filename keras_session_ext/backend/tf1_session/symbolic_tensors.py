"""Symbolic tensors of Keras models, evaluated where there is no session to run them in."""

from typing import Any, Dict, Iterator, List, Set

import numpy as np

from keras_session_ext.backend.contracts.session_access import StandInSessionAccess
from keras_session_ext.errors import ConfigError


class Symbols:
    """Evaluates symbolic tensors by calling the layers that made them.

    Args:
        access: to values.
        keras: the module.
    """

    def __init__(self, access: StandInSessionAccess, keras: Any):
        self._access = access
        self._keras = keras

    def is_symbolic(self, value: Any) -> bool:
        """Whether `value` is the output of a layer, not yet computed."""
        return (hasattr(value, "_keras_history") and not hasattr(value, "numpy")) or (
            type(value).__name__ == "KerasTensor")

    def evaluate(self, fetches: List[Any], feeds: Dict[int, Any], training: bool) -> List[np.ndarray]:
        """Values of symbolic tensors.

        Args:
            fetches: the tensors.
            feeds: (tensor, value) by the tensor's id.
            training: whether layers like Dropout are active.

        Raises:
            ConfigError: an input is missing or has another shape.
        """
        arrays = {id(tensor): self._array(tensor, value) for tensor, value in feeds.values()}
        values: Dict[int, Any] = {id(tensor): arrays[id(tensor)] for tensor in fetches if id(tensor) in feeds}
        left = [tensor for tensor in fetches if id(tensor) not in values]
        used = self._check(left, feeds)
        inputs = [tensor for tensor, _ in feeds.values() if id(tensor) in used]
        if left:
            try:
                function = self._keras.Model(inputs, left)
            except Exception as error:  # older Kerases take no intermediate tensor as an input
                raise ConfigError("Cannot compute {} from {}: {}. Feed the model's inputs.".format(
                    ", ".join(map(self._name, left)), ", ".join(map(self._name, inputs)), error))
            given = [self._access.as_tensor(arrays[id(tensor)], _dtype(tensor)) for tensor in inputs]
            made = function(given if len(given) > 1 else given[0], training=training)
            made = made if isinstance(made, (list, tuple)) else [made]
            values.update({id(tensor): self._access.to_numpy(value) for tensor, value in zip(left, made)})
        return [values[id(tensor)] for tensor in fetches]

    def _array(self, tensor: Any, value: Any) -> np.ndarray:
        """A value as it is fed: of the tensor's dtype, whose shape it must have."""
        try:
            array = np.asarray(value)
            array = array if array.dtype.kind in "SU" else array.astype(_numpy_dtype(tensor))
        except (TypeError, ValueError) as error:
            raise ConfigError("Cannot feed {!r} for {!r}: {}".format(value, self._name(tensor), error))
        _check_shape(self._name(tensor), tuple(tensor.shape), array.shape)
        return array

    def _check(self, fetches: List[Any], feeds: Dict[int, Any]) -> Set[int]:
        """The ids of the fed tensors that the fetches need; an input that is needed and not fed is an error."""
        used: Set[int] = set()
        seen: Set[int] = set()
        missing: List[str] = []

        def visit(tensor: Any) -> None:
            if id(tensor) in feeds:
                used.add(id(tensor))
                return
            if id(tensor) in seen:
                return
            seen.add(id(tensor))
            sources = list(self._sources(tensor))
            if not sources:
                missing.append(self._name(tensor))
            for source in sources:
                visit(source)

        for tensor in fetches:
            visit(tensor)
        if missing:
            raise ConfigError("The feed_dict lacks {}: a value for it is needed to compute {}. Write "
                              "feed_dict={{model.input: array}}.".format(
                                  ", ".join(repr(name) for name in missing), ", ".join(map(self._name, fetches))))
        return used

    @staticmethod
    def _sources(tensor: Any) -> Iterator[Any]:
        """The symbolic tensors that one is computed from; none for an input."""
        operation, node_index = tensor._keras_history[0], tensor._keras_history[1]
        node = operation._inbound_nodes[node_index]
        found = getattr(node, "input_tensors", None)
        if found is None:
            found = getattr(node, "keras_inputs", [])
        found = found if isinstance(found, (list, tuple)) else [found]
        return (one for one in found if hasattr(one, "_keras_history") and one is not tensor)

    @staticmethod
    def _name(tensor: Any) -> str:
        return str(getattr(tensor, "name", tensor)).split(":")[0]


def _dtype(tensor: Any) -> Any:
    return tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.as_numpy_dtype


def _numpy_dtype(tensor: Any) -> Any:
    """What NumPy has for a tensor's dtype; the small floats are fed as float32."""
    dtype = _dtype(tensor)
    return "float32" if str(dtype).startswith(("bfloat16", "float8")) else dtype


def _check_shape(name: str, expected: Any, received: Any) -> None:
    expected = tuple(None if one is None else getattr(one, "value", one) for one in expected)
    if len(expected) != len(received) or any(a is not None and a != b for a, b in zip(expected, received)):
        raise ConfigError("Cannot feed a value of shape {} for {!r}, which has the shape {}.".format(
            tuple(received), name, expected))


def only_tensor(name: str, original: Any) -> Any:
    """`model.input` of a Sequential: Keras's own answer where it has one, else the only one of `model.inputs`."""
    def read(model: Any) -> Any:
        try:
            return original.fget(model)
        except AttributeError:
            tensors = getattr(model, name + "s", None)
            if not tensors:
                raise
            return tensors[0] if len(tensors) == 1 else tensors

    return read
