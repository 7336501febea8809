"""What a run of a session comes to: random ops, iterators, variables, and what has a state that nobody can read.

A run computes what stands behind its fetches, up to what it is fed with. Each
combination of the two is looked at once.
"""

import hashlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from keras_session_ext.backend.engines.graph_ops import UPDATES, is_stateful, unordered_updates
from keras_session_ext.backend.feeds.dataset_op_table import NODES, op_reasons, plain_name
from keras_session_ext.backend.randomness.redraw_kernel_ops import HIDDEN, LINEAR

#: ops that ask an iterator for its next element
GET_NEXT = ("IteratorGetNext", "IteratorGetNextSync")
#: ops that TensorFlow calls stateful and whose state is captured, of a step alone, or an output
_KNOWN = frozenset([
    "Assert", "Print", "NoOp", "Variable", "VarHandleOp", "TemporaryVariable", "DestroyTemporaryVariable",
    "ReadVariableOp", "VariableShape", "VarIsInitializedOp", "IsVariableInitialized", "DestroyResourceOp", "HashTable",
    "InitializeTable", "InitializeTableFromTextFile", "LookupTableFind", "LookupTableSize", "LookupTableExport",
    "MakeIterator", "Iterator", "OneShotIterator", "IteratorToStringHandle", "Save", "SaveSlices", "Restore",
    "RestoreSlice", "MergeV2Checkpoints", "Stack", "StackPush", "StackPop", "StackClose", "PartitionedCall",
    "StatefulPartitionedCall", "If", "While", "Case", "ReadFile", "WriteFile", "SummaryWriter", "FlushSummaryWriter",
    "CloseSummaryWriter", "CreateSummaryFileWriter", "ImportEvent", *UPDATES])
_KNOWN_PREFIXES = ("Resource", "TensorArray", "Assign", "Write", "Send", "Recv", "_Send", "_Recv", "Stateless")
_QUEUES = ("Queue", "Reader", "Barrier", "Stage", "Accumulator")
_IN_A_LOOP = ("the random op {} stands in a tf.while_loop or a function of the graph, where nobody can tell how often "
              "it drew; use tf.random.stateless_* there")
_NESTED = "the random op {} stands in a tf.cond within another one, which is not followed; use one tf.cond"
_NOT_COUNTED = ("the random op {} ({}) draws a count of numbers that its values decide, which cannot be repeated; use "
                "tf.random.uniform or normal, or draw with NumPy and feed it")
_UNSEEDED = ("the random op {} has no seed, and its state is hidden in the session; call "
             "tf.compat.v1.set_random_seed before the graph is built")
_QUEUE = "{} is a {}, which is filled ahead of training by threads; read the data by tf.data or feed_dict"
_PYTHON = "{} calls Python code from the graph, whose state is not seen; call it in the loop, and feed what it gives"
_UNKNOWN = "{} ({}) keeps a state in the session that cannot be read; take it out of what the loop runs"
_HANDLE = "{} reads whichever iterator its string handle names, which is not followed; write one iterator per dataset"
_IN_A_COND = ("{} asks an iterator in a tf.cond or a tf.while_loop, where nobody can tell how often it did; ask it "
              "outside, or switch datasets by the initializers of one iterator (Iterator.from_structure)")
_UNORDERED = ("several ops of one run write to {}, in an order that TensorFlow does not fix, so that plain runs "
              "differ, too")


Library = Callable[[str], Sequence[Any]]


class Draw(NamedTuple):
    """A random op that a run may come to.

    Attributes:
        op: it.
        numbers: how many it draws, where the graph says it.
        shape: what to ask in the same run, where that can be asked; else a run of its own asks `op.inputs[0]`.
        conditions: it draws where each of these tensors is so.
        is_fed: whether only what is fed decides how many it draws.
    """

    op: Any
    numbers: Optional[int]
    shape: Any
    conditions: Tuple[Tuple[Any, int], ...]
    is_fed: bool


class Program(NamedTuple):
    """What a run of one kind comes to.

    Attributes:
        draws: its random ops.
        asked: further fetches of such a run: shapes and conditions.
        made: handle of an iterator -> the op that makes it anew.
        data: op that makes an iterator anew -> a checksum of the constants that its dataset is made of.
        next: the handles of iterators, each as often as it is asked.
        may_draw: random ops that may have drawn when the run ends for want of data.
        reasons: why its state cannot be brought back.
    """

    draws: List[Draw]
    asked: List[Any]
    made: Dict[str, str]
    data: Dict[str, str]
    next: List[str]
    may_draw: List[str]
    reasons: List[str]


def ops_of_run(ops: Sequence[Any], fed: Set[Any]) -> List[Any]:
    """The ops that a run computes, in the order they were made."""
    seen: Set[Any] = set()
    left = list(ops)
    while left:
        op = left.pop()
        if op not in seen:
            seen.add(op)
            left += [tensor.op for tensor in op.inputs if key_of(tensor) not in fed] + list(op.control_inputs)
    return sorted(seen, key=lambda op: op._id)


def key_of(tensor: Any) -> Tuple[Any, int]:
    """What can be looked for in the place of a tensor, which some TensorFlows compare element by element."""
    return tensor.op, tensor.value_index


def keys(tensors: Sequence[Any]) -> Set[Any]:
    """Tensors as what can be looked for, in every TensorFlow."""
    return set(map(key_of, tensors))


