"""Plain values with a framework's tensors among them, such as the state of a loop on JAX."""

import random
from typing import Any, Dict, List, NamedTuple

import numpy as np

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.state import plain_values
from keras_session_ext.state.walk_objects import GENERATORS, SCALARS, unwrapped


class Packed(NamedTuple):
    """A value as it is stored.

    Attributes:
        value: with arrays in the place of tensors.
        tensors: where those are.
        named: where tuples have names, whose classes only the script knows.
    """

    value: Any
    tensors: List[str]
    named: List[str]

    def plain(self) -> Dict[str, Any]:
        """As a plain value."""
        return {"value": self.value, "tensors": self.tensors, "named": self.named}


def pack(value: Any, family: Family) -> Packed:
    """A value as it is stored; nothing is copied.

    Raises:
        NotPlain: something in it cannot be stored.
    """
    tensors: List[str] = []
    named: List[str] = []
    made = _pack(value, family, "", tensors, named)
    plain_values.flatten(made)
    return Packed(made, tensors, named)


def _pack(value: Any, family: Family, path: str, tensors: List[str], named: List[str]) -> Any:
    kind = type(value)
    if kind in SCALARS or value is None or isinstance(value, (np.ndarray, np.generic, *GENERATORS)):
        return value
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        named.append(path)
        return tuple(_pack(item, family, "{}/{}".format(path, i), tensors, named) for i, item in enumerate(value))
    if kind in (list, tuple):
        return kind(_pack(item, family, "{}/{}".format(path, i), tensors, named) for i, item in enumerate(value))
    if kind is dict:
        return {key: _pack(item, family, "{}/{!r}".format(path, key), tensors, named) for key, item in value.items()}
    array = family.as_array(value)
    if array is not None:
        tensors.append(path)
        return array
    return unwrapped(value)


def unpack(stored: Dict[str, Any], live: Any, family: Family) -> Any:
    """The value again.

    Args:
        stored: what `Packed.plain` gave; it is used up.
        live: what the variable holds now, or None. It is changed in place where others may hold it, too.
        family: makes tensors.

    Raises:
        TypeError: it holds a tuple with names, and the variable holds none from which to take the class.
    """
    return _unpack(stored["value"], live, family, "", set(stored["tensors"]), set(stored["named"]))


def _unpack(value: Any, live: Any, family: Family, path: str, tensors: set, named: set) -> Any:
    if path in tensors:
        return family.engine.tensor_like(value, live, family.to_tensor)
    if type(value) in (list, tuple):
        lives = live if isinstance(live, (list, tuple)) and len(live) == len(value) else [None] * len(value)
        items = [_unpack(item, one, family, "{}/{}".format(path, i), tensors, named)
                 for i, (item, one) in enumerate(zip(value, lives))]
        if path in named:
            if not hasattr(type(live), "_fields") or len(live) != len(items):
                raise TypeError("it holds a tuple with names")
            return type(live)(*items)
        if isinstance(live, list) and isinstance(value, list):
            live[:] = items
            return live
        return type(value)(items)
    if isinstance(value, dict):
        known = live if isinstance(live, dict) else {}
        made = {key: _unpack(item, known.get(key), family, "{}/{!r}".format(path, key), tensors, named)
                 for key, item in value.items()}
        if isinstance(live, dict):
            live.clear()
            live.update(made)
            return live
        return made
    return in_place(value, live)


def in_place(value: Any, live: Any) -> Any:
    """Gives `live` the value where it can be changed: another variable may be the same object, or a view of it.

    Returns:
        `live`, or else the value itself.
    """
    if isinstance(live, np.ndarray) and isinstance(value, np.ndarray) and live.flags.writeable \
            and (live.shape, live.dtype) == (value.shape, value.dtype):
        live[...] = value
        return live
    if type(live) is type(value):
        if isinstance(value, np.random.RandomState):
            live.set_state(value.get_state())
            return live
        if isinstance(value, np.random.Generator) and type(live.bit_generator) is type(value.bit_generator):
            live.bit_generator.state = value.bit_generator.state
            return live
        if isinstance(value, random.Random):
            live.setstate(value.getstate())
            return live
        if isinstance(value, (set, dict)) or hasattr(value, "maxlen"):
            items = list(value)
            live.clear()
            (live.update if isinstance(value, set) else live.extend)(items)
            return live
    return value
