"""What TensorFlow's traced functions do: their graphs, the random ops in them, the variables that they write to."""

from typing import Any, Dict, FrozenSet, Iterator, List, Set, Tuple

from keras_session_ext.backend.closures import callables_within
from keras_session_ext.errors import UnsupportedBackend

#: the reason that a report gives
UNLISTED = ("the training step writes to variables that the model does not list ({}), which are not captured; make "
            "them with add_weight, or attributes of a layer (a tf.random.Generator, too)")
#: ops that only read a variable; anything else that takes its handle may write
_READS = frozenset(["ReadVariableOp", "VariableShape", "ResourceGather", "ResourceGatherNd", "VarIsInitializedOp",
                    "Identity", "NoOp"])
_RESOURCE = 20  # DT_RESOURCE of tensorflow/core/framework/types.proto: the handle of a variable
#: ops whose first input chooses the function; the others are its arguments
_BRANCHES = frozenset(["If", "StatelessIf", "Case", "StatelessCase"])


def graphs_of(function: Any) -> List[Any]:
    """The graphs that were traced of a function, or of those it closes over."""
    found = []
    for one in callables_within([function]):
        if hasattr(one, "_list_all_concrete_functions"):
            found += [concrete.graph for concrete in one._list_all_concrete_functions()]
        else:  # TensorFlow 2.1, and what is no tf.function
            inner = [getattr(one, name, None) for name in ("_stateful_fn", "_stateless_fn")]
            found += [concrete.graph for made in inner if made is not None
                      for concrete in made._function_cache.all_values()]
    return found


def random_ops(graph: Any) -> set:
    definition = graph.as_graph_def()
    nodes = list(definition.node) + [node for inner in definition.library.function for node in inner.node_def]
    return {node.op for node in nodes if node.op in _STATEFUL_RANDOM_OPS}


_STATEFUL_RANDOM_OPS = frozenset((
    "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "ParameterizedTruncatedNormal",
    "RandomShuffle", "Multinomial", "RandomGamma", "RandomGammaGrad", "RandomPoisson", "RandomPoissonV2",
))


def written_variables(graph: Any) -> List[Any]:
    """The variables outside a function's graph that some op in it, or in a function it calls, may write to."""
    variables = {id(variable.handle): variable for variable in graph.variables}
    definition = graph.as_graph_def()
    written = _Writes({one.signature.name: one for one in definition.library.function}).inputs(definition.node)
    names = {inner.op.name: variables[id(outer)] for outer, inner in _captures(graph) if id(outer) in variables}
    return [variable for name, variable in names.items() if name in written]


def _captures(graph: Any) -> Iterator[Tuple[Any, Any]]:
    """(tensor outside, placeholder inside) of a function's graph."""
    captures = graph.captures
    return iter(captures.items() if hasattr(captures, "items") else captures)  # a dict in TensorFlow 2.1 and earlier


class _Writes:
    """Which inputs may be written to: every node of every function is looked at once.

    Args:
        functions: the library of a graph, by name.
    """

    def __init__(self, functions: Dict[str, Any]):
        self._functions = functions
        self._arguments: Dict[str, FrozenSet[int]] = {}

    def inputs(self, nodes: Any) -> Set[str]:
        """The names of all that these nodes take and may write to."""
        found: Set[str] = set()
        for node in nodes:
            if node.op in _READS:
                continue
            taken = [one.split(":")[0] for one in node.input if not one.startswith("^")]
            called = self._called(node)
            if not called:
                found.update(taken)
                continue
            positions = frozenset().union(*map(self._arguments_of, called))
            if "Dataset" in node.op:  # what it takes stands behind the elements, of which there may be any number
                found.update(taken if positions else ())
                continue
            offset = 1 if node.op in _BRANCHES else 0
            found.update(taken[at + offset] for at in positions if at + offset < len(taken))
        return found

    def _called(self, node: Any) -> List[str]:
        """The functions that a node calls."""
        named = [one.name for value in node.attr.values() for one in (value.func, *value.list.func)]
        return [name for name in named if name in self._functions]

    def _arguments_of(self, name: str) -> FrozenSet[int]:
        """The positions of the variables among its arguments that a function may write to."""
        if name not in self._arguments:
            self._arguments[name] = frozenset()  # while it is looked at: a function may call itself
            function = self._functions[name]
            written = self.inputs(function.node_def)
            self._arguments[name] = frozenset(
                at for at, argument in enumerate(function.signature.input_arg)
                if argument.type == _RESOURCE and argument.name in written)
        return self._arguments[name]


def forward_graph(tensorflow: Any, model: Any) -> Any:
    """The graph of a model's forward pass."""
    if model is None or not getattr(model, "inputs", None):
        raise UnsupportedBackend("There is no tf.Graph without a model that has inputs. Write "
                                 "get_session(model).graph, or trace a function: tf.function(f).get_concrete_function.")
    specs = [tensorflow.TensorSpec(tuple(one.shape), one.dtype) for one in model.inputs]
    function = tensorflow.function(lambda *inputs: model(list(inputs) if len(inputs) > 1 else inputs[0],
                                                         training=False))
    concrete = function.get_concrete_function(*specs)
    concrete.graph.keras_session_ext_function = concrete  # older TensorFlows take the graph apart with its function
    return concrete.graph
