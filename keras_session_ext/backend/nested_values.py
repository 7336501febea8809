"""Helpers for nested lists and dicts of whatever objects."""

from typing import Any, Dict, Iterable, Iterator, List


def flat(value: Any) -> Iterator[Any]:
    """What is in nested lists, tuples and dicts, without what is None."""
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from flat(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from flat(item)
    elif value is not None:
        yield value


def each_once(values: Iterable[Any]) -> List[Any]:
    """Objects in the order they came first; names (text) are none."""
    found: Dict[int, Any] = {}
    for value in values:
        if not isinstance(value, (str, int, float)):
            found.setdefault(id(value), value)
    return list(found.values())