def program_of(ops: Sequence[Any], fed: Set[Any], library: Library) -> Program:
    """Looks at one kind of run.

    Args:
        ops: what is fetched.
        fed: the `keys` of what is fed.
        library: gives the nodes of a function of the graph.
    """
    found = ops_of_run(ops, fed)
    made = Program([], [], {}, {}, [], [], [])
    for op in found:
        if op.type in HIDDEN:
            _draw(op, fed, made)
        elif op.type == "MakeIterator":
            nodes = [one.node_def for one in ops_of_run([op.inputs[0].op], set())]
            made.made[op.inputs[1].op.name] = op.name
            made.data[op.name] = _content(nodes, library)  # one iterator may be made of several datasets
            made.reasons.extend(_of_nodes(nodes, library, op_reasons))
        elif op.type in GET_NEXT:
            handle = op.inputs[0].op
            if list(_contexts(op)):
                made.reasons.append(_IN_A_COND.format(op.name))
                continue
            if (handle.type.startswith("Iterator") and not handle.type.startswith("IteratorFrom")) or (
                    handle.type == "OneShotIterator"):
                made.next.append(handle.name)
            if handle.type == "OneShotIterator":
                made.data[handle.name] = _content([handle.node_def], library)
                made.reasons.extend(_of_nodes(_within([handle.node_def], library), library, op_reasons))
            elif not handle.type.startswith("Iterator") or handle.type.startswith("IteratorFrom"):
                made.reasons.append(_HANDLE.format(op.name))
        else:
            made.reasons.extend(_of_op(op, library))
    for name in unordered_updates(op for op in found if op.type in UPDATES):
        made.reasons.append(_UNORDERED.format(name))
    if made.next:
        made.may_draw.extend(draw.op.name for draw in made.draws if not _reads_data(draw.op, fed))
    return made


def _draw(op: Any, fed: Set[Any], made: Program) -> None:
    from tensorflow.python.framework import tensor_util

    contexts = list(_contexts(op))
    conditions = tuple((_given(one.pred), one.branch) for one in contexts if hasattr(one, "pred"))
    if not op.get_attr("seed") and not op.get_attr("seed2"):
        made.reasons.append(_UNSEEDED.format(op.name))
    elif len(conditions) < len(contexts):
        made.reasons.append(_IN_A_LOOP.format(op.name))
    elif op.type not in LINEAR:
        made.reasons.append(_NOT_COUNTED.format(op.name, op.type))
    elif any(list(_contexts(pred.op)) for pred, _ in conditions):
        made.reasons.append(_NESTED.format(op.name))
    else:
        said = tensor_util.constant_value(op.inputs[0])
        numbers = op.outputs[0].shape.num_elements() if said is None else int(said.prod())
        shape = op.inputs[0] if numbers is None and not conditions else None
        made.draws.append(Draw(op, numbers, shape, conditions, not _reads_data(op.inputs[0].op, fed)))
        made.asked.extend(([] if shape is None else [shape]) + [pred for pred, _ in conditions])


def _given(pred: Any) -> Any:
    """The condition itself, in the place of the op that a cond has put around it, which cannot be fetched."""
    return pred.op.inputs[0] if pred.op.type == "Identity" else pred


def _contexts(op: Any) -> Iterator[Any]:
    """The conds and loops that an op stands in, the innermost first."""
    context = op._get_control_flow_context()
    while context is not None:
        if hasattr(context, "pred") or type(context).__name__ == "WhileContext":
            yield context
        context = context.outer_context


def _reads_data(op: Any, fed: Set[Any]) -> bool:
    return any(one.type in GET_NEXT for one in ops_of_run([op], fed))


def _of_op(op: Any, library: Library) -> List[str]:
    name = plain_name(op.type)
    if op.type.startswith(("PyFunc", "EagerPyFunc")):
        return [_PYTHON.format(op.name)]
    if any(word in op.type for word in _QUEUES) and is_stateful(op.type):
        return [_QUEUE.format(op.name, op.type)]
    if not is_stateful(op.type) or name in _KNOWN or name in NODES or name.startswith(_KNOWN_PREFIXES):
        return _of_nodes(_within([op.node_def], library), library, _function_reasons)
    return [_UNKNOWN.format(op.name, op.type)]


def _function_reasons(node: Any, named: Dict[str, Any]) -> List[str]:
    """Of an op within a function that a run calls."""
    return [_IN_A_LOOP.format(node.name)] if node.op in HIDDEN else op_reasons(node, named)


def _of_nodes(nodes: Sequence[Any], library: Library,
              look: Callable[[Any, Dict[str, Any]], List[str]]) -> List[str]:
    """The reasons of nodes, and of the functions that they call."""
    nodes = [*nodes, *_within(nodes, library)]
    named = {node.name: node for node in nodes}
    return [reason for node in nodes for reason in look(node, named)]


def _within(nodes: Sequence[Any], library: Library) -> List[Any]:
    """The nodes of the functions that nodes call, and of those that these call."""
    left: Set[str] = set().union(*map(_called, nodes))
    seen: Set[str] = set()
    found: List[Any] = []
    while left - seen:
        name = (left - seen).pop()
        seen.add(name)
        inner = list(library(name))
        found += inner
        left = left.union(*map(_called, inner))
    return found


def _called(node: Any) -> Set[str]:
    several = [one.name for attribute in node.attr.values() for one in attribute.list.func]
    return {attribute.func.name for attribute in node.attr.values() if attribute.func.name}.union(several)


def _content(nodes: Sequence[Any], library: Library) -> str:
    """A checksum of the constants of a dataset."""
    constants = [node.attr["value"].tensor.SerializeToString(deterministic=True)
                 for node in [*nodes, *_within(nodes, library)] if node.op == "Const"]
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(one).digest() for one in constants))).hexdigest()[:16]
