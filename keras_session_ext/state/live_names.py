"""What the variables of a loop lead to: models, Keras objects, what has a state of its own, plain values, helpers.

Looked at is what the rest of the run still reads (backend/hooks/live_names.py),
and what the script names itself (`state=`). What is found and cannot be captured
is told by name.
"""

import collections
import contextlib
import functools
import types
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.feeds import followed_data
from keras_session_ext.backend.hooks.frame_scopes import Scope
from keras_session_ext.state import attribute_changes, callable_parts, nested_tensors, plain_values, walk_objects
from keras_session_ext.state.live_run import Run
from keras_session_ext.state.walk_objects import GENERATORS, SCALARS, Places, Walk

_OURS = "keras_session_ext"
_PLAIN = (list, tuple, dict, set, frozenset, bytes, np.ndarray, np.generic, collections.deque, *GENERATORS)
_DEPTH = 2
_MANY = 200  # items of a list that are looked at one by one


class Held(NamedTuple):
    """A value that stands in a variable: `holder[key]`."""

    holder: Any
    key: Any
    live: Any
    packed: nested_tensors.Packed


class Own(NamedTuple):
    """What gives and takes a state of its own."""

    live: Any
    get: Callable[[], Any]
    put: Callable[[Any], Any]
    kind: str


class Found:
    """All that was found, by name.

    Attributes:
        models: further Keras models.
        first: the names of the first one.
        objects: name -> (the object, its variables): optimizers, metrics, layers, variables, seed generators.
        owns: what has a state of its own.
        values: plain values, tensors, and nests of them.
        places: the attributes of helpers, and what functions close over.
        opaque: what cannot be captured: (name, what it is).
        iterated: datasets and loaders.
        aliases: further names of models, objects, and what has a state of its own -> the object.
        functions: what TensorFlow has made of functions of the script.
    """

    def __init__(self) -> None:
        self.models: Dict[str, Any] = {}
        self.first: List[str] = []
        self.objects: Dict[str, Tuple[Any, List[Any]]] = {}
        self.owns: Dict[str, Own] = {}
        self.values: Dict[str, Held] = {}
        self.places: Places = {}
        self.opaque: List[Tuple[str, str]] = []
        self.iterated: Dict[str, Any] = {}
        self.aliases: Dict[str, Any] = {}
        self.functions: List[Any] = []

    def model(self, name: str) -> Any:
        """The further model of this name, or None."""
        return self.models.get(name, self.aliases.get(name))

    def object(self, name: str) -> Tuple[Any, List[Any]]:
        """The object of this name and its variables, or (None, [])."""
        value = self.aliases.get(name)
        named = [one for one in self.objects.values() if one[0] is value] if value is not None else []
        return self.objects.get(name, named[0] if named else (None, []))

    def own(self, name: str) -> Optional[Own]:
        """What has a state of its own, by one of its names, or None."""
        value = self.aliases.get(name)
        named = [one for one in self.owns.values() if value is not None and one.live is value]
        return self.owns.get(name, named[0] if named else None)

    def told(self) -> Iterator[str]:
        """What was found, one line per kind."""
        kinds: Dict[str, List[str]] = collections.OrderedDict()
        for name in [*self.first, *self.models]:
            kinds.setdefault("models", []).append(name)
        for name, (value, _) in self.objects.items():
            word = "optimizers" if hasattr(value, "learning_rate") else "metrics" if hasattr(
                value, "update_state") else "objects"
            kinds.setdefault(word, []).append(name)
        kinds.setdefault("objects", []).extend(self.owns)
        kinds["variables"] = list(self.values)
        kinds["attributes"] = [name for name, (_, _, value) in self.places.items() if not (
            isinstance(value, dict) and not value)]
        for kind, names in kinds.items():
            if names:
                shown = ", ".join(names[:12])
                more = "" if len(names) <= 12 else ", … {} in all".format(len(names))
                yield "  {:<10} {}{}".format(kind, shown, more)
        if self.opaque:
            yield "  not captured: " + ", ".join("{} ({})".format(*one) for one in self.opaque)


