"""Everything that knows a framework.

Private attributes of frameworks in use. A release that drops one fails the
test named here.

| attribute | where | seen in | guarded by |
|---|---|---|---|
| `Trainer._initial_epoch` | keras3.py | Keras 3.15 | tests/integration/test_kill.py |
| local `epoch_iterator` of `fit` | keras3.py | Keras 3.15 | tests/integration/test_kill.py |
| `EpochIterator._enumerate_iterator`, `._get_iterator`, `._steps_seen`, `._num_batches` | feed.py | Keras 3.15 | tests/integration/test_kill.py |
| `TFEpochIterator._distributed_dataset`, `._distribute_strategy` | feed.py | Keras 3.15 | tests/integration/test_kill.py |
| `ArrayDataAdapter._shuffle`, `._num_samples`; `PyDatasetAdapter.enqueuer.ready_queue`, `._*_generator` | feed.py | Keras 3.15 | tests/integration/test_kill.py |
| `Trainer._eval_epoch_iterator`, `._symbolic_build`, `._compile_config`, `.jax_state_sync` | keras3.py | Keras 3.15 | tests/integration/test_kill.py |
| `CallbackList.callbacks`, `._flush_futures` | keras3.py, session.py | Keras 3.15 | tests/integration/test_kill.py |
| `keras.src.legacy.saving`: `legacy_h5_format._legacy_weights`, `saving_options`, `json_utils` | keras3.py | Keras 3.15 | tests/integration/test_plain_keras.py |
| `global_state` attribute `global_seed_generator` | keras3.py | Keras 3.15 | tests/integration/test_state.py |
| `tensorflow.python.eager.context._rng`, `._seed`; `stateful_random_ops.global_generator` | engines.py | TF 2.21 | tests/integration/test_state.py |
| `Dataset._inputs`, `._seed`, `._seed2`, `._map_func`, `._deterministic` | dataset_graph.py | TF 2.21 | tests/integration/test_state.py |
| `tf.function._list_all_concrete_functions` | engines.py | TF 2.21 | tests/integration/test_state.py |
"""

import sys
from typing import Any, Dict

from keras_session_ext.errors import UnsupportedBackend

_chosen: Dict[str, Any] = {}


def choose() -> Any:
    """The adapter of the Keras in use.

    Keras is imported if the script did not do so yet.

    Raises:
        UnsupportedBackend: no Keras 3 can be imported.
    """
    if "keras" not in sys.modules:
        try:
            import keras  # noqa: F401  (the engine is what KERAS_BACKEND says)
        except ImportError as error:
            raise UnsupportedBackend(
                "Keras cannot be imported ({}). Install keras and one of tensorflow, jax, torch, and name it in "
                "the environment variable KERAS_BACKEND.".format(error)) from error
    keras_module = sys.modules["keras"]
    version = str(getattr(keras_module, "__version__", "0"))
    if int(version.split(".")[0]) < 3:
        raise UnsupportedBackend(
            "Keras {} is imported; this version of the package supports Keras 3. Install keras>=3.".format(version))
    key = "keras3 on " + keras_module.backend.backend()
    if key not in _chosen:
        from keras_session_ext.backend.keras3 import Keras3

        _chosen[key] = Keras3(keras_module)
    return _chosen[key]


def describe() -> Dict[str, str]:
    """Names and versions of the family and engine in use.

    Returns:
        A dict with `family`, `keras`, `engine` and the versions of the loaded frameworks.

    Example:
        >>> describe()["family"]  # doctest: +SKIP
        'keras3'
    """
    return choose().describe()
