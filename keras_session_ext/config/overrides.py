"""What lies over the source: the environment, and over that the overrides."""

import re
from typing import Any, Dict, Iterable, List, Mapping, Tuple

from keras_session_ext.config import parse_yaml
from keras_session_ext.config.entries import Entry, Path, Place, Problem, Unreadable, mapping, whole
from keras_session_ext.config.message_text import shown

PREFIX = "KERAS_SESSION__"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def environment(variables: Mapping[str, str], problems: List[Problem]) -> List[Entry]:
    """The layers in the environment, one for each variable.

    Examples:
        >>> layer, = environment({"KERAS_SESSION__SAVE__EVERY_STEPS": "100", "HOME": "/root"}, [])
        >>> layer.at(("save", "every_steps")).value
        100
    """
    layers: List[Entry] = []
    for index, name in enumerate(sorted(variables)):
        if name.upper().startswith(PREFIX):
            place = Place(name, (1, index))
            path = tuple(name[len(PREFIX):].lower().split("__"))
            _add(layers, path, variables[name], place, "a name such as KERAS_SESSION__SAVE__EVERY_STEPS", problems)
    return layers


def overridden(overrides: Any, problems: List[Problem]) -> List[Entry]:
    """The layers of overrides such as "save.every_steps=100".

    Examples:
        >>> [layer] = overridden(["keep={last: 5, all: null}"], [])
        >>> layer.at(("keep", "last")).value
        5
    """
    layers: List[Entry] = []
    if isinstance(overrides, (str, bytes)) or not isinstance(overrides, Iterable):
        problems.append(Problem(Place("overrides", (2,)), (), "expected a list such as ['save.every_steps=100']; "
                                "received {}".format(shown(overrides))))
        return layers
    for index, text in enumerate(overrides):
        place = Place("override {}".format(shown(text)), (2, index))
        name, equals, value = text.partition("=") if isinstance(text, str) else ("", "", "")
        path = tuple(name.strip().split(".")) if equals else ()
        _add(layers, path, value, place, "name=value, as in save.every_steps=100", problems)
    return layers


def _add(layers: List[Entry], path: Path, text: str, place: Place, form: str, problems: List[Problem]) -> None:
    if not path or not all(_NAME.fullmatch(str(name)) for name in path):
        problems.append(Problem(place, (), "expected {}".format(form)))
        return
    faults: List[Problem] = []
    try:
        entry = whole(parse_yaml.parse(text, "", at=place), faults)
    except Unreadable as error:
        problems.append(error.problem._replace(path=path))
        return
    problems += [fault._replace(path=path + fault.path) for fault in faults]
    for name in reversed(path):
        entry = mapping(place, {str(name): entry})
    layers.append(entry)


def laid_over(base: Entry, layer: Entry) -> Entry:
    """`base` with `layer` over it: mappings are merged, anything else takes the place of what was there.

    This is JSON's merge patch (RFC 7386).
    """
    if not isinstance(layer.value, dict):
        return layer
    under: Tuple[Dict[str, Entry], Dict[str, Place]] = (
        (base.value, base.keys) if isinstance(base.value, dict) else ({}, {}))
    inside, keys = dict(under[0]), dict(under[1])
    for key, entry in layer.value.items():
        inside[key] = laid_over(inside[key], entry) if key in inside else entry
        keys.setdefault(key, layer.key_place(key))
    return mapping(base.place if isinstance(base.value, dict) or base.value is None else layer.place, inside, keys)
