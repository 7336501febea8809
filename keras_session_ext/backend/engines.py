"""The engines Keras 3 computes on: reading variables, and their own random state."""

import sys
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from keras_session_ext.backend.captures import written_variables


def _handle(variable: Any) -> Any:
    """What variables that wrap one another have in common."""
    variable = getattr(variable, "value", variable) if not hasattr(variable, "handle") else variable
    return getattr(variable, "handle", variable)


class TensorFlow:
    """TensorFlow: a read is a reference; the update ops copy on write while it is held.

    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/kernels/training_op_helpers.h
    """

    name = "tensorflow"

    def __init__(self, unwrap=lambda variable: variable.value):
        import tensorflow

        self._tf = tensorflow
        self._unwrap = unwrap
        self._readers: List[Any] = []
        self._scanned: Tuple[List[int], List[str]] = ([], [])
        self._written: Tuple[List[int], List[str]] = ([], [])

    def read(self, variables: Sequence[Any]) -> List[np.ndarray]:
        """Values of the variables at this moment; they stay so while training goes on."""
        # np.asarray aliases the tensor's buffer, .numpy() would copy it
        return [np.asarray(tensor) for tensor in self._reader(variables)()]

    def _reader(self, variables):
        """One function that reads all of them: about 7 µs a tensor, whatever its size."""
        for known, read in self._readers:
            if len(known) == len(variables) and all(a is b for a, b in zip(known, variables)):
                return read
        raw = [self._unwrap(variable) for variable in variables]
        read = self._tf.function(lambda: [value.read_value() for value in raw], autograph=False)
        self._readers = self._readers[-7:] + [(list(variables), read)]
        return read

    def release(self) -> None:
        self._readers = []

    def random_state(self) -> Dict[str, Any]:
        context = self._context()
        generator = self._global_generator()
        return {
            "seed": context._seed,
            "context": context._rng.getstate() if context._seed is not None else None,
            "generator": None if generator is None else generator.state.numpy(),
        }

    def set_random_state(self, state: Dict[str, Any]) -> None:
        if state["seed"] is not None:
            self._tf.random.set_seed(state["seed"])  # drops the kernels that keep a state of their own
            self._context()._rng.setstate(state["context"])
        if state["generator"] is not None:
            self._tf.random.get_global_generator().reset(state["generator"])

    def _context(self):
        from tensorflow.python.eager import context

        context.context().ensure_initialized()
        return context.context()

    def _global_generator(self):
        from tensorflow.python.ops import stateful_random_ops

        return getattr(stateful_random_ops, "global_generator", None)

    def global_seed(self) -> Any:
        return self._context()._seed

    def replicas(self, model) -> int:
        return model.distribute_strategy.num_replicas_in_sync

    def hidden_random_ops(self, functions) -> List[str]:
        """Random ops of train and test functions whose state no one can read (`tf.random.normal` and its kin)."""
        traced = [graph for function in functions for graph in _graphs(function)]
        key = [id(graph) for graph in traced]
        if key != self._scanned[0]:  # looking through a large graph takes a while
            self._scanned = key, sorted(set().union(*map(_random_ops, traced)))
        return self._scanned[1]

    def unlisted_variables(self, functions, known) -> List[str]:
        """Variables that these functions write to and nobody listed, by name.

        Args:
            functions: traced ones.
            known: the variables that are captured, or that no resume needs.
        """
        traced = [graph for function in functions for graph in _graphs(function)]
        key = [id(graph) for graph in traced] + [len(known)]
        if key != self._written[0]:  # looking through a large graph takes a while
            handles = {id(_handle(variable)) for variable in known}
            self._written = key, sorted({
                str(variable.name).split(":")[0] for graph in traced for variable in written_variables(graph)
                if id(_handle(variable)) not in handles})
        return self._written[1]


def _graphs(function: Any) -> List[Any]:
    """The graphs that were traced of a function, or of those it closes over."""
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    found = []
    for one in [function, *cells]:
        if hasattr(one, "_list_all_concrete_functions"):
            found += [concrete.graph for concrete in one._list_all_concrete_functions()]
        else:  # TensorFlow 2.1, and what is no tf.function
            inner = [getattr(one, name, None) for name in ("_stateful_fn", "_stateless_fn")]
            found += [concrete.graph for made in inner if made is not None
                      for concrete in made._function_cache.all_values()]
    return found


def _random_ops(graph: Any) -> set:
    definition = graph.as_graph_def()
    nodes = list(definition.node) + [node for inner in definition.library.function for node in inner.node_def]
    return {node.op for node in nodes if node.op in _STATEFUL_RANDOM_OPS}


_STATEFUL_RANDOM_OPS = frozenset((
    "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "ParameterizedTruncatedNormal",
    "RandomShuffle", "Multinomial", "RandomGamma", "RandomGammaGrad", "RandomPoisson", "RandomPoissonV2",
))


class Jax:
    """JAX: on CPUs a view keeps its buffer from being donated; elsewhere a read is a copy to the host."""

    name = "jax"

    def __init__(self):
        import jax

        self._jax = jax
        self._views = jax.default_backend() == "cpu" and self._donation_spares_views()

    def _donation_spares_views(self) -> bool:
        """XLA may tighten this: https://github.com/openxla/xla, PjRt's GetBufferForDonationHold."""
        jnp = self._jax.numpy
        value = jnp.arange(1024.0)
        view = np.asarray(value)
        before = view.copy()
        self._jax.jit(lambda x: x + 1, donate_argnums=0)(value).block_until_ready()
        return bool(np.array_equal(view, before))

    def read(self, variables):
        values = [np.asarray(variable.value) for variable in variables]
        return values if self._views else [value.copy() for value in values]

    def release(self):
        pass

    def random_state(self):
        return {}

    def set_random_state(self, state):
        pass

    def global_seed(self):
        return None

    def replicas(self, model) -> int:
        return self._jax.process_count()

    def hidden_random_ops(self, functions):
        return []

    def unlisted_variables(self, functions, known):
        return []


class Torch:
    """torch updates in place, so a read is a copy."""

    name = "torch"

    def __init__(self):
        import torch

        self._torch = torch

    def read(self, variables):
        return [self._copy(variable.value.detach()) for variable in variables]

    def _copy(self, tensor):
        names = {self._torch.bfloat16: ("int16", "bfloat16")}
        if tensor.dtype in names:  # NumPy has no bfloat16 of its own
            import ml_dtypes

            bits, name = names[tensor.dtype]
            return tensor.view(getattr(self._torch, bits)).cpu().numpy().copy().view(getattr(ml_dtypes, name))
        return tensor.cpu().numpy().copy()

    def release(self):
        pass

    def random_state(self):
        cuda = self._torch.cuda
        return {"cuda": [state.cpu().numpy() for state in cuda.get_rng_state_all()] if cuda.is_available() else []}

    def set_random_state(self, state):
        if state["cuda"]:
            self._torch.cuda.set_rng_state_all([self._torch.from_numpy(np.array(one)) for one in state["cuda"]])

    def global_seed(self):
        return None

    def replicas(self, model) -> int:
        distributed = sys.modules.get("torch.distributed")
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return 1
        return distributed.get_world_size()

    def hidden_random_ops(self, functions):
        return []

    def unlisted_variables(self, functions, known):
        return []


ENGINES = {engine.name: engine for engine in (TensorFlow, Jax, Torch)}
