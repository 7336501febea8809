"""The plain attributes of a Python object: what changed since a moment, and how to put it back.

Used for peers' callbacks and for data sources. Nothing is pickled: numbers,
text, lists, dicts, arrays and random generators are captured; so are the plain
attributes of the object's own helper objects, and the variables that its
functions close over.
"""

import types
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from keras_session_ext.state import tree

_LIMIT_BYTES = 1 << 30
_STATELESS = (types.ModuleType, types.BuiltinFunctionType, types.MethodType, type)
_DEPTH = 3


class Attributes:
    """The state of one object, by dotted names.

    Attributes:
        values: name -> plain value.
        opaque: names that hold something which cannot be captured.
    """

    def __init__(self, values: Dict[str, Any], opaque: List[str]):
        self.values = values
        self.opaque = opaque

    def fingerprints(self) -> Dict[str, str]:
        return {name: tree.fingerprint(value) for name, value in self.values.items()}


def look(subject: Any, skipped: set, family: Any) -> Attributes:
    """Reads the attributes of `subject`; nothing is copied.

    Args:
        subject: a callback or a data source.
        skipped: names that are no state.
        family: tells the framework's own objects and tensors.
    """
    values: Dict[str, Any] = {}
    opaque: List[str] = []
    for name, (_, _, value) in _places(subject, skipped, family, "", _DEPTH, set()).items():
        array = family.as_array(value)
        value = value if array is None else array
        try:
            tree.flatten(value)
        except (tree.NotPlain, RecursionError):
            opaque.append("{} ({})".format(name, type(value).__name__))
            continue
        values[name] = value
    return Attributes(values, opaque)


def _places(subject, skipped, family, prefix, depth, seen) -> Dict[str, Tuple[Any, Any, Any]]:
    """Dotted name -> (holder, key, value); `key` is None for a closure's cell, of which the holder is the cell."""
    found: Dict[str, Tuple[Any, Any, Any]] = {}
    for name, value in sorted(getattr(subject, "__dict__", {}).items()):
        if name in skipped or id(value) in seen:
            continue
        found.update(_place(subject, name, value, prefix + name, family, depth, seen))
    return found


def _place(holder, key, value, name, family, depth, seen):
    if isinstance(value, types.FunctionType):
        return _function_places(value, name, family, seen)
    if isinstance(value, _STATELESS) or (family.is_framework_object(value) and family.as_array(value) is None):
        return {}
    if depth and _is_helper(value):
        return _places(value, set(), family, name + ".", depth - 1, seen | {id(holder)})
    return {name: (holder, key, value)}


def _is_helper(value) -> bool:
    """An object of the user's own class, whose attributes are its state."""
    module = type(value).__module__
    return hasattr(value, "__dict__") and module not in ("builtins", "random", "threading", "io", "logging") \
        and not module.startswith(("numpy", "_"))


def _function_places(function, name, family, seen):
    found = {}
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            value = cell.cell_contents
        except ValueError:
            continue  # not bound yet
        if _holds_state(value) and id(value) not in seen:
            found["{}.{}".format(name, variable)] = (cell, None, value)
    for variable in function.__code__.co_names:
        value = function.__globals__.get(variable)
        if _holds_state(value) and not isinstance(value, (bool, int, float, str)):
            found["{}.{}".format(name, variable)] = (function.__globals__, variable, value)
    return found


def _holds_state(value) -> bool:
    return isinstance(value, (bool, int, float, str, list, dict, set, np.ndarray))


def changed(found: Attributes, baseline: Dict[str, str]) -> Tuple[Dict[str, Any], List[str]]:
    """Copies of the values that differ from `baseline`, and the names that are too large."""
    copies, large = {}, []
    for name, print_ in found.fingerprints().items():
        if baseline.get(name) == print_:
            continue
        if _size(found.values[name]) > _LIMIT_BYTES:
            large.append(name)
        else:
            copies[name] = tree.copy(found.values[name])
    return copies, large


def _size(value) -> int:
    return sum(array.nbytes for _, array in tree.flatten(value)[1])


def put_back(subject: Any, values: Dict[str, Any], skipped: set, family: Any) -> List[str]:
    """Sets captured values; returns the names for which there is no place any more."""
    places = _places(subject, skipped, family, "", _DEPTH, set())
    lost = []
    for name, value in values.items():
        if name in places:
            holder, key, live = places[name]
            _set(holder, key, live, tree.copy(value))
        elif "." not in name:
            setattr(subject, name, tree.copy(value))
        else:
            lost.append(name)
    return lost


def _set(holder, key, live, value) -> None:
    """In place where others may hold the same object, else anew."""
    if isinstance(live, list) and isinstance(value, list):
        live[:] = value
    elif type(live) is type(value) and isinstance(live, (dict, set)):
        live.clear()
        live.update(value)
    elif isinstance(live, np.ndarray) and isinstance(value, np.ndarray) and live.flags.writeable \
            and (live.shape, live.dtype) == (value.shape, value.dtype):
        live[...] = value
    elif key is None:
        holder.cell_contents = value
    elif isinstance(holder, dict):
        holder[key] = value
    else:
        setattr(holder, key, value)


def own_state(subject: Any) -> Optional[Tuple[Any, Any]]:
    """The object's own (get, set) functions of its state, where it offers them."""
    for get, put in (("get_state", "set_state"), ("state_dict", "load_state_dict")):
        pair = getattr(subject, get, None), getattr(subject, put, None)
        if all(map(callable, pair)):
            return pair
    return None
