"""What variables held when an iteration began: the body in front of its inner loop runs again with them.

Plain values only, and small ones: they are taken at each iteration of an outer loop.
"""

import collections
import contextlib
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.hooks.frame_scopes import Scope
from keras_session_ext.state import nested_tensors, plain_values, shared_objects, walk_objects
from keras_session_ext.state.walk_objects import GENERATORS, SCALARS

_ITEMS = 5000  # of all values together
_BYTES = 1 << 16  # of one array


def take(scopes: Sequence[Scope], named: Dict[str, Any], family: Family) -> Dict[str, Any]:
    """Copies, by name."""
    left, made = [_ITEMS], {}
    for name, slot in _slots(scopes, named):
        if _is_light(slot.value, left):
            with contextlib.suppress(plain_values.NotPlain, RecursionError):
                made[name] = plain_values.copy(nested_tensors.pack(slot.value, family).plain())
    return made


def changed(values: Dict[str, Any], script: Dict[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
    """What is not as the script had it when its loop began, and the names of the rest: that is the script's to say.

    Args:
        values: what `take` gave.
        script: what it gave when the loop began.
    """
    same = [name for name, stored in values.items() if name in script and _is_said(stored) and (
        nested_tensors.fingerprint(stored) == nested_tensors.fingerprint(script[name]))]
    return {name: stored for name, stored in values.items() if name not in same}, same


def _is_said(stored: Dict[str, Any]) -> bool:
    """Whether a process says it, and does not make it anew as it does arrays and generators."""
    encoded, arrays = plain_values.flatten(stored)
    return not arrays and "$random" not in repr(encoded)


def put(values: Dict[str, Any], scopes: Sequence[Scope], named: Dict[str, Any], family: Family) -> None:
    """Gives variables what they held, in place."""
    for name, slot in _slots(scopes, named):
        if name in values and (slot.value is None or _is_light(slot.value, [_ITEMS])):
            with contextlib.suppress(TypeError):  # an object of a class that only the script can make
                shared_objects.put(slot, nested_tensors.unpack(plain_values.copy(values[name]), slot.value, family))


def generators(scopes: Sequence[Scope]) -> Dict[str, Any]:
    """Random generators of Python and NumPy that variables hold, or objects in variables: name -> generator."""
    found: Dict[str, Any] = {}
    for scope in scopes:
        for name, value in scope.values.items():
            within = vars(value) if walk_objects.is_helper(value) and not isinstance(value, type) else {}
            found.update({scope.prefix + name + "." + inner: one for inner, one in within.items()
                          if isinstance(one, GENERATORS)})
            if isinstance(value, GENERATORS):
                found[scope.prefix + name] = value
    return found


def set_generators(states: Dict[str, Any], scopes: Sequence[Scope]) -> None:
    """Gives them the states of copies."""
    for name, live in generators(scopes).items():
        if type(states.get(name)) is type(live):
            nested_tensors.in_place(states[name], live)


def _slots(scopes: Sequence[Scope], named: Dict[str, Any]) -> Iterator[Tuple[str, shared_objects.Slot]]:
    """Variables, and attributes of objects in them."""
    found: List[Tuple[str, shared_objects.Slot]] = [
        ("state." + name, shared_objects.Slot(value, named, name)) for name, value in named.items()]
    found += [(scope.prefix + name, shared_objects.Slot(value, scope.holder, name)) for scope in scopes
              for name, value in scope.values.items()]
    for name, slot in found:
        yield name, slot
        if walk_objects.is_helper(slot.value) and not shared_objects.is_of_framework(slot.value):
            for key, item in sorted(vars(slot.value).items()):
                yield "{}.{}".format(name, key), shared_objects.Slot(item, slot.value, key)


def _is_light(value: Any, left: List[int]) -> bool:
    """Whether it is a plain value that is copied in no time."""
    left[0] -= 1
    if left[0] < 0:
        return False
    if type(value) in SCALARS or value is None:
        return True
    if isinstance(value, (np.ndarray, np.generic)):
        return value.nbytes <= _BYTES
    if isinstance(value, (list, tuple, dict, set, frozenset, collections.deque)):
        inner = value.values() if isinstance(value, dict) else value
        return len(value) <= left[0] and all(_is_light(item, left) for item in inner)
    return isinstance(value, GENERATORS)
