"""Which variables of a loop are one object, and which share memory: no value says it, so it is kept beside the values.

What has become one object, or is one no longer, is made so again. Memory is not:
an array that has become a view of another is named.
"""

import collections
import copy
import types
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.hooks.frame_scopes import Scope
from keras_session_ext.state import walk_objects
from keras_session_ext.state.walk_objects import GENERATORS, SCALARS

_FRAMEWORKS = frozenset(["keras", "tf_keras", "tensorflow", "jax", "jaxlib", "torch", "keras_session_ext"])
_MANY = 10000  # objects that are looked at, of one loop
_DEPTH = 6
_ALIAS = ("{} and {} were one object at the checkpoint, and are not, or the other way round. Give one of them a copy")
_WITHIN = ": "  # between the path to an object and the name of a tensor in it
_CALLED = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)
_CONTAINERS = (list, dict, set, collections.OrderedDict, collections.Counter, collections.deque)


class Slot(NamedTuple):
    """Where an object stands.

    Attributes:
        value: it.
        holder, key: it is `holder[key]`, or an attribute; None where it cannot be put there.
    """

    value: Any
    holder: Any
    key: Any


Walked = Dict[str, Slot]
#: two paths, the lesser first, and how the one lies in the memory of the other
View = Tuple[str, str, str]


def walk(scopes: Sequence[Scope], named: Dict[str, Any], engine: Engine) -> Walked:
    """path -> all that has an identity, wherever two paths lead to it, too; and what is None."""
    left: List[Tuple[str, Slot, int]] = [
        ("state." + name, Slot(value, named, name), _DEPTH) for name, value in named.items()]
    left += [(scope.prefix + name, Slot(value, scope.holder, name), _DEPTH) for scope in scopes
             for name, value in scope.values.items()]
    entered = set()
    made: Walked = {}
    while left and len(made) < _MANY:
        path, slot, depth = left.pop()
        value = slot.value
        if type(value) in SCALARS or isinstance(value, types.ModuleType):
            continue
        inner = items(value)
        if inner is not None or is_thing(value) or _is_changeable(value, engine):
            made[path] = slot
            if inner is not None and id(value) not in entered and depth:
                entered.add(id(value))
                left += [("{}.{}".format(path, key), Slot(item, value, key), depth - 1) for key, item in inner]
    return made


def is_thing(value: Any) -> bool:
    """Whether a script makes it once, and no value can take its place: a model, an optimizer, a function."""
    if value is None or isinstance(value, (type, *_CALLED)):
        return value is not None
    of_data = isinstance(value, (list, tuple, dict, set)) or all(
        hasattr(type(value), name) for name in ("dtype", "shape"))
    return not of_data and (is_of_framework(value) or walk_objects.is_helper(value))


def _is_changeable(value: Any, engine: Engine) -> bool:
    if value is None or isinstance(value, (np.ndarray, set, *GENERATORS)) or hasattr(type(value), "maxlen"):
        return True
    return hasattr(type(value), "assign") or (engine.tensors_carry_more and hasattr(type(value), "untyped_storage"))


