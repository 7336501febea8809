"""Plain values with a framework's tensors among them, such as the state of a loop on JAX."""

import collections
import random
import sys
from typing import Any, Dict, List, NamedTuple

import numpy as np

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.state import plain_values
from keras_session_ext.state.columns import Columns, columns_of
from keras_session_ext.state.walk_objects import GENERATORS, SCALARS, unwrapped

_SEALED = "sealed"


class Packed(NamedTuple):
    """A value as it is stored.

    Attributes:
        value: with arrays in the place of tensors.
        tensors: where those are.
        kinds: where a container is of another class than list, tuple, dict: its name, what makes it, its attributes.
    """

    value: Any
    tensors: List[str] = []
    kinds: Dict[str, Any] = {}

    def plain(self) -> Dict[str, Any]:
        """As a plain value."""
        return {"value": self.value, "tensors": self.tensors, "kinds": self.kinds}


def fingerprint(stored: Dict[str, Any]) -> str:
    """A checksum of what `Packed.plain` gave."""
    if not stored["kinds"]:
        return plain_values.fingerprint(stored["value"], ordered=True)
    return plain_values.fingerprint([stored["value"], stored["kinds"]], ordered=True)


def pack(value: Any, family: Family) -> Packed:
    """A value as it is stored; nothing is copied.

    Raises:
        NotPlain: something in it cannot be stored.
    """
    made = _Packing(family)
    packed = Packed(made.pack(value, ""), made.tensors, made.kinds)
    plain_values.flatten([packed.value, packed.kinds])
    return packed


class _Packing:
    """Packs one value."""

    def __init__(self, family: Family):
        self._family = family
        self.tensors: List[str] = []
        self.kinds: Dict[str, Any] = {}

    def pack(self, value: Any, path: str) -> Any:
        kind = type(value)
        if kind in SCALARS or value is None or isinstance(value, (np.ndarray, np.generic, *GENERATORS)):
            return value
        if isinstance(value, (list, tuple, dict, collections.deque)) and kind not in (
                list, tuple, dict) and not is_framework_kind(kind):
            self._note(value, path)
        if isinstance(value, dict):
            return {key: self.pack(item, "{}/{!r}".format(path, key)) for key, item in value.items()}
        columns = columns_of(value) if isinstance(value, (list, collections.deque)) else None
        if columns is not None:
            return columns
        if isinstance(value, (list, tuple, collections.deque)):
            items = [self.pack(item, "{}/{}".format(path, i)) for i, item in enumerate(value)]
            return tuple(items) if isinstance(value, tuple) else items
        array = self._family.as_array(value)
        if array is not None:
            self.tensors.append(path)
            return array
        unsealed = self._family.engine.unsealed(value)
        if unsealed is not None:
            self.kinds[path] = [_SEALED, unsealed[1], {}]
            return unsealed[0]
        return unwrapped(value)

    def _note(self, value: Any, path: str) -> None:
        """What class it is of, in words: one of `collections`, or of the script's own."""
        kind = type(value)
        made_with: Any = None
        if isinstance(value, collections.defaultdict):
            made_with = getattr(value.default_factory, "__qualname__", "") if value.default_factory else None
        elif isinstance(value, collections.deque):
            made_with = value.maxlen
        elif isinstance(value, tuple) and not hasattr(kind, "_fields"):
            raise plain_values.NotPlain("{} ({})".format(path or "value", kind.__name__))
        attributes = {name: self.pack(item, "{}@{}".format(path, name)) for name, item in getattr(
            value, "__dict__", {}).items()}
        self.kinds[path] = [_name_of(kind), made_with, attributes]


def is_framework_kind(kind: type) -> bool:
    """Whether a class of containers is a framework's, which puts it in the place of a plain one."""
    return kind.__module__.split(".")[0] in ("keras", "tf_keras", "tensorflow", "torch", "jax")


def _name_of(kind: type) -> str:
    return "{}:{}".format(kind.__module__, kind.__qualname__)


def unpack(stored: Dict[str, Any], live: Any, family: Family) -> Any:
    """The value again.

    Args:
        stored: what `Packed.plain` gave; it is used up.
        live: what the variable holds now, or None. It is changed in place where others may hold it, too.
        family: makes tensors.

    Raises:
        TypeError: it holds an object of a class of the script's which only that can make.
    """
    return _Unpacking(family, set(stored["tensors"]), stored["kinds"]).unpack(stored["value"], live, "")


