"""The order of shuffled arrays on TensorFlow.

Keras takes it from `tf.random.shuffle` inside a dataset: an op with a hidden
state, and, once a seed is set, the same order in every epoch.
"""

import threading
from typing import Any, Callable, Optional

from keras_session_ext.backend.feeds.batch_tap import digest
from keras_session_ext.backend.randomness import host_random
from keras_session_ext.backend.randomness.stateless_random_ops import plain_variable

_patching = threading.Lock()


class Order:
    """The seeded order of shuffled arrays: a function of (seed, pass).

    Args:
        tensorflow: the module.
        global_seed: the user's, if there is one.
        salt: makes the order differ from that of others.
    """

    def __init__(self, tensorflow: Any, global_seed: Optional[int], salt: str):
        self._tf = tensorflow
        self._variable = plain_variable(tensorflow, [0, 0])
        # follows the user's seeds, if there are any, without drawing from them
        material = {"host": host_random.host_states(), "global": global_seed, "salt": salt}
        self.set_seed(int(digest(material)[:12], 16))

    def set_seed(self, seed: int) -> None:
        self.seed = seed
        self.assign(0)

    def assign(self, number: int) -> None:
        self._variable.assign([self.seed, number])

    def shuffled(self, make: Callable[[], Any]) -> Any:
        """Calls `make` with `tf.random.shuffle` seeded; Keras builds its array dataset with it."""
        tf = self._tf

        def shuffle(value: Any, seed: Any = None, name: Optional[str] = None) -> Any:
            # `shuffle="batch"` calls this per batch: its first index makes each differ
            key = tf.random.experimental.stateless_fold_in(self._variable.read_value(), value[0])
            return tf.random.experimental.stateless_shuffle(value, key)

        with _patching:
            original, tf.random.shuffle = tf.random.shuffle, shuffle
            try:
                return make()
            finally:
                tf.random.shuffle = original
