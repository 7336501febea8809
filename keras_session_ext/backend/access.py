"""What the shim asks of each family: values of variables and tensors, sessions, devices and threads."""

import contextlib
import logging
from typing import Any, List

import numpy as np

from keras_session_ext.backend.settings import Settings
from keras_session_ext.errors import ConfigError, UnsupportedBackend


class _TensorFlowAccess:
    """What the families on TensorFlow share."""

    tensorflow: Any
    v1: Any
    keras: Any

    def _apply_tensorflow(self, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
        tf, late = self.tensorflow, []
        for name, set_threads in (("intra_op_threads", tf.config.threading.set_intra_op_parallelism_threads),
                                  ("inter_op_threads", tf.config.threading.set_inter_op_parallelism_threads)):
            count = getattr(settings, name)
            if count is not None:
                try:
                    set_threads(count)
                except RuntimeError:  # the runtime has started
                    late.append("{}: TensorFlow has started already; open the scope before the first model".format(
                        name))
        if settings.memory_growth is not None:
            for device in tf.config.experimental.list_physical_devices("GPU"):
                try:
                    tf.config.experimental.set_memory_growth(device, settings.memory_growth)
                except (RuntimeError, ValueError) as error:
                    late.append("memory_growth of {}: {}".format(device.name, error))
        if settings.device is not None:
            self._enter_device(settings.device, stack)
        return late

    def eagerly(self) -> Any:
        """Out of the graphs that the caller stands in."""
        return self.tensorflow.init_scope()

    def _enter_device(self, device: str, stack: contextlib.ExitStack) -> None:
        if not self._has_device(device):
            raise ConfigError("There is no device {!r} here. Expected one of: {}.".format(
                device, ", ".join(self._devices())))
        try:
            stack.enter_context(self.tensorflow.device(device))
        except (ValueError, RuntimeError) as error:
            raise ConfigError("There is no device {!r}: {}".format(device, error))

    def _devices(self) -> List[str]:
        found = self.tensorflow.config.experimental.list_physical_devices()
        return ["/" + one.name.split("/physical_device:")[-1] for one in found]

    def _has_device(self, device: str) -> bool:
        """Whether a device like "/GPU:1" is there; TensorFlow itself finds out when the first op is placed."""
        short = "/" + device.upper().replace("/DEVICE:", "/").split("/")[-1]
        return any(short in (one, one.rsplit(":", 1)[0]) for one in self._devices())

    def clear_session(self) -> None:
        """Keras's own."""
        self.keras.backend.clear_session()


class NoSessions:
    """Where nothing lives in a session."""

    def inside(self, model: Any) -> Any:
        """Nothing to enter."""
        return contextlib.ExitStack()


class EagerAccess(NoSessions, _TensorFlowAccess):
    """Keras 2 in eager mode."""

    _hashable = False

    def accept_legacy_code(self) -> None:
        """Lets symbolic tensors be keys of a feed_dict, as they are in every other family.

        TensorFlow 2 forbids tensors as keys because `==` compares their elements;
        symbolic ones have none yet. https://www.tensorflow.org/api_docs/python/tf/Tensor#__hash__
        """
        if self._hashable:
            return
        self._hashable = True
        kind: Any = type(self.keras.layers.Input((1,)))
        forbids: Any = kind.__hash__

        def hash_of(tensor):
            return id(tensor) if hasattr(tensor, "_keras_history") else forbids(tensor)

        kind.__hash__ = hash_of

    def to_numpy(self, value: Any) -> np.ndarray:
        return np.array(value.numpy())

    def as_tensor(self, array: np.ndarray, dtype: Any) -> Any:
        return self.tensorflow.constant(array.astype(dtype))

    def value_of(self, leaf: Any) -> Any:
        """The value of a variable or eager tensor; None for anything else."""
        if isinstance(leaf, (self.tensorflow.Variable, self.tensorflow.Tensor)) and hasattr(leaf, "numpy"):
            return np.array(leaf.numpy())
        return None

    def graph_of(self, model: Any) -> Any:
        """The graph that a function traces of the model."""
        return _traced(self.tensorflow, model)

    def apply(self, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
        """Sets threads, memory and device; returns what comes too late."""
        return self._apply_tensorflow(settings, stack)


class GraphAccess(_TensorFlowAccess):
    """Keras 2 in graph mode."""

    K: Any

    def accept_legacy_code(self) -> None:
        """Nothing to do: tensors of a graph are keys already."""

    def is_eager_tensor(self, value: Any) -> bool:
        return isinstance(value, self.tensorflow.Tensor) and type(value).__name__ == "EagerTensor"

    def has_eager_tensors(self) -> bool:
        """Whether this process could make eager tensors at all."""
        from tensorflow.python.eager import context

        return bool(context.default_execution_mode == context.EAGER_MODE)

    def existing_session(self) -> Any:
        """Keras's session, if it has made one; asking Keras would make one."""
        backend = getattr(self.K, "tf_keras_backend", self.K)  # Keras 2.3.1 hands its session to tf.keras
        held = getattr(backend, "_SESSION", None)
        return getattr(held, "session", None) if not hasattr(held, "run") else held

    def new_session(self, settings: Settings) -> Any:
        """A session over the default graph."""
        proto = settings.proto
        if proto is None:
            proto = self.v1.ConfigProto(allow_soft_placement=True)
            if settings.intra_op_threads is not None:
                proto.intra_op_parallelism_threads = settings.intra_op_threads
            if settings.inter_op_threads is not None:
                proto.inter_op_parallelism_threads = settings.inter_op_threads
            if settings.memory_growth is not None:
                proto.gpu_options.allow_growth = settings.memory_growth
        return self.v1.Session(config=proto, graph=self.v1.get_default_graph())

    def apply(self, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
        """Enters the device; the rest is the new session's."""
        if settings.device is not None:
            self._enter_device(settings.device, stack)
        return []


class Keras3Access(NoSessions):
    """Keras 3 on any engine."""

    keras: Any
    engine: Any

    _legacy = False

    def accept_legacy_code(self) -> None:
        """Gives Sequential the `input` and `output` that it had in every Keras before."""
        if self._legacy:
            return
        self._legacy = True
        for name in ("input", "output"):
            setattr(self.keras.Sequential, name, property(_one_of(name, getattr(self.keras.Sequential, name, None))))

    def to_numpy(self, value: Any) -> np.ndarray:
        return np.array(self.keras.ops.convert_to_numpy(value))

    def as_tensor(self, array: np.ndarray, dtype: Any) -> Any:
        return self.keras.ops.convert_to_tensor(array, dtype)

    def value_of(self, leaf: Any) -> Any:
        """The value of a variable or tensor; None for anything else."""
        if isinstance(leaf, self.keras.Variable):
            return self.to_numpy(leaf.value)
        if self.keras.ops.is_tensor(leaf):
            return self.to_numpy(leaf)
        return None

    def eagerly(self) -> Any:
        """Out of the graphs that the caller stands in."""
        if self.engine.name != "tensorflow":
            return contextlib.ExitStack()
        import tensorflow

        return tensorflow.init_scope()

    def graph_of(self, model: Any) -> Any:
        """The graph that a function traces of the model, on TensorFlow."""
        if self.engine.name == "tensorflow":
            import tensorflow

            return _traced(tensorflow, model)
        raise UnsupportedBackend(
            "There is no tf.Graph on {}. The nearest there is: model.layers and layer.output, or {}.".format(
                self.engine.name, {"jax": "jax.make_jaxpr", "torch": "torch.fx.symbolic_trace"}[self.engine.name]))

    def clear_session(self) -> None:
        """Keras's own."""
        self.keras.utils.clear_session()

    def apply(self, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
        """Sets threads, memory and device; returns what comes too late."""
        name = self.engine.name
        if name == "tensorflow":
            access = EagerAccess()
            import tensorflow

            access.tensorflow = tensorflow
            return access._apply_tensorflow(settings, stack)
        if settings.device is not None:
            if name == "torch" and not _torch_has(settings.device):
                raise ConfigError("There is no device {!r} on torch here.".format(settings.device))
            try:
                stack.enter_context(self.keras.device(settings.device.strip("/").lower()))
            except Exception as error:  # each engine has errors of its own for a device that is not there
                raise ConfigError("There is no device {!r} on {}: {}".format(settings.device, name, error))
        return _torch_threads(settings) if name == "torch" else _jax_settings(settings)


def _one_of(name: str, original: Any) -> Any:
    """`model.input` of a Sequential: Keras's own answer where it has one, else the only one of `model.inputs`."""
    def read(model):
        try:
            return original.fget(model)
        except AttributeError:
            tensors = getattr(model, name + "s", None)
            if not tensors:
                raise
            return tensors[0] if len(tensors) == 1 else tensors

    return read


def _torch_has(device: str) -> bool:
    """Whether a GPU is there; torch finds out when the first tensor is made."""
    import torch

    kind, _, number = device.strip("/").lower().split("/")[-1].replace("device:", "").partition(":")
    return kind not in ("gpu", "cuda") or int(number or 0) < torch.cuda.device_count()


def _torch_threads(settings: Settings) -> List[str]:
    import torch

    late = []
    if settings.intra_op_threads:
        torch.set_num_threads(settings.intra_op_threads)
    if settings.inter_op_threads:
        try:
            torch.set_num_interop_threads(settings.inter_op_threads)
        except RuntimeError:  # torch has started
            late.append("inter_op_threads: torch has started already; open the scope before the first model")
    if settings.memory_growth is not None:
        logging.getLogger("keras_session_ext").debug("session_scope: torch always takes GPU memory as it is needed")
    return late


def _jax_settings(settings: Settings) -> List[str]:
    late = []
    if settings.memory_growth is not None:
        late.append("memory_growth: JAX reads it when it starts; set XLA_PYTHON_CLIENT_PREALLOCATE={} before jax is "
                    "imported".format(str(not settings.memory_growth).lower()))
    if settings.intra_op_threads is not None or settings.inter_op_threads is not None:
        late.append("intra_op_threads, inter_op_threads: JAX has no such setting; limit the process's cores")
    return late


def _traced(tensorflow: Any, model: Any) -> Any:
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
