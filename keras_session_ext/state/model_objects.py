"""What the model, its layers, losses, metrics and optimizers keep outside of the variables that Keras lists.

Four ways lead to it: Keras's own saving protocol, for who overrides it
(vocabularies, tables); tensors that an engine keeps beside the variables
(torch's buffers); what a layer derives from its variables (`finalize_state`);
and Python attributes: those that the user's own classes assign, plain settings
of all objects, such as `trainable` and a rate that a callback changes, and what
their functions close over.

A step that is traced reads Python attributes when it is traced, and never
again: see attributes_when_traced.py.
"""

import functools
import types
from typing import Any, Dict, FrozenSet, Iterator, List, NamedTuple, Set, Tuple

from keras_session_ext.backend import saving_protocol
from keras_session_ext.errors import StateMismatch
from keras_session_ext.state import attribute_changes, plain_values, set_attributes, walk_objects
from keras_session_ext.state.live_run import Run
from keras_session_ext.state.walk_objects import VARIABLES, Places, Walk, is_standard, is_users

NAME = "objects"

_SETTINGS = (bool, int, float, str)
#: settings that Keras changes by itself
_KERAS_SETS = frozenset(["built", "stop_training", "stop_evaluating", "stop_predicting", "compiled"])
#: what a checkpoint of an earlier version of this package knows of them
NOTHING: Dict[str, Any] = {"values": {}, "traced": {}, "script": {}, "own": {}, "buffers": {}, "missing": []}

Values = Dict[str, Dict[str, Any]]


class Seen(NamedTuple):
    """The Python attributes of all objects at one moment.

    Attributes:
        prints: id of an object -> name -> fingerprint.
        values: copies of those that are not the script's to say.
    """

    prints: Dict[int, Dict[str, str]]
    values: Dict[int, Dict[str, Any]]


def _objects(run: Run) -> List[Tuple[str, Any]]:
    return list(walk_objects.keyed(run.family.model_objects(run.model)))


# -- Python attributes


def places_of(run: Run) -> Iterator[Tuple[str, Any, Places]]:
    """Where each object keeps its Python attributes."""
    yield from _places_of(_objects(run), run)


def _places_of(listed: List[Tuple[str, Any]], run: Run) -> Iterator[Tuple[str, Any, Places]]:
    walk, optimizers = Walk(run, [subject for _, subject in listed]), run.family.optimizers(run.model)
    kinds = _Kinds(walk, run)
    for key, subject in listed:
        if isinstance(subject, types.FunctionType):
            yield key, subject, walk.places(subject)
        else:
            optimizes = any(subject is one for one in optimizers)
            places = walk.named_places(subject, sorted(_names(subject, optimizes, kinds, run)))
            if hasattr(subject, "trainable"):  # its setter reaches the variables
                places["trainable"] = subject, "trainable", bool(subject.trainable)
            yield key, subject, places


class _Kinds:
    """What is known of classes, found out once: a thousand layers have few.

    Args:
        walk: knows the methods that are the user's own.
        run: the live run.
    """

    def __init__(self, walk: Walk, run: Run):
        self._walk = walk
        self._family = run.family
        self._assigned: Dict[type, FrozenSet[str]] = {}
        self._users: Dict[type, bool] = {}
        self.passed_over: Set[type] = {type(None), list, tuple, dict}  # objects of these are never the user's own

    def assigned(self, kind: type) -> FrozenSet[str]:
        """The names of attributes that the methods of the user's own classes assign."""
        if kind not in self._assigned:
            self._assigned[kind] = frozenset().union(*[
                set_attributes.assigned_names(method.__code__) for _, method in self._walk.methods(kind)])
        return self._assigned[kind]

    def is_users_own(self, value: Any) -> bool:
        """A function or an object of the user's, wherever Keras keeps it."""
        if value is None or isinstance(value, (list, tuple, dict)):  # Keras's own wrappers among them
            return False
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            function = getattr(value, "func", getattr(value, "__func__", value))
            return isinstance(function, types.FunctionType) and not self._family.is_framework_class(function)
        kind = type(value)
        if kind not in self._users:
            self._users[kind] = is_users(kind) and not issubclass(kind, (type, types.ModuleType)) \
                and not self._family.is_framework_class(kind) and not is_standard(kind.__module__)
            if not self._users[kind] and kind not in _SETTINGS:
                self.passed_over.add(kind)
        return self._users[kind] and hasattr(value, "__dict__")


def _names(subject: Any, optimizes: bool, kinds: _Kinds, run: Run) -> Iterator[str]:
    family, assigned = run.family, kinds.assigned(type(subject))
    adapts = hasattr(subject, "adapt") and family.is_framework_class(type(subject))
    passed_over = kinds.passed_over if not (assigned or optimizes or adapts) else ()
    for name, value in vars(subject).items():
        if type(value) in passed_over:
            continue
        if name in assigned or (optimizes and type(value) in (int, float)):  # Nadam of tf.keras 2.11 to 2.15 counts
            yield name
        elif type(value) in _SETTINGS or name in _KERAS_SETS:
            if not name.startswith("_") and name not in _KERAS_SETS:
                yield name
        elif kinds.is_users_own(value) or (adapts and not name.startswith("_") and (
                family.as_array(value) is not None or not family.is_framework_object(value))):
            yield name


def look(run: Run) -> Seen:
    """Reads all attributes; copies those that are not the script's to say."""
    seen = Seen({}, {})
    for _, subject, places in places_of(run):
        found = attribute_changes.read(places, run)
        prints = seen.prints[id(subject)] = found.fingerprints()
        begun = run.objects_begun.get(id(subject), {})
        seen.values[id(subject)] = plain_values.copy(
            {name: value for name, value in found.values.items() if begun.get(name) != prints[name]})
    return seen


