"""Where a Python object keeps its state: dotted name -> (holder, key, value).

Followed are its attributes, those of its own helper objects and of the script's
classes, what its functions and methods close over, have as defaults and name of
the script's modules, and the variables of Keras objects it holds. What comes
with the framework has no state here, unless it says so itself. What cannot
change is left out; of all else it is told where it is, whatever it is.
"""

import dis
import functools
import random
import sys
import sysconfig
import types
from typing import Any, Dict, FrozenSet, Iterator, List, Optional, Sequence, Set, Tuple

import numpy as np

from keras_session_ext.state import plain_values
from keras_session_ext.state.live_run import Run

_STATELESS = (types.ModuleType, types.BuiltinFunctionType, type)
_STATELESS_MODULES = ("_io", "io", "_thread", "threading", "logging", "pathlib", "re", "socket", "concurrent",
                      "datetime", "decimal", "fractions", "enum", "typing", "abc", "uuid")
_OURS = "keras_session_ext"  # what we have put in a model's place is no state of it
SCALARS = (bool, int, float, str)
_UNCHANGING = (type(None), complex, bytes, range, slice, property, np.dtype, type(Ellipsis), type(NotImplemented))
GENERATORS = (random.Random, np.random.RandomState, np.random.Generator)
_DEPTH = 3
VARIABLES = object()  # in place of a key: the holder is a list of variables
OWN_STATE = object()  # in place of a key: the holder is a function that takes the state
NOWHERE = object()  # in place of a key: the value can only be changed in place

Places = Dict[str, Tuple[Any, Any, Any]]


