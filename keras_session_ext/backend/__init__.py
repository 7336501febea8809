"""Everything that knows a framework.

Private attributes of frameworks in use; seen in Keras 3.12 and 3.15, TensorFlow
2.20 and 2.21. A release that drops one fails the test named here.

keras3.py and feed.py, guarded by tests/integration/test_kill.py:

* `Trainer._initial_epoch`, `._eval_epoch_iterator`, `._symbolic_build`, `.jax_state_sync`
* the local variables `epoch_iterator` and `epoch_logs` of `fit`
* `EpochIterator._enumerate_iterator`, `._get_iterator`, `._steps_seen`, `._num_batches`
* `TFEpochIterator._distributed_dataset`, `._distribute_strategy`
* `ArrayDataAdapter._shuffle`, `._num_samples`; `TFDatasetAdapter._dataset`;
  `TorchDataLoaderAdapter._dataloader`; `PyDatasetAdapter._*_generator`, `.enqueuer.ready_queue`
* `CallbackList.callbacks`, `._flush_futures` (also callbacks.py)

keras3.py, guarded by tests/integration/test_plain_keras.py:

* `keras.src.legacy.saving`: `legacy_h5_format._legacy_weights`, `saving_options`, `json_utils`
* `Layer._trainable_variables`, `._non_trainable_variables`; `Trainer._compile_config`

engines.py, keras3.py and dataset_graph.py, guarded by tests/integration/test_state.py:

* the global attribute `global_seed_generator`
* `tensorflow.python.eager.context`: `._rng`, `._seed`; `stateful_random_ops.global_generator`
* `tf.function._list_all_concrete_functions`
* `Dataset._inputs`, `._seed`, `._seed2`, `._map_func`, `._deterministic`, `._reshuffle_each_iteration`
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
