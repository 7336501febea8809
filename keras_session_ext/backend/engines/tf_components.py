"""The components of a variable under a strategy of `tf.distribute`: what each replica has of it for itself.

A whole read of them is a sum or a mean, and a whole assignment spreads it, so that neither gives back what was there:
https://github.com/tensorflow/tensorflow/blob/v2.15.0/tensorflow/python/distribute/values.py (SyncOnReadVariable)
"""

import sys
from typing import Any, List, Sequence

import numpy as np

from keras_session_ext.backend import several_processes

#: strategies that train on other processes, or on devices that were not tried
_REFUSED = frozenset(["CollectiveAllReduceStrategy", "ParameterServerStrategy", "ParameterServerStrategyV2",
                      "ParameterServerStrategyV1", "CentralStorageStrategy", "TPUStrategy", "TPUStrategyV2",
                      "TPUStrategyV1"])


def components_of(variable: Any) -> List[Any]:
    """A variable's components, in the order of the replicas; of one that lies on one device the variable itself."""
    return list(variable.values) if _is_distributed(variable) else [variable]


def _is_distributed(variable: Any) -> bool:
    kind = getattr(sys.modules["tensorflow"].distribute, "DistributedValues", ())
    return isinstance(variable, kind)


def reduction_of(variable: Any) -> str:
    """How a variable's components become one: "sum", "mean", or "first" where each replica is to have the same."""
    aggregation = getattr(getattr(variable, "aggregation", None), "name", "")
    on_read = getattr(getattr(variable, "synchronization", None), "name", "") == "ON_READ"
    if aggregation == "SUM":  # what is summed when it is written is the same everywhere
        return "sum" if on_read else "first"
    return "mean" if aggregation == "MEAN" else "first"


def together(variable: Any) -> np.ndarray:
    """The value of a variable, or of its components where they differ, one above the other."""
    values = [np.array(one.numpy()) for one in components_of(variable)]
    same = all(values[0].tobytes() == value.tobytes() for value in values)
    return values[0] if same else np.stack(values)


def apart(variable: Any, array: np.ndarray) -> List[np.ndarray]:
    """The inverse of `together`: an array for each component that there is now."""
    count = len(components_of(variable))
    if count == 1 and (variable.shape.rank is None or array.ndim != variable.shape.rank + 1):
        return [array]
    if array.ndim != len(variable.shape) + 1:
        return [array] * count
    return list(array) if len(array) == count else [array[0]] * count


def strategy_of(model: Any) -> Any:
    """The strategy that a model of any Keras on TensorFlow trains under; None without one, or on one device."""
    strategy = getattr(model, "distribute_strategy", None) or getattr(model, "_distribution_strategy", None)
    if strategy is None or (int(strategy.num_replicas_in_sync) < 2 and not _kinds(strategy) & _REFUSED):
        return None
    return strategy


def refused(strategy: Any) -> Any:
    """The strategy, where it is one of those that are not supported."""
    return strategy if strategy is not None and _kinds(strategy) & _REFUSED else None


def _kinds(strategy: Any) -> frozenset:
    return frozenset(base.__name__ for base in type(strategy).__mro__)


def why_no_fit(strategy: Any) -> str:
    """Why a fit under a strategy cannot be resumed to the bit, and what to do; empty where it can."""
    if "MirroredStrategy" in _kinds(strategy) and not _kinds(strategy) & _REFUSED:
        return ""
    resolver = getattr(strategy, "cluster_resolver", None)
    cluster = resolver.cluster_spec().as_dict() if resolver is not None and resolver.cluster_spec() else {}
    if "TPUStrategy" in "".join(_kinds(strategy)):
        where = "{} cores of TPUs".format(strategy.num_replicas_in_sync)
    elif cluster:
        where = "several processes ({}), of which this is {} {}".format(
            ", ".join("{} {}".format(len(tasks), name) for name, tasks in sorted(cluster.items())),
            getattr(resolver, "task_type", None) or "the coordinator", getattr(resolver, "task_id", None) or 0)
    else:
        where = "{} replicas in a way that was not tried".format(strategy.num_replicas_in_sync)
    return several_processes.tensorflow_strategy(type(strategy).__name__, where)


def layout_of(strategy: Any) -> str:
    """The layout in words: class, replicas, and how gradients come together, by which sums round."""
    kinds = sorted({device.split(":")[-2].split("/")[-1] for device in strategy.extended.worker_devices})
    across = type(getattr(strategy.extended, "_cross_device_ops", None)).__name__
    return "{} of {} replicas on {}, reduced by {}".format(
        type(strategy).__name__, strategy.num_replicas_in_sync, "/".join(kinds), across)


def is_distributed_dataset(dataset: Any) -> bool:
    """Whether a strategy has cut a dataset's batches for its replicas: no one can look into it."""
    return any(base.__name__ == "DistributedDataset" for base in type(dataset).__mro__)


def components_behind_first(variables: Sequence[Any]) -> List[List[Any]]:
    """Of each variable the components of all replicas but the first."""
    return [components_of(variable)[1:] for variable in variables]
