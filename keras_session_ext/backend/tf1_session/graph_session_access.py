"""What the shim asks of Keras 2 in graph mode."""

import contextlib
from typing import Any, List

from keras_session_ext.backend.contracts.session_access import GraphSessionAccess
from keras_session_ext.backend.tf1_session.scope_settings import Settings, enter_device


class GraphAccess(GraphSessionAccess):
    """Keras 2 in graph mode."""

    keras: Any
    K: Any
    tensorflow: Any
    v1: Any

    def clear_session(self) -> None:
        self.keras.backend.clear_session()

    def accept_legacy_code(self) -> None:
        """Nothing to do: tensors of a graph are keys already."""

    def is_eager_tensor(self, value: Any) -> bool:
        return isinstance(value, self.tensorflow.Tensor) and type(value).__name__ == "EagerTensor"

    def has_eager_tensors(self) -> bool:
        from tensorflow.python.eager import context

        return bool(context.default_execution_mode == context.EAGER_MODE)

    def existing_session(self) -> Any:
        """Keras's session, if it has made one; asking Keras would make one."""
        backend = getattr(self.K, "tf_keras_backend", self.K)  # Keras 2.3.1 hands its session to tf.keras
        held = getattr(backend, "_SESSION", None)
        return getattr(held, "session", None) if not hasattr(held, "run") else held

    def new_session(self, settings: Settings) -> Any:
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
            enter_device(self.tensorflow, settings.device, stack)
        return []
