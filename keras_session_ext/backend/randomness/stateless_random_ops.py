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
from typing import Any, Iterator, List, Optional

_active = threading.local()  # .source: what this thread draws from, if not from the ops themselves

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
        source = getattr(_active, "source", None)
        return (original if source is None else getattr(source, name))(*arguments, **options)

    op.keras_session_ext = True  # type: ignore[attr-defined]
    return op


class SeededOps:
    """A source of random numbers for everything traced under `active()`.

    Args:
        tensorflow: the module.
        seed: any int of 62 bits.
    """

    def __init__(self, tensorflow: Any, seed: int):
        from tensorflow.python.ops import gen_random_ops

        _install(gen_random_ops)
        self._tf = tensorflow
        with tensorflow.init_scope():
            self._state = tensorflow.Variable([seed, 0], dtype=tensorflow.int64, trainable=False,
                                              name="keras_session_ext_random")

    @property
    def variable(self) -> Any:
        """What holds the state."""
        return self._state

    @property
    def state(self) -> List[int]:
        """The seed, and how many draws were made."""
        return [int(value) for value in self._state.numpy()]

    def set_state(self, state: List[int]) -> None:
        self._state.assign([int(value) for value in state])

    def _next(self) -> Any:
        """The seed of the next draw; the variable orders the draws of a traced function."""
        self._state.assign_add([0, 1])
        return self._state.read_value()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """What this thread traces inside draws from here."""
        before = getattr(_active, "source", None)
        _active.source = self
        try:
            yield
        finally:
            _active.source = before

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
