"""From a source to entries: files, mappings, DictConfigs, dataclasses."""

import dataclasses
import difflib
import enum
import functools
import numbers
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Dict, List, Tuple

from keras_session_ext import files
from keras_session_ext.config import parse_json, parse_toml, parse_yaml
from keras_session_ext.config.located_values import (
    Content,
    Entry,
    Foreign,
    Path,
    Place,
    Problem,
    Unreadable,
    Wrong,
    shown,
)

MOST_BYTES = 1 << 20
SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_ANY_SUFFIX = ".yaml, .yml, .json or .toml"

#: the places of a key and of its value, by the mapping's place, the path of both, and a number that orders them
Find = Callable[[Place, Path, int], Tuple[Place, Place]]


def read(config: Any) -> Entry:
    """Reads a source; of a mapping only what is looked at.

    Args:
        config: the path of a file; a mapping, a list of entries, a DictConfig or a dataclass instance.

    Raises:
        Unreadable: nothing can be made of it.

    Example:
        >>> read({"session": {"verbose": 0}}).at(("session", "verbose")).value
        0
    """
    if isinstance(config, (str, os.PathLike)):
        return _read_file(config)
    if _is_mapping(config) or _is_list(config):
        return from_python(lambda: config, Place("config"), _in_order)
    raise Unreadable(Problem(Place("config"), (), "expected the path of a {} file, a mapping, a DictConfig or a "
                             "dataclass instance; received {}".format(_ANY_SUFFIX, shown(Foreign(config)))))


def _read_file(config: Any) -> Entry:
    path = os.fspath(config)
    if not isinstance(path, str):
        raise Unreadable(Problem(Place("config"), (), "expected a path as text; received {!r}".format(path)))
    suffix = os.path.splitext(path)[1].lower()
    name = path if path.isprintable() else repr(path)  # one problem is one line
    text = read_text(path, name)
    if suffix == ".json":
        return parse_json.parse(text, name)
    if suffix == ".toml":
        values, places = parse_toml.parse(text, name)
        return from_python(lambda: values, Place.in_file(name, 1, 1), _by(places))
    return parse_yaml.parse(text, name)


def read_text(path: str, name: str) -> str:
    """The text of a config file.

    Args:
        path: where it is.
        name: what it is called in messages.

    Raises:
        Unreadable: why there is none.
    """
    def refuse(text: str, *values: Any) -> Unreadable:
        return Unreadable(Problem(Place(name or "config"), (), text.format(*values)))

    try:
        data = files.read_foreign(path, MOST_BYTES + 1)
    except FileNotFoundError:
        raise refuse("no such file{}", _nearest(path))
    except IsADirectoryError:
        raise refuse("expected a {} file; this is a directory", _ANY_SUFFIX)
    except OSError as error:
        raise refuse("cannot be read: {}", error.strerror)
    except ValueError:  # a null character, a lone surrogate
        raise refuse("no file can have such a name")
    if not path.lower().endswith(SUFFIXES):
        raise refuse("expected a file that ends in {}", _ANY_SUFFIX)
    if len(data) > MOST_BYTES:
        raise refuse("larger than 1 MiB; a config is a small file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("not UTF-8: byte {:#04x} at position {}", data[error.start], error.start)
    if not text.strip():
        raise refuse("the file is empty")
    return text


def _nearest(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        found = difflib.get_close_matches(name, files.names(folder or "."), n=1)
    except OSError:
        return "; there is no folder {!r}".format(folder)
    return "; did you mean {!r}?".format(os.path.join(folder, found[0])) if found else ""


# -- values of Python


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _in_order(place: Place, path: Path, index: int) -> Tuple[Place, Place]:
    both = place._replace(order=(*place.order, index))
    return both, both


def _by(places: parse_toml.Places) -> Find:
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

        if _is_mapping(value):
            return _mapping(value, place, inside)
        if _is_list(value):
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
