"""Keras 3 on TensorFlow, JAX and torch: everything this package asks of it.

Private attributes of Keras used here and in feed.py, with the versions they
were seen in, stand in the table of `keras_session_ext.backend`.
"""

import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from keras_session_ext.backend import random as host_random
from keras_session_ext.backend.access import Keras3Access
from keras_session_ext.backend.captures import UNLISTED
from keras_session_ext.backend.engines import ENGINES
from keras_session_ext.backend.feed import Feed
from keras_session_ext.backend.frames import frames
from keras_session_ext.backend.tap import digest
from keras_session_ext.backend.variables import (
    KerasParts,
    Leaf,
    as_text,
    keras_parts,
    leaves_of,
    optimizer_settings,
    optimizers_of,
    states_of,
)
from keras_session_ext.errors import UnsupportedBackend

#: attributes of peers that Keras derives again by itself, or that are the script's to say
_NOT_STATE = {
    "MonitorCallback": {"min_delta", "monitor_op"},  # min_delta changes its sign with monitor_op
    "CSVLogger": {"csv_file", "writer", "keys", "append", "append_header"},
    "History": {"history", "epoch"},
    "ProgbarLogger": None,  # None: all of them
    "TensorBoard": {"_batch_start_time", "_epoch_start_time", "_previous_epoch_iterations",
                    "_should_write_train_graph", "_prev_summary_state", "_train_dir", "_val_dir", "_writers",
                    "_train_writer", "_val_writer"},
}


