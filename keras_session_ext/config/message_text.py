"""How messages about a config write paths, values and names."""

from typing import Any

from keras_session_ext.config.entries import Entry, Place, Problem, Wrong, dotted


def duplicate(key: str, place: Place, first: Place) -> Problem:
    """A key stands twice in a mapping."""
    where = "the first one is in line {}".format(first.line) if first.line else "keep one"
    return Problem(place, (key,), "duplicate key; " + where)


def shown(value: Any, limit: int = 60) -> str:
    """A value as messages repeat it: like YAML, on one line, and not too long.

    Examples:
        >>> shown({"on": True, "n": [1, "x", None]})
        "{on: true, n: [1, 'x', null]}"
    """
    text = _shown(value, limit)
    return text if len(text) <= limit else text[:limit - 1] + "…"


def _shown(value: Any, limit: int) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return repr(value[:limit])
    if isinstance(value, Entry):
        return _shown(value.value, limit)
    if isinstance(value, list):
        return "[{}]".format(", ".join(_shown(one, limit) for one in value[:limit]))
    if isinstance(value, dict):
        return "{{{}}}".format(", ".join("{}: {}".format(dotted((key,)), _shown(one, limit))
                                         for key, one in list(value.items())[:limit]))
    if isinstance(value, Wrong):
        return "…"
    return " ".join(repr(value).split())


def names(keys: Any, limit: int = 8) -> str:
    """Names in a sentence.

    Examples:
        >>> names(["a", "b", "c"])
        'a, b or c'
    """
    keys = [dotted((key,)) for key in keys]
    if len(keys) > limit:
        keys = keys[:limit - 1] + ["{} more".format(len(keys) - limit + 1)]
    return " or ".join(filter(None, [", ".join(keys[:-1]), "".join(keys[-1:])]))
