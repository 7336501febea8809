"""The variables of a loop of the script's own, and all that they lead to; nothing of a fit's.

The model that plain Keras finds in the file is captured as that of a fit is, by
the other kinds. Here is the rest: further models, each by these same kinds,
optimizers, metrics, what has a state of its own, plain values that have changed
since the loop began, helpers.
"""

import contextlib
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np

from keras_session_ext.backend.optimizers import trained_variables
from keras_session_ext.errors import StateMismatch
from keras_session_ext.state import (
    attribute_changes,
    loop_tensors,
    model_objects,
    nested_tensors,
    optimizer,
    plain_values,
    set_attributes,
    shared_objects,
    variables,
)
from keras_session_ext.state.live_names import Found
from keras_session_ext.state.live_run import Run
from keras_session_ext.state.loop_view import LoopView

NAME = "loop"

_MODEL_KINDS = (variables, optimizer, model_objects)
_VIEW = "{} and {} share their memory, and did not at the checkpoint. Give one of them a copy"
_UNBOUND = "{} has a value that it had not at the checkpoint, where it was not bound; bind it to None there"


def _view(run: Run) -> LoopView:
    view = run.loop
    assert isinstance(view, LoopView)
    return view


def capture(run: Run) -> Dict[str, Any]:
    view = _view(run)
    found = view.look()
    state: Dict[str, Any] = {"models": {}, "objects": {}, "own": {}, "values": {}, "attributes": {}, "begun": {},
                             "missing": ["{} ({})".format(*one) for one in found.opaque]}
    for name, model in found.models.items():
        inner = view.run_of(model)
        state["models"][name] = {kind.NAME: kind.capture(inner) for kind in _MODEL_KINDS}
    for name, (value, leaves) in found.objects.items():
        arrays = run.family.engine.read(leaves) if leaves else []
        state["objects"][name] = {"kind": type(value).__name__, "arrays": list(arrays),
                                  "trains": trained_by(value, found, run)}
    for name, own in found.owns.items():
        state["own"][name] = plain_values.copy(own.get())
    for name, held in found.values.items():
        print_ = nested_tensors.fingerprint(held.packed.plain())
        if view.begun.get(name) == print_:
            state["begun"][name] = print_
        else:
            state["values"][name] = plain_values.copy(held.packed.plain())
    _capture_attributes(state, found, run)
    state["tensors"] = loop_tensors.capture(found, run)
    walked = view.walk()
    state["shared"] = sorted(sorted(paths) for paths in shared_objects.groups(walked))
    state["views"] = [list(one) for one in sorted(shared_objects.look_for_views(
        walked, run.family.engine, view.known))]
    state["moved"] = {} if view.things is None else view.things.moved(walked)
    return state


def _capture_attributes(state: Dict[str, Any], found: Found, run: Run) -> None:
    begun = {name[len("attribute "):]: print_ for name, print_ in _view(run).begun.items()
             if name.startswith("attribute ")}
    read = attribute_changes.read(found.places, run)
    changed, large = attribute_changes.changed(read, begun)
    state["attributes"] = changed
    state["missing"] += large


def trained_by(value: Any, found: Found, run: Run) -> List[List[Any]]:
    """Which variables an optimizer trains: [name of the model, number]."""
    wanted = set(map(id, trained_variables(value)))
    made: List[List[Any]] = []
    for name, leaves in _variables_by_name(found, run):
        made += [[name, number] for number, one in enumerate(leaves) if id(one) in wanted]
    return made


def _variables_by_name(found: Found, run: Run) -> Iterator[Tuple[str, List[Any]]]:
    yield "", [leaf.variable for leaf in run.family.model_variables(run.model)]
    for name, model in found.models.items():
        yield name, [leaf.variable for leaf in run.family.model_variables(model)]


# -- restoring


