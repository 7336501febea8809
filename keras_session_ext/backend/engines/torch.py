"""torch."""

import sys
from typing import Any, Dict, List, Sequence

import numpy as np

from keras_session_ext.backend.contracts.engine import Engine


class Torch(Engine):
    """torch updates in place, so a read is a copy."""

    name = "torch"

    def __init__(self) -> None:
        import torch

        self._torch = torch

    def read(self, variables: Sequence[Any]) -> List[np.ndarray]:
        return [self._copy(variable.value.detach()) for variable in variables]

    def _copy(self, tensor: Any) -> np.ndarray:
        names = {self._torch.bfloat16: ("int16", "bfloat16")}
        if tensor.dtype in names:  # NumPy has no bfloat16 of its own
            import ml_dtypes

            bits, name = names[tensor.dtype]
            return tensor.view(getattr(self._torch, bits)).cpu().numpy().copy().view(getattr(ml_dtypes, name))
        return tensor.cpu().numpy().copy()

    def release(self) -> None:
        """Nothing is kept."""

    def random_state(self) -> Dict[str, Any]:
        cuda = self._torch.cuda
        return {"cuda": [state.cpu().numpy() for state in cuda.get_rng_state_all()] if cuda.is_available() else []}

    def set_random_state(self, state: Dict[str, Any]) -> None:
        if state["cuda"]:
            self._torch.cuda.set_rng_state_all([self._torch.from_numpy(np.array(one)) for one in state["cuda"]])

    def replicas(self, model: Any) -> int:
        distributed = sys.modules.get("torch.distributed")
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return 1
        return int(distributed.get_world_size())