class Walk:
    """Finds where objects keep their state; what one of them was found to hold is not found again in the next.

    Args:
        run: the live run; its model's own variables are left out.
        listed: objects that are looked at by themselves, and are no state of others.
    """

    def __init__(self, run: Run, listed: Sequence[Any] = ()):
        self._run = run
        self._family = run.family
        self._own: Optional[Set[int]] = None
        self._methods: Dict[type, List[Tuple[str, types.FunctionType]]] = {}
        self._listed = {id(one) for one in listed}
        self._seen: set = set()

    def places(self, subject: Any, skipped: Any = (), prefix: str = "", depth: int = _DEPTH) -> Places:
        """All of one object, but for the attributes whose names are in `skipped`."""
        if isinstance(subject, types.FunctionType):
            return self._function(subject, subject.__name__, depth)
        names = [name for name in sorted(getattr(subject, "__dict__", {})) if name not in skipped]
        return self.named_places(subject, names, prefix, depth)

    def named_places(self, subject: Any, names: Sequence[str], prefix: str = "", depth: int = _DEPTH) -> Places:
        """The attributes with these names, and what the methods of its own classes hold."""
        found: Places = {}
        if id(subject) in self._seen:
            return found
        self._seen.add(id(subject))
        for name in names:
            found.update(self._place(subject, name, vars(subject)[name], prefix + name, depth))
        for name, method in self.methods(type(subject)):
            found.update(self._function(method, prefix + name, depth))
        found.update(self._class(type(subject), prefix + type(subject).__name__, depth))
        return found

    def place(self, holder: Any, key: Any, value: Any, name: str) -> Places:
        """Of a value that stands in a variable."""
        return self._place(holder, key, value, name, _DEPTH)

    def methods(self, kind: type) -> List[Tuple[str, types.FunctionType]]:
        """The methods that are the user's own."""
        if kind not in self._methods:
            self._methods[kind] = list(self._find_methods(kind))
        return self._methods[kind]

    def _find_methods(self, kind: type) -> Iterator[Tuple[str, types.FunctionType]]:
        for base in kind.__mro__:
            if not self._family.is_framework_class(base) and is_users(base) and not is_standard(base.__module__):
                for name, value in sorted(vars(base).items()):
                    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                    if isinstance(value, types.FunctionType):
                        yield name, value

    def _place(self, holder: Any, key: Any, value: Any, name: str, depth: int) -> Places:
        if type(value) in SCALARS:
            return {name: (holder, key, value)}
        if isinstance(value, type):
            return self._class(value, name, depth)
        if isinstance(value, _STATELESS) or _is_builtin(value) or id(value) in self._listed or str(
                type(value).__module__).startswith(_OURS):
            return {}
        if self._family.as_array(value) is not None:
            return {name: (holder, key, value)}
        if self._own is None:  # there may be thousands, and most objects lead to none
            self._own = self._family.own_variables(self._run.model)
        variables = self._family.held_variables(value, self._own)
        if variables is not None:
            arrays = [self._family.engine.value(one) for one in variables]
            return {name + ".variables": (variables, VARIABLES, arrays)} if variables else {}
        if isinstance(value, types.FunctionType):
            return self._function(value, name, depth)
        if isinstance(value, types.MethodType):
            ours = str(value.__func__.__module__).startswith(_OURS)
            return {} if ours else self._place(None, NOWHERE, value.__self__, name + ".self", depth)
        if isinstance(value, functools.partial):
            return self._partial(value, name, depth)
        if isinstance(value, (list, tuple, dict)):
            return {name: (holder, key, value)} if not depth or _is_plain(unwrapped(value)) else self._items(
                value, name, depth)
        if self._family.is_framework_object(value) and not isinstance(value, set):
            return self._of_framework(holder, key, value, name, depth)
        if type(value).__module__.split(".")[0] in _STATELESS_MODULES:
            return {}
        if depth and is_helper(value):
            return self.places(value, (), name + ".", depth - 1)
        return {name: (holder, key, value)}

    def _of_framework(self, holder: Any, key: Any, value: Any, name: str, depth: int) -> Places:
        """What says of itself that it has a state, such as torch's generators; and what the user's classes add."""
        own = self._family.engine.own_state(value)
        if own is not None:
            return {name: (own[1], OWN_STATE, own[0]())}
        if self._family.has_hidden_state(value):
            return {name: (holder, key, value)}
        if depth and not self._family.is_framework_class(type(value)) and is_helper(value):
            return self.places(value, (), name + ".", depth - 1)
        return {}

    def _items(self, value: Any, name: str, depth: int) -> Places:
        """A list or dict that holds other things than plain values, item by item."""
        found: Places = {}
        if id(value) in self._seen:
            return found
        self._seen.add(id(value))
        for key, item in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
            holder, at = (None, NOWHERE) if isinstance(value, tuple) else (value, key)
            found.update(self._place(holder, at, item, "{}.{}".format(name, key), depth - 1))
        return found

    def _class(self, kind: type, name: str, depth: int) -> Places:
        """The class attributes of a class of the script's, such as a counter that all its objects share."""
        found: Places = {}
        for base in kind.__mro__ if depth else ():
            if id(base) in self._seen or not is_of_script(base.__module__):
                continue
            self._seen.add(id(base))
            for key, value in sorted(vars(base).items()):
                if not key.startswith(("__", "_abc_")) and not _is_descriptor(value):
                    found.update(self._place(base, key, value, "{}.{}".format(name, key), depth - 1))
        return found

    def _partial(self, value: functools.partial, name: str, depth: int) -> Places:
        found = self._place(None, NOWHERE, value.func, name + ".func", depth)
        for key, item in list(enumerate(value.args)) + sorted(value.keywords.items()):
            if not isinstance(item, SCALARS + _UNCHANGING):
                found.update(self._place(None, NOWHERE, item, "{}.{}".format(name, key), depth))
        return found

    def _function(self, function: types.FunctionType, name: str, depth: int) -> Places:
        module = function.__module__
        if id(function) in self._seen or str(module).startswith(_OURS) or is_standard(module):
            return {}
        self._seen.add(id(function))
        found: Places = {}
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # not bound yet
            found.update(self._place(cell, None, value, "{}.{}".format(name, variable), depth))
        for number, value in enumerate([*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]):
            if not isinstance(value, SCALARS + _UNCHANGING):  # def f(x, seen=[])
                found.update(self._place(None, NOWHERE, value, "{}.default {}".format(name, number), depth))
        found.update(self._place(None, NOWHERE, vars(function), name + ".attributes", depth))
        found.update(self._names(function.__code__, function.__globals__, name, depth))
        return found

    def _names(self, code: types.CodeType, scope: Dict[str, Any], name: str, depth: int) -> Places:
        """What a function names of the global variables of its module, and of other modules of the script."""
        found: Places = {}
        for variable in sorted(_global_names(code)):
            if variable not in scope:
                continue
            value, where = scope[variable], "{}.{}".format(name, variable)
            if isinstance(value, types.ModuleType):
                if is_of_script(value.__name__):
                    for inner in sorted(_attribute_names(code).intersection(vars(value))):
                        found.update(self._global(vars(value), inner, "{}.{}".format(where, inner), depth))
            else:
                found.update(self._global(scope, variable, where, depth))
        return found

    def _global(self, scope: Dict[str, Any], variable: str, name: str, depth: int) -> Places:
        value = scope[variable]
        if isinstance(value, types.FunctionType):
            return self._function(value, name, depth - 1) if depth and is_of_script(value.__module__) else {}
        if isinstance(value, (types.ModuleType, *_UNCHANGING)):
            return {}
        return self._place(scope, variable, value, name, depth)


