"""The random ops of a graph, whose state lives in the kernels of a session.

No one can read that state, but it is a function of the op's seeds and of how
many numbers it has drawn: a run records what it drew, and a resume draws as
many again, each op in one enlarged run.
https://github.com/tensorflow/tensorflow/blob/v1.15.5/tensorflow/core/util/guarded_philox_random.h
"""

from typing import Any, Callable, Dict, List, Set, Tuple

import numpy as np

from keras_session_ext.backend.engines.graph_ops import UPDATES, ops_behind, unordered_updates

_LARGEST_RUN = 1 << 24  # numbers in one run: 64 MiB

#: ops that reserve a fixed count of Philox samples for each number they return, and take their shape as first input
LINEAR = ("RandomUniform", "RandomStandardNormal", "TruncatedNormal", "RandomUniformInt")
HIDDEN = LINEAR + ("RandomShuffle", "Multinomial", "RandomGamma", "ParameterizedTruncatedNormal", "RandomPoisson",
                     "RandomPoissonV2")
_FUNCTIONS = ("If", "StatelessIf", "While", "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall", "Case")


class KernelOps:
    """The random ops behind one train function, and what they drew.

    Args:
        function: Keras's, with `inputs`, `outputs` and `updates_op`.
        run: `session.run` of its session.
    """

    def __init__(self, function: Any, run: Callable[..., Any]):
        self._function = function
        self._run = run
        self._graph = function.outputs[0].graph
        self.runs: Dict[Tuple, int] = {}
        self._sizes: Dict[Tuple, List[int]] = {}
        self.uncounted = False  # whether a step had symbolic inputs of unknown shape
        found = list(ops_behind([tensor.op for tensor in function.outputs] + [function.updates_op]))
        self.unordered = unordered_updates(op for op in found if op.type in UPDATES)
        self.ops = sorted((op for op in found if op.type in HIDDEN), key=lambda op: op._id)
        self._library: Any = None
        self.in_functions = sorted({op.type for op in found if op.type in _FUNCTIONS and self._hides(op)})

    def rebind(self, function: Any) -> None:
        """The same model was compiled anew: its forward ops, and their kernels, are the old ones."""
        other = KernelOps(function, self._run)
        self._function, self.ops, self.in_functions, self._sizes = other._function, other.ops, other.in_functions, {}
        self.unordered = other.unordered

    def _hides(self, op: Any) -> bool:
        """Whether a function that `op` calls has random ops."""
        names = {attribute.func.name for attribute in op.node_def.attr.values() if attribute.func.name}
        if self._library is None:
            self._library = {one.signature.name: one for one in self._graph.as_graph_def().library.function}
        seen: Set[str] = set()
        while names - seen:
            name = (names - seen).pop()
            seen.add(name)
            function = self._library.get(name)
            for node in function.node_def if function is not None else ():
                if node.op in HIDDEN:
                    return True
                names |= {attribute.func.name for attribute in node.attr.values() if attribute.func.name}
        return False

    def count(self, arguments: List[Any]) -> None:
        """One step ran with these inputs."""
        if self.ops or self.in_functions:
            key = tuple(_shape(value) for value in arguments)
            if any(None in shape for shape in key):
                self.uncounted = True
            else:
                self.runs[key] = self.runs.get(key, 0) + 1

    # -- saving and resuming

    def state(self) -> Dict[str, Any]:
        """The ops' seeds and what was drawn, as a plain value."""
        return {"seeds": self._seeds(), "uncounted": self.uncounted, "runs": [[[list(shape) for shape in key], count]
                                                 for key, count in self.runs.items()]}

    def _seeds(self) -> List[List[Any]]:
        return [[op.type, int(op.get_attr("seed")), int(op.get_attr("seed2"))] for op in self.ops]

    def why_not_exact(self, tests: bool) -> List[str]:
        """Reasons known beforehand why the draws cannot be repeated.

        Args:
            tests: whether the model evaluates or predicts, too.
        """
        reasons: List[str] = []
        if any(not seed and not seed2 for _, seed, seed2 in self._seeds()):
            reasons.append("the model's random ops ({}) have no seed, and their state is hidden in the session; call "
                           "tf.compat.v1.set_random_seed before the model is built".format(
                               ", ".join(sorted({op.type for op in self.ops}))))
        if tests and any(op._get_control_flow_context() is None for op in self.ops):
            reasons.append("the model draws random numbers in evaluate or predict, too, which are not counted; let its "
                           "layers follow the learning phase (no training=True)")
        if self.unordered:
            reasons.append("several ops of one step write to {}, in an order that TensorFlow does not fix, so that "
                           "plain runs differ, too (a layer with a state that is called twice?)".format(
                               ", ".join(self.unordered)))
        if self.uncounted:
            reasons.append("the session's random ops ({}) draw for batches of unknown size; use "
                           ".batch(n, drop_remainder=True), or arrays".format(
                               ", ".join(sorted({op.type for op in self.ops}))))
        return reasons

    def restore(self, state: Dict[str, Any]) -> List[str]:
        """Brings the kernels to where they were; returns why that is not possible, or what it cost."""
        self.uncounted = self.uncounted or state["uncounted"]
        if state["seeds"] != self._seeds():
            return ["the seeds of the model's random ops are others than at the checkpoint; seed NumPy and call "
                    "tf.compat.v1.set_random_seed before the model is built"]
        wanted = {tuple(tuple(shape) for shape in key): count for key, count in state["runs"]}
        missing = {key: count - self.runs.get(key, 0) for key, count in wanted.items()}
        if any(count < 0 for count in missing.values()) or any(key not in wanted for key in self.runs):
            return ["the session's random ops have drawn more than at the checkpoint, and cannot be turned back; "
                    "start the script in a new process"]
        missing = {key: count for key, count in missing.items() if count}
        if not missing:
            return []
        if all(self._can_enlarge(op) for op in self.ops) and not self.in_functions:
            self._enlarged_runs(missing)
        else:
            self._forward_runs(missing)
        self.runs = wanted
        return []

    def _can_enlarge(self, op: Any) -> bool:
        context = op._get_control_flow_context()
        while context is not None:
            if type(context).__name__ == "WhileContext":
                return False
            context = context.outer_context
        return op.type in LINEAR

    def _feeds(self, key: Tuple) -> Dict[Any, Any]:
        feeds = {}
        for tensor, shape in zip(self._function.inputs, key):
            dtype = tensor.dtype.as_numpy_dtype
            # the only input without a shape is the learning phase: training
            feeds[tensor] = np.ones((), dtype) if not shape else np.zeros(shape, dtype)
        return feeds

    def _fetchable(self, op: Any) -> Any:
        self._graph._unfetchable_ops.discard(op)  # ops within a cond are, so long as the cond is fed
        return op

    def _sizes_of(self, key: Tuple) -> List[int]:
        """How many numbers each op draws in a step with these inputs."""
        if key not in self._sizes:
            feeds, sizes = self._feeds(key), []
            for op in self.ops:  # in the order they were made, so that each finds the ones before it fed
                self._fetchable(op.inputs[0].op)
                shape = self._run(op.inputs[0], feeds)
                sizes.append(int(np.prod(shape, dtype=np.int64)))
                feeds[op.outputs[0]] = np.zeros(shape, op.outputs[0].dtype.as_numpy_dtype)
            self._sizes[key] = sizes
        return self._sizes[key]

    def _enlarged_runs(self, missing: Dict[Tuple, int]) -> None:
        totals = [0] * len(self.ops)
        for key, count in missing.items():
            totals = [total + size * count for total, size in zip(totals, self._sizes_of(key))]
        feeds = self._feeds(next(iter(missing)))
        for op, total in zip(self.ops, totals):
            draw(self._fetchable(op), total, self._run, feeds)

    def _forward_runs(self, missing: Dict[Tuple, int]) -> None:
        """One forward pass for every step: the last resort, where an op stands in a loop or a function."""
        for key, count in missing.items():
            feeds = self._feeds(key)
            for _ in range(count):
                self._run(self._function.outputs[0].op, feeds)


def draw(op: Any, total: int, run: Callable[..., Any], feeds: Dict[Any, Any]) -> None:
    """Lets a random op draw so many numbers, in as few runs as that takes.

    Args:
        op: one of LINEAR, which may be fetched.
        total: how many numbers.
        run: of its session: called with a fetch and feeds.
        feeds: what it needs beside its shape.
    """
    shape = op.inputs[0]
    rank = int(shape.shape[0])
    while total > 0:
        part = min(total, _LARGEST_RUN) if rank else 1
        sizes = np.array(([part] + [1] * rank)[:rank], shape.dtype.as_numpy_dtype)
        run(op, _with(feeds, shape, sizes))
        total -= part


def _shape(value: Any) -> Tuple:
    """The shape of an input, None where a symbolic one does not know it."""
    if hasattr(value, "op"):
        return tuple(value.shape.as_list()) if value.shape.ndims is not None else (None,)
    return tuple(np.shape(value))


def _with(feeds: Dict[Any, Any], tensor: Any, value: Any) -> Dict[Any, Any]:
    made = dict(feeds)
    made[tensor] = value
    return made
