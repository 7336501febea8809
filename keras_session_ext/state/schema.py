"""What the state kinds of a checkpoint look like: checked in one place, before anything is made of them.

Checksums say that nobody altered a file by accident. They do not say that it
was this package that wrote it.
"""

import inspect
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

from keras_session_ext.backend.randomness import host_random


class Each(NamedTuple):
    """A dict with any names as keys, or a list, whose values all look alike."""

    of: Any
    kind: type = dict


#: anything plain: what a peer or an engine keeps is its own to check
ANY = object
_TEXTS = Each(str, list)
_ARRAY = (np.ndarray, np.generic)
_ARRAYS = {"arrays": Each(_ARRAY), "paths": _TEXTS}
_COMPONENTS = Each({"how": str, "arrays": Each(_ARRAY, list)})
_OF_OBJECTS = Each(Each(ANY))
_NUMBER = (int, np.integer)
_SETTING = (str, bool, int, float, type(None))

#: of a loop of the script's own: an open level, and what was iterated over
_LEVEL = {"name": str, "index": int, "before": int, "made": int, "start": {"host": Each(dict)},
          "iteration": (dict, type(None)), "chain": (str, type(None)), "drawn": int, "content": str, "generators": list}
_READ = {"kind": str, "made": int, "drawn": int, "generators": list}

#: name -> what it looks like; "?" behind a name: it may be missing
_STATES: Dict[str, Any] = {
    "variables": {"model": _ARRAYS, "metrics": _ARRAYS, "layers?": list},
    "optimizer": dict(_ARRAYS, **{"optimizers?": Each(dict, list), "built?": bool}),
    "components?": {"count": int, "model?": _COMPONENTS, "metrics?": _COMPONENTS, "optimizer?": _COMPONENTS},
    "objects?": {
        "values": _OF_OBJECTS, "traced": _OF_OBJECTS, "script": Each(_TEXTS), "own": _OF_OBJECTS,
        "buffers": Each(Each(_ARRAY)), "missing": _TEXTS, "validated?": bool, "settled?": bool},
    "history?": Each({"history": Each(list), "epoch": Each(_NUMBER, list)}, list),
    "callbacks?": Each({
        "own?": ANY, "values?": dict, "missing?": _TEXTS, "baseline?": Each(str), "csv_bytes?": int}),
    "random": {"host": Each(dict), "engine?": ANY, "keras?": ANY, "ops?": ANY},
    "data?": {
        "feed": {"passes": int, "consumed": int, "open": bool, "order": ANY, "iterators": int, "unread?": int,
                 "start?": dict, "levels?": Each(_LEVEL, list), "read?": Each(_READ),
                 "iterators_of_loop?": Each(_LEVEL)},
        "describe": dict.fromkeys(
            ("source", "batch_size", "samples", "batches", "steps_per_epoch", "shuffle"), _SETTING),
        "training_source": (dict, type(None)),
        "validation_source": (dict, type(None)), "content": Each(str), "validation_iterators": int,
        "validation_unread?": int,
        "epoch_over": bool, "epoch_logs": Each((*_ARRAY, float, int))},
    "loop?": {
        "models": Each({"variables": dict, "optimizer": dict, "objects": dict}),
        "objects": Each({"kind": str, "arrays": Each(_ARRAY, list), "trains": list}),
        "own": Each(ANY), "values": Each({"value": ANY, "tensors": _TEXTS, "kinds": Each(list)}), "attributes": dict,
        "begun": Each(str), "missing": _TEXTS, "shared": Each(_TEXTS, list), "views": Each(_TEXTS, list),
        "moved": Each(str), "tensors": {"beside?": dict, "values?": Each(_ARRAY), "trains?": Each(_TEXTS)}},
}
_FIELDS: Dict[str, Any] = {
    "versions": {"family": str, "keras": str, "engine": str}, "reasons": _TEXTS}
#: of a pass that is to be made again
_OPEN_FEED_OF_KERAS3 = {"start": {"random": Each(dict), "epoch_random": Each(dict)}, "before_draw": dict}
#: of what was saved within fit
_FIELDS_OF_FIT: Dict[str, Any] = {
    "script": dict, "policies": dict, "stopped": bool, "epochs": int, "failed_stages?": Each(int, list)}


def problem(states: Any, fields: Dict[str, Any]) -> Optional[str]:
    """What is wrong with the decoded states of a checkpoint and with the fields around them, or None.

    Raises:
        Exception: of any kind: a random state is none.

    Examples:
        >>> problem({}, {"versions": {"family": "keras3", "keras": "3.15.1", "engine": "jax"}, "reasons": []})
        'session/variables is missing'
    """
    found = _problems(fields, _FIELDS, "") + _problems(states, _STATES, "session")
    if "data" in states:
        found += _problems(fields, _FIELDS_OF_FIT, "")
    if not found and "data" in states and fields["versions"]["family"] == "keras3" and states["data"]["feed"]["open"]:
        found = _problems(states["data"]["feed"], _OPEN_FEED_OF_KERAS3, "session/data/feed")
    if not found:
        start = states.get("data", {}).get("feed", {}).get("start", {})
        for name in ("random", "epoch_random", "first_draw"):
            host_random.check(start.get(name) or {})
        host_random.check(states["random"]["host"])
    return found[0] if found else None


def _problems(value: Any, expected: Any, path: str) -> List[str]:
    if expected is ANY:
        return []
    if isinstance(expected, Each):
        if not isinstance(value, (dict, list)) or not isinstance(value, expected.kind):
            return [_wrong(value, expected.kind, path)]
        inner: Iterable[Tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(list(value))
        return [one for name, item in inner for one in _problems(item, expected.of, "{}/{}".format(path, name))]
    if isinstance(expected, dict):
        if not isinstance(value, dict):
            return [_wrong(value, dict, path)]
        found = []
        for name, inner_expected in expected.items():
            where = "{}/{}".format(path, name.rstrip("?")).lstrip("/")
            if name.rstrip("?") in value:
                found += _problems(value[name.rstrip("?")], inner_expected, where)
            elif not name.endswith("?"):
                found.append(where + " is missing")
        return found
    is_number = isinstance(value, bool) and bool not in (expected if isinstance(expected, tuple) else (expected,))
    return [] if isinstance(value, expected) and not is_number else [_wrong(value, expected, path)]


def _wrong(value: Any, expected: Any, path: str) -> str:
    kinds = expected if isinstance(expected, tuple) else (expected,)
    names = " or ".join(kind.__name__ if inspect.isclass(kind) else str(kind) for kind in kinds)
    return "{} is of type {}, not {}".format(path, type(value).__name__, names)
