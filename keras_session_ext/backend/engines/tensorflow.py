"""TensorFlow, outside of graph mode."""

import contextlib
import operator
from typing import Any, Callable, ContextManager, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.engines.tf_components import (
    apart,
    components_behind_first,
    components_of,
    layout_of,
    reduction_of,
    refused,
    strategy_of,
    together,
    why_no_fit,
)
from keras_session_ext.backend.engines.tf_function_graphs import graphs_of, random_ops, written_variables
from keras_session_ext.backend.engines.tf_read_function import reader_of

#: so aligned, memory is not copied: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/c/tf_tensor.cc
_ALIGNED_BYTES = 64


def _raw(variable: Any) -> Any:
    """The `tf.Variable` in a variable of Keras 3, or the variable itself, which has a method `value`."""
    value = variable.value
    return variable if callable(value) else value


class TensorFlow(Engine):
    """TensorFlow: a read is a reference; the update ops copy on write while it is held.

    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/kernels/training_op_helpers.h
    """

    name = "tensorflow"
    any_thread = True

    def __init__(self, unwrap: Callable[[Any], Any] = _raw):
        import tensorflow

        self._tf = tensorflow
        self._unwrap = unwrap
        self._scanned: Tuple[List[int], List[str]] = ([], [])
        self._written: Tuple[List[int], List[str]] = ([], [])
        self._readers: List[Tuple[List[Any], Callable[[], List[Any]]]] = []

    def hold(self, variables: Sequence[Any], places: Optional[Sequence[np.ndarray]] = None) -> List[Any]:
        """The tensors: `np.asarray` aliases their buffers, where `.numpy()` would copy them."""
        for known, read in self._readers:
            if len(known) == len(variables) and all(map(operator.is_, known, variables)):
                return read()
        op = self._tf.raw_ops.ReadVariableOp
        raw = [self._first(variable) for variable in variables]
        return [op(resource=variable.handle, dtype=variable.dtype) for variable in raw]

    def _first(self, variable: Any) -> Any:
        return components_of(self._unwrap(variable))[0]

    def hold_further(self, variables: Sequence[Any]) -> List[List[Any]]:
        op = self._tf.raw_ops.ReadVariableOp
        return [[op(resource=one.handle, dtype=one.dtype) for one in several]
                for several in components_behind_first([self._unwrap(variable) for variable in variables])]

    def components(self, variable: Any) -> List[Any]:
        return components_of(self._unwrap(variable))

    def reduction(self, variable: Any) -> str:
        return reduction_of(self._unwrap(variable))

    def replicas(self, model: Any) -> int:
        strategy = strategy_of(model)
        return 1 if strategy is None else int(strategy.num_replicas_in_sync)

    def inside(self, model: Any) -> ContextManager[Any]:
        strategy = strategy_of(model)
        scope: ContextManager[Any] = contextlib.ExitStack() if strategy is None else strategy.scope()
        return scope

    def prepare(self, variables: Sequence[Any]) -> None:
        """Makes one function that reads all of them; a `tf.function` would be traced for seconds, and tell the user."""
        try:
            read = reader_of([self._first(variable) for variable in variables])
            read()  # the first call takes a hundred times as long as the others
        except Exception:  # another TensorFlow: one op for each variable will do
            return
        self._readers = [*self._readers[-3:], (list(variables), read)]

    def assign(self, variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
        """By one op each: `variable.assign` takes twenty times as long for a small one."""
        op = self._tf.raw_ops.AssignVariableOp
        for variable, array in zip(variables, map(np.asarray, arrays)):  # of graph mode's checkpoints: scalars, too
            raw = self._unwrap(variable)
            for one, value in zip(components_of(raw), apart(raw, array)):
                if value.ctypes.data % _ALIGNED_BYTES == 0:
                    value = value.copy()  # the variable would take this very memory, and the next step write to it
                op(resource=one.handle, value=value)

    def value(self, variable: Any) -> np.ndarray:
        """A copy of the value; where replicas have components that differ, of all of them."""
        return together(self._unwrap(variable))

    def variables_of(self, value: Any) -> Optional[List[Any]]:
        kind = getattr(self._tf.random, "Generator", None)
        return [value.state] if kind is not None and isinstance(value, kind) else None

    def traces(self, functions: Sequence[Any]) -> int:
        return len([graph for function in functions for graph in graphs_of(function)])

    def release(self) -> None:
        self._readers = []

    def random_state(self) -> Dict[str, Any]:
        context = self._context()
        generator = self._global_generator()
        return {
            "seed": context._seed,
            "context": context._rng.getstate() if context._seed is not None else None,
            "generator": None if generator is None else together(generator.state),
        }

    def set_random_state(self, state: Dict[str, Any]) -> None:
        if state["seed"] is not None:
            self._tf.random.set_seed(state["seed"])  # drops the kernels that keep a state of their own
            self._context()._rng.setstate(state["context"])
        if state["generator"] is not None:
            generator = self._tf.random.get_global_generator()
            if len(components_of(generator.state)) > 1:
                self.assign([generator.state], [state["generator"]])
            else:
                generator.reset(state["generator"])

    def _context(self) -> Any:
        from tensorflow.python.eager import context

        context.context().ensure_initialized()
        return context.context()

    @staticmethod
    def _global_generator() -> Any:
        from tensorflow.python.ops import stateful_random_ops

        return getattr(stateful_random_ops, "global_generator", None)

    def global_seed(self) -> Optional[int]:
        seed: Optional[int] = self._context()._seed
        return seed

    def eagerly(self) -> ContextManager[Any]:
        scope: ContextManager[Any] = self._tf.init_scope()
        return scope

    def is_tracing(self) -> bool:
        return not self._tf.executing_eagerly()

    def several(self) -> Dict[str, str]:
        count = int(self._tf.distribute.get_strategy().num_replicas_in_sync)
        return {"replicas": str(count)} if count > 1 else {}

    def why_no_fit(self, model: Any) -> str:
        strategy = strategy_of(model)
        return "" if strategy is None else why_no_fit(strategy)

    def layout(self, model: Any, variables: Sequence[Any], distribution: Any) -> str:
        strategy = strategy_of(model)
        return "" if strategy is None else layout_of(strategy)

    def why_not_whole(self, variables: Sequence[Any]) -> str:
        strategies = [getattr(self._unwrap(variable), "distribute_strategy", None) for variable in variables]
        return next((why for why in map(why_no_fit, filter(None, map(refused, strategies))) if why), "")

    def hidden_random_ops(self, functions: Sequence[Any]) -> List[str]:
        """Random ops of train and test functions whose state no one can read (`tf.random.normal` and its kin)."""
        traced = [graph for function in functions for graph in graphs_of(function)]
        key = [id(graph) for graph in traced]
        if key != self._scanned[0]:  # looking through a large graph takes a while
            self._scanned = key, sorted(set().union(*map(random_ops, traced)))
        return self._scanned[1]

    def unlisted_variables(self, functions: Sequence[Any], known: Sequence[Any]) -> List[str]:
        """Variables that these functions write to and nobody listed, by name.

        Args:
            functions: traced ones.
            known: the variables that are captured, or that no resume needs.
        """
        traced = [graph for function in functions for graph in graphs_of(function)]
        key = [id(graph) for graph in traced] + [len(known)]
        if key != self._written[0]:  # looking through a large graph takes a while
            handles = {handle for variable in known for handle in self._handles(variable)}
            self._written = key, sorted({
                str(variable.name).split(":")[0] for graph in traced for variable in written_variables(graph)
                if not self._handles(variable) <= handles})
        return self._written[1]

    def _handles(self, variable: Any) -> Set[int]:
        """What variables that wrap one another have in common: the handles of all components, by id."""
        return {id(getattr(one, "handle", one)) for one in components_of(self._unwrap(variable))}
