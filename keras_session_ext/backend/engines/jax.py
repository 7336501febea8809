"""JAX."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from keras_session_ext.backend import several_processes
from keras_session_ext.backend.closures import callables_within
from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.engines.jax_shards import gather, is_spread, layout_of, spread


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
            places = [np.empty(value.shape, value.dtype) for value in values]
        for place, value in zip(places, values):
            if is_spread(value):
                gather(value, place)
            else:
                place[...] = np.asarray(value)
        return list(places)

    def assign(self, variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
        for variable, array in zip(variables, arrays):
            like = variable.value
            variable.assign(spread(self._jax, np.asarray(array, like.dtype), like) if is_spread(like) else array)

    def tensor_like(self, array: np.ndarray, live: Any, make: Callable[[np.ndarray], Any]) -> Any:
        if hasattr(live, "sharding") and is_spread(live) and live.shape == array.shape:
            return spread(self._jax, np.asarray(array, live.dtype), live)
        return make(array)

    def unsealed(self, value: Any) -> Optional[Tuple[np.ndarray, str]]:
        """Of a typed key."""
        jax = self._jax
        if not isinstance(value, jax.Array) or not jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            return None
        return np.array(jax.random.key_data(value)), str(jax.random.key_impl(value))

    def sealed(self, array: np.ndarray, how: str) -> Any:
        return self._jax.random.wrap_key_data(self._jax.numpy.asarray(array), impl=how)

    def layout(self, model: Any, variables: Sequence[Any], distribution: Any) -> str:
        return layout_of(variables, distribution)

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

    def is_tracing(self) -> bool:
        return isinstance(self._jax.numpy.zeros(()), self._jax.core.Tracer)

    def several(self) -> Dict[str, str]:
        begun = getattr(self._jax.distributed, "is_initialized", lambda: False)()
        count = self._jax.process_count() if begun else 1  # to ask starts JAX, and then it cannot begin any more
        return {"processes": "{}, this is process {}".format(count, self._jax.process_index())} if count > 1 else {}

    def why_no_fit(self, model: Any) -> str:
        count = int(self._jax.process_count())
        return several_processes.jax_processes(count, int(self._jax.process_index())) if count > 1 else ""

    def why_not_whole(self, variables: Sequence[Any]) -> str:
        parts = [str(variable.path) for variable in variables
                 if not (variable.value.is_fully_addressable or variable.value.is_fully_replicated)]
        return several_processes.not_whole("jax.distributed", self._jax.process_index(), self._jax.process_count(),
                                           ", ".join(parts[:3])) if parts else ""
