"""The model's variables: weights, seed generators, states of RNNs, and metrics in the middle of an epoch."""

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from keras_session_ext.backend.layers_and_variables import Leaf
from keras_session_ext.backend.transfer.plan import Plan, plan_weights
from keras_session_ext.state import components
from keras_session_ext.state.live_run import Run

NAME = "variables"


def leaves_of(run: Run) -> List[Leaf]:
    """The variables that are captured."""
    return run.family.model_variables(run.model) + run.family.metric_variables(run.model)


def arrange(arrays: Sequence[Any], run: Run) -> Dict[str, Any]:
    """The state, of the values of these variables."""
    leaves, metrics = run.family.model_variables(run.model), run.family.metric_variables(run.model)
    return {"model": store(leaves, arrays), "metrics": store(metrics, arrays[len(leaves):]),
            "layers": run.tables["layers"]}


def capture(run: Run) -> Dict[str, Any]:
    return arrange(run.family.read(leaves_of(run)), run)


def store(leaves: Sequence[Leaf], arrays: Sequence[np.ndarray]) -> Dict[str, Any]:
    """Arrays by key, with Keras's paths for messages."""
    return {"arrays": {leaf.key: array for leaf, array in zip(leaves, arrays)},
            "paths": [leaf.path for leaf in leaves]}


def plan(state: Dict[str, Any], run: Run) -> Plan:
    """How the weights of another Keras meet those of the model."""
    if "layers" not in state:
        return Plan([], ["the checkpoint is of {} and says nothing of its layers; it is restored by the Keras "
                                  "it was taken on".format(run.foreign)], [])
    return plan_weights(state["layers"], run.tables["layers"],
                                 [tuple(array.shape) for array in state["model"]["arrays"].values()],
                                 [leaf.shape for leaf in run.family.model_variables(run.model)])


def check(state: Dict[str, Any], run: Run) -> List[str]:
    if run.foreign:
        return plan(state, run).problems
    problems = compare(state["model"], run.family.model_variables(run.model), "the model")
    if run.mid_epoch and run.loop is None:  # between epochs a script may have changed them; a loop makes them late
        problems += compare(state["metrics"], run.family.metric_variables(run.model), "the compiled metrics")
    return problems


def compare(stored: Dict[str, Any], leaves: Sequence[Leaf], whose: str) -> List[str]:
    """Every difference between what was stored and what is there, both ways.

    Positions and local names count; Keras's automatic names (`dense_1`) do not.
    """
    saved = list(zip(stored["arrays"].items(), stored["paths"]))
    problems = ["{}: in the checkpoint with shape {}, missing in {}".format(path, tuple(array.shape), whose)
                for (_, array), path in saved[len(leaves):]]
    problems += ["{}: in {} with shape {}, missing in the checkpoint".format(leaf.path, whose, leaf.shape)
                 for leaf in leaves[len(saved):]]
    for ((key, array), path), leaf in zip(saved, leaves):
        name = leaf.path if path == leaf.path else "{} (was {})".format(leaf.path, path)
        for what, then, now in (("shape", tuple(array.shape), leaf.shape), ("dtype", array.dtype.name, leaf.dtype),
                                ("name", key[5:], leaf.key[5:])):
            if then != now:
                problems.append("{}: the checkpoint has {} {}, {} has {}".format(name, what, then, whose, now))
                break
    return problems


def carry(moves: Sequence[Tuple[int, int]], arrays: Sequence[np.ndarray], leaves: Sequence[Leaf], run: Run) -> None:
    """Assigns arrays of another Keras."""
    pairs = [(leaves[place], arrays[number].astype(leaves[place].dtype)) for number, place in moves]
    run.family.assign([leaf for leaf, _ in pairs], [array for _, array in pairs])


def restore(state: Dict[str, Any], run: Run) -> None:
    if run.foreign:
        carry(plan(state, run).moves, list(state["model"]["arrays"].values()), run.family.model_variables(run.model),
              run)
        return
    leaves, arrays = run.family.model_variables(run.model), list(state["model"]["arrays"].values())
    run.family.assign(leaves, arrays)
    components.restore(state, "model", leaves, arrays, run)
    if run.trains:
        _restore_metrics(state, run)


def _restore_metrics(state: Dict[str, Any], run: Run) -> None:
    """Whether a metric begins anew with every epoch is its own business: most do, and Keras sees to that."""
    leaves = run.family.metric_variables(run.model)
    problems = compare(state["metrics"], leaves, "the compiled metrics")
    if problems and run.loop is not None and not run.loop.is_complete:
        return  # a loop's own calls of Keras may make them on the way back
    if problems:  # between epochs: within one they were checked
        run.report.because("the compiled metrics are others than at the checkpoint, and begin anew ({})".format(
            "; ".join(problems[:2])))
    else:
        arrays = list(state["metrics"]["arrays"].values())
        run.family.assign(leaves, arrays)
        components.restore(state, "metrics", leaves, arrays, run)
