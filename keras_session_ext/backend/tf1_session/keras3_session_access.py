"""What the shim asks of Keras 3, on any engine."""

import contextlib
from typing import Any, List

import numpy as np

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.contracts.session_access import StandInSessionAccess
from keras_session_ext.backend.engines.tf_function_graphs import forward_graph
from keras_session_ext.backend.tf1_session.scope_settings import (
    Settings,
    apply_to_jax,
    apply_to_tensorflow,
    apply_to_torch,
    torch_has,
)
from keras_session_ext.backend.tf1_session.symbolic_tensors import only_tensor
from keras_session_ext.errors import ConfigError, UnsupportedBackend


class Keras3Access(StandInSessionAccess):
    """Keras 3 on any engine."""

    keras: Any
    engine: Engine

    _legacy = False

    def accept_legacy_code(self) -> None:
        """Gives Sequential the `input` and `output` that it had in every Keras before."""
        if self._legacy:
            return
        self._legacy = True
        kind = self.keras.Sequential
        for name in ("input", "output"):
            setattr(kind, name, property(only_tensor(name, getattr(kind, name, None))))

    def to_numpy(self, value: Any) -> np.ndarray:
        return np.array(self.keras.ops.convert_to_numpy(value))

    def as_tensor(self, array: np.ndarray, dtype: Any) -> Any:
        return self.keras.ops.convert_to_tensor(array, dtype)

    def value_of(self, leaf: Any) -> Any:
        if isinstance(leaf, self.keras.Variable):
            return self.to_numpy(leaf.value)
        if self.keras.ops.is_tensor(leaf):
            return self.to_numpy(leaf)
        return None

    def graph_of(self, model: Any) -> Any:
        """The graph that a function traces of the model, on TensorFlow."""
        if self.engine.name == "tensorflow":
            import tensorflow

            return forward_graph(tensorflow, model)
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
            import tensorflow

            return apply_to_tensorflow(tensorflow, settings, stack)
        if settings.device is not None:
            if name == "torch" and not torch_has(settings.device):
                raise ConfigError("There is no device {!r} on torch here.".format(settings.device))
            try:
                stack.enter_context(self.keras.device(settings.device.strip("/").lower()))
            except Exception as error:  # each engine has errors of its own for a device that is not there
                raise ConfigError("There is no device {!r} on {}: {}".format(settings.device, name, error))
        return apply_to_torch(settings) if name == "torch" else apply_to_jax(settings)
