"""What a `tf.data.Dataset` is made of: whether its order can be replayed."""

from typing import Any, Iterator, List

from keras_session_ext.backend.engines.traced_graphs import written_variables

_RANDOM_OPS = ("Random", "Multinomial", "TruncatedNormal")
SHARED = ("training and validation read from one shuffled tf.data.Dataset, whose order each of them draws anew; write "
          ".shuffle(n, seed=1, reshuffle_each_iteration=False) before take and skip")
_PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


def _walk(dataset: Any) -> Iterator[Any]:
    if type(dataset).__name__ == "DatasetV1Adapter":  # hides the dataset it stands for
        dataset = dataset._dataset
    yield dataset
    for inner in dataset._inputs():
        yield from _walk(inner)


def _graphs(dataset: Any) -> Iterator[Any]:
    """The graphs of the functions that a dataset calls, whatever it calls them itself."""
    for _, wrapped in sorted(vars(dataset).items()):
        graph = getattr(getattr(wrapped, "function", None), "graph", None)
        if hasattr(graph, "as_graph_def"):
            yield graph


def _nodes(graph: Any) -> Iterator[Any]:
    definition = graph.as_graph_def()
    yield from definition.node
    for function in definition.library.function:
        yield from function.node_def


def reshuffles(dataset: Any) -> bool:
    """Whether every new iterator over the dataset draws a new order."""
    return any(hasattr(part, "_reshuffle_each_iteration") for part in _walk(dataset)) if hasattr(
        dataset, "_inputs") else False


def shared_shuffles(one: Any, other: Any) -> bool:
    """Whether two datasets come from one shuffle that draws a new order for every iterator."""
    if not (hasattr(one, "_inputs") and hasattr(other, "_inputs")):
        return False
    parts = {id(part) for part in _walk(one) if getattr(part, "_reshuffle_each_iteration", False)}
    return any(id(part) in parts for part in _walk(other))


def why_not_exact(dataset: Any) -> List[str]:
    """Reasons why a second iterator over the dataset may yield other batches."""
    if not hasattr(dataset, "_inputs"):
        return ["the dataset is a {}, whose order cannot be looked into".format(type(dataset).__name__)]
    reasons = []
    for part in _walk(dataset):
        reasons += _part(part)
    return sorted(set(reasons))


def _part(part: Any) -> List[str]:
    reasons = []
    name = type(part).__name__.strip("_")
    if _unseeded(part):
        reasons.append("the tf.data.Dataset is shuffled without a seed; write .shuffle(n, seed=1), or call "
                       "keras.utils.set_random_seed before the dataset is made")
    if getattr(part, "_deterministic", None) in ("false", False):
        reasons.append("the dataset's {} has deterministic=False; leave it out".format(name))
    options = part.options()
    if getattr(options, "deterministic", getattr(options, "experimental_deterministic", None)) is False:
        reasons.append("the dataset's options say deterministic=False; leave it out")
    for graph in _graphs(part):
        reasons += _function(graph)
    return reasons


def _function(graph: Any) -> List[str]:
    """Reasons why a function gives something else when it is called again."""
    reasons = []
    written = sorted({str(variable.name).split(":")[0] for variable in written_variables(graph)})
    if written:
        reasons.append("a function of the dataset writes to {}, ahead of training (a random layer, or a "
                       "tf.random.Generator?); use tf.random.stateless_* with seeds from dataset.counter or "
                       ".random(seed=1), or put the layer into the model".format(", ".join(written)))
    for node in _nodes(graph):
        if node.op.startswith(_RANDOM_OPS) and not node.op.startswith("RandomDataset"):
            reasons.append("a function of the dataset uses the random op {}, whose state is hidden; use "
                           "tf.random.stateless_* with seeds from dataset.counter or .random(seed=1)".format(node.op))
        if node.op in _PYTHON_OPS:
            reasons.append("the dataset calls Python code, whose state is not seen; pass a generator or a "
                           "PyDataset to fit instead")
    return reasons


def _unseeded(part: Any) -> bool:
    seeds = [getattr(part, name) for name in ("_seed", "_seed2") if getattr(part, name, None) is not None]
    return len(seeds) == 2 and all(_number(seed) == 0 for seed in seeds)


def _number(seed: Any) -> Any:
    """A seed's value; in a graph it is a constant, or something that is looked at as seeded."""
    if hasattr(seed, "numpy") or not hasattr(seed, "graph"):
        return int(seed)
    from tensorflow.python.framework import tensor_util

    return tensor_util.constant_value(seed)
