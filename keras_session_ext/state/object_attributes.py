"""The plain attributes of a Python object: what changed since a moment, and how to put it back.

Used for peers' callbacks and for data sources. Nothing is pickled: numbers,
text, lists, dicts, arrays, tensors and random generators are captured; so are
the attributes of the object's own helper objects, the variables that its
functions close over, and the variables of Keras objects it holds. Values are
put back in place, so that objects that share them still do.
"""

import dis
import functools
import random
import types
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

import numpy as np

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.state import plain_values
from keras_session_ext.state.live_run import Run

_LIMIT_BYTES = 1 << 30
_SMALL_BYTES = 1 << 24
_STATELESS = (types.ModuleType, types.BuiltinFunctionType, type)
_STATELESS_MODULES = ("_io", "io", "_thread", "threading", "logging", "pathlib", "re", "socket", "concurrent", "queue")
_GENERATORS = (random.Random, np.random.RandomState, np.random.Generator)
_DEPTH = 3
_VARIABLES = object()  # in place of a key: the holder is a list of Keras variables
_NOWHERE = object()  # in place of a key: the value can only be changed in place

Places = Dict[str, Tuple[Any, Any, Any]]


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
    values: Dict[str, Any] = {}
    opaque: List[str] = []
    for name, (_, _, value) in _Walk(run).places(subject, skipped).items():
        array = run.family.as_array(value)
        value = value if array is None else array
        try:
            plain_values.flatten(value)
        except (plain_values.NotPlain, RecursionError):
            opaque.append("{} ({})".format(name, type(value).__name__))
            continue
        values[name] = value
    return Attributes(values, opaque)


class _Walk:
    """Finds where an object keeps its state: dotted name -> (holder, key, value)."""

    def __init__(self, run: Run):
        self._family = run.family
        self._model = run.model
        self._seen: set = set()

    def places(self, subject: Any, skipped: Any = (), prefix: str = "", depth: int = _DEPTH) -> Places:
        found: Places = {}
        if id(subject) in self._seen:
            return found
        self._seen.add(id(subject))
        for name, value in sorted(getattr(subject, "__dict__", {}).items()):
            if name not in skipped:
                found.update(self._place(subject, name, value, prefix + name, depth))
        for base in type(subject).__mro__:
            if not self._family.is_framework_class(base) and _is_users(base):
                for name, value in sorted(vars(base).items()):
                    if isinstance(value, types.FunctionType):
                        found.update(self._rebound(value, prefix + name, depth))
        return found

    def _place(self, holder: Any, key: Any, value: Any, name: str, depth: int) -> Places:
        if self._family.as_array(value) is not None:
            return {name: (holder, key, value)}
        variables = self._family.held_variables(value, self._model)
        if variables is not None:
            arrays = [self._family.engine.value(one) for one in variables]
            return {name + ".variables": (variables, _VARIABLES, arrays)} if variables else {}
        if isinstance(value, types.FunctionType):
            return self._function(value, name, depth)
        if isinstance(value, types.MethodType):
            return self._place(None, _NOWHERE, value.__self__, name + ".self", depth)
        if isinstance(value, functools.partial):
            return self._partial(value, name, depth)
        if isinstance(value, _STATELESS) or self._family.is_framework_object(value):
            return {}
        if type(value).__module__.split(".")[0] in _STATELESS_MODULES:
            return {}
        if depth and _is_helper(value):
            return self.places(value, (), name + ".", depth - 1)
        return {name: (holder, key, value)}

    def _partial(self, value: functools.partial, name: str, depth: int) -> Places:
        found = self._place(None, _NOWHERE, value.func, name + ".func", depth)
        for key, item in list(enumerate(value.args)) + sorted(value.keywords.items()):
            if _can_change(item):
                found.update(self._place(None, _NOWHERE, item, "{}.{}".format(name, key), depth))
        return found

    def _function(self, function: types.FunctionType, name: str, depth: int) -> Places:
        if id(function) in self._seen:
            return {}
        self._seen.add(id(function))
        found: Places = {}
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # not bound yet
            found.update(self._place(cell, None, value, "{}.{}".format(name, variable), depth))
        found.update(self._rebound(function, name, depth))
        for variable in function.__code__.co_names:
            value = function.__globals__.get(variable)
            where = "{}.{}".format(name, variable)
            if isinstance(value, types.FunctionType):
                if depth and value.__module__ == function.__module__:
                    found.update(self._function(value, where, depth - 1))
            elif _can_change(value):
                found.update(self._place(function.__globals__, variable, value, where, depth))
        return found

    def _rebound(self, function: types.FunctionType, name: str, depth: int) -> Places:
        """The global variables that a function rebinds, such as a counter."""
        found: Places = {}
        for variable in sorted(_rebound_globals(function.__code__)):
            if variable in function.__globals__:
                value = function.__globals__[variable]
                found.update(self._place(function.__globals__, variable, value, "{}.{}".format(name, variable), depth))
        return found


@functools.lru_cache(maxsize=1024)
def _rebound_globals(code: types.CodeType) -> FrozenSet[str]:
    """The names of global variables that a function, or one within it, rebinds."""
    inner = [_rebound_globals(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return frozenset(one.argval for one in dis.get_instructions(code)
                     if one.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")).union(*inner)


def _is_users(kind: type) -> bool:
    """Whether a class may be the user's own, those of the main script included."""
    module = str(kind.__module__)
    return module == "__main__" or (
        module not in ("builtins", "random", "collections") and not module.startswith(("numpy", "_")))


def _is_helper(value: Any) -> bool:
    """An object of the user's own class, whose attributes are its state."""
    return hasattr(value, "__dict__") and _is_users(type(value))


def _can_change(value: Any) -> bool:
    return isinstance(value, (list, dict, set, np.ndarray, *_GENERATORS)) or _is_helper(value)


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
    if isinstance(value, _GENERATORS):
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
    """Sets captured values; returns the names for which there is no place any more."""
    places = _Walk(run).places(subject, skipped)
    lost = []
    for name, value in values.items():
        if name in places:
            _set(*places[name], plain_values.copy(value), run.family)
        elif "." not in name:
            setattr(subject, name, plain_values.copy(value))
        else:
            lost.append(name)
    return lost


def _set(holder: Any, key: Any, live: Any, value: Any, family: Family) -> None:
    if key is _VARIABLES:
        family.engine.assign(holder, value)
    elif family.as_array(live) is not None:
        _put(holder, key, family.to_tensor(value))
    elif not _in_place(live, value):
        _put(holder, key, value)


def _put(holder: Any, key: Any, value: Any) -> None:
    if key is None:
        holder.cell_contents = value
    elif isinstance(holder, dict):
        holder[key] = value
    elif key is not _NOWHERE:
        setattr(holder, key, value)


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
    elif type(live) is type(value) and isinstance(live, set):
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