class Look:
    """One look at all of it.

    Args:
        run: the live run; what is its model's is left out.
        ours: objects that are no state of the script's: the loop itself, and sources that are followed.
    """

    def __init__(self, run: Run, ours: List[Any]):
        self._run = run
        self._family = run.family
        self._own = run.family.own_variables(run.model)
        self._ours = {id(one) for one in ours}
        self._seen: Dict[int, Any] = {}
        self._entered: Dict[int, Any] = {}
        self._looked_at: List[Any] = []
        self._rest: List[Tuple[str, Any, Any, Any]] = []
        self.found = Found()

    def all(self, scopes: List[Scope], named: Dict[str, Any]) -> Found:
        """Looks at variables, and at what the script names itself."""
        self._looked_at = [scope.holder for scope in scopes]
        for name, value in named.items():
            self._safely(self._visit, "state." + name, named, name, value, _DEPTH)
        for scope in scopes:
            for name, value in scope.values.items():
                self._safely(self._visit, scope.prefix + name, scope.holder, name, value, _DEPTH)
        walk = Walk(self._run, [*self._seen.values()])
        for name, holder, key, value in self._rest:
            self._safely(lambda name, holder, key, value: self.found.places.update(
                walk.place(holder, key, value, name)), name, holder, key, value)
        for name, own in self.found.owns.items():
            for path, part, names in self._family.engine.attributes_of(own.live):
                self.found.places.update(walk.named_places(part, names, "{}.{}".format(name, path)))
        self._read_places()
        return self.found

    def _safely(self, look: Callable[..., None], name: str, holder: Any, key: Any, value: Any, *more: Any) -> None:
        """Looks at a variable whose attributes may raise anything when they are asked for."""
        try:
            look(name, holder, key, value, *more)
        except Exception as error:
            self.found.opaque.append((name, "{}, which raises {} when it is looked at".format(
                type(value).__name__, type(error).__name__)))

    def _read_places(self) -> None:
        kept: Places = {}
        read = attribute_changes.read(self.found.places, self._run)
        for one in read.opaque:
            name, kind = one.rsplit(" (", 1)
            self.found.opaque.append((name, kind.rstrip(")")))
        for name in read.values:
            kept[name] = self.found.places[name]
        self.found.places = kept

    def _visit(self, name: str, holder: Any, key: Any, value: Any, depth: int) -> None:
        if type(value) in SCALARS or value is None:
            self.found.values[name] = Held(holder, key, value, nested_tensors.Packed(value))
        elif id(value) in self._ours or _is_ours(value) or isinstance(value, types.BuiltinFunctionType):
            return
        elif isinstance(value, types.ModuleType):
            self._enter(name, value, depth)
        elif id(value) in self._seen:
            self.found.aliases[name] = value
            if self._is_rebound(value):
                self._value(name, holder, key, value)
        elif not self._known(name, value) and not self._value(name, holder, key, value):
            self._further(name, holder, key, value, depth)

    def _is_rebound(self, value: Any) -> bool:
        """Whether a second variable that holds the same is to be given it again, too."""
        return self._family.as_array(value) is not None or isinstance(value, (np.ndarray, list, tuple, dict))

    def _known(self, name: str, value: Any) -> bool:
        """What Keras, the engine or the object itself says of a state."""
        found, family = self.found, self._family
        if isinstance(value, (type, *GENERATORS)):
            return False
        if hasattr(value, "get_concrete_function"):
            found.functions.append(value)
        if self._is_model(value):
            self._seen[id(value)] = value
            if value is self._run.model:
                found.first.append(name)
            else:
                found.models[name] = value
            return True
        variables = family.held_variables(value, self._own)
        if variables is not None:
            self._seen[id(value)] = value
            self._own.update(map(id, variables))
            found.objects[name] = value, variables
            return True
        if followed_data.is_followed(value):
            self._seen[id(value)] = value
            found.iterated[name] = value
            loader = followed_data.own_state(value)
            return loader is None or self._has_own(name, value, Own(value, loader[0], loader[1], "DataLoader"))
        own = family.engine.own_state(value) if family.is_framework_object(value) else walk_objects.own_state(value)
        if own is None:
            return False
        return self._has_own(name, value, Own(value, own[0], own[1], type(value).__name__))

    def _has_own(self, name: str, value: Any, own: Own) -> bool:
        self._seen[id(value)] = value
        try:
            plain_values.flatten(own.get())
        except Exception as error:  # a user's get_state may raise anything
            self.found.opaque.append((name, "{}, whose state is no plain value: {}".format(own.kind, error)))
            return True
        self.found.owns[name] = own
        return True

    def _is_model(self, value: Any) -> bool:
        return isinstance(value, self._family.keras.Model)

    def _value(self, name: str, holder: Any, key: Any, value: Any) -> bool:
        """A plain value, a tensor, or a nest of them."""
        if not isinstance(value, _PLAIN) and self._family.as_array(value) is None and (
                self._family.engine.unsealed(value) is None):
            return False
        try:
            packed = nested_tensors.pack(value, self._family)
        except (plain_values.NotPlain, RecursionError):
            return False
        self._seen[id(value)] = value
        self.found.values[name] = Held(holder, key, value, packed)
        return True

    def _further(self, name: str, holder: Any, key: Any, value: Any, depth: int) -> None:
        if isinstance(value, (list, tuple, dict)) and depth and len(value) < _MANY:
            items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
            for number, item in items:
                self._visit("{}.{}".format(name, number), value, number, item, depth - 1)
            return
        if hasattr(type(value), "__next__"):
            self.found.opaque.append((name, type(value).__name__ + ", which is half read; write loop.iterator around "
                                                                    "what it reads"))
            return
        if depth and walk_objects.is_helper(value) and not self._family.is_framework_object(value):
            for inner, item in sorted(vars(value).items()):
                if self._leads_to_keras(item):
                    self._visit("{}.{}".format(name, inner), vars(value), inner, item, depth - 1)
        self._enter(name, value, depth)
        if walk_objects.is_helper(value):
            self._enter(name, type(value), depth)
        self._rest.append((name, holder, key, value))

    def _enter(self, name: str, value: Any, depth: int) -> None:
        """Looks for Keras in what functions, methods and modules lead to, each once."""
        if id(value) in self._entered or not depth:
            return
        self._entered[id(value)] = value
        for inner, holder, key, item in callable_parts.parts_of(value, self._looked_at):
            if isinstance(item, (types.FunctionType, types.MethodType, functools.partial)):
                self._enter("{}.{}".format(name, inner), item, depth)
            elif self._leads_to_keras(item):
                self._visit("{}.{}".format(name, inner), holder, key, item, depth - 1)

    def _leads_to_keras(self, value: Any) -> bool:
        if type(value) in SCALARS or value is None or isinstance(value, (types.ModuleType, type)) or id(
                value) in self._seen or isinstance(value, GENERATORS):
            return False
        if isinstance(value, (list, tuple)):
            return any(map(self._leads_to_keras, value[:_MANY]))
        return self._is_model(value) or self._family.is_framework_object(value) or walk_objects.is_helper(value) or (
            self._family.held_variables(value, set()) is not None)


