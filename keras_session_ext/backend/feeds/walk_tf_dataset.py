"""What a `tf.data.Dataset` is made of: whether its batches are known to come again, and whether they are the same data.

Looked at are the Python objects of its nodes. The nodes and ops that are known
to repeat stand in dataset_op_table.py; one that does not stand there is a reason,
by name.
"""

import contextlib
import types
from typing import Any, Dict, Iterator, List, Optional, Set

import numpy as np

from keras_session_ext.backend.engines.tf_function_graphs import written_variables
from keras_session_ext.backend.feeds.batch_tap import digest
from keras_session_ext.backend.feeds.dataset_op_table import (
    NODES,
    STATELESS,
    UNSEEDED,
    op_reasons,
    plain_name,
    unknown_node,
)

SHARED = ("training and validation read from one shuffled tf.data.Dataset, whose order each of them draws anew; write "
          ".shuffle(n, seed=1, reshuffle_each_iteration=False) before take and skip")
#: what takes a variable; it is told by the variable's name
_OF_VARIABLES = ("Assign", "Resource", "Rng", "Stateful")


def _walk(dataset: Any, seen: Optional[Set[int]] = None) -> Iterator[Any]:
    seen = set() if seen is None else seen
    if type(dataset).__name__ == "DatasetV1Adapter":  # hides the dataset it stands for
        dataset = dataset._dataset
    if id(dataset) in seen:
        return
    seen.add(id(dataset))
    yield dataset
    for inner in dataset._inputs():
        yield from _walk(inner, seen)


def _functions(part: Any) -> Iterator[Any]:
    """The functions that a node calls itself, as TensorFlow wraps them."""
    for _, wrapped in sorted(vars(part).items()):
        if hasattr(getattr(getattr(wrapped, "function", None), "graph", None), "as_graph_def"):
            yield wrapped


def advance(dataset: Any, iterators: int, unread: int = 0) -> None:
    """Makes the next iterator over a dataset the one after so many others, each of which draws its orders anew.

    An iterator draws the order of the outermost shuffles when it is made. A
    shuffle reads what stands before it, and so draws the orders there, with its
    first element: these parts are asked for an iterator of their own.
    https://github.com/tensorflow/tensorflow/blob/v2.21.0/tensorflow/core/kernels/data/shuffle_dataset_op.cc

    Args:
        dataset: what fit was given.
        iterators: how many were made before.
        unread: how many of them were never asked for an element.
    """
    if not reshuffles(dataset):
        return
    within = [before for part in _walk(dataset) if hasattr(part, "_reshuffle_each_iteration")
              for before in part._inputs() if reshuffles(before)]
    for number in range(iterators):
        for part in [dataset] + (within if number >= unread else []):
            iter(part)


def reshuffles(dataset: Any) -> bool:
    """Whether every new iterator over the dataset draws a new order."""
    return any(hasattr(part, "_reshuffle_each_iteration") for part in _walk(dataset)) if hasattr(
        dataset, "_inputs") else False


def shared_shuffles(one: Any, other: Any) -> bool:
    """Whether two datasets come from one shuffle that draws a new order for every iterator."""
    if not (hasattr(one, "_inputs") and hasattr(other, "_inputs")):
        return False
    parts = {id(part) for part in _walk(one) if _reshuffles(part)}
    return any(id(part) in parts for part in _walk(other))


def _reshuffles(part: Any) -> bool:
    return bool(getattr(part, "_reshuffle_each_iteration", False) or getattr(part, "_rerandomize", False))


def content(dataset: Any) -> str:
    """A checksum of the tensors that a dataset is made of, and of those that its functions hold; else an empty text."""
    arrays: List[np.ndarray] = []
    for part in _walk(dataset) if hasattr(dataset, "_inputs") else ():
        tensors = list(getattr(part, "_tensors", None) or [])
        for wrapped in _functions(part):
            tensors += [outer for outer, _ in _captures(wrapped.function.graph)]
        for tensor in tensors:
            with contextlib.suppress(Exception):  # a symbolic tensor, a resource, a dataset: each has its own error
                arrays.append(np.asarray(tensor.numpy()))
    return digest(arrays) if arrays else ""


