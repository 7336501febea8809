"""JSON with its places."""

import bisect
import json
import re
from typing import Any, Dict, List, Tuple

from keras_session_ext.config.entries import Content, Entry, Place, Problem, Unreadable, Wrong
from keras_session_ext.config.message_text import duplicate

_SPACE = re.compile(r"[ \t\n\r]*")


def parse(text: str, source: str) -> Entry:
    """Reads a JSON document.

    Raises:
        Unreadable: it is no JSON.

    Examples:
        >>> parse('{"a":\\n [true]}', "x.json").at(("a", 0)).place.line
        2
    """
    try:
        json.loads(text, parse_int=str, parse_float=str)
        return _Scanner(text, source).entry(0)[0]
    except RecursionError:
        raise Unreadable(Problem(Place(source), (), "nested too deeply"))
    except json.JSONDecodeError as error:
        raise Unreadable(Problem(Place.in_file(source, error.lineno, error.colno), (), "not JSON: " + error.msg))


def _whole_number(text: str) -> Any:
    return int(text) if len(text) <= 40 else Wrong("a number with too many digits")


class _Scanner:
    """Walks over text that is known to be JSON."""

    def __init__(self, text: str, source: str):
        self._text = text
        self._source = source
        self._lines = [0] + [found.end() for found in re.finditer("\n", text)]
        self._decoder = json.JSONDecoder(
            parse_int=_whole_number, parse_constant=lambda name: Wrong(name + " is no number of JSON"))

    def _place(self, at: int) -> Place:
        line = bisect.bisect_right(self._lines, at)
        return Place.in_file(self._source, line, at - self._lines[line - 1] + 1)

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def entry(self, at: int) -> Tuple[Entry, int]:
        """The value that begins at `at` or behind space there, and where it ends."""
        at = self._skip(at)
        if self._text[at] in "{[":
            content, end = self._object(at) if self._text[at] == "{" else self._array(at)
        else:
            value, end = self._decoder.raw_decode(self._text, at)
            content = Content(value)
        return Entry(self._place(at), content.value, content.keys, content.faults), end

    def _array(self, at: int) -> Tuple[Content, int]:
        values: List[Entry] = []
        at = self._skip(at + 1)
        while self._text[at] != "]":
            value, at = self.entry(at)
            values.append(value)
            at = self._next(at)
        return Content(values), at + 1

    def _object(self, at: int) -> Tuple[Content, int]:
        values: Dict[str, Entry] = {}
        keys: Dict[str, Place] = {}
        faults: List[Problem] = []
        at = self._skip(at + 1)
        while self._text[at] != "}":
            place = self._place(at)
            key, at = self._decoder.raw_decode(self._text, at)
            value, at = self.entry(self._skip(at) + 1)
            if key in values:
                faults.append(duplicate(key, place, keys[key]))
            else:
                values[key], keys[key] = value, place
            at = self._next(at)
        return Content(values, keys, faults), at + 1

    def _next(self, at: int) -> int:
        at = self._skip(at)
        return self._skip(at + 1) if self._text[at] == "," else at