class Keras3(Keras3Access):
    """The adapter of the keras3 family."""

    family = "keras3"

    def __init__(self, keras):
        self.keras = keras
        name = keras.backend.backend()
        if name not in ENGINES:
            raise UnsupportedBackend(
                "Keras computes on {!r}. Supported engines: {}. Set KERAS_BACKEND before Keras is imported.".format(
                    name, ", ".join(ENGINES)))
        self.engine = ENGINES[name]()
        self._callback_class: Any = None

    def describe(self) -> Dict[str, str]:
        """Names and versions, for headers and reports."""
        made = {"family": self.family, "keras": self.keras.__version__, "engine": self.engine.name}
        for module in ("tensorflow", "jax", "torch", "numpy"):
            if module in sys.modules:
                made[module] = str(getattr(sys.modules[module], "__version__", "unknown"))
        return made

    @property
    def callback_class(self) -> type:
        """Keras 3's, which a list of tf_keras can hold, too, until its model is known."""
        if self._callback_class is None:
            def implements(callback):
                return True

            names = {"_implements_{}_batch_hooks".format(mode): implements for mode in ("train", "test", "predict")}
            self._callback_class = type("Callback", (self.keras.callbacks.Callback,), dict(
                names, __module__=self.keras.callbacks.Callback.__module__))
        return self._callback_class

    def flush(self, callback_list: Any) -> None:
        """Waits for hooks that Keras has handed to a thread."""
        if hasattr(callback_list, "_flush_futures"):
            callback_list._flush_futures()

    def check_mode(self) -> None:
        """Keras 3 builds without v2 behaviour, and then cannot fit."""
        if self.engine.name == "tensorflow":
            import tensorflow

            if not tensorflow.compat.v1.executing_eagerly_outside_functions():
                raise UnsupportedBackend(
                    "Keras {} needs TensorFlow's v2 behaviour, which this script has switched off. Take out "
                    "disable_v2_behavior or disable_eager_execution, or use tf_keras.".format(self.keras.__version__))

    def check_model(self, model: Any) -> None:
        """Refuses what would be wrong in silence."""
        if not isinstance(model, self.keras.Model):
            raise UnsupportedBackend(
                "The callback was made for Keras {} but the model is a {}.{}. Import the Keras of the model "
                "before this callback is made.".format(
                    self.keras.__version__, type(model).__module__, type(model).__name__))
        self.check_mode()
        replicas = self.engine.replicas(model)
        distribution = self.keras.distribution.distribution()
        if distribution is not None:
            replicas = max(replicas, int(np.prod(distribution.device_mesh.shape)))
        if replicas > 1:
            raise UnsupportedBackend(
                "The model trains on {} replicas or processes; supported is one. Train on one device, or leave "
                "SessionCheckpoint out.".format(replicas))

    # -- finding what calls us

    def callback_list(self, callback: Any) -> Any:
        """The CallbackList that is calling `callback`, or None."""
        for frame in frames():
            found = frame.f_locals.get("self")
            if isinstance(found, self.keras.callbacks.CallbackList) and callback in found.callbacks:
                return found
        return None

    def fit_frame(self, model: Any) -> Any:
        """The frame of the `fit` that is running on `model`, or None."""
        for frame in frames():
            if frame.f_code.co_name == "fit" and "epoch_iterator" in frame.f_locals \
                    and frame.f_locals.get("self") is model:
                return frame
        return None

    def feed(self, frame: Any, salt: str) -> Feed:
        """Follows the data of a running fit."""
        iterator = frame.f_locals["epoch_iterator"]
        if not all(hasattr(iterator, name) for name in ("_enumerate_iterator", "_get_iterator", "data_adapter")):
            raise UnsupportedBackend(
                "Keras {} hands its data to fit in a way this package does not know; Keras 3.12 and 3.15 were "
                "tested. Install one of them.".format(self.keras.__version__))
        return Feed(iterator, self.engine, salt)

    def validation_feed(self, model: Any) -> Optional[Feed]:
        """Follows the validation data, once Keras has made its iterator."""
        iterator = getattr(model, "_eval_epoch_iterator", None)
        return None if iterator is None else Feed(iterator, self.engine)

    def epoch_logs(self, model: Any) -> Dict[str, np.ndarray]:
        """The training logs of the epoch that is being validated."""
        frame = self.fit_frame(model)
        logs = frame.f_locals.get("epoch_logs", {}) if frame is not None else {}
        return {name: np.asarray(self.keras.ops.convert_to_numpy(value)) for name, value in logs.items()}

    def fit_data(self, frame: Any) -> Tuple[Any, Dict[str, str]]:
        """What fit was given for validation, and checksums of the arrays it was given."""
        adapter, validation = frame.f_locals["epoch_iterator"].data_adapter, frame.f_locals.get("validation_data")
        given = {"training": getattr(adapter, "_inputs", None), "validation": validation}
        made = {}
        for name, data in given.items():
            arrays = self.keras.tree.flatten(data)
            if data is not None and all(hasattr(one, "shape") and hasattr(one, "dtype") for one in arrays
                                        if one is not None):
                try:
                    made[name] = digest(arrays)
                except (TypeError, ValueError):  # sparse matrices and the like
                    continue
        return validation, made

    def is_py_dataset(self, value: Any) -> bool:
        return isinstance(value, self.keras.utils.PyDataset)

    def fit_running(self, code_frame: Any) -> bool:
        """Whether a Keras `fit` stands on the stack that ends in `code_frame`."""
        while code_frame is not None:
            if code_frame.f_code.co_name == "fit" and "epoch_iterator" in code_frame.f_locals:
                return True
            code_frame = code_frame.f_back
        return False

    # -- the start epoch

    def set_initial_epoch(self, model: Any, epoch: int) -> None:
        """Where fit begins; it reads this right after on_train_begin."""
        model._initial_epoch = epoch

    def clear_initial_epoch(self, model: Any) -> None:
        """The attribute is sticky: a later fit would begin there, too."""
        model._initial_epoch = None

    # -- variables

    def model_variables(self, model: Any) -> List[Leaf]:
        self._sync(model)
        return leaves_of(list(model.variables) + list(states_of(model)))  # a functional model does not list the states

    def metric_variables(self, model: Any) -> List[Leaf]:
        return leaves_of(model.metrics_variables)

    def optimizer_variables(self, model: Any) -> List[Leaf]:
        """Variables of all optimizers: the compiled one, and those that are attributes (GANs)."""
        variables: List[Any] = []
        for optimizer in self.optimizers(model):
            variables += optimizer.variables
        return leaves_of(variables)

    @staticmethod
    def slots(optimizer: Any) -> List[Any]:
        """The variables that Keras itself saves for an optimizer."""
        return list(optimizer.variables)

    def optimizers(self, model: Any) -> List[Any]:
        return optimizers_of(model, lambda value: isinstance(value, self.keras.optimizers.Optimizer))

    def read(self, leaves: List[Leaf]) -> List[np.ndarray]:
        return self.engine.read([leaf.variable for leaf in leaves]) if leaves else []

    def assign(self, leaves: List[Leaf], arrays: List[np.ndarray]) -> None:
        for leaf, array in zip(leaves, arrays):
            leaf.variable.assign(array)

    def _sync(self, model: Any) -> None:
        """JAX keeps the state outside the model while an epoch runs."""
        sync = getattr(model, "jax_state_sync", None) or getattr(model, "_backend_state_sync", None)
        if self.engine.name == "jax" and sync is not None:
            sync()

    def build(self, model: Any, feed: Feed, tables: Sequence[Dict[str, Any]]) -> None:
        """Makes the variables that Keras would make in the first batch: model, metrics, optimizers.

        Values do not matter here; a restore overwrites all of them.
        """
        if self.engine.name != "tensorflow":  # fit built model and metrics before the callbacks were called
            self.build_optimizers(model, tables)
            return
        batch = self._empty_batch(feed)
        if len(self.optimizers(model)) > 1:  # only its own train step knows which weights each one updates
            self._throw_away_step(model, batch)
            return
        try:
            model._symbolic_build(data_batch=batch)
        except Exception:  # a model that cannot be called on its data: Keras raises whatever the user's code met
            self._throw_away_step(model, batch)
        self.build_optimizers(model)

    def build_optimizers(self, model: Any, tables: Sequence[Dict[str, Any]] = ()) -> None:
        """Makes the slots of the compiled optimizer, and of those of which tables say which weights they train."""
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and not optimizer.built and model.built:
            optimizer.build(model.trainable_variables)
        variables = [leaf.variable for leaf in self.model_variables(model)] if tables else []
        for table, optimizer in zip(tables, self.optimizers(model)):
            if not optimizer.built and table.get("trains"):
                optimizer.build([variables[number] for number in table["trains"] if number < len(variables)])

    def _empty_batch(self, feed: Feed) -> Any:
        import tensorflow as tf

        def zeros(spec):
            return tf.zeros([2 if length is None else length for length in spec.shape], spec.dtype)

        return tf.nest.map_structure(zeros, feed._iterator._distributed_dataset.element_spec)

    def _throw_away_step(self, model, batch):
        """One step on zeros, in a train function that is then made anew."""
        model.make_train_function(force=True)
        model.train_function(iter([batch]))
        model.make_train_function(force=True)

    def stand_in(self, model: Any, active: bool, logs: Dict[str, float]) -> None:
        """Swaps the train function for one that trains nothing, and back."""
        if active:
            self._real_train_function = model.train_function
            values = {name: float(value) if np.ndim(value) == 0 else value for name, value in logs.items()}
            if self.engine.name == "jax":
                model.train_function = lambda state, iterator: (dict(values), state)
            else:
                model.train_function = lambda iterator: dict(values)
        else:
            model.train_function = self._real_train_function

    # -- random state

    def random_state(self, model: Any) -> Dict[str, Any]:
        """All random state outside the model: host, engine, Keras's global seed generator."""
        generator = self._global_seed_generator()
        return {
            "host": host_random.host_states(),
            "engine": self.engine.random_state(),
            "keras": None if generator is None else np.asarray(self.keras.ops.convert_to_numpy(generator.state.value)),
        }

    def set_random_state(self, state: Dict[str, Any], model: Any) -> List[str]:
        """Puts it back; returns what could not be."""
        if state["keras"] is not None:
            if self._global_seed_generator() is None:
                from keras.src.random import seed_generator

                seed_generator.global_seed_generator()
            self._global_seed_generator().state.assign(state["keras"])
        self.engine.set_random_state(state["engine"])
        host_random.set_host_states(state["host"])  # last: the lines above may draw
        return []

    def _global_seed_generator(self):
        from keras.src.backend.common import global_state

        return global_state.get_global_attribute("global_seed_generator")

    def why_not_exact(self, model: Any) -> List[str]:
        """Reasons why the model's random numbers cannot be repeated; asked after the first step."""
        functions, reasons = [model.train_function, getattr(model, "test_function", None)], []
        hidden = self.engine.hidden_random_ops(functions)
        if hidden:
            reasons.append("the model uses {}, whose random state is hidden in its kernels; use keras.random with a "
                           "SeedGenerator".format(", ".join(hidden)))
        leaves = self.model_variables(model) + self.metric_variables(model) + self.optimizer_variables(model)
        known = [leaf.variable for leaf in leaves] + [
            generator.state for generator in [self._global_seed_generator()] if generator is not None]
        unlisted = self.engine.unlisted_variables(functions, known)
        if unlisted:
            reasons.append(UNLISTED.format(", ".join(unlisted)))
        return reasons

    # -- peers

    def owns(self, peer: Any) -> bool:
        """Whether a peer's class is one of Keras's own."""
        return type(peer).__module__.startswith("keras.")

    def skipped_attributes(self, peer: Any) -> Optional[set]:
        """Attributes of a peer that are no state; None if none of them is."""
        skipped = {"model", "_model", "params", "_supports_tf_logs"}
        for base in type(peer).__mro__:
            names = _NOT_STATE.get(base.__name__, set()) if base.__module__.startswith("keras.") else set()
            if names is None:
                return None
            skipped |= names
        return skipped

    def is_peer(self, peer: Any, name: str) -> bool:
        """Whether `peer` is the Keras callback class called `name`, or one made from it."""
        kind = getattr(self.keras.callbacks, name, None)
        return kind is not None and isinstance(peer, kind)

    def is_framework_object(self, value: Any) -> bool:
        """Models, layers, losses, datasets…: not the peer's own state."""
        modules = {base.__module__.split(".")[0] for base in type(value).__mro__}
        return bool(modules & {"keras", "tensorflow", "jax", "jaxlib", "torch", "tensorboard"})

    def as_array(self, value: Any) -> Optional[np.ndarray]:
        """A framework's tensor as an array; None if `value` is none, or a variable."""
        if self.keras.ops.is_tensor(value) and not isinstance(value, self.keras.Variable):
            try:
                return np.asarray(self.keras.ops.convert_to_numpy(value))
            except (TypeError, ValueError, NotImplementedError):  # such as JAX's typed random keys
                return None
        return None

    def held_variables(self, value: Any, model: Any) -> Optional[List[Any]]:
        """Variables of a Keras object that a peer holds, but for the model's own; None for other objects."""
        if isinstance(value, self.keras.Variable):
            found = [value]
        elif isinstance(value, self.keras.random.SeedGenerator):
            found = [value.state]
        elif isinstance(value, (self.keras.Layer, self.keras.Metric, self.keras.optimizers.Optimizer)):
            found = list(value.variables)
        else:
            return None
        own = {id(variable) for variable in model.variables + model.metrics_variables}
        own |= {id(variable) for optimizer in self.optimizers(model) for variable in optimizer.variables}
        return [variable for variable in found if id(variable) not in own]

    def release(self) -> None:
        """Lets go of the model's variables when fit is over."""
        self.engine.release()

    # -- the script, for finding what changed

    def script(self, model: Any) -> Dict[str, Any]:
        """Settings of the script that a resume compares, as text."""
        made: Dict[str, Any] = {"model": type(model).__name__}
        made.update(optimizer_settings(self.optimizers(model)))
        compiled = getattr(model, "_compile_config", None)
        for name in ("loss", "jit_compile", "run_eagerly"):
            value = compiled.config.get(name) if compiled is not None else None
            made[name] = as_text(value)
        return made

    def keras_view(self, model: Any) -> KerasParts:
        """What plain Keras needs to open the file."""
        return keras_parts(self.keras, self.engine.name, model)

    def print_message(self, text: str) -> None:
        """Prints the way Keras does, in notebooks and under its interactive-logging switch."""
        from keras.src.utils import io_utils

        io_utils.print_msg(text)
