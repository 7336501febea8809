"""Variables that a traced function writes to, found in its graph: state that no model may have listed."""

from typing import Any, Dict, Iterator, List, Set, Tuple

#: the reason that a report gives
UNLISTED = ("the training step writes to variables that the model does not list ({}), which are not captured; make "
            "them with add_weight, or attributes of a layer (a tf.random.Generator, too)")
#: ops that only read a variable; anything else that takes its handle may write
_READS = frozenset(["ReadVariableOp", "VariableShape", "ResourceGather", "ResourceGatherNd", "VarIsInitializedOp",
                    "Identity", "NoOp"])


def written_variables(graph: Any) -> List[Any]:
    """The variables outside a function's graph that some op in it, or in a function it calls, may write to."""
    variables = {id(variable.handle): variable for variable in graph.variables}
    definition = graph.as_graph_def()
    functions = {one.signature.name: one for one in definition.library.function}
    names = {inner.op.name: variables[id(outer)] for outer, inner in _captures(graph) if id(outer) in variables}
    written = _written(definition.node, set(names), functions)
    return [variable for name, variable in names.items() if name in written]


def _captures(graph: Any) -> Iterator[Tuple[Any, Any]]:
    """(tensor outside, placeholder inside) of a function's graph."""
    captures = graph.captures
    return iter(captures.items() if hasattr(captures, "items") else captures)  # a dict in TensorFlow 2.1 and earlier


def _written(nodes: Any, names: Set[str], functions: Dict[str, Any]) -> Set[str]:
    found: Set[str] = set()
    for node in nodes:
        if node.op in _READS:
            continue
        inputs = [one.split(":")[0] for one in node.input if not one.startswith("^")]
        for position, name in enumerate(inputs):
            if name in names and _writes(node, position, functions):
                found.add(name)
    return found


def _writes(node: Any, position: int, functions: Dict[str, Any]) -> bool:
    """Whether an op may write to the variable it takes at `position`."""
    called = [value.func.name for value in node.attr.values() if value.func.name in functions]
    called += [one.name for value in node.attr.values() for one in value.list.func if one.name in functions]
    if not called:
        return True
    for name in called:
        arguments = functions[name].signature.input_arg
        at = position - (1 if node.op in ("If", "StatelessIf", "Case", "StatelessCase") else 0)
        if 0 <= at < len(arguments) and _written(functions[name].node_def, {arguments[at].name}, functions):
            return True
    return False
