"""What the shim asks of Keras 2 in eager mode."""

import contextlib
from typing import Any, List

import numpy as np

from keras_session_ext.backend.contracts.session_access import StandInSessionAccess
from keras_session_ext.backend.engines.tf_function_graphs import forward_graph
from keras_session_ext.backend.tf1_session.scope_settings import Settings, apply_to_tensorflow


class EagerAccess(StandInSessionAccess):
    """Keras 2 in eager mode."""

    keras: Any
    tensorflow: Any
    _hashable = False

    def clear_session(self) -> None:
        self.keras.backend.clear_session()

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

        def hash_of(tensor: Any) -> int:
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
        return forward_graph(self.tensorflow, model)

    def apply(self, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
        """Sets threads, memory and device; returns what comes too late."""
        return apply_to_tensorflow(self.tensorflow, settings, stack)
