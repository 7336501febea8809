"""What replicas have of a variable for themselves, behind the first one's, which is the variable's own value.

Statistics of BatchNormalization and the sums of metrics differ between the replicas of one process. The first component
stands where a variable ever stood, so that plain Keras, other families and one device read it; the others are kept only
where their bytes differ. They are compared on the writer's thread: the values are held, and nothing waits for them.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from keras_session_ext.backend.layers_and_variables import Leaf
from keras_session_ext.checkpoint.encoder import Tensor
from keras_session_ext.state import plain_values
from keras_session_ext.state.live_run import Run

NAME = "components"
#: whose they are: the state kind, and the group of its arrays
_GROUPS = (("variables", "model"), ("variables", "metrics"), ("optimizer", "optimizer"))


class _Held(NamedTuple):
    """A variable with values of several replicas.

    Attributes:
        place: the state kind and the group.
        leaf: the variable.
        how: its components become one.
        values: of all replicas, which `np.asarray` makes arrays.
    """

    place: Tuple[str, str]
    leaf: Leaf
    how: str
    values: List[Any]


def hold(run: Run, firsts: Sequence[Any]) -> Optional[Callable[[List[Tensor]], Dict[str, Any]]]:
    """Holds the components at this moment; None where there is one replica.

    Args:
        run: the live run.
        firsts: the values of all variables, as they are held.

    Returns:
        A function for the writer's thread: it adds tensors to a list and returns the state.
    """
    family, count = run.family, run.family.engine.replicas(run.model)
    if count < 2:
        return None
    groups = (family.model_variables(run.model), family.metric_variables(run.model),
              family.optimizer_variables(run.model))
    placed = [(place, leaf) for place, leaves in zip(_GROUPS, groups) for leaf in leaves]
    further = family.engine.hold_further([leaf.variable for _, leaf in placed])
    held = [_Held(place, leaf, family.engine.reduction(leaf.variable), [first, *values])
            for (place, leaf), first, values in zip(placed, firsts, further) if values]
    return lambda tensors: _stored(count, held, tensors)


def _stored(count: int, held: Sequence[_Held], tensors: List[Tensor]) -> Dict[str, Any]:
    made: Dict[str, Any] = {"count": count}
    for one in held:
        arrays = [np.asarray(value) for value in one.values]
        differ = any(_bytes(array) != _bytes(arrays[0]) for array in arrays[1:])
        if not differ and one.how != "sum":  # whose whole is no value of one replica
            continue
        kind, group = one.place
        entry = {"how": one.how, "arrays": arrays[1:] if differ else []}
        path = "/".join(dict.fromkeys([kind, group, "arrays", one.leaf.key]))

        def put(array: np.ndarray, where: str, kind: str = kind, path: str = path) -> int:
            tensors.append(Tensor("{}@{}".format(path, int(where.rsplit("/", 1)[-1]) + 1), kind, array))
            return len(tensors) - 1

        made.setdefault(group, {})[one.leaf.key] = plain_values.encode(entry, put)
    return made


def _bytes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def merge(states: Dict[str, Any]) -> Dict[str, Any]:
    """Puts the components of a file into the kinds that they belong to."""
    found = states.pop(NAME, None)
    if found is not None:
        for kind in {kind for kind, _ in _GROUPS}:
            states[kind][NAME] = found
    return states


def restore(state: Dict[str, Any], group: str, leaves: Sequence[Leaf], arrays: Sequence[np.ndarray], run: Run) -> None:
    """Assigns them, behind the first ones.

    Args:
        state: of the kind.
        group: whose.
        leaves: the variables, of which all components have the value of the first.
        arrays: these values.
        run: the live run.
    """
    found, now = state.get(NAME) or {}, run.family.engine.replicas(run.model)
    then = int(found.get("count", 1))
    if then == now == 1:
        return
    stored, parts, values = found.get(group, {}), [], []
    for leaf, array in zip(leaves, arrays):
        how = run.family.engine.reduction(leaf.variable) if then == 1 else "first"
        entry = stored.get(leaf.key, {"how": how, "arrays": []})
        components = run.family.engine.components(leaf.variable)
        if len(components) == now:  # and not one that a script made on a single device
            parts += components
            values += divided([array, *(entry["arrays"] or [array] * (then - 1))], now, entry["how"])
    run.family.engine.assign(parts, values)
    if then != now and then > 1:
        run.report.because("what each of {} replicas had for itself (BatchNormalization, sums of metrics) was brought "
                           "together for {}".format(then, now))


def divided(values: Sequence[np.ndarray], count: int, how: str) -> List[np.ndarray]:
    """The components of so many replicas, of those of other replicas.

    Args:
        values: of the replicas that there were.
        count: how many there are.
        how: "sum", "mean" or "first".

    Examples:
        >>> [int(one) for one in divided([np.array(2), np.array(3)], 3, "sum")]
        [5, 0, 0]
        >>> [float(one) for one in divided([np.array(1.0), np.array(2.0)], 1, "mean")]
        [1.5]
    """
    if len(values) == count:
        return list(values)
    first = np.asarray(values[0])
    if how == "sum":
        total = np.sum(np.stack([np.asarray(value) for value in values]), axis=0, dtype=first.dtype)
        return [np.asarray(total, first.dtype)] + [np.zeros_like(first)] * (count - 1)
    if how == "mean" and first.dtype.kind not in "biu":
        mean = np.mean(np.stack([np.asarray(value, np.float64) for value in values]), axis=0)
        return [np.asarray(mean).astype(first.dtype)] * count
    return [first] * count
