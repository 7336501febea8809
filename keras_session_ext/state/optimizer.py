"""The optimizers' variables: iterations, slots, learning rate, loss scale, EMA averages, accumulated gradients."""

from typing import Any, Dict, List, Sequence

from keras_session_ext.backend.layers_and_variables import Leaf
from keras_session_ext.backend.transfer.plan import plan_slots
from keras_session_ext.state import components
from keras_session_ext.state.live_run import Run
from keras_session_ext.state.variables import carry, compare, store

NAME = "optimizer"


def leaves_of(run: Run) -> List[Leaf]:
    """The variables that are captured."""
    return run.family.optimizer_variables(run.model)


def arrange(arrays: Sequence[Any], run: Run) -> Dict[str, Any]:
    """The state, of the values of these variables."""
    built = all(getattr(one, "built", True) for one in run.family.optimizers(run.model))
    return dict(store(leaves_of(run), arrays), optimizers=run.tables["optimizers"], built=built)


def capture(run: Run) -> Dict[str, Any]:
    return arrange(run.family.read(leaves_of(run)), run)


def tables(state: Dict[str, Any], run: Run) -> List[Dict[str, Any]]:
    """What the checkpoint says of its optimizers, such as which weights they train; nothing of another Keras's."""
    return [] if run.foreign else state.get("optimizers", [])


def check(state: Dict[str, Any], run: Run) -> List[str]:
    if run.foreign:
        return []  # what has no counterpart is told, and begins anew
    # slots are named after the model's automatic names: position, shape and dtype decide
    return compare(state, _live(state, run), "the optimizer")


def cross(state: Dict[str, Any], weights: Dict[int, int], run: Run) -> List[str]:
    """Carries over what another Keras's optimizers kept; returns what was not."""
    notes: List[str] = []
    leaves = run.family.optimizer_variables(run.model)
    then, now = state.get("optimizers", []), run.tables["optimizers"]
    if len(then) != len(now):
        notes.append("{} optimizers at the checkpoint, {} now".format(len(then), len(now)))
    for one, other in zip(then, now):
        found = plan_slots(one, other, weights)
        carry(found.moves, list(state["arrays"].values()), leaves, run)
        notes += found.notes
    return notes


def _live(state: Dict[str, Any], run: Run) -> List[Leaf]:
    """The variables that were captured; slots that were not made yet begin with what they are made with."""
    leaves = run.family.optimizer_variables(run.model)
    leaves = leaves if state.get("built", True) else leaves[:len(state["arrays"])]
    return [leaf._replace(key=key) for leaf, key in zip(leaves, state["arrays"])] + leaves[len(state["arrays"]):]


def restore(state: Dict[str, Any], run: Run) -> None:
    leaves, arrays = _live(state, run), list(state["arrays"].values())
    run.family.assign(leaves, arrays)
    components.restore(state, "optimizer", leaves, arrays, run)
