"""What tensors of a loop carry beside their values: whether they take a gradient, and the one they hold.

Only torch has such. Tensors that an optimizer trains and nothing else leads to
are kept whole.
"""

from typing import Any, Dict, Iterator, List, Tuple

from keras_session_ext.state import live_names
from keras_session_ext.state.live_run import Run

_HISTORY = ("{0} holds the graph of what it was computed from, along which a gradient could flow on; a resume has its "
            "numbers alone. Keep {0}.detach(), or float({0})")
_NAMED = 5
_TRAINS = "{} trains other tensors than at the checkpoint, or has them in another order"


def _tensors(found: live_names.Found, run: Run) -> Iterator[Tuple[str, Any, bool]]:
    """(name, tensor, whether its value is captured) of whatever is no module: that says all of itself."""
    look = run.family.engine.tensors_in
    variables = [("variable {}".format(number), leaf.variable) for number, leaf in enumerate(
        run.family.model_variables(run.model))]
    for name, model in found.models.items():
        variables += [("{} variable {}".format(name, number), leaf.variable) for number, leaf in enumerate(
            run.family.model_variables(model))]
    for name, (_, leaves) in found.objects.items():
        variables += [("{} variable {}".format(name, number), one) for number, one in enumerate(leaves)]
    places = [(name, value) for name, (_, _, value) in found.places.items()]
    for name, value in [*variables, *_in_values(found), *places]:
        for _, tensor, kept in look(value):
            yield name, tensor, kept


def _in_values(found: live_names.Found) -> Iterator[Tuple[str, Any]]:
    left = [(name, held.live) for name, held in found.values.items() if held.packed.tensors]
    while left:
        name, value = left.pop()
        if isinstance(value, (list, tuple, dict)):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            left += [("{}.{}".format(name, key), item) for key, item in items]
        else:
            yield name, value


def _of_objects(found: live_names.Found, run: Run) -> Iterator[Tuple[str, Any, bool]]:
    for owner, own in found.owns.items():
        for name, tensor, kept in run.family.engine.tensors_in(own.live):
            yield "{} {}".format(owner, name), tensor, kept


def _first_names(found: live_names.Found, run: Run) -> Dict[int, Tuple[str, Any, bool]]:
    """Each tensor once, by id: those of modules last but for what nothing but an optimizer leads to."""
    modules = [(name, tensor, True) for name, tensor, kept in _of_objects(found, run) if kept]
    firsts: Dict[int, Tuple[str, Any, bool]] = {}
    for name, tensor, kept in [*_tensors(found, run), *modules, *_of_objects(found, run)]:
        firsts.setdefault(id(tensor), (name, tensor, kept))
    return firsts


def capture(found: live_names.Found, run: Run) -> Dict[str, Any]:
    """Of all tensors, by name, and which of them each optimizer trains."""
    if not run.family.engine.tensors_carry_more:
        return {}
    engine, firsts = run.family.engine, _first_names(found, run)
    modules = {id(tensor) for _, tensor, kept in _of_objects(found, run) if kept}
    made: Dict[str, Any] = {"beside": {}, "values": {}, "trains": _trains(found, run, firsts)}
    for number, (name, tensor, kept) in firsts.items():
        state = engine.beside_value(tensor) if number not in modules else None
        if state is not None:
            made["beside"][name] = state
        if not kept:
            made["values"][name] = engine.value_of(tensor)
    return made


def _trains(found: live_names.Found, run: Run, firsts: Dict[int, Tuple[str, Any, bool]]) -> Dict[str, List[str]]:
    made: Dict[str, List[str]] = {}
    for name, own in found.owns.items():
        tensors = run.family.engine.tensors_in(own.live)
        if tensors and not any(kept for _, _, kept in tensors):
            made[name] = [firsts[id(tensor)][0] for _, tensor, _ in tensors]
    return made


def restore(state: Dict[str, Any], found: live_names.Found, run: Run) -> None:
    """Puts it back, where the tensors are there again."""
    if not state:
        return
    engine, firsts = run.family.engine, _first_names(found, run)
    modules = {id(tensor) for _, tensor, kept in _of_objects(found, run) if kept}
    for number, (name, tensor, _) in firsts.items():
        if name in state["values"]:
            engine.tensor_like(state["values"][name], tensor, run.family.to_tensor)
        if number not in modules:
            engine.set_beside_value(tensor, state["beside"].get(name))
    if run.loop.is_complete:
        now = _trains(found, run, firsts)
        for name, trained in state["trains"].items():
            if now.get(name) != trained:
                run.report.because(_TRAINS.format(name))


def why_not_exact(found: live_names.Found, run: Run) -> List[str]:
    """Tensors whose history is lost."""
    engine = run.family.engine
    return [_HISTORY.format(name) for name, tensor, _ in _tensors(found, run) if engine.has_history(tensor)][
        :_NAMED] if engine.tensors_carry_more else []