class Pipeline:
    """A dataset, looked at once: a pipeline does not change, but variables that its functions read may.

    Args:
        dataset: what fit was given.

    Attributes:
        content: a checksum of the tensors in it.
    """

    def __init__(self, dataset: Any):
        self._reasons = why_not_exact(dataset)
        self._read = _read_variables(dataset) if hasattr(dataset, "_inputs") else []
        self._first = self._values()
        self.content = content(dataset)

    def _values(self) -> List[str]:
        return [digest([np.asarray(variable.numpy())]) for variable in self._read]

    def why_not_exact(self) -> List[str]:
        """The reasons of now."""
        changed = sorted({str(variable.name).split(":")[0] for variable, then, now in zip(
            self._read, self._first, self._values()) if then != now})
        if not changed:
            return self._reasons
        return [*self._reasons, "a function of the dataset reads {}, which changes while training runs, ahead of it; "
                "give what changes to the model instead".format(", ".join(changed))]


def _read_variables(dataset: Any) -> List[Any]:
    found: Dict[int, Any] = {}
    for part in _walk(dataset):
        for wrapped in _functions(part):
            for variable in wrapped.function.graph.variables:
                if hasattr(variable, "numpy"):
                    found[id(variable)] = variable
    return list(found.values())


def why_not_exact(dataset: Any) -> List[str]:
    """Reasons why a second iterator over the dataset may yield other batches."""
    if not hasattr(dataset, "_inputs"):
        return ["the dataset is a {}, whose order cannot be looked into".format(type(dataset).__name__)]
    reasons: List[str] = []
    for part in _walk(dataset):
        reasons += _part(part)
    return sorted(set(reasons))


def read_ahead(dataset: Any) -> List[str]:
    """Reasons why iterators that a strategy reads ahead of training may draw more orders than they are asked for.

    Of one that Keras makes and never reads a shuffle draws when it is made, whoever reads ahead; what makes its input's
    iterator only when it is read draws then, if the thread comes to it.
    https://github.com/tensorflow/tensorflow/blob/v2.15.0/tensorflow/core/kernels/data/multi_device_iterator_ops.cc
    """
    if not hasattr(dataset, "_inputs"):
        return []
    shuffles = [part for part in _walk(dataset) if _reshuffles(part)]
    late = [part for part in _walk(dataset) if plain_name(type(part).__name__) == "RepeatDataset"]
    if len(shuffles) > 1 or (shuffles and late):
        return ["replicas read ahead of training, so that an order behind another shuffle or behind repeat may be "
                "drawn for nothing; write one .shuffle behind all others, which have reshuffle_each_iteration=False"]
    return []


def _part(part: Any) -> List[str]:
    name = plain_name(type(part).__name__)
    reasons = [] if name in NODES else [unknown_node(name)]
    if _unseeded(part):
        reasons.append(UNSEEDED)
    if getattr(part, "_rerandomize", False):
        reasons.append("the dataset's random numbers are drawn anew for every iterator; leave "
                       "rerandomize_each_iteration out")
    if getattr(part, "_deterministic", None) in ("false", False) or getattr(part, "_sloppy", None) is True:
        reasons.append("the dataset's {} has deterministic=False; leave it out".format(name))
    options = part.options()
    if getattr(options, "deterministic", getattr(options, "experimental_deterministic", None)) is False:
        reasons.append("the dataset's options say deterministic=False; leave it out")
    if name == "CacheDataset":
        reasons += _cache(part)
    if name == "RepeatDataset" and _number(getattr(part, "_count", None)) not in (-1, 1, None) and any(
            _reshuffles(one) for one in _walk(part)):
        reasons.append("the dataset is repeated a number of times behind a shuffle that draws a new order each time; "
                       "write .shuffle(n, seed=1, reshuffle_each_iteration=False), or shuffle behind repeat")
    if name == "ConcatenateDataset" and any(_reshuffles(one) for later in part._inputs()[1:] for one in _walk(later)):
        # its iterator is made when the first one is over: a pass that ends before it has drawn no order
        reasons.append("the dataset is concatenated with a shuffled one, which draws its order late; write .shuffle(n, "
                       "seed=1, reshuffle_each_iteration=False), or shuffle behind concatenate")
    if _reshuffles(part) and _draws_twice() and any(
            _reshuffles(one) for before in part._inputs() for one in _walk(before)):
        reasons.append("the dataset is shuffled twice, and this TensorFlow draws the first order again while the "
                       "second one is read; give the first .shuffle reshuffle_each_iteration=False")
    for wrapped in _functions(part):
        reasons += _function(wrapped.function.graph) + _captured_datasets(wrapped)
    return reasons