class _Unpacking:
    """Makes one value again."""

    def __init__(self, family: Family, tensors: set, kinds: Dict[str, Any]):
        self._family, self._tensors, self._kinds = family, tensors, kinds

    def unpack(self, value: Any, live: Any, path: str) -> Any:
        value = value.items() if isinstance(value, Columns) else value
        if path in self._tensors:
            return self._family.engine.tensor_like(value, live, self._family.to_tensor)
        if type(value) in (list, tuple):
            known = isinstance(live, (list, tuple, collections.deque)) and len(live) == len(value)
            items = [self.unpack(item, one, "{}/{}".format(path, i))
                     for i, (item, one) in enumerate(zip(value, live if known else [None] * len(value)))]
            return self._filled(items if isinstance(value, list) else tuple(items), live, path)
        if isinstance(value, dict):
            lives = live if isinstance(live, dict) else {}
            made = {key: self.unpack(item, dict.get(lives, key), "{}/{!r}".format(path, key))
                    for key, item in value.items()}
            return self._filled(made, live, path)
        if path in self._kinds:
            return self._family.engine.sealed(value, self._kinds[path][1])
        return in_place(value, live)

    def _filled(self, made: Any, live: Any, path: str) -> Any:
        """A container of the right class with these items: the live one, or a new one."""
        if path not in self._kinds:
            alike = type(live) is type(made) or (live is not None and is_framework_kind(type(live)))
            return _fill(live, made) if alike and isinstance(live, type(made)) and not isinstance(made, tuple) else made
        name, made_with, attributes = self._kinds[path]
        if isinstance(made, tuple):
            return tuple.__new__(_named_tuple(name, live, len(made)), made)
        if live is None or _name_of(type(live)) != name or getattr(live, "maxlen", made_with) != made_with:
            live = _new(name, made_with)
        filled = _fill(live, made)
        for attribute, item in attributes.items():
            old = vars(filled).get(attribute)
            vars(filled)[attribute] = self.unpack(item, old, "{}@{}".format(path, attribute))
        for attribute in set(getattr(filled, "__dict__", ())) - set(attributes):
            del vars(filled)[attribute]
        return filled


def _fill(live: Any, made: Any) -> Any:
    """Puts items into a container by the methods of Python's own class: the script's may do more."""
    if isinstance(live, dict):
        kind: Any = collections.OrderedDict if isinstance(live, collections.OrderedDict) else dict
        kind = type(live) if is_framework_kind(type(live)) else kind
        kind.clear(live)
        for key, item in made.items():
            kind.__setitem__(live, key, item)
    elif isinstance(live, list):
        live[:] = made
    else:
        live.clear()
        live.extend(made)
    return live


_FACTORIES: Dict[str, Any] = {one.__qualname__: one for one in (
    bool, int, float, str, list, tuple, dict, set, collections.Counter, collections.OrderedDict, collections.deque)}


def _new(name: str, made_with: Any) -> Any:
    """An empty container of one of Python's own classes.

    Raises:
        TypeError: it is of another class, or made with a function of the script's.
    """
    if name == "collections:defaultdict" and (made_with is None or made_with in _FACTORIES):
        return collections.defaultdict(None if made_with is None else _FACTORIES[made_with])
    if name == "collections:deque":
        return collections.deque(maxlen=made_with)
    if name in ("collections:Counter", "collections:OrderedDict"):
        return _FACTORIES[name.split(":")[1]]()
    raise TypeError("it holds a {}".format(name))


def _named_tuple(name: str, live: Any, count: int) -> Any:
    """The class of a tuple with names: that of the one in its place, or the script's of this name.

    Raises:
        TypeError: there is none, or it has other names.
    """
    module, _, path = name.partition(":")
    kind = type(live) if live is not None and _name_of(type(live)) == name else getattr(
        sys.modules.get(module), path, None)
    if not (isinstance(kind, type) and issubclass(kind, tuple) and len(getattr(kind, "_fields", ())) == count):
        raise TypeError("it holds a tuple with names")
    return kind


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
