"""YAML with its places, read by the core schema of YAML 1.2.

PyYAML's parser does the work; its resolution of YAML 1.1, where `on` is a truth
value, 10:30 is 630, 012 is 10 and 1e-4 is text, does not take part
(https://yaml.org/spec/1.2.2/#103-core-schema).
"""

import functools
import re
from typing import Any, Callable, Dict, List, Optional, Tuple

from keras_session_ext.config.entries import Content, Entry, Place, Problem, Unreadable, Wrong
from keras_session_ext.config.message_text import duplicate, shown

_TAG = "tag:yaml.org,2002:"
_RESOLVERS = [
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    ("float", r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
              r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z", list("-+.0123456789")),
    ("merge", r"<<\Z", ["<"]),
]

#: values in a document, those that aliases repeat included
LARGEST = 100_000
PlaceOf = Callable[[Any], Place]


@functools.lru_cache(maxsize=None)
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Only composes: no tag makes an object."""

        yaml_implicit_resolvers: Dict[str, Any] = {}

    for name, pattern, first in _RESOLVERS:
        Loader.add_implicit_resolver(_TAG + name, re.compile(pattern), first)
    return Loader


def parse(text: str, source: str, at: Optional[Place] = None) -> Entry:
    """Reads one YAML document.

    Args:
        text: the document.
        source: the file's name, for messages.
        at: the place of all of it, where it stands in no file.

    Raises:
        Unreadable: it is no YAML.

    Examples:
        >>> entry = parse("a: on\\nb: [1e-4, 012]", "x.yaml")
        >>> entry.value["a"].value, [one.value for one in entry.value["b"].value], str(entry.value["b"].place)
        ('on', [0.0001, 12], 'x.yaml:2:4')
    """
    def place_of(mark: Any) -> Place:
        return at or Place.in_file(source, mark.line + 1, mark.column + 1)

    try:
        node = _compose(text)
    except RecursionError:
        raise Unreadable(Problem(at or Place(source), (), "nested too deeply"))
    except Exception as error:  # PyYAML also raises ValueError and others on odd escapes
        raise Unreadable(_problem(error, text, source, at))
    if node is None:
        return Entry(at or Place.in_file(source, 1, 1))
    count = _expanded(node, {})
    if count > LARGEST:
        raise Unreadable(Problem(at or place_of(node.start_mark), (), "its aliases make {} values of it; at most {} "
                                 "are read".format(count, LARGEST)))
    return _entry(node, place_of, ())


def _expanded(node: Any, known: Dict[int, int]) -> int:
    """How many values a node stands for, with those that aliases repeat."""
    if id(node) not in known:
        known[id(node)] = 1  # for an alias that contains itself
        inner = node.value if isinstance(node.value, list) else []
        known[id(node)] = 1 + sum(_expanded(one, known) for item in inner for one in (
            item if isinstance(item, tuple) else (item,)))
    return known[id(node)]


def _compose(text: str) -> Any:
    loader = _loader()(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _problem(error: Exception, text: str, source: str, at: Optional[Place]) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    place = Place(source)
    if mark is not None:
        place = Place.in_file(source, mark.line + 1, mark.column + 1)
    elif isinstance(getattr(error, "position", None), int):  # a ReaderError counts characters
        before = text[:getattr(error, "position")]  # noqa: B009
        place = Place.in_file(source, before.count("\n") + 1, len(before) - before.rfind("\n"))
    if getattr(error, "context", None) == "expected a single document in the stream":
        return Problem(at or place, (), "a second document begins here; keep one")
    return Problem(at or place, (), "not YAML: {}".format(" ".join(str(what).split())))


def _entry(node: Any, place_of: PlaceOf, above: Tuple[int, ...]) -> Entry:
    place = place_of(node.start_mark)
    if id(node) in above:
        return Entry(place, Wrong("an alias that contains itself"))
    return Entry(place, read=lambda: _content(node, place_of, (*above, id(node))))


def _content(node: Any, place_of: PlaceOf, above: Tuple[int, ...]) -> Content:
    kind = node.tag[len(_TAG):] if node.tag.startswith(_TAG) else ""
    if kind == "map" and isinstance(node.value, list):
        return _mapping(node, place_of, above)
    if kind == "seq" and isinstance(node.value, list):
        return Content([_entry(one, place_of, above) for one in node.value])
    if isinstance(node.value, str) and kind in _SCALARS:
        try:
            return Content(_SCALARS[kind](node.value))
        except ValueError:
            return Content(Wrong("expected what the tag !!{} says; received {}".format(kind, shown(node.value))))
    return Content(Wrong("the tag {} is not supported; nothing but plain values is read".format(
        node.tag.replace(_TAG, "!!"))))


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _int(text: str) -> int:
    if text[:2] in ("0o", "0x"):
        return int(text, 0)
    if not re.fullmatch(r"[-+]?[0-9]+", text) or len(text) > 40:
        raise ValueError(text)
    return int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Dict[str, Callable[[str], Any]] = {
    "str": str, "merge": str, "null": lambda text: None, "bool": _bool, "int": _int, "float": _float}


def _mapping(node: Any, place_of: PlaceOf, above: Tuple[int, ...]) -> Content:
    """Own keys, and behind them those that `<<` brings."""
    values: Dict[str, Entry] = {}
    keys: Dict[str, Place] = {}
    faults: List[Problem] = []
    merged: List[Any] = []
    for key, value in node.value:
        place = place_of(key.start_mark)
        if key.tag == _TAG + "merge":
            merged += value.value if value.tag == _TAG + "seq" else [value]
        elif key.tag != _TAG + "str" or not isinstance(key.value, str):
            faults.append(Problem(place, (), _no_text(key)))
        elif key.value in values:
            faults.append(duplicate(key.value, place, keys[key.value]))
        else:
            values[key.value], keys[key.value] = _entry(value, place_of, above), place
    for one in merged:
        _merge(_entry(one, place_of, above), values, keys, faults)
    return Content(values, keys, faults)


def _merge(other: Entry, values: Dict[str, Entry], keys: Dict[str, Place], faults: List[Problem]) -> None:
    content = other.content
    if isinstance(content.value, Wrong):
        faults.append(Problem(other.place, ("<<",), content.value.text))
    elif not isinstance(content.value, dict):
        faults.append(Problem(other.place, ("<<",), "expected a mapping; received {}".format(shown(content.value))))
    else:
        faults += content.faults
        for key, value in content.value.items():
            if key not in values:
                values[key], keys[key] = value, content.keys[key]


def _no_text(key: Any) -> str:
    if isinstance(key.value, str):
        return "expected text as a key; received {}; write '{}'".format(key.value or "null", key.value)
    return "expected text as a key; received a {}".format("mapping" if key.tag == _TAG + "map" else "list")