def check(state: Dict[str, Any], run: Run) -> List[str]:
    """What variables lead to already; within the loop others come, and are checked then."""
    if run.foreign:
        return ["the loop goes on only on the Keras and the engine that it was taken on, {}".format(run.foreign)]
    found, problems = _view(run).look(), []
    build(state, found, run)
    for name, stored in state["models"].items():
        if found.model(name) is not None:
            problems += _problems(name, stored, _view(run).run_of(found.model(name)))
    for name, stored in state["objects"].items():
        value, leaves = found.object(name)
        problems += [] if value is None else _differences(name, stored, leaves)
    return problems


def _problems(name: str, stored: Dict[str, Any], inner: Run) -> List[str]:
    return ["{}: {}".format(name, one) for kind in _MODEL_KINDS for one in kind.check(stored[kind.NAME], inner)]


def _differences(name: str, stored: Dict[str, Any], leaves: List[Any]) -> List[str]:
    then = [tuple(np.shape(array)) for array in stored["arrays"]]
    now = [tuple(leaf.shape) for leaf in leaves]
    if then == now:
        return []
    return ["{} ({}): {} variables of shapes {} in the checkpoint, {} now. Build it before the loop, such as "
            "optimizer.build(model.trainable_variables)".format(name, stored["kind"], len(then), then[:4], now[:4])]


def build(state: Dict[str, Any], found: Found, run: Run) -> None:
    """Makes the slots of optimizers that have none yet: for the variables that they trained at the checkpoint."""
    for name, stored in state["models"].items():
        model, slots = found.model(name), stored[optimizer.NAME]
        tables = [] if model is None else optimizer.tables(slots, _view(run).run_of(model))
        if slots.get("built", True) and any(table.get("trains") for table in tables):
            run.family.build_optimizers(model, tables)
    known = dict(_variables_by_name(found, run))
    for name, stored in state["objects"].items():
        value = found.object(name)[0]
        if value is None or not stored["trains"] or getattr(value, "built", True) or not hasattr(value, "build"):
            continue
        wanted = [known[whose][number] for whose, number in stored["trains"]
                  if number < len(known.get(whose, ()))]
        with contextlib.suppress(Exception):  # the difference is told then
            value.build(wanted)
            found.objects[name] = value, run.family.held_variables(value, set()) or []


def restore(state: Dict[str, Any], run: Run) -> None:
    view = _view(run)
    _restore_identities(state, run)
    found = view.look()
    build(state, found, run)
    _restore_objects(state, found, run)
    _restore_values(state, found, run)
    set_attributes.put(None, found.places, state["attributes"], run)
    loop_tensors.restore(state["tensors"], view.look(), run)
    shared_objects.join(state["shared"], view.walk())
    if view.is_complete:
        _verify(state, run)


def _restore_identities(state: Dict[str, Any], run: Run) -> None:
    """Lets variables lead to the objects that they led to, before any of these gets its values."""
    view, engine = _view(run), run.family.engine
    if view.things is not None:
        view.things.put(state["moved"], view.walk())
    shared_objects.part(state["shared"], state["views"], view.walk(), engine, view.known)
    shared_objects.join(state["shared"], view.walk())


def _restore_objects(state: Dict[str, Any], found: Found, run: Run) -> None:
    missing = []
    for name, stored in state["models"].items():
        model = found.model(name)
        if model is None:
            missing.append(name)
            continue
        inner = _view(run).run_of(model)
        for problem in _problems(name, stored, inner):
            raise StateMismatch(problem)
        for kind in _MODEL_KINDS:
            kind.restore(stored[kind.NAME], inner)
    for name, stored in state["objects"].items():
        value, leaves = found.object(name)
        if value is None:
            missing.append(name)
            continue
        for problem in _differences(name, stored, leaves):
            raise StateMismatch(problem)
        if leaves:
            run.family.engine.assign(leaves, stored["arrays"])
    for name, stored in state["own"].items():
        own = found.own(name)
        if own is None:
            missing.append(name)
        elif own.live is _view(run).session:
            _view(run).restore_session(stored)
        else:
            own.put(plain_values.copy(stored))
    if missing and _view(run).is_complete:
        raise StateMismatch("No variable of the loop leads any more to what the checkpoint holds as {}. Give it the "
                            "name it had, or name it in state=.".format(", ".join(missing)))


