"""JAX."""

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from keras_session_ext.backend.closures import callables_within
from keras_session_ext.backend.contracts.engine import Engine


class Jax(Engine):
    """JAX: the next step is given the very buffers, so values are copied.

    A view that outlives the step makes XLA copy the buffer, to memory that was never used:
    https://github.com/openxla/xla, PjRt's GetBufferForDonationHold.
    """

    name = "jax"
    traces_each_shape = True
    copies = True

    def __init__(self) -> None:
        import jax

        self._jax = jax

    def hold(self, variables: Sequence[Any], places: Optional[Sequence[np.ndarray]] = None) -> List[Any]:
        values = self._jax.block_until_ready([variable.value for variable in variables])
        if places is None:
            return [np.array(value) for value in values]
        for place, value in zip(places, values):
            place[...] = np.asarray(value)
        return list(places)

    def dtype_name(self, variable: Any) -> str:
        """An int64 has the value of an int32, unless 64 bits are enabled."""
        return str(np.dtype(variable.value.dtype).name)

    def traces(self, functions: Sequence[Any]) -> int:
        return sum(one._cache_size() for one in callables_within(functions) if hasattr(one, "_cache_size"))

    def release(self) -> None:
        """Nothing is kept."""

    def random_state(self) -> Dict[str, Any]:
        return {}

    def set_random_state(self, state: Dict[str, Any]) -> None:
        """There is none: JAX's keys are values."""

    def replicas(self, model: Any) -> int:
        return int(self._jax.process_count())
