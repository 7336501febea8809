"""Tells of every call of a model's `train_step`: once per trace, where it is traced."""

import functools
import types
from typing import Any, Callable, Iterator, List

_WATCHED = "_keras_session_ext"
_DEPTH = 12  # Keras 3 on TensorFlow wraps the step six times


def watch_train_step(model: Any, called: Callable[[], None]) -> Callable[[], None]:
    """Calls a function right before each call of `train_step`.

    Args:
        model: a model whose train function is made already, or not yet.
        called: what is called.

    Returns:
        A function that ends the watching.
    """
    left = vars(model).get(_WATCHED)
    if left is not None:
        left()  # by a fit whose first step has failed
    train_step = getattr(model, "train_step", None)
    if train_step is None:
        return lambda: None

    @functools.wraps(train_step, assigned=("__name__", "__doc__"))  # its module is ours: it is no state of the model
    def watched(*args: Any, **options: Any) -> Any:
        called()
        return train_step(*args, **options)

    cells = list(_cells_of(model, getattr(model, "train_function", None)))  # Keras 3 has bound it there
    before = [cell.cell_contents for cell in cells]
    is_free = "train_step" not in vars(model)
    if is_free:
        vars(model)["train_step"] = watched  # past Keras's tracking of attributes
    for cell in cells:
        cell.cell_contents = watched

    def end() -> None:
        vars(model).pop(_WATCHED, None)
        if is_free:
            vars(model).pop("train_step", None)
        for cell, value in zip(cells, before):
            cell.cell_contents = value

    vars(model)[_WATCHED] = end
    return end


def _cells_of(model: Any, function: Any) -> Iterator[Any]:
    """Where functions within a train function have closed over the bound `train_step`."""
    pending: List[Any] = [(function, _DEPTH)]
    seen = set()
    while pending:
        one, depth = pending.pop()
        if id(one) in seen or not depth:
            continue
        seen.add(id(one))
        inner = [getattr(one, name, None) for name in ("python_function", "_python_function", "__wrapped__")]
        pending += [(each, depth - 1) for each in inner if callable(each)]
        for cell in getattr(one, "__closure__", None) or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # not bound yet
            if isinstance(value, types.MethodType) and value.__self__ is model \
                    and value.__func__.__name__ == "train_step":
                yield cell
            elif callable(value):
                pending.append((value, depth - 1))
