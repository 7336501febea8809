"""What a look at the variables of a loop does not keep, where that matters: reasons against an exact resume.

Values are stored by name. That two names are one object, that an array is a view of another, what function a name is
bound to, and in which order a set gives its items stands in no value; where it is no longer as the script made it, it
is named.
"""

import types
from typing import Any, Dict, FrozenSet, Iterator, List, NamedTuple, Tuple

import numpy as np

from keras_session_ext.backend.hooks.frame_scopes import Scope
from keras_session_ext.state import walk_objects
from keras_session_ext.state.live_names import Found
from keras_session_ext.state.walk_objects import GENERATORS, SCALARS

_MANY = 10000  # objects that are looked at, of one loop
_DEPTH = 6
_ALIAS = ("{} and {} are one object now, and were not when the loop began, or the other way round; after a resume "
          "that is not so. Give one of them a copy")
_VIEW = "{} shares its memory with {}; a resume has two arrays. Give one of them a copy"
_BOUND = "{} ({}) is another than when the loop began; a resume has the first one again"
_SET = "{} is a set that has changed, whose items may come in another order after a resume; iterate over sorted({})"


class Begun(NamedTuple):
    """How it was when the loop began.

    Attributes:
        shared: which paths led to one object, each a set of them.
        bound: name -> what could not be captured.
        sets: path -> the items of a set, in their order.
    """

    shared: FrozenSet[FrozenSet[str]]
    bound: Dict[str, Any]
    sets: Dict[str, Tuple[Any, ...]]


def begin(found: Found, scopes: List[Scope], named: Dict[str, Any]) -> Begun:
    """Remembers how the script has made it."""
    walked = list(_walk(scopes, named))
    return Begun(_shared(walked), _uncaptured(found, scopes), {
        path: tuple(value) for path, value in walked if isinstance(value, (set, frozenset))})


def why_not_exact(begun: Begun, found: Found, scopes: List[Scope], named: Dict[str, Any]) -> List[str]:
    """Reasons, by name."""
    walked = list(_walk(scopes, named))
    reasons = []
    for paths in sorted(_shared(walked) ^ begun.shared, key=sorted):
        reasons.append(_ALIAS.format(*sorted(paths)[:2]))
    reasons += _views(walked)
    for name, value in _uncaptured(found, scopes).items():
        if name in begun.bound and begun.bound[name] is not value:
            reasons.append(_BOUND.format(name, type(value).__name__))
    for path, value in walked:
        if isinstance(value, (set, frozenset)) and len(value) > 1 and begun.sets.get(path) != tuple(value):
            reasons.append(_SET.format(path, path))
    return reasons


def _walk(scopes: List[Scope], named: Dict[str, Any]) -> Iterator[Tuple[str, Any]]:
    """(path, object) of everything that can be changed in place, wherever two paths lead to it, too."""
    left = [("state." + name, value, _DEPTH) for name, value in named.items()]
    left += [(scope.prefix + name, value, _DEPTH) for scope in scopes for name, value in scope.values.items()]
    entered, count = set(), 0
    while left and count < _MANY:
        path, value, depth = left.pop()
        if value is None or type(value) in SCALARS or isinstance(value, (type, types.ModuleType, types.FunctionType)):
            continue
        count += 1
        inner = _items(value)
        if inner is not None or isinstance(value, (np.ndarray, set, *GENERATORS)) or hasattr(value, "maxlen"):
            if not isinstance(value, tuple):
                yield path, value
            if id(value) not in entered and depth:
                entered.add(id(value))
                left += [("{}.{}".format(path, key), item, depth - 1) for key, item in inner or ()]


def _items(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if walk_objects.is_helper(value) and hasattr(value, "__dict__"):
        return list(vars(value).items())
    return None


def _shared(walked: List[Tuple[str, Any]]) -> FrozenSet[FrozenSet[str]]:
    paths: Dict[int, List[str]] = {}
    for path, value in walked:
        paths.setdefault(id(value), []).append(path)
    return frozenset(frozenset(several) for several in paths.values() if len(several) > 1)


def _views(walked: List[Tuple[str, Any]]) -> List[str]:
    owners: Dict[int, str] = {}
    reasons = []
    for path, value in walked:
        if isinstance(value, np.ndarray):
            owner = value
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            other = owners.setdefault(id(owner), path)
            if other != path and not any(one is value for two, one in walked if two == other):
                reasons.append(_VIEW.format(path, other))
    return reasons


def _uncaptured(found: Found, scopes: List[Scope]) -> Dict[str, Any]:
    """Variables that hold what no value is made of: functions, classes, objects of other packages."""
    known = {*found.first, *found.models, *found.objects, *found.owns, *found.values, *found.iterated, *found.aliases,
             *(name for name, _ in found.opaque)}
    return {scope.prefix + name: value for scope in scopes for name, value in scope.values.items()
            if scope.prefix + name not in known and not walk_objects.is_helper(value)
            and not isinstance(value, types.ModuleType)}