def _draws_twice() -> bool:
    """Whether a shuffle before another one draws once more when its end is near: 2.4 does, 2.10 does not."""
    import tensorflow

    return tuple(map(int, tensorflow.__version__.split(".")[:2])) < (2, 10)


def _cache(part: Any) -> List[str]:
    if any(_reshuffles(one) for one in _walk(part)):
        return ["the dataset caches the order of a shuffle that draws a new one for every iterator; write .cache() "
                "before .shuffle"]
    name = getattr(part, "_filename", None)
    if name is not None and hasattr(name, "numpy") and not name.numpy():
        return []
    return ["the dataset caches to a file, which a process that dies leaves half written; cache in memory"]


# -- functions


def _captures(graph: Any) -> Iterator[Any]:
    captures = graph.captures
    return iter(captures.items() if hasattr(captures, "items") else captures)  # a dict in TensorFlow 2.1 and earlier


def _function(graph: Any) -> List[str]:
    """Reasons why a function gives something else when it is called again."""
    reasons = []
    written = sorted({str(variable.name).split(":")[0] for variable in written_variables(graph)})
    if written:
        reasons.append("a function of the dataset writes to {}, ahead of training (a random layer, or a "
                       "tf.random.Generator?); {}, or put the layer into the model".format(
                           ", ".join(written), STATELESS))
    definition = graph.as_graph_def()
    for nodes in [definition.node, *[function.node_def for function in definition.library.function]]:
        named = {node.name: node for node in nodes}
        for node in nodes:
            if not (written and node.op.startswith(_OF_VARIABLES)):
                reasons += op_reasons(node, named)
    return reasons


def _captured_datasets(wrapped: Any) -> List[str]:
    """Datasets from outside that a function uses: looked for where its Python code has them."""
    wanted = [outer for outer, _ in _captures(wrapped.function.graph) if str(getattr(outer, "dtype", "")) == (
        "<dtype: 'variant'>")]
    if not wanted:
        return []
    known = [one for dataset in _held(getattr(wrapped, "_func", None), 3) for one in _walk(dataset)]
    reasons: List[str] = []
    for tensor in wanted:
        found = [one for one in known if getattr(one, "_variant_tensor", None) is tensor]
        if not found:
            return ["a function of the dataset uses another dataset that cannot be looked into; make it within the "
                    "function"]
        reasons += why_not_exact(found[0])
        if any(_reshuffles(one) for one in _walk(found[0])):
            reasons.append("a function of the dataset uses a dataset that draws a new order each time; write "
                           ".shuffle(n, seed=1, reshuffle_each_iteration=False)")
    return reasons


def _held(function: Any, depth: int) -> Iterator[Any]:
    """The datasets that a Python function closes over, names as globals, or has in lists."""
    if not depth or function is None:
        return
    if hasattr(function, "_variant_tensor") and hasattr(function, "_inputs"):
        yield function
    elif isinstance(function, (list, tuple)):
        for item in function:
            yield from _held(item, depth)
    elif isinstance(function, types.MethodType):
        yield from _held(function.__func__, depth)
        yield from _held(list(getattr(function.__self__, "__dict__", {}).values()), depth - 1)
    elif isinstance(function, types.FunctionType):
        for cell in function.__closure__ or ():
            try:
                yield from _held(cell.cell_contents, depth - 1)
            except ValueError:
                continue  # not bound yet
        for name in function.__code__.co_names:
            yield from _held(function.__globals__.get(name), depth - 1)


def _unseeded(part: Any) -> bool:
    seeds = [getattr(part, name) for name in ("_seed", "_seed2") if getattr(part, name, None) is not None]
    return len(seeds) == 2 and all(_number(seed) == 0 for seed in seeds)


def _number(value: Any) -> Any:
    """A whole number's value; in a graph it is a constant, or something that is looked at as known."""
    if value is None:
        return None
    if hasattr(value, "numpy") or not hasattr(value, "graph"):
        return int(value)
    from tensorflow.python.framework import tensor_util

    return tensor_util.constant_value(value)
