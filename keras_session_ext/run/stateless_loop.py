"""Whether a loop on JAX holds newer values of a model in variables of its own, where `save_session` cannot see them."""

import contextlib
from types import FrameType
from typing import Any, Dict, Iterator, List, Optional, Tuple

from keras_session_ext.backend.hooks import frame_scopes
from keras_session_ext.backend.hooks.fit_frames import frames
from keras_session_ext.errors import StateMismatch
from keras_session_ext.state import Run
from keras_session_ext.state.walk_objects import is_helper

_DEPTH = 3
_MANY = 200
_STALE = """The model's own variables are not what was trained: {what} is at iteration {own}, and the variable {name} \
holds its state of iteration {held}, as stateless_apply returns it. Give the model and the optimizer these values:
    for variables, values in ((model.trainable_variables, trainable_variables),
                              (model.non_trainable_variables, non_trainable_variables),
                              (optimizer.variables, optimizer_variables)):
        for variable, value in zip(variables, values):
            variable.assign(value)
A SessionLoop does so by itself."""


def refuse_stale(run: Run, optimizers: List[Any], frame: Optional[FrameType]) -> None:
    """Refuses a model whose optimizer is behind the state of it that a variable of the script holds.

    Args:
        run: of the model.
        optimizers: those that are known to train it.
        frame: of the script.

    Raises:
        StateMismatch: it says what to write.
    """
    if run.family.engine.name != "jax" or frame is None:
        return
    held = [one for found in frames(frame) if not frame_scopes.is_installed_path(found.f_code.co_filename)
            for one in _values({**found.f_globals, **found.f_locals}, run)]
    known = [*optimizers, *run.family.optimizers(run.model), *(value for _, value in held if _is_optimizer(value))]
    for optimizer in {id(one): one for one in known if getattr(one, "built", False) and _is_optimizer(one)}.values():
        variables = list(optimizer.variables)
        place = next(number for number, one in enumerate(variables) if one is optimizer.iterations)
        shapes, own = [tuple(one.shape) for one in variables], int(optimizer.iterations.value)
        for name, value in held:
            if not isinstance(value, (list, tuple)) or len(value) != len(shapes) or value[0] is variables[0]:
                continue
            if [tuple(getattr(one, "shape", ())) for one in value] != shapes:
                continue
            iteration = own
            with contextlib.suppress(Exception):  # an array that was donated, or what looks like one
                iteration = int(value[place])
            if iteration > own:
                raise StateMismatch(_STALE.format(what=optimizer.name, own=own, name=name, held=iteration))


def _is_optimizer(value: Any) -> bool:
    return hasattr(type(value), "stateless_apply") and not isinstance(value, type)


def _values(variables: Dict[str, Any], run: Run) -> Iterator[Tuple[str, Any]]:
    """The values of variables, and what lists, dictionaries and objects of the script hold."""
    todo = [(name, value, _DEPTH) for name, value in variables.items() if not name.startswith("__")]
    while todo:
        name, value, depth = todo.pop()
        yield name, value
        if not depth:
            continue
        if isinstance(value, (list, tuple)) and len(value) < _MANY:
            todo += [(name, one, depth - 1) for one in value]
        elif isinstance(value, dict) and len(value) < _MANY:
            todo += [(name, one, depth - 1) for one in list(value.values())]
        elif is_helper(value) and not isinstance(value, type) and not run.family.is_framework_object(value) and not (
                isinstance(value, run.family.keras.Model)):  # which keeps the state of a fit of its own
            todo += [("{}.{}".format(name, inner), one, depth - 1) for inner, one in list(vars(value).items())]