def begin(run: Run) -> None:
    """Remembers what the script says of each object: all but what every process makes anew."""
    run.objects_begun, run.objects_script = {}, {}
    for _, subject, places in places_of(run):
        found = attribute_changes.read(places, run)
        # what is adapted once, at the first start, is not the script's to say
        run.objects_begun[id(subject)] = {} if hasattr(subject, "adapt") else attribute_changes.baseline(found, {})
        run.objects_script[id(subject)] = plain_values.copy(found.values)
    run.objects_traced = run.objects_stepped = None
    run.objects_validated = run.objects_settled = False


def begin_again(script: Dict[int, Dict[str, Any]], run: Run) -> None:
    """Gives the attributes the values that the script gave them: a fit that failed, or a build, has changed them.

    Args:
        script: `run.objects_script` of then.
        run: the live run.
    """
    for _, subject, places in places_of(run):
        set_attributes.put(subject, places, script.get(id(subject), {}), run)


# -- the kind


def capture(run: Run) -> Dict[str, Any]:
    state: Dict[str, Any] = {"values": {}, "traced": {}, "script": {}, "own": {}, "buffers": {}, "missing": [],
                             "validated": run.objects_validated, "settled": run.objects_settled}
    listed = _objects(run)
    for key, subject, places in _places_of(listed, run) if run.trains else ():
        found = attribute_changes.read(places, run)
        changed, large = attribute_changes.changed(found, run.objects_begun.get(id(subject), {}))
        state["missing"] += ["{}.{}".format(short_name(key), name) for name in found.opaque + large]
        if changed:
            state["values"][key] = changed
            _add_traced(state, key, subject, read_when_traced(places), run)
    _add_own(state, listed, run)
    return state


def _add_own(state: Dict[str, Any], listed: List[Tuple[str, Any]], run: Run) -> None:
    """What objects save of themselves, and what the engine keeps beside their variables."""
    known = [leaf.variable for leaf in run.family.model_variables(run.model)]
    for key, subject in listed:
        try:
            own = saving_protocol.read(subject, run.family.is_framework_class)
            plain_values.flatten(own)
        except Exception as error:  # a user's save_own_variables may raise anything
            own = {}
            state["missing"].append("{} ({}: {})".format(short_name(key), type(error).__name__, error))
        for name, made in (("own", own), ("buffers", run.family.engine.buffers(subject, known))):
            if made:
                state[name][key] = made


def read_when_traced(places: Places) -> Set[str]:
    """The names of attributes that a traced step keeps the value of; it reads variables every time."""
    return {name for name, (_, key, _) in places.items() if key is not VARIABLES}


def _add_traced(state: Dict[str, Any], key: str, subject: Any, names: Set[str], run: Run) -> None:
    """What the attributes that have changed since the step was traced were then: values, or the script's own."""
    if run.objects_traced is None:
        return
    prints, values = (one.get(id(subject), {}) for one in run.objects_traced)
    for name, value in state["values"][key].items():
        if name not in names or prints.get(name) == plain_values.fingerprint(value):
            continue
        if name in values:
            state["traced"].setdefault(key, {})[name] = values[name]
        else:
            state["script"].setdefault(key, []).append(name)


def short_name(key: str) -> str:
    return key.split(" ")[0].rsplit(".", 1)[-1]


def missing(state: Dict[str, Any]) -> List[str]:
    """What could not be captured, as "Class.attribute (type)"."""
    return list(state.get("missing", ()))


def check(state: Dict[str, Any], run: Run) -> List[str]:
    return []


def before_build(state: Dict[str, Any], run: Run) -> None:
    """What a layer needs before variables are made: its vocabulary, and whether an optimizer is to train it."""
    for key, subject in _objects(run):
        if "trainable" in state["values"].get(key, {}):
            subject.trainable = state["values"][key]["trainable"]
    _write_own(state, run)


def restore(state: Dict[str, Any], run: Run) -> None:
    run.objects_validated, run.objects_settled = (bool(state.get(name, True)) for name in ("validated", "settled"))
    for key, subject, places in places_of(run) if run.trains else ():
        set_attributes.put(subject, places, state["values"].get(key, {}), run)
    for key, _, places in places_of(run) if run.trains else ():
        values = state["values"].get(key, {})
        for name in attribute_changes.lost(values, attribute_changes.read(places, run)):
            run.report.because(short_name(key) + "." + set_attributes.why_lost(name, values[name]))
    for key, subject in _objects(run):
        if key in state["buffers"]:
            run.family.engine.set_buffers(subject, state["buffers"][key])
        saving_protocol.finalize(subject)
    _write_own(state, run)


def _write_own(state: Dict[str, Any], run: Run) -> None:
    """By Keras's protocol, where an object does not have that state already."""
    for key, subject in _objects(run):
        own = state["own"].get(key)
        if own is None or _has_own(subject, own, run):
            continue
        try:
            saving_protocol.write(subject, own)
        except Exception as error:  # Keras's load_assets and the user's load_own_variables may raise anything
            raise StateMismatch("{} cannot load what it had saved of itself ({}: {}). Make it as it was when the "
                                "checkpoint was taken, such as by adapt, before fit.".format(
                                    short_name(key), type(error).__name__, error))
        if not _has_own(subject, own, run):
            run.report.because("{} did not take back what it had saved of itself".format(short_name(key)))


def _has_own(subject: Any, own: Dict[str, Any], run: Run) -> bool:
    try:
        now = saving_protocol.read(subject, run.family.is_framework_class)
        return plain_values.fingerprint(own) == plain_values.fingerprint(now)
    except Exception:  # a layer that was never adapted has nothing to save
        return False