def _is_ours(value: Any) -> bool:
    return str(getattr(type(value), "__module__", "")).split(".")[0] == _OURS or (
        isinstance(value, type) and str(value.__module__).split(".")[0] == _OURS)


def models_in(family: Family, scopes: List[Scope], named: Dict[str, Any]) -> List[Any]:
    """The Keras models that variables lead to, two attributes deep, each once."""
    found: List[Any] = []

    looked_at, entered = [scope.holder for scope in scopes], {}

    def visit(value: Any, depth: int) -> None:
        if isinstance(value, type) or value is None or type(value) in SCALARS or id(value) in entered:
            return
        if isinstance(value, family.keras.Model):
            if not any(value is one for one in found):
                found.append(value)
        elif depth and isinstance(value, (list, tuple)) and len(value) < _MANY:
            for item in value:
                visit(item, depth - 1)
        elif depth and isinstance(value, dict) and len(value) < _MANY:
            for item in value.values():
                visit(item, depth - 1)
        elif depth and walk_objects.is_helper(value) and not family.is_framework_object(value) and not _is_ours(value):
            for item in vars(value).values():
                visit(item, depth - 1)
        elif depth and not isinstance(value, (list, tuple, dict)) and not _is_ours(value):
            entered[id(value)] = value
            for _, _, _, item in callable_parts.parts_of(value, looked_at):
                visit(item, depth if isinstance(item, types.FunctionType) else depth - 1)

    for value in [*named.values(), *[value for scope in scopes for value in scope.values.values()]]:
        with contextlib.suppress(Exception):  # whatever an object raises when it is asked for an attribute: it is named
            visit(value, _DEPTH)
    return found


