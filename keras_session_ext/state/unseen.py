"""What a look at the variables of a loop does not keep, where that matters: reasons against an exact resume.

Values are stored by name. That two names are one object, that an array is a view of another, what function a name is
bound to, and in which order a set gives its items stands in no value; where it is no longer as the script made it, it
is named.
"""

import os
import sys
import types
from typing import Any, Dict, FrozenSet, Iterator, List, NamedTuple, Tuple

import numpy as np

from keras_session_ext.backend.hooks.frame_scopes import Scope, is_installed_path
from keras_session_ext.state import walk_objects
from keras_session_ext.state.live_names import Found
from keras_session_ext.state.walk_objects import GENERATORS, SCALARS

_VALUES = frozenset(["decimal", "fractions", "datetime", "pathlib", "uuid", "zoneinfo", "ipaddress"])
_FRAMEWORKS = frozenset(["keras", "tf_keras", "tensorflow", "jax", "jaxlib", "torch", "keras_session_ext"])
_MANY = 10000  # objects that are looked at, of one loop
_DEPTH = 6
_ALIAS = ("{} and {} are one object now, and were not when the loop began, or the other way round; after a resume "
          "that is not so. Give one of them a copy")
_VIEW = ("{} and {} share their memory now, and did not when the loop began, or the other way round; after a resume "
         "that is not so. Give one of them a copy")
_BOUND = "{} ({}) is another than when the loop began; a resume has the first one again"
_MODULE = ("{} is a variable of an imported module that has changed, and is not kept; keep it in an object that the "
           "loop's variables lead to, or name that in state=")
_SET = ("{} is a set that has changed, whose items may come in another order after a resume; iterate over sorted({}), "
        "or set PYTHONHASHSEED")


class Begun(NamedTuple):
    """How it was when the loop began.

    Attributes:
        paths: to everything that can be changed in place.
        shared: which paths led to one object, each a set of them.
        views: pairs of paths to arrays that share their memory.
        bound: name -> what could not be captured.
        sets: path -> the items of a set, in their order.
        leaves: path -> an object within a list or a dict that no value is made of.
        modules: name -> what the script's own modules hold in variables, as far as that can be compared.
    """

    paths: FrozenSet[str]
    shared: FrozenSet[FrozenSet[str]]
    views: FrozenSet[FrozenSet[str]]
    bound: Dict[str, Any]
    sets: Dict[str, Tuple[Any, ...]]
    leaves: Dict[str, Any]
    modules: Dict[str, Any]


def begin(found: Found, scopes: List[Scope], named: Dict[str, Any]) -> Begun:
    """Remembers how the script has made it."""
    walked = list(_walk(scopes, named))
    return Begun(frozenset(path for path, _ in walked), _shared(walked), _views(walked), _uncaptured(found, scopes), {
        path: tuple(value) for path, value in walked if isinstance(value, (set, frozenset))},
        _leaves(walked), _of_modules(scopes))


def why_not_exact(begun: Begun, found: Found, scopes: List[Scope], named: Dict[str, Any]) -> List[str]:
    """Reasons, by name."""
    walked = list(_walk(scopes, named))
    reasons = []
    there = {path for path, _ in walked}
    for paths in sorted(_shared(walked) ^ begun.shared, key=sorted):
        known = sorted(paths & begun.paths & there)  # what comes later is compared with nothing
        if len(known) > 1:
            reasons.append(_ALIAS.format(*known[:2]))
    for pair in sorted(_views(walked) ^ begun.views, key=sorted):
        if pair <= there:
            reasons.append(_VIEW.format(*sorted(pair)))
    for name, value in _uncaptured(found, scopes).items():
        if name in begun.bound and begun.bound[name] is not value:
            reasons.append(_BOUND.format(name, type(value).__name__))
    for path, value in _leaves(walked).items():
        if begun.leaves.get(path) is not value:
            reasons.append(_BOUND.format(path, type(value).__name__))
    now = _of_modules(scopes)
    reasons += [_MODULE.format(name) for name, value in begun.modules.items() if now.get(name, value) != value]
    for path, value in walked:
        if isinstance(value, (set, frozenset)) and len(value) > 1 and begun.sets.get(path) != tuple(
                value) and not _comes_again(value):
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


