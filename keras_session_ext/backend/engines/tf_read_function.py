"""A function of TensorFlow that reads many variables at once, written down by hand: nothing is traced."""

import os
import weakref
from typing import Any, Callable, List, Sequence


def reader_of(variables: Sequence[Any]) -> Callable[[], List[Any]]:
    """Makes a function that returns the values of variables, as tensors that refer to them.

    A `tf.function` of thousands of reads takes seconds to trace, under the GIL; this one takes milliseconds.

    Args:
        variables: resource variables.
    """
    from tensorflow.core.framework import function_pb2
    from tensorflow.python.eager import context, execute
    from tensorflow.python.framework import dtypes

    current = context.context()
    current.ensure_initialized()
    definition = function_pb2.FunctionDef()
    name = definition.signature.name = "session_read_{}".format(os.urandom(8).hex())
    definition.signature.is_stateful = True
    for number, variable in enumerate(variables):
        handle, value, node_name = ("{}{}".format(letter, number) for letter in "hvr")
        kind = variable.dtype.base_dtype.as_datatype_enum
        definition.signature.input_arg.add(name=handle, type=dtypes.resource.as_datatype_enum)
        definition.signature.output_arg.add(name=value, type=kind)
        node = definition.node_def.add(name=node_name, op="ReadVariableOp", input=[handle])
        node.attr["dtype"].type = kind
        definition.ret[value] = node_name + ":value:0"
    current.add_function_def(definition)
    handles = [variable.handle for variable in variables]

    def read() -> List[Any]:
        return list(execute.execute(name, len(handles), handles, None, current))

    weakref.finalize(read, _forget, current, name)
    return read


def _forget(context: Any, name: str) -> None:
    try:
        context.remove_function(name)
    except Exception:  # noqa: S110  (TensorFlow is gone already, or has no such call: a definition is small)
        pass
