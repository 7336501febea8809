"""Random ops whose state can be saved.

TensorFlow's classic random ops keep their state in their kernels, where no one
can read it. While a function is traced under `SeededOps.active()` they are
replaced by the stateless ops of the same distributions, numbered by a variable:
draw number n of a run is a function of (seed, n).
https://www.tensorflow.org/guide/random_numbers#legacy_rngs
"""

import contextlib
import functools
import threading
from typing import Any, Dict, Iterator, List, Optional

_active = threading.local()  # .source: what this thread draws from, if not from the ops themselves

#: id of a strategy -> what its replicas draw from, while a function of theirs is traced
_of_strategies: Dict[int, Any] = {}
_NAMES = ("random_uniform", "random_standard_normal", "truncated_normal", "random_uniform_int", "multinomial",
          "random_shuffle")


def _install(ops: Any) -> None:
    """Puts a switch before each op, once: it leads to the thread's active source, or on to the op."""
    for name in _NAMES:
        original = getattr(ops, name)
        if not hasattr(original, "keras_session_ext"):
            setattr(ops, name, _switch(name, original))


def _switch(name: str, original: Any) -> Any:
    @functools.wraps(original)
    def op(*arguments: Any, **options: Any) -> Any:
        source = getattr(_active, "source", None) or _of_replica()
        return (original if source is None else getattr(source, name))(*arguments, **options)

    op.keras_session_ext = True  # type: ignore[attr-defined]
    return op


def _of_replica() -> Any:
    """The source of the strategy that this thread is a replica of: it is not the thread that called the strategy."""
    return next((source for source in list(_of_strategies.values()) if source.is_replica_here()), None)


def plain_variable(tensorflow: Any, value: List[int]) -> Any:
    """A variable that no strategy makes one of its own, in whose scope Keras 2 calls all callbacks."""
    from tensorflow.python.ops import resource_variable_ops

    with tensorflow.init_scope():
        return resource_variable_ops.ResourceVariable(value, dtype=tensorflow.int64, trainable=False,
                                                      name="keras_session_ext_random")


class SeededOps:
    """A source of random numbers for everything traced under `active()`.

    Under a strategy each replica draws from a stream of its own: its draw number n is a function of (seed, replica, n).

    Args:
        tensorflow: the module.
        seed: any int of 62 bits.
        strategy: with several replicas in this process, if there is one.
    """

    def __init__(self, tensorflow: Any, seed: int, strategy: Any = None):
        from tensorflow.python.ops import gen_random_ops

        _install(gen_random_ops)
        self._tf = tensorflow
        self._strategy = strategy
        count = 1 if strategy is None else int(strategy.num_replicas_in_sync)
        self._streams = [plain_variable(tensorflow, [_seed_of(seed, number), 0]) for number in range(count)]

    @property
    def variables(self) -> List[Any]:
        """What holds the state."""
        return self._streams

    @property
    def state(self) -> List[int]:
        """The seed, and how many draws were made, by each replica."""
        values = [stream.numpy() for stream in self._streams]
        return [int(values[0][0]), *(int(value[1]) for value in values)]

    def set_state(self, state: List[int]) -> None:
        seed, draws = int(state[0]), [int(value) for value in state[1:]]
        for number, stream in enumerate(self._streams):
            stream.assign([_seed_of(seed, number), draws[number] if number < len(draws) else 0])

    def is_replica_here(self) -> bool:
        """Whether this thread is one of the strategy's replicas."""
        distribute = self._tf.distribute
        return bool(distribute.has_strategy()) and distribute.get_strategy() is self._strategy

    def _next(self) -> Any:
        """The seed of the next draw; the variable orders the draws of a traced function."""
        stream = self._streams[self._replica()]
        stream.assign_add([0, 1])
        return stream.read_value()

    def _replica(self) -> int:
        context = self._tf.distribute.get_replica_context() if self._strategy is not None else None
        return 0 if context is None else int(self._tf.get_static_value(context.replica_id_in_sync_group))

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """What this thread traces inside draws from here, and what the strategy's replicas trace in theirs."""
        before = getattr(_active, "source", None)
        _active.source = self
        if self._strategy is not None:
            _of_strategies[id(self._strategy)] = self
        try:
            yield
        finally:
            _active.source = before
            _of_strategies.pop(id(self._strategy), None)

    # -- the ops, with the arguments of those they stand for

    def random_uniform(self, shape: Any, dtype: Any, seed: int = 0, seed2: int = 0,
                       name: Optional[str] = None) -> Any:
        return self._tf.random.stateless_uniform(shape, self._next(), dtype=dtype, name=name)

    def random_standard_normal(self, shape: Any, dtype: Any, seed: int = 0, seed2: int = 0,
                               name: Optional[str] = None) -> Any:
        return self._tf.random.stateless_normal(shape, self._next(), dtype=dtype, name=name)

    def truncated_normal(self, shape: Any, dtype: Any, seed: int = 0, seed2: int = 0,
                         name: Optional[str] = None) -> Any:
        return self._tf.random.stateless_truncated_normal(shape, self._next(), dtype=dtype, name=name)

    def random_uniform_int(self, shape: Any, minval: Any, maxval: Any, seed: int = 0, seed2: int = 0,
                           name: Optional[str] = None) -> Any:
        minval = self._tf.convert_to_tensor(minval)
        return self._tf.random.stateless_uniform(shape, self._next(), minval, maxval, dtype=minval.dtype, name=name)

    def multinomial(self, logits: Any, num_samples: Any, seed: int = 0, seed2: int = 0, output_dtype: Any = None,
                    name: Optional[str] = None) -> Any:
        return self._tf.random.stateless_categorical(
            logits, num_samples, self._next(), dtype=output_dtype or self._tf.int64, name=name)

    def random_shuffle(self, value: Any, seed: int = 0, seed2: int = 0, name: Optional[str] = None) -> Any:
        tf = self._tf
        value = tf.convert_to_tensor(value)
        keys = tf.random.stateless_uniform(tf.shape(value)[:1], self._next(), dtype=tf.float64)
        return tf.gather(value, tf.argsort(keys, stable=True), name=name)


def _seed_of(seed: int, replica: int) -> int:
    """Of one replica's stream; the first one's is that of a training on one device."""
    return (seed + replica * 0x1E3779B97F4A7C15) % 2**62 if replica else seed