def items(value: Any) -> Any:
    """What stands in a container or an object of the script's: (key, item); None for others."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if isinstance(value, (type, *_CALLED)):
        return None
    if walk_objects.is_helper(value) and not is_of_framework(value):
        return list(vars(value).items())
    return None


def is_of_framework(value: Any) -> bool:
    """Models, layers, metrics and tensors have kinds of their own, also where the script has derived from them."""
    return hasattr(type(value), "dtype") or any(
        base.__module__.split(".")[0] in _FRAMEWORKS for base in type(value).__mro__)


# -- one object


def groups(walked: Walked) -> FrozenSet[FrozenSet[str]]:
    """Which paths lead to one object."""
    paths: Dict[int, List[str]] = {}
    for path, slot in walked.items():
        if slot.value is not None and not isinstance(slot.value, (tuple, type, *_CALLED)):
            paths.setdefault(id(slot.value), []).append(path)
    return frozenset(frozenset(several) for several in paths.values() if len(several) > 1)


def part(stored: List[List[str]], views: List[Any], walked: Walked, engine: Engine, known: Dict[Any, str]) -> None:
    """What is one object, or shares memory, and did not at the checkpoint, is none any more: a copy takes its place."""
    number = {path: at for at, paths in enumerate(stored) for path in paths}
    for paths in groups(walked):
        kept: Dict[Any, Any] = {}
        for path in sorted(paths):
            slot, group = walked[path], number.get(path, path)
            if group not in kept and kept:
                kept[group] = _copy(slot.value)
            live = kept.setdefault(group, slot.value)
            if live is not slot.value:
                put(slot, live)
                walked[path] = slot._replace(value=live)
    for view in views_differ(views, walked, engine, known):
        for path in [one for one in (view[1], view[0]) if one in walked][:1]:
            put(walked[path], _copy(walked[path].value))


def join(stored: List[List[str]], walked: Walked) -> None:
    """What was one object at the checkpoint is one again."""
    for paths in stored:
        there = [path for path in sorted(paths) if path in walked and walked[path].value is not None]
        for path in paths:
            if there and path in walked and walked[path].value is not walked[there[0]].value and type(
                    walked[path].value) in (type(None), type(walked[there[0]].value)):
                put(walked[path], walked[there[0]].value)


def differences(stored: List[List[str]], walked: Walked) -> Iterator[str]:
    """Why what is one object now is not what was one at the checkpoint."""
    for paths in sorted(groups(walked) ^ frozenset(map(frozenset, stored)), key=sorted):
        yield _ALIAS.format(*sorted(paths)[:2])


def put(slot: Slot, value: Any) -> None:
    """Puts a value where another one stands, where that can be done."""
    if slot.value is value or slot.holder is None or isinstance(slot.holder, tuple):
        return
    if isinstance(slot.holder, (dict, list)):
        slot.holder[slot.key] = value
    else:
        object.__setattr__(slot.holder, slot.key, value)  # of a frozen dataclass, too


def _copy(value: Any) -> Any:
    """A copy of what it consists of; the object itself where its class may mean more by a copy."""
    if isinstance(value, (np.ndarray, *GENERATORS)):
        return copy.deepcopy(value)
    if hasattr(type(value), "clone") and hasattr(type(value), "detach"):
        return value.detach().clone().requires_grad_(value.requires_grad)
    plain = type(value) in _CONTAINERS or (walk_objects.is_helper(value) and walk_objects.is_of_script(
        type(value).__module__) and not any(hasattr(type(value), name) for name in ("__del__", "__copy__")))
    return copy.copy(value) if plain else value


# -- which of the script's things


class Things(NamedTuple):
    """What a script has made before its loop.

    Attributes:
        values: path -> it.
        paths: what tells it from others -> its first path.
    """

    values: Dict[str, Any]
    paths: Dict[Any, str]

    def moved(self, walked: Walked) -> Dict[str, str]:
        """Paths that lead to what another path led to: path -> that one."""
        return {path: self.paths[key_of(slot.value)] for path, slot in walked.items()
                if is_thing(slot.value) and key_of(slot.value) in self.paths
                and not is_same(self.values.get(path), slot.value)}

    def put(self, moved: Dict[str, str], walked: Walked) -> None:
        """Lets paths lead to what they led to at a checkpoint."""
        for path, slot in walked.items():
            origin = moved.get(path, path if key_of(slot.value) in self.paths else None)
            if origin in self.values and not is_same(self.values[origin], slot.value):
                put(slot, self.values[origin])

    def new(self, walked: Walked) -> Iterator[Tuple[str, Any]]:
        """Paths to what the script had not made: (path, it); none to objects of which the attributes are kept."""
        for path, slot in walked.items():
            before = self.values.get(path)
            if is_thing(slot.value) and key_of(slot.value) not in self.paths and not (
                    items(slot.value) is not None and type(before) is type(slot.value)):
                yield path, slot.value


def things(walked: Walked) -> Things:
    """All of it."""
    values = {path: slot.value for path, slot in walked.items() if is_thing(slot.value)}
    paths: Dict[Any, str] = {}
    for path in sorted(values):
        paths.setdefault(key_of(values[path]), path)
    return Things(values, paths)


def key_of(value: Any) -> Any:
    """What tells an object from others: a bound method is made anew whenever it is asked for."""
    return (id(value.__self__), id(value.__func__)) if isinstance(value, types.MethodType) else id(value)


def is_same(one: Any, other: Any) -> bool:
    """Whether two are one object."""
    return one is other or (isinstance(one, types.MethodType) and key_of(one) == key_of(other))


# -- one memory


def look_for_views(walked: Walked, engine: Engine, known: Dict[Any, str]) -> FrozenSet[View]:
    """Each array or tensor with the first one of the same memory, as far as they are two objects.

    Args:
        walked: what there is.
        engine: what Keras computes on.
        known: `Things.paths`: what is within a model is named by the path that the script had given that.
    """
    parts: Dict[str, Tuple[Any, Any]] = {}
    firsts_of: Dict[Any, str] = {}  # a model that two paths lead to shares no memory with itself
    for path in sorted(walked):
        value = walked[path].value
        whose = known.get(key_of(value)) or firsts_of.setdefault(key_of(value), path)
        for name, inner in [("", value)] if isinstance(value, np.ndarray) else tensors_within(value, engine):
            place = engine.memory_of(inner)
            if place is not None:
                parts[_WITHIN.join([whose, name]) if name else path] = inner, place
    firsts: Dict[int, str] = {}
    made = set()
    for path, (value, (begin, layout)) in parts.items():
        first = firsts.setdefault(begin, path)
        if parts[first][0] is not value or (first != path and _WITHIN in path):
            made.add((first, path, repr((parts[first][1][1], layout))))
    return frozenset(made)


def tensors_within(value: Any, engine: Engine) -> Iterator[Tuple[str, Any]]:
    """The tensors of torch in a tensor, a module, an optimizer, or a model of Keras's."""
    if not engine.tensors_carry_more or not is_of_framework(value):
        return
    for name, tensor, _ in engine.tensors_in(value):
        yield name, tensor


def root_of(path: str) -> str:
    """The path to the object that a tensor of a view is within."""
    return path.split(_WITHIN)[0]


def views_differ(stored: List[Any], walked: Walked, engine: Engine, known: Dict[Any, str]) -> FrozenSet[View]:
    """What shares memory, and did not at the checkpoint."""
    return look_for_views(walked, engine, known) - {(first, second, layout) for first, second, layout in stored}


def named(views: Iterable[View]) -> List[Tuple[str, str]]:
    """The paths of views, each pair once."""
    return sorted({(first, second) for first, second, _ in views})
