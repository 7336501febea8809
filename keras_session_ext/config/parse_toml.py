"""TOML with its places, as well as a look at its lines shows them."""

import re
from typing import Any, Dict, Tuple

from keras_session_ext.config.entries import Path, Place, Problem, Unreadable

_NAME = r"(?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*')"
_NAMES = r"{0}(?:[ \t]*\.[ \t]*{0})*".format(_NAME)
_TABLE = re.compile(r"[ \t]*(\[?)\[[ \t]*(" + _NAMES + r")[ \t]*\]\]?[ \t]*(?:#.*)?")
_PAIR = re.compile(r"[ \t]*(" + _NAMES + r")[ \t]*=[ \t]*")
_INNER = re.compile(r"[{,][ \t]*(" + _NAMES + r")[ \t]*=[ \t]*")
_AT = re.compile(r"(.*) \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)")

Places = Dict[Path, Tuple[Place, Place]]


def parse(text: str, source: str) -> Tuple[Dict[str, Any], Places]:
    """Reads a TOML document.

    Returns:
        Its values; and by path the places of keys and values, of those that were found.

    Raises:
        Unreadable: it is no TOML.

    Examples:
        >>> values, places = parse("[session]\\nsave = {every_steps = 5}", "x.toml")
        >>> str(places["session", "save", "every_steps"][1])
        'x.toml:2:23'
    """
    try:
        import tomllib
    except ImportError:
        import tomli as tomllib
    try:
        return tomllib.loads(text), _places(text, source)
    except RecursionError:
        raise Unreadable(Problem(Place(source), (), "nested too deeply"))
    except ValueError as error:
        raise Unreadable(_problem(error, text, source))


def _problem(error: ValueError, text: str, source: str) -> Problem:
    found = _AT.fullmatch(str(error))
    if not found:
        return Problem(Place(source), (), "not TOML: {}".format(error))
    line, column = found.group(2), found.group(3)
    if line is None:
        return Problem(Place.in_file(source, text.count("\n") + 1, len(text) - text.rfind("\n")), (),
                       "not TOML: {} at the end".format(found.group(1)))
    return Problem(Place.in_file(source, int(line), int(column)), (), "not TOML: " + found.group(1))


def _path(names: str) -> Path:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, names))


def _places(text: str, source: str) -> Places:
    """Tables, pairs, and pairs of tables within a line."""
    places: Places = {}
    table: Path = ()
    for number, line in enumerate(text.split("\n"), 1):
        def place(column: int, number: int = number) -> Place:
            return Place.in_file(source, number, column + 1)

        header, pair = _TABLE.fullmatch(line.rstrip("\r")), _PAIR.match(line)
        if header:
            table = _path(header.group(2))
            if header.group(1):  # one more of an array of tables
                table += (sum(path[:-1] == table and isinstance(path[-1], int) for path in places),)
            at = place(header.start(2))
            places.setdefault(table, (at, at))
        elif pair:
            path = table + _path(pair.group(1))
            places.setdefault(path, (place(pair.start(1)), place(pair.end())))
            for inner in _INNER.finditer(line, pair.end()):
                places.setdefault(path + _path(inner.group(1)), (place(inner.start(1)), place(inner.end())))
    return places