def _comes_again(value: Any) -> bool:
    """Whether a set that is made of its items in another process gives them in this order, now and when more come.

    Their order is that of their hashes, those of text are drawn anew for each process, and the size of the table tells.
    """
    if os.environ.get("PYTHONHASHSEED", "random") in ("", "random") and not all(map(_is_number, value)):
        return False
    stored, made = set(), set()  # as a value is stored, and put back
    for item in sorted(value, key=repr):
        stored.add(item)
    made.update(list(stored))
    return list(made) == list(value) and (isinstance(value, frozenset) or sys.getsizeof(made) == sys.getsizeof(value))


def _is_number(value: Any) -> bool:
    return all(map(_is_number, value)) if type(value) is tuple else type(value) in (bool, int, float, complex)


def _items(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if walk_objects.is_helper(value) and hasattr(value, "__dict__") and not _is_of_framework(value):
        return list(vars(value).items())
    return None


def _is_of_framework(value: Any) -> bool:
    """Models, layers, metrics and tensors have kinds of their own, also where the script has derived from them."""
    return hasattr(value, "dtype") or any(
        base.__module__.split(".")[0] in _FRAMEWORKS for base in type(value).__mro__)


def _leaves(walked: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """Objects in lists, tuples and dicts whose class says nothing of a value, such as a Fraction."""
    made = {}
    for path, value in walked:
        if isinstance(value, (list, dict)):
            for key, item in _items(value):
                if item is not None and type(item) not in SCALARS and _items(item) is None and not hasattr(
                        item, "dtype") and not isinstance(item, (set, frozenset, bytes, type, *GENERATORS)) and (
                        type(item).__module__ in _VALUES):
                    made["{}.{}".format(path, key)] = item
    return made


def _of_modules(scopes: List[Scope]) -> Dict[str, Any]:
    """Numbers, text and short containers in variables of the script's own modules, which were imported."""
    looked = [id(scope.holder) for scope in scopes]
    made: Dict[str, Any] = {}
    for module in list(sys.modules.values()):
        if not isinstance(module, types.ModuleType):
            continue
        path = vars(module).get("__file__")  # no attribute is asked for: a lazy module would import what it stands for
        if not isinstance(path, str) or is_installed_path(path) or id(vars(module)) in looked:
            continue
        for name, value in list(vars(module).items()):
            if name.startswith("__"):
                continue
            if type(value) in SCALARS:
                made["{}.{}".format(module.__name__, name)] = (type(value), value)
            elif type(value) in (list, dict, set) and len(value) < 100:
                made["{}.{}".format(module.__name__, name)] = repr(value)[:_MANY]
    return made


def _shared(walked: List[Tuple[str, Any]]) -> FrozenSet[FrozenSet[str]]:
    paths: Dict[int, List[str]] = {}
    for path, value in walked:
        paths.setdefault(id(value), []).append(path)
    return frozenset(frozenset(several) for several in paths.values() if len(several) > 1)


def _views(walked: List[Tuple[str, Any]]) -> FrozenSet[FrozenSet[str]]:
    """Each array with the first one of the same memory."""
    arrays = sorted(((path, value) for path, value in walked if isinstance(value, np.ndarray)), key=lambda one: one[0])
    firsts: Dict[int, Tuple[str, Any]] = {}
    pairs = set()
    for path, value in arrays:
        owner = value
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        first, other = firsts.setdefault(id(owner), (path, value))
        if other is not value:
            pairs.add(frozenset([first, path]))
    return frozenset(pairs)


def _uncaptured(found: Found, scopes: List[Scope]) -> Dict[str, Any]:
    """Variables that hold what no value is made of: functions, classes, objects of other packages."""
    known = {*found.first, *found.models, *found.objects, *found.owns, *found.values, *found.iterated, *found.aliases,
             *(name for name, _ in found.opaque)}
    return {scope.prefix + name: value for scope in scopes for name, value in scope.values.items()
            if scope.prefix + name not in known and not walk_objects.is_helper(value)
            and not isinstance(value, types.ModuleType)}
