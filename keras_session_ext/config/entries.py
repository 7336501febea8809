"""A config with its places: values as they were written, each with where it stands."""

import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

Path = Tuple[Union[str, int], ...]

#: more than any session has; an alias bomb has billions
MOST_VALUES, MOST_LEVELS = 1000, 32

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_INTERPOLATION = re.compile(r"\$\{[^}]*\}")


class Place(NamedTuple):
    """Where something was written.

    Attributes:
        source: the file's path as the user gave it, "config" for a mapping, or the name of a variable or override.
        order: sorts problems as their places follow each other: files before the environment before overrides.
        line: from 1; 0 where there are no lines.
        column: from 1.

    Examples:
        >>> print(Place.in_file("train.yaml", 12, 5))
        train.yaml:12:5
    """

    source: str
    order: Tuple[int, ...] = (0,)
    line: int = 0
    column: int = 0

    @classmethod
    def in_file(cls, source: str, line: int, column: int) -> "Place":
        return cls(source, (0, line, column), line, column)

    def __str__(self) -> str:
        return "{}:{}:{}".format(self.source, self.line, self.column) if self.line else self.source


class Problem(NamedTuple):
    """One thing that is wrong, where, and under which path of keys."""

    place: Place
    path: Path
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place), dotted(self.path), self.text) if part)


class Unreadable(Exception):
    """There is nothing to check: `problem` says why."""

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem


class Wrong:
    """Stands where a value cannot be used whatever was expected; another layer may replace it."""

    def __init__(self, text: str):
        self.text = text


class Foreign:
    """Stands for an object of which no setting can be made."""

    def __init__(self, value: Any):
        self._value = value

    def __repr__(self) -> str:
        try:
            return repr(self._value)
        except Exception:  # it may fail at anything
            return "a " + type(self._value).__name__


class Content(NamedTuple):
    """What an entry holds.

    Attributes:
        value: text, a number, a truth value, None, `Wrong`, `Foreign`, or a dict or list of entries.
        keys: of a mapping, the places of its keys.
        faults: problems of the entry as a whole, with paths below it.
    """

    value: Any
    keys: Dict[str, Place] = {}
    faults: List[Problem] = []


class Entry:
    """A value and its place; read when it is first looked at, so that parts nobody asked for do no harm."""

    def __init__(self, place: Place, value: Any = None, keys: Optional[Dict[str, Place]] = None,
                 faults: Optional[List[Problem]] = None, read: Optional[Callable[[], Content]] = None):
        self.place = place
        self._read = read
        self._content = Content(value, keys or {}, faults or [])

    @property
    def content(self) -> Content:
        if self._read is not None:
            read, self._read = self._read, None
            self._content = read()
        return self._content

    @property
    def value(self) -> Any:
        return self.content.value

    @property
    def keys(self) -> Dict[str, Place]:
        return self.content.keys

    def key_place(self, key: Union[str, int]) -> Place:
        return self.keys.get(str(key), self.place)

    def at(self, path: Path) -> "Entry":
        """The entry under `path`, or the nearest above it."""
        entry = self
        for key in path:
            inside: Any = entry.value
            if not (key in inside if isinstance(inside, dict) else isinstance(inside, list)):
                break
            entry = inside[key]
        return entry


def mapping(place: Place, inside: Dict[str, Entry], keys: Optional[Dict[str, Place]] = None) -> Entry:
    """An entry that is a mapping; keys without a place stand where their values do."""
    return Entry(place, inside, {key: (keys or {}).get(key, entry.place) for key, entry in inside.items()})


def whole(entry: Entry, problems: List[Problem]) -> Entry:
    """Reads all of `entry`, and adds the faults in it to `problems`.

    Raises:
        Unreadable: it holds too many values, or too many levels.
    """
    left = [MOST_VALUES]

    def look(one: Entry, path: Path) -> Entry:
        left[0] -= 1
        if left[0] < 0:
            raise Unreadable(Problem(entry.place, (), "more than {} values, aliases counted each time".format(
                MOST_VALUES)))
        if len(path) > MOST_LEVELS:
            raise Unreadable(Problem(one.place, path[:1], "nested deeper than {} levels".format(MOST_LEVELS)))
        value, keys, faults = one.content
        problems.extend(fault._replace(path=path + fault.path) for fault in faults)
        if isinstance(value, dict):
            value = {key: look(inside, (*path, key)) for key, inside in value.items()}
        elif isinstance(value, list):
            value = [look(inside, (*path, index)) for index, inside in enumerate(value)]
        elif isinstance(value, str):
            value = _resolved(value)
        return Entry(one.place, value, keys)

    return look(entry, ())


def _resolved(text: str) -> Any:
    found = _INTERPOLATION.search(text)
    if found:
        return Wrong("{!r} is an interpolation, and OmegaConf resolves those: pass its DictConfig".format(
            found.group()))
    if text == "???":
        return Wrong("'???' stands for a value that must be given; give it")
    return text




def dotted(path: Path) -> str:
    """A path as it is written in messages.

    Examples:
        >>> dotted(("save", "on_signal", 1)), dotted(("a b",))
        ('save.on_signal[1]', "'a b'")
    """
    text = ""
    for key in path:
        if isinstance(key, int):
            text += "[{}]".format(key)
        else:
            text += ("." if text else "") + (key if _PLAIN_NAME.fullmatch(key) else repr(key))
    return text