@functools.lru_cache(maxsize=1024)
def _global_names(code: types.CodeType) -> FrozenSet[str]:
    """The names of global variables that a function, or one within it, reads or rebinds."""
    inner = [_global_names(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return frozenset(one.argval for one in dis.get_instructions(code)
                     if one.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")).union(*inner)


@functools.lru_cache(maxsize=1024)
def _attribute_names(code: types.CodeType) -> FrozenSet[str]:
    """The names of attributes that a function, or one within it, reads or sets, of whatever object."""
    inner = [_attribute_names(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return frozenset(code.co_names).union(*inner)


@functools.lru_cache(maxsize=1024)
def is_standard(module: Any) -> bool:
    """Whether a module is of Python's standard library."""
    path = str(getattr(sys.modules.get(str(module)), "__file__", None) or "")
    return path.startswith(sysconfig.get_paths()["stdlib"]) and "-packages" not in path


@functools.lru_cache(maxsize=1024)
def is_of_script(module: Any) -> bool:
    """Whether a module is the main script, or one of those that lie beside it: no installed package."""
    path = str(getattr(sys.modules.get(str(module)), "__file__", None) or "")
    installed = "-packages" in path or is_standard(module)
    return module == "__main__" or (bool(path) and not installed and not str(module).startswith(_OURS))


def _is_descriptor(value: Any) -> bool:
    """A method, property or the like of a class."""
    return hasattr(type(value), "__get__") or isinstance(value, (staticmethod, classmethod))


def unwrapped(value: Any) -> Any:
    """A list, dict or set as Python has it, where Keras has put one of its own that tracks what is in it."""
    if isinstance(value, dict) and type(value).__module__ not in ("builtins", "collections"):
        return {key: unwrapped(item) for key, item in value.items()}
    if isinstance(value, list) and type(value) is not list:
        return [unwrapped(item) for item in value]
    return set(value) if isinstance(value, set) and type(value) is not set else value


def _is_plain(value: Any) -> bool:
    try:
        plain_values.flatten(value)
    except (plain_values.NotPlain, RecursionError):
        return False
    return True


def is_users(kind: type) -> bool:
    """Whether a class may be the user's own, those of the main script included."""
    module = str(kind.__module__)
    return module == "__main__" or (
        module not in ("builtins", "random", "collections") and not module.startswith(("numpy", "_", _OURS)))


def is_helper(value: Any) -> bool:
    """An object of the user's own class, whose attributes are its state."""
    return not isinstance(value, (list, tuple, dict)) and hasattr(value, "__dict__") and is_users(type(value))


def _is_builtin(value: Any) -> bool:
    """A function or method written in C."""
    return callable(value) and not is_users(type(value)) and not isinstance(
        value, (types.FunctionType, types.MethodType, functools.partial))


def keyed(subjects: List[Any]) -> Iterator[Tuple[str, Any]]:
    """Objects by class and occurrence, so that an added one does not shift the others."""
    seen: Dict[str, int] = {}
    for subject in subjects:
        kind = subject if isinstance(subject, types.FunctionType) else type(subject)
        name = "{}.{}".format(kind.__module__, kind.__qualname__)
        seen[name] = seen.get(name, -1) + 1
        yield "{} {}".format(name, seen[name]), subject


def own_state(subject: Any) -> Optional[Tuple[Any, Any]]:
    """The object's own (get, set) functions of its state, where it offers them."""
    for get, put in (("get_state", "set_state"), ("state_dict", "load_state_dict")):
        pair = getattr(subject, get, None), getattr(subject, put, None)
        if all(map(callable, pair)):
            return pair
    return None