def _verify(state: Dict[str, Any], run: Run) -> None:
    """All variables have the values of the checkpoint now, or the report says which do not."""
    found = _view(run).look()
    prints = {name: nested_tensors.fingerprint(held.packed.plain()) for name, held in found.values.items()}
    lost = [name for name, stored in state["values"].items() if prints.get(name) != nested_tensors.fingerprint(stored)]
    lost += [name for name, print_ in state["begun"].items() if prints.get(name, print_) not in (
        print_, _view(run).begun.get(name))]  # the script may say another than then: that is told
    read = attribute_changes.read(found.places, run)
    for name in lost + attribute_changes.lost(state["attributes"], read):
        run.report.because("{} could not be put back; offer get_state and set_state, or name it in state=".format(
            name))
    for reason in shared_objects.differences(state["shared"], _view(run).walk()):
        run.report.because(reason)
    views = shared_objects.views_differ(state["views"], _view(run).walk(), run.family.engine, _view(run).known)
    for pair in shared_objects.named(views):
        run.report.because(_VIEW.format(*pair))
    for scope in _view(run).scopes():
        for name in scope.values:
            if scope.prefix + name in found.values and scope.prefix + name not in state["values"] and (
                    scope.prefix + name not in state["begun"]):
                run.report.because(_UNBOUND.format(scope.prefix + name))


def _restore_values(state: Dict[str, Any], found: Found, run: Run) -> None:
    for name, stored in state["values"].items():
        held, copied = found.values.get(name), plain_values.copy(stored)
        holder, key, live = (held.holder, held.key, held.live) if held is not None else (*_holder(name, run), None)
        if holder is None:
            continue
        with contextlib.suppress(TypeError):  # a tuple with names: only a variable that holds one knows its class
            _put(holder, key, live, nested_tensors.unpack(copied, live, run.family))
    for name in state["begun"]:  # what the way back has changed has the script's own value again
        held, (live, packed) = found.values.get(name), _view(run).script_value(name)
        if held is None or packed is None or nested_tensors.fingerprint(held.packed.plain()) == state["begun"][name]:
            continue
        _put(held.holder, held.key, held.live, nested_tensors.unpack(
            plain_values.copy(packed.plain()), live, run.family))


def _put(holder: Any, key: Any, live: Any, value: Any) -> None:
    if value is not live and holder is not None:
        if isinstance(holder, (dict, list)):
            holder[key] = value
        elif not isinstance(holder, tuple):
            setattr(holder, key, value)


def _holder(name: str, run: Run) -> Tuple[Any, str]:
    """Where a variable belongs that is not bound yet."""
    view = _view(run)
    if name.startswith("state."):
        return view.named, name[len("state."):]
    best: Tuple[Any, str] = (None, "")
    for scope in view.scopes():
        if name.startswith(scope.prefix):
            rest = name[len(scope.prefix):]
            if rest.isidentifier() and (scope.prefix or best[0] is None):
                best = scope.holder, rest
    return best


def unlike(state: Dict[str, Any], run: Run) -> Tuple[List[str], List[str]]:
    """What the script says differently: lines for numbers and text, reasons against an exact resume for the rest."""
    view, changes, reasons = _view(run), [], []
    for name, print_ in state["begun"].items():
        now = view.begun.get(name, print_)
        if now != print_:
            changes.append("{}: another value than at the checkpoint".format(name))
            if not is_setting(view, name):
                reasons.append("{} is not what it was at the checkpoint; seed what makes it".format(name))
    return changes, reasons


def is_setting(view: LoopView, name: str) -> bool:
    """Whether a variable holds a number or text."""
    held = view.look(keep=True).values.get(name)
    return held is not None and isinstance(held.packed.value, (bool, int, float, str, type(None)))
