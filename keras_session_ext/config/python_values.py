"""From values of Python to entries: mappings, DictConfigs, dataclasses, and what a parser made."""

import dataclasses
import enum
import functools
import numbers
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Dict, List, Tuple

from keras_session_ext.config.entries import Content, Entry, Foreign, Path, Place, Problem, Wrong
from keras_session_ext.config.message_text import shown

#: the places of a key and of its value, by the mapping's place, the path of both, and a number that orders them
Find = Callable[[Place, Path, int], Tuple[Place, Place]]


def is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def in_order(place: Place, path: Path, index: int) -> Tuple[Place, Place]:
    both = place._replace(order=(*place.order, index))
    return both, both


def by_places(places: Dict[Path, Tuple[Place, Place]]) -> Find:
    return lambda place, path, index: places.get(path, (place, place))


def from_python(get: Callable[[], Any], place: Place, find: Find, path: Path = (),
                above: Tuple[int, ...] = ()) -> Entry:
    """An entry for what `get` returns.

    `get` is called when the entry is looked at, not before: in a DictConfig that
    resolves an interpolation, and may fail.
    """
    return Entry(place, read=lambda: _content(get, place, find, path, above))


def _content(get: Callable[[], Any], place: Place, find: Find, path: Path, above: Tuple[int, ...]) -> Content:
    try:
        value = get()
        if id(value) in above:
            return Content(Wrong("a mapping or list that contains itself"))

        def inside(get: Callable[[], Any], key: Any, index: int) -> Tuple[Place, Entry]:
            key_place, value_place = find(place, (*path, key), index)
            return key_place, from_python(get, value_place, find, (*path, key), (*above, id(value)))

        if is_mapping(value):
            return _mapping(value, place, inside)
        if is_list(value):
            return Content([inside(functools.partial(value.__getitem__, i), i, i)[1] for i in range(len(value))])
        return Content(_scalar(value))
    except Exception as error:  # foreign code: resolvers, properties
        return Content(Wrong(_why(error)))


def _mapping(value: Any, place: Place, inside: Any) -> Content:
    values: Dict[str, Entry] = {}
    keys: Dict[str, Place] = {}
    faults: List[Problem] = []
    get_item = value.__getitem__ if isinstance(value, Mapping) else functools.partial(getattr, value)
    known = list(value) if isinstance(value, Mapping) else [field.name for field in dataclasses.fields(value)]
    for index, key in enumerate(known):
        if isinstance(key, str):
            keys[key], values[key] = inside(functools.partial(get_item, key), key, index)
        else:
            faults.append(Problem(place, (), "expected text as a key; received {}".format(shown(Foreign(key)))))
    return Content(values, keys, faults)


def _why(error: Exception) -> str:
    if type(error).__name__ == "MissingMandatoryValue":
        return "'???' stands for a value that must be given; give it"
    lines = str(error).strip().splitlines() or [""]
    return "cannot be read: {}: {}".format(type(error).__name__, lines[0])


def _scalar(value: Any) -> Any:
    """Plain values of others' types: NumPy's numbers, paths, enums, dates."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, signal.Signals):
        return value.name
    if isinstance(value, enum.Enum):
        return _scalar(value.value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return Foreign(value)
