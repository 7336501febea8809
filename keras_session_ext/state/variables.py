"""The model's variables: weights, seed generators, states of RNNs, and metrics in the middle of an epoch."""

from itertools import zip_longest
from typing import Any, Dict, List

NAME = "variables"


def capture(run) -> Dict[str, Any]:
    leaves, metrics = run.family.model_variables(run.model), run.family.metric_variables(run.model)
    arrays = run.family.read(leaves + metrics)
    return {"model": store(leaves, arrays), "metrics": store(metrics, arrays[len(leaves):])}


def store(leaves, arrays) -> Dict[str, Any]:
    """Arrays by key, with Keras's paths for messages."""
    return {"arrays": {leaf.key: array for leaf, array in zip(leaves, arrays)},
            "paths": [leaf.path for leaf in leaves]}


def check(state: Dict[str, Any], run) -> List[str]:
    problems = compare(state["model"], run.family.model_variables(run.model), "the model")
    if run.mid_epoch:  # metrics begin anew with every epoch
        problems += compare(state["metrics"], run.family.metric_variables(run.model), "the compiled metrics")
    return problems


def compare(stored: Dict[str, Any], leaves, whose: str) -> List[str]:
    """Every difference between what was stored and what is there, both ways.

    Positions and local names count; Keras's automatic names (`dense_1`) do not.
    """
    problems = []
    for (key, array), path, leaf in zip_longest(
            stored["arrays"].items(), stored["paths"], leaves, fillvalue=(None, None)):
        if isinstance(leaf, tuple) and len(leaf) == 2:
            problems.append("{}: in the checkpoint with shape {}, missing in {}".format(path, array.shape, whose))
        elif key is None:
            problems.append("{}: in {} with shape {}, missing in the checkpoint".format(leaf.path, whose, leaf.shape))
        elif tuple(array.shape) != leaf.shape:
            problems.append("{}: the checkpoint has shape {}, {} has {}".format(
                _both(path, leaf.path), tuple(array.shape), whose, leaf.shape))
        elif array.dtype.name != leaf.dtype:
            problems.append("{}: the checkpoint has dtype {}, {} has {}".format(
                _both(path, leaf.path), array.dtype.name, whose, leaf.dtype))
        elif key != leaf.key:
            problems.append("{}: the checkpoint has a {} there, {} a {}".format(
                _both(path, leaf.path), key[5:], whose, leaf.key[5:]))
    return problems


def _both(stored: str, live: str) -> str:
    return live if stored == live else "{} (was {})".format(live, stored)


def restore(state: Dict[str, Any], run) -> None:
    run.family.assign(run.family.model_variables(run.model), list(state["model"]["arrays"].values()))
    if run.mid_epoch:
        run.family.assign(run.family.metric_variables(run.model), list(state["metrics"]["arrays"].values()))
