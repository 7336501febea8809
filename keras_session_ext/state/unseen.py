"""What a look at the variables of a loop does not keep, where that matters: reasons against an exact resume.

Values are stored by name. That an array is a view of another, that a model, an optimizer or a function is one that
the loop has made, and in which order a set gives its items stands in no value; where it is no longer as the script
made it, it is named.
"""

import functools
import os
import sys
import types
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Tuple

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.hooks.frame_scopes import Locals, Scope, is_installed_path
from keras_session_ext.state import shared_objects, walk_objects
from keras_session_ext.state.live_names import Found
from keras_session_ext.state.walk_objects import SCALARS

_VALUES = frozenset(["decimal", "fractions", "datetime", "pathlib", "uuid", "zoneinfo", "ipaddress"])
_CACHED = type(functools.lru_cache(maxsize=None)(len))
_MANY = 10000  # characters of a variable of a module that are compared
_NAMED = 5
_VIEW = ("{} and {} share their memory now, and did not when the loop began, or in another way; after a resume that "
         "is not so. Give one of them a copy")
_CACHE = ("{} has kept results, which are not; after a resume it is called for them again. Call {}.cache_clear() at "
          "the end of the body, or keep them in a dict")
_BOUND = "{} ({}) is another than when the loop began; a resume has the first one again"
_MODULE = ("{} is a variable of an imported module that has changed, and is not kept; keep it in an object that the "
           "loop's variables lead to, or name that in state=")
_SET = ("{} is a set that has changed, whose items may come in another order after a resume; iterate over sorted({}), "
        "or set PYTHONHASHSEED")


class Begun(NamedTuple):
    """How it was when the loop began.

    Attributes:
        things: what cannot be captured by its value: models, optimizers, functions.
        views: which arrays and tensors shared their memory.
        caches: name of a function -> how many results it has kept.
        bound: name -> what could not be captured.
        sets: path -> the items of a set, in their order.
        leaves: path -> an object within a list or a dict that no value is made of.
        modules: name -> what the script's own modules hold in variables, as far as that can be compared.
        trainers: a model and what it was compiled with: (name, that).
    """

    things: shared_objects.Things
    views: FrozenSet[shared_objects.View]
    caches: Dict[str, int]
    bound: Dict[str, Any]
    sets: Dict[str, Tuple[Any, ...]]
    leaves: Dict[str, Any]
    modules: Dict[str, Any]
    trainers: Dict[Any, Tuple[str, Any]]


class Now(NamedTuple):
    """What there is at one moment.

    Attributes:
        found, scopes: what was looked at, and how.
        walked: all that the variables lead to.
        engine: what Keras computes on.
        trainers: a model and what it was compiled with: (name, that).
        is_remade: whether a resume comes to the same by running the body in front of an inner loop again.
    """

    found: Found
    scopes: List[Scope]
    walked: shared_objects.Walked
    engine: Engine
    trainers: Dict[Any, Tuple[str, Any]] = {}
    is_remade: Callable[[str, Any], bool] = lambda path, value: False


def begin(now: Now) -> Begun:
    """Remembers how the script has made it."""
    walked = now.walked
    things = shared_objects.things({**_functions(now.scopes), **walked})
    return Begun(
        things, shared_objects.look_for_views(walked, now.engine, things.paths), _caches(now.scopes),
        _uncaptured(now.found, now.scopes),
        {path: tuple(slot.value) for path, slot in walked.items() if isinstance(slot.value, (set, frozenset))},
        _leaves(walked), _of_modules(now.scopes), now.trainers)


def why_not_exact(begun: Begun, now: Now) -> List[str]:
    """Reasons, by name."""
    walked = now.walked
    opaque = {name for name, _ in now.found.opaque}
    others = [(path, value) for path, value in begun.things.new(walked) if path not in opaque]
    others += [(name, value) for name, value in _uncaptured(now.found, now.scopes).items() if not
               shared_objects.is_thing(value) and name in begun.bound and begun.bound[name] is not value]
    others += [(path, value) for path, value in _leaves(walked).items() if begun.leaves.get(path) is not value]
    reasons = [_BOUND.format(path, type(value).__name__) for path, value in others if not now.is_remade(path, value)]
    reasons += [_BOUND.format(name, type(value).__name__) for key, (name, value) in now.trainers.items()
                if key in begun.trainers and begun.trainers[key][1] is not value]
    reasons = reasons[:_NAMED] + ["and {} more".format(len(reasons) - _NAMED)] * (len(reasons) > _NAMED)
    views = shared_objects.look_for_views(walked, now.engine, begun.things.paths) - begun.views
    changed = [view for view in views if not any(
        now.is_remade(path, _value_at(path, walked)) for path in map(shared_objects.root_of, view[:2]))]
    reasons += [_VIEW.format(*pair) for pair in shared_objects.named(changed)][:_NAMED]
    reasons += [_CACHE.format(name, name) for name, size in _caches(now.scopes).items() if size != begun.caches.get(
        name, 0)]
    modules = _of_modules(now.scopes)
    reasons += [_MODULE.format(name) for name, value in begun.modules.items() if modules.get(name, value) != value]
    for path, slot in walked.items():
        value = slot.value
        if isinstance(value, (set, frozenset)) and len(value) > 1 and begun.sets.get(path) != tuple(
                value) and not _comes_again(value):
            reasons.append(_SET.format(path, path))
    return reasons


def _value_at(path: str, walked: shared_objects.Walked) -> Any:
    return walked[path].value if path in walked else None


def _caches(scopes: List[Scope]) -> Dict[str, int]:
    """Functions of `functools.lru_cache`."""
    return {scope.prefix + name: value.cache_info().currsize for scope in scopes for name, value in scope.values.items()
            if isinstance(value, _CACHED)}


def _functions(scopes: List[Scope]) -> shared_objects.Walked:
    """Functions and classes of modules, whether their names are read or not: a variable may come to hold one."""
    return {scope.prefix + name: shared_objects.Slot(value, scope.holder, name) for scope in scopes
            if not isinstance(scope.holder, Locals) for name, value in list(scope.holder.items())
            if isinstance(value, (type, types.FunctionType))}


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


def _leaves(walked: shared_objects.Walked) -> Dict[str, Any]:
    """Objects in lists, tuples and dicts whose class says nothing of a value, such as a Fraction."""
    made = {}
    for path, slot in walked.items():
        if isinstance(slot.value, (list, dict)):
            for key, item in shared_objects.items(slot.value):
                if type(item).__module__ in _VALUES:
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


def _uncaptured(found: Found, scopes: List[Scope]) -> Dict[str, Any]:
    """Variables that hold what no value is made of: functions, classes, objects of other packages."""
    known = {*found.first, *found.models, *found.objects, *found.owns, *found.values, *found.iterated, *found.aliases,
             *(name for name, _ in found.opaque)}
    return {scope.prefix + name: value for scope in scopes for name, value in scope.values.items()
            if scope.prefix + name not in known and not walk_objects.is_helper(value)
            and not isinstance(value, types.ModuleType)}
