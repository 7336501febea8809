"""JAX."""

from typing import Any, Dict, List, Sequence

import numpy as np

from keras_session_ext.backend.closures import callables_within
from keras_session_ext.backend.contracts.engine import Engine


class Jax(Engine):
    """JAX: on CPUs a view keeps its buffer from being donated; elsewhere a read is a copy to the host."""

    name = "jax"
    traces_each_shape = True

    def __init__(self) -> None:
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

    def read(self, variables: Sequence[Any]) -> List[np.ndarray]:
        values = [np.asarray(variable.value) for variable in variables]
        return values if self._views else [value.copy() for value in values]

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
