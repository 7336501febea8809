"""Puts captured values back into a Python object: in place, so that objects that share them still do; never a path."""

import collections
import dis
import functools
import random
import re
import types
from typing import Any, Dict, FrozenSet, List

import numpy as np

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.state import plain_values
from keras_session_ext.state.attribute_changes import look, lost
from keras_session_ext.state.live_run import Run
from keras_session_ext.state.walk_objects import NOWHERE, OWN_STATE, VARIABLES, Places, Walk, unwrapped


def put_back(subject: Any, values: Dict[str, Any], skipped: set, run: Run) -> List[str]:
    """Sets captured values; returns the names that do not have theirs then, because there is no place for it."""
    put(subject, Walk(run).places(subject, skipped), values, run)
    return lost(values, look(subject, skipped, run))


def why_lost(name: str, value: Any) -> str:
    """What the report says of a value that was not put back."""
    if _leads_elsewhere(value):
        return name + " is, or holds, a path, which no checkpoint sets; keep it relative to the working directory"
    return name + " could not be put back"


def put(subject: Any, places: Places, values: Dict[str, Any], run: Run) -> None:
    """Sets values at known places, as far as there is a place: one that is captured from, and for what is no path.

    A file is not to say where a callback writes, nor to set what no capture has taken.
    """
    for name, value in values.items():
        if _leads_elsewhere(value) and not (name in places and _same(places[name][2], value)):
            continue  # `lost` tells
        if name in places:
            _set(*places[name], plain_values.copy(value), run.family)
        elif name in _assigned_by(type(subject)):
            setattr(subject, name, plain_values.copy(value))


#: absolute, of a home, of a drive or a share, a URL, or one that leads up
_ELSEWHERE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]+:/|(?:.*[/\\])?\.\.(?:[/\\]|\Z)", re.DOTALL)


def _leads_elsewhere(value: Any) -> bool:
    """Whether a value is, or holds, text that names a place outside of the working directory."""
    if isinstance(value, dict):
        return any(map(_leads_elsewhere, value.values()))
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        return any(map(_leads_elsewhere, value))
    return isinstance(value, (str, bytes)) and _ELSEWHERE.match(
        value if isinstance(value, str) else value.decode("latin-1")) is not None


def _same(one: Any, other: Any) -> bool:
    try:
        return plain_values.fingerprint(unwrapped(one)) == plain_values.fingerprint(other)
    except (plain_values.NotPlain, RecursionError):
        return False


def _assigned_by(kind: type) -> FrozenSet[str]:
    """The names of attributes that the methods of a class assign."""
    methods = [getattr(value, "__func__", value) for base in kind.__mro__ for value in vars(base).values()]
    codes = [one.__code__ for one in methods if isinstance(one, types.FunctionType)]
    return frozenset().union(*map(assigned_names, codes))


@functools.lru_cache(maxsize=4096)
def assigned_names(code: types.CodeType) -> FrozenSet[str]:
    """The names of attributes that a function, or one within it, assigns, of whatever object."""
    inner = [assigned_names(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return frozenset(one.argval for one in dis.get_instructions(code) if one.opname == "STORE_ATTR").union(*inner)


def _set(holder: Any, key: Any, live: Any, value: Any, family: Family) -> None:
    if key is VARIABLES:
        family.engine.assign(holder, value)
    elif key is OWN_STATE:
        holder(value)
    elif family.as_array(live) is not None:
        _put(holder, key, family.engine.tensor_like(value, live, family.to_tensor))
    elif not _in_place(live, value):
        _put(holder, key, value)


def _put(holder: Any, key: Any, value: Any) -> None:
    if key is None:
        holder.cell_contents = value
    elif isinstance(holder, (dict, list)):
        holder[key] = value
    elif key is not NOWHERE:
        try:
            setattr(holder, key, value)
        except AttributeError:  # a frozen dataclass
            object.__setattr__(holder, key, value)


def _in_place(live: Any, value: Any) -> bool:
    """Gives `live` the content of `value`, where its kind allows it: others may hold the same object."""
    if isinstance(live, list) and isinstance(value, list):
        live[:] = [live[i] if i < len(live) and _in_place(live[i], item) else item for i, item in enumerate(value)]
    elif isinstance(live, dict) and isinstance(value, dict):
        merged = {key: live[key] if key in live and _in_place(live[key], item) else item for key, item in value.items()}
        live.clear()
        live.update(merged)
    elif type(live) is type(value) and hasattr(live, "maxlen") and hasattr(live, "extend"):
        items = list(value)
        live.clear()
        live.extend(items)
    elif isinstance(live, set) and isinstance(value, set):
        live.clear()
        live.update(value)
    elif isinstance(live, np.ndarray) and isinstance(value, np.ndarray) and live.flags.writeable \
            and (live.shape, live.dtype) == (value.shape, value.dtype):
        live[...] = value
    elif type(live) is type(value) is random.Random:
        live.setstate(value.getstate())
    elif type(live) is type(value) is np.random.RandomState:
        live.set_state(value.get_state())
    elif type(live) is type(value) is np.random.Generator \
            and type(live.bit_generator) is type(value.bit_generator):
        live.bit_generator.state = value.bit_generator.state
    else:
        return False
    return True
