"""From a source to entries: files, mappings, DictConfigs, dataclasses."""

import difflib
import os
from typing import Any

from keras_session_ext import files
from keras_session_ext.config import parse_json, parse_toml, parse_yaml
from keras_session_ext.config.entries import Entry, Foreign, Place, Problem, Unreadable
from keras_session_ext.config.message_text import shown
from keras_session_ext.config.python_values import by_places, from_python, in_order, is_list, is_mapping

MOST_BYTES = 1 << 20
SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_ANY_SUFFIX = ".yaml, .yml, .json or .toml"


def read(config: Any) -> Entry:
    """Reads a source; of a mapping only what is looked at.

    Args:
        config: the path of a file; a mapping, a list of entries, a DictConfig or a dataclass instance.

    Raises:
        Unreadable: nothing can be made of it.

    Examples:
        >>> read({"session": {"verbose": 0}}).at(("session", "verbose")).value
        0
    """
    if isinstance(config, (str, os.PathLike)):
        return _read_file(config)
    if is_mapping(config) or is_list(config):
        return from_python(lambda: config, Place("config"), in_order)
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
        return from_python(lambda: values, Place.in_file(name, 1, 1), by_places(places))
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


