"""The plain attributes of a Python object: what changed since a moment, and how to put it back.

Used for peers' callbacks and for data sources. Nothing is pickled: numbers,
text, lists, dicts, arrays, tensors and random generators are captured; so are
the attributes of the object's own helper objects, the variables that its
functions close over, and the variables of Keras objects it holds. Values are
put back in place, so that objects that share them still do.
"""

import collections
import dis
import functools
import random
import re
import types
from typing import Any, Dict, FrozenSet, Iterator, List, Optional, Tuple

import numpy as np

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.state import plain_values
from keras_session_ext.state.find_attributes import GENERATORS, NOWHERE, OWN_STATE, VARIABLES, Places, Walk, unwrapped
from keras_session_ext.state.live_run import Run

_LIMIT_BYTES = 1 << 30
_SMALL_BYTES = 1 << 24


def keyed(subjects: List[Any]) -> Iterator[Tuple[str, Any]]:
    """Objects by class and occurrence, so that an added one does not shift the others."""
    seen: Dict[str, int] = {}
    for subject in subjects:
        kind = subject if isinstance(subject, types.FunctionType) else type(subject)
        name = "{}.{}".format(kind.__module__, kind.__qualname__)
        seen[name] = seen.get(name, -1) + 1
        yield "{} {}".format(name, seen[name]), subject


class Attributes:
    """The state of one object, by dotted names.

    Attributes:
        values: name -> plain value.
        opaque: names that hold something which cannot be captured.
    """

    def __init__(self, values: Dict[str, Any], opaque: List[str]):
        self.values = values
        self.opaque = opaque

    def fingerprints(self) -> Dict[str, str]:
        return {name: plain_values.fingerprint(value) for name, value in self.values.items()}


def look(subject: Any, skipped: set, run: Run) -> Attributes:
    """Reads the attributes of `subject`; nothing is copied.

    Args:
        subject: a callback or a data source.
        skipped: names that are no state.
        run: the fit; its model's own variables are left out.
    """
    return read(Walk(run).places(subject, skipped), run)


def read(places: Places, run: Run) -> Attributes:
    """The values in these places."""
    values: Dict[str, Any] = {}
    opaque: List[str] = []
    for name, (_, _, value) in places.items():
        array = run.family.as_array(value)
        value = unwrapped(value) if array is None else array
        try:
            plain_values.flatten(value)
        except (plain_values.NotPlain, RecursionError):
            opaque.append("{} ({})".format(name, type(value).__name__))
            continue
        values[name] = value
    return Attributes(values, opaque)


def baseline(found: Attributes, before: Dict[str, str]) -> Dict[str, str]:
    """Fingerprints of what is the script's to say: all but what every process makes anew.

    Small arrays, random generators and what `on_train_begin` set are left out, so
    they count as changed and are captured: without a seed they differ from
    process to process.

    Args:
        found: the attributes right after `on_train_begin`.
        before: their fingerprints right before it.
    """
    prints = found.fingerprints()
    return {name: print_ for name, print_ in prints.items()
            if before.get(name, print_) == print_ and not _is_made_anew(found.values[name])}


def _is_made_anew(value: Any) -> bool:
    if isinstance(value, GENERATORS):
        return True
    if isinstance(value, dict):
        return any(map(_is_made_anew, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_is_made_anew, value))
    return isinstance(value, (np.ndarray, np.generic)) and value.nbytes <= _SMALL_BYTES


def changed(found: Attributes, begun: Dict[str, str]) -> Tuple[Dict[str, Any], List[str]]:
    """Copies of the values that differ from the baseline, and the names that are too large."""
    copies, large = {}, []
    for name, print_ in found.fingerprints().items():
        if begun.get(name) == print_:
            continue
        if sum(array.nbytes for _, array in plain_values.flatten(found.values[name])[1]) > _LIMIT_BYTES:
            large.append(name + " (too large)")
        else:
            copies[name] = plain_values.copy(found.values[name])
    return copies, large


def put_back(subject: Any, values: Dict[str, Any], skipped: set, run: Run) -> List[str]:
    """Sets captured values; returns the names that do not have theirs then, because there is no place for it."""
    put(subject, Walk(run).places(subject, skipped), values, run)
    return lost(values, look(subject, skipped, run))


def why_lost(name: str, value: Any) -> str:
    """What the report says of a value that was not put back."""
    if _leads_elsewhere(value):
        return name + " is, or holds, a path, which no checkpoint sets; keep it relative to the working directory"
    return name + " could not be put back"


def lost(values: Dict[str, Any], found: Attributes) -> List[str]:
    """The names of values that were to be put back and are not there."""
    prints = found.fingerprints()
    return [name for name, value in values.items() if prints.get(name) != plain_values.fingerprint(value)]


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
        _put(holder, key, family.to_tensor(value))
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


def own_state(subject: Any) -> Optional[Tuple[Any, Any]]:
    """The object's own (get, set) functions of its state, where it offers them."""
    for get, put in (("get_state", "set_state"), ("state_dict", "load_state_dict")):
        pair = getattr(subject, get, None), getattr(subject, put, None)
        if all(map(callable, pair)):
            return pair
    return None
