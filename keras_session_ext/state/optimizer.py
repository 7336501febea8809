"""The optimizers' variables: iterations, slots, learning rate, loss scale, EMA averages, accumulated gradients."""

from typing import Any, Dict, List

from keras_session_ext.state.variables import compare, store

NAME = "optimizer"


def capture(run) -> Dict[str, Any]:
    leaves = run.family.optimizer_variables(run.model)
    return store(leaves, run.family.read(leaves))


def check(state: Dict[str, Any], run) -> List[str]:
    # slots are named after the model's automatic names: position, shape and dtype decide
    leaves = [leaf._replace(key=key) for leaf, key in
              zip(run.family.optimizer_variables(run.model), state["arrays"])]
    leaves += run.family.optimizer_variables(run.model)[len(leaves):]
    return compare(state, leaves, "the optimizer")


def restore(state: Dict[str, Any], run) -> None:
    run.family.assign(run.family.optimizer_variables(run.model), list(state["arrays"].values()))
