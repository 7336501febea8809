"""The private attributes of frameworks that this package uses: the one table.

Each name stands with what it belongs to, the versions it was seen in, and the
test that fails when a release drops it. tests/unit/test_private_attributes.py keeps the
table complete: a name that is used and not listed fails, and so does one that
is listed and not used.
"""

KILL3 = "tests/integration/test_kill.py"
STATE3 = "tests/integration/test_state.py"
PLAIN3 = "tests/integration/test_plain_keras.py"
KILL = "tests/families/test_kill.py"
SESSION = "tests/families/test_session.py"
LOOPS = "tests/families/test_session_loops.py"
SHIM = "tests/families/test_shim.py"
OBJECTS = "tests/integration/test_model_objects.py"
NODES = "tests/integration/test_tf_dataset.py"
DEVICES = "tests/integration/test_devices.py"
CROSSING = "tests/families/test_crossing.py"

K3 = "Keras 3.12, 3.15"
LOOP1 = "TF 1.15, Keras 2.2.5 to 2.3.1, tf.keras 2.15 and tf_keras 2.21 without v2 behaviour"
LOOP2 = "tf.keras 2.4 to 2.15, tf_keras 2.21"
TF = "TF 1.15 to 2.21"

#: name -> (what it belongs to, versions seen, guarding test)
PRIVATE = {
    # Keras 3: keras3/, feeds/keras3_feed.py
    "_available": ("LazyModule", K3, PLAIN3),
    "_backend_state_sync": ("Trainer", K3, KILL3),
    "_compile_config": ("Trainer", K3, KILL3),
    "_dataloader": ("TorchDataLoaderAdapter", K3, KILL3),
    "_distribute_strategy": ("TFEpochIterator", K3, KILL3),
    "_distributed_dataset": ("TFEpochIterator", K3, KILL3),
    "_enumerate_iterator": ("EpochIterator", K3, KILL3),
    "_eval_epoch_iterator": ("Trainer", K3, KILL3),
    "_foreach_copy_": ("torch", "torch 2.9 to 2.14", KILL3),
    "_flush_futures": ("CallbackList", K3, KILL3),
    "_get_iterator": ("EpochIterator", K3, KILL3),
    "_initial_epoch": ("Trainer, DataHandler", K3 + ", " + LOOP2, KILL3),
    "_learning_rate": ("Optimizer", K3, OBJECTS),
    "_legacy_weights": ("legacy_h5_format", K3, PLAIN3),
    "_num_samples": ("ArrayDataAdapter", K3, KILL3),
    "_steps_seen": ("EpochIterator", K3, KILL3),
    "_user_metrics": ("CompileMetrics", K3 + ", " + LOOP2, OBJECTS),
    "_user_weighted_metrics": ("CompileMetrics", K3, OBJECTS),
    "_symbolic_build": ("Trainer", K3, KILL3),
    # Keras 2 in eager mode: keras2/eager_family.py, feeds/keras2_feed.py
    "_adapter": ("DataHandler", LOOP2, KILL),
    "_built": ("Optimizer", "tf.keras 2.11 to 2.15, tf_keras 2.21", KILL),
    "_create_all_weights": ("OptimizerV2", "tf.keras 2.4 to 2.15, tf_keras 2.21", SESSION),
    "_create_hypers": ("OptimizerV2", "tf.keras 2.1", SESSION),
    "_create_slots": ("OptimizerV2", "tf.keras 2.1", SESSION),
    "_current_step": ("DataHandler", LOOP2, KILL),
    "_enqueuer": ("KerasSequenceAdapter", LOOP2, KILL),
    "_eval_data_handler": ("Model", LOOP2, KILL),
    "_flatten_layers": ("Layer", LOOP2, KILL),
    "_inferred_steps": ("DataHandler", LOOP2, KILL),
    "_initial_step": ("DataHandler", "tf.keras 2.10 to 2.15, tf_keras 2.21", KILL),
    "_insufficient_data": ("DataHandler", LOOP2, KILL),
    "_keras_sequence": ("KerasSequenceAdapter", LOOP2, KILL),
    "_make_class_weight_map_fn": ("data_adapter", LOOP2, KILL),
    "_process_training_inputs": ("training_v2", "tf.keras 2.1", KILL),
    "_shuffle": ("data adapters", K3 + ", " + LOOP2, KILL),
    "_shuffle_sequence": ("KerasSequenceAdapter", LOOP2, KILL),
    "_size": ("TensorLikeDataAdapter", LOOP2, KILL),
    "_standardize_batch": ("GeneratorDataAdapter", LOOP2, KILL),
    "_steps_per_execution": ("DataHandler", LOOP2, KILL),
    "_truncate_execution_to_epoch": ("DataHandler", LOOP2, KILL),
    # Keras 2 in graph mode: keras2/graph_family.py, tf1_session/, randomness/redraw_kernel_ops.py
    "_SESSION": ("keras.backend", LOOP1, SHIM),
    "_keras_initialized": ("tf.Variable", LOOP1, SHIM),
    "_closed": ("tf.Session", LOOP1, SHIM),
    "_config": ("tf.Session", LOOP1, KILL),
    "_get_control_flow_context": ("tf.Operation", LOOP1, KILL),
    "_id": ("tf.Operation", LOOP1, KILL),
    "_make_train_function": ("Model", LOOP1, SESSION),
    "_Callable": ("tf.Session", LOOP1, LOOPS),
    "_call_tf_sessionrun": ("tf.Session", LOOP1, LOOPS),
    "_make_callable_from_options": ("tf.Session", LOOP1, LOOPS),
    "_tf_sess": ("MonitoredSession", LOOP1, LOOPS),
    "_unfetchable_ops": ("tf.Graph", LOOP1, KILL),
    # all of Keras 2: keras2/, transfer/layer_and_slot_tables.py
    "_compile_metrics": ("Model", "Keras 2.3.1", SESSION),
    "_compile_weighted_metrics": ("Model", "Keras 2.3.1", SESSION),
    "_distribution_strategy": ("Model", "tf.keras 1.15 to 2.1", SESSION),
    "_hyper": ("OptimizerV2", "tf.keras 1.15 to 2.15", CROSSING),
    "_momentum": ("RMSprop", "tf.keras 1.15 to 2.15", CROSSING),
    "_output_loss_metrics": ("Model", "tf.keras 1.15 to 2.1, " + LOOP1, KILL),
    "_optimizer": ("LossScaleOptimizer", "tf.keras 2.1 to 2.15", KILL),
    "_trainable_variables": ("Layer, Optimizer", K3, CROSSING),
    "_non_trainable_variables": ("Layer", K3, PLAIN3),
    # symbolic tensors: tf1_session/symbolic_tensors.py
    "_inbound_nodes": ("Layer", TF + ", " + K3, SHIM),
    "_keras_history": ("KerasTensor", TF + ", " + K3, SHIM),
    # TensorFlow: engines/tensorflow.py, feeds/walk_tf_dataset.py, feeds/older_keras2_feed.py
    "_cross_device_ops": ("StrategyExtended", "TF 2.21", DEVICES),
    "_layout_map": ("ModelParallel", K3, DEVICES),
    "_deterministic": ("Dataset", "TF 2.20, 2.21", STATE3),
    "_filename": ("CacheDataset", TF, NODES),
    "_func": ("StructuredFunctionWrapper", TF, NODES),
    "_inputs": ("Dataset", TF, KILL),
    "_rerandomize": ("RandomDataset", "TF 2.10 to 2.21", NODES),
    "_sloppy": ("ParallelInterleaveDataset", "TF 1.15 to 2.10", NODES),
    "_variant_tensor": ("Dataset", TF, NODES),
    "_list_all_concrete_functions": ("tf.function", "TF 2.4 to 2.21", STATE3),
    "_function_cache": ("tf.function", "TF 2.1", KILL),
    "_reshuffle_each_iteration": ("Dataset", TF, KILL),
    "_cache_size": ("jax.jit", "JAX 0.10", OBJECTS),
    "_rng": ("eager context", "TF 2.1 to 2.21", STATE3),
}
