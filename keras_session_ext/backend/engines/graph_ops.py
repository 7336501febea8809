"""The ops of a TensorFlow graph: what one depends on, and which write to one variable in no order."""

from typing import Any, Dict, Iterable, Iterator, List

#: ops that write to a variable
UPDATES = ("AssignVariableOp", "AssignSubVariableOp", "AssignAddVariableOp", "Assign", "AssignSub", "AssignAdd")


def unordered_updates(updates: Iterable[Any]) -> List[str]:
    """Variables that several ops of one step write to with nothing that puts them in order.

    A BatchNormalization that is called twice is one: two plain runs then end differently.
    """
    writers: Dict[Any, List[Any]] = {}
    for op in updates:
        writers.setdefault(_variable_of(op), []).append(op)
    return sorted(variable.name for variable, ops in writers.items() if len(ops) > 1 and not _in_order(ops))


def _variable_of(op: Any) -> Any:
    """The op that holds the variable which `op` writes to, through the switches of a cond."""
    while op.inputs and (op.type in UPDATES or op.type in ("Switch", "RefSwitch", "Identity", "RefIdentity", "Enter",
                                                            "RefEnter")):
        op = op.inputs[0].op
    return op


def _in_order(ops: List[Any]) -> bool:
    """Whether each of the ops waits for all before it."""
    ops = sorted(ops, key=lambda op: op._id)
    return all(one in set(ops_behind([other])) for number, other in enumerate(ops) for one in ops[:number])


def ops_behind(ops: List[Any]) -> Iterator[Any]:
    """The ops, and all they depend on."""
    seen, left = set(), list(ops)
    while left:
        op = left.pop()
        if op in seen:
            continue
        seen.add(op)
        yield op
        left += [tensor.op for tensor in op.inputs] + list(op.control_inputs)


def op_definition(op: str) -> Any:
    """What TensorFlow says of an op; None of one that it does not know."""
    from tensorflow.python.framework import op_def_registry

    if hasattr(op_def_registry, "get"):
        return op_def_registry.get(op)
    return op_def_registry.get_registered_ops().get(op)  # TensorFlow 1.15


def is_stateful(op: str) -> bool:
    """Whether TensorFlow calls an op stateful; of one that it does not know, nobody can tell."""
    definition = op_definition(op)
    return definition is None or bool(definition.is_stateful)
