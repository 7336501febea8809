"""Keras 3 on TensorFlow, JAX and torch: everything this package asks of it.

Private attributes of Keras stand in the table of `private_attributes.py`.
"""

import sys
from types import FrameType
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from keras_session_ext.backend.closures import callables_within
from keras_session_ext.backend.constructor_arguments import object_settings
from keras_session_ext.backend.contracts.family import KerasParts
from keras_session_ext.backend.contracts.feed import Feed, FeedListener, SilentListener
from keras_session_ext.backend.engines import ENGINES
from keras_session_ext.backend.engines.tf_function_graphs import UNLISTED
from keras_session_ext.backend.feeds.batch_tap import digest
from keras_session_ext.backend.feeds.keras3_feed import Keras3Feed
from keras_session_ext.backend.feeds.made_up_batches import first_that_runs, made_up_batches
from keras_session_ext.backend.kept_values import OfThread
from keras_session_ext.backend.keras3.keras3_file_parts import keras3_parts, tensorflow_left_out
from keras_session_ext.backend.layers_and_variables import Leaf, leaves_of, states_of
from keras_session_ext.backend.nested_values import each_once, flat
from keras_session_ext.backend.optimizers import as_text, optimizer_settings, optimizers_of
from keras_session_ext.backend.randomness import host_random
from keras_session_ext.backend.shared_by_families import SharedFamily
from keras_session_ext.backend.tf1_session.keras3_session_access import Keras3Access
from keras_session_ext.errors import UnsupportedBackend


class Keras3(Keras3Access, SharedFamily):
    """The adapter of the keras3 family."""

    family = "keras3"
    own_packages = frozenset(["keras"])
    framework_packages = frozenset(["keras", "tensorflow", "jax", "jaxlib", "torch", "tensorboard"])
    callback_attributes = frozenset(["model", "_model", "params", "_supports_tf_logs"])

    def __init__(self, keras: Any):
        self.keras = keras
        name = keras.backend.backend()
        if name not in ENGINES:
            raise UnsupportedBackend(
                "Keras computes on {!r}. Supported engines: {}. Set KERAS_BACKEND before Keras is imported.".format(
                    name, ", ".join(ENGINES)))
        self.engine = ENGINES[name]()
        self.any_thread = self.engine.any_thread
        self._callback_class: Any = None
        self._running = OfThread()

    def describe(self) -> Dict[str, str]:
        """Names and versions, for headers and reports."""
        made = {"family": self.family, "keras": self.keras.__version__, "engine": self.engine.name}
        for module in ("tensorflow", "jax", "torch", "numpy"):
            if module in sys.modules:
                made[module] = str(getattr(sys.modules[module], "__version__", "unknown"))
        distribution = self._distribution()
        devices = 1 if distribution is None else int(np.prod(distribution.device_mesh.shape))
        return dict(made, **({"devices": str(devices)} if devices > 1 else {}), **self.engine.several())

    @property
    def callback_class(self) -> type:
        """Keras 3's, which a list of tf_keras can hold, too, until its model is known."""
        if self._callback_class is None:
            def implements(callback: Any) -> bool:
                return True

            names = {"_implements_{}_batch_hooks".format(mode): implements for mode in ("train", "test", "predict")}
            self._callback_class = type("Callback", (self.keras.callbacks.Callback,), dict(
                names, __module__=self.keras.callbacks.Callback.__module__))
        return self._callback_class

    def flush(self, callback_list: Any) -> None:
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
            if any(base.__name__ == "Trainer" for base in type(model).__mro__):  # fit without a Model
                raise UnsupportedBackend(
                    "The {}.{} is a Keras Trainer but no keras.Model, whose layers and variables make a session. "
                    "Derive the class from keras.Model, or leave SessionCheckpoint out.".format(
                        type(model).__module__, type(model).__name__))
            raise UnsupportedBackend(
                "The callback was made for Keras {} but the model is a {}.{}. Import the Keras of the model "
                "before this callback is made.".format(
                    self.keras.__version__, type(model).__module__, type(model).__name__))
        self.check_mode()

    def check_fit(self, model: Any) -> None:
        super().check_fit(model)
        distribution = self._distribution()
        if self.engine.name != "jax" and distribution is not None and int(np.prod(distribution.device_mesh.shape)) > 1:
            raise UnsupportedBackend(
                "The model is laid out by {} on several devices, which is not supported on {}. Train on one device, or "
                "leave SessionCheckpoint out.".format(type(distribution).__name__, self.engine.name))

    def _distribution(self) -> Any:
        return self.keras.distribution.distribution()

    # -- finding what calls us

    @property
    def _callback_list_class(self) -> Any:
        return self.keras.callbacks.CallbackList

    def _is_fit(self, frame: FrameType) -> bool:
        return frame.f_code.co_name == "fit" and "epoch_iterator" in frame.f_locals

    def feed(self, frame: FrameType, salt: str, listener: FeedListener) -> Keras3Feed:
        iterator = frame.f_locals["epoch_iterator"]
        if not all(hasattr(iterator, name) for name in ("_enumerate_iterator", "_get_iterator", "data_adapter")):
            raise UnsupportedBackend(
                "Keras {} hands its data to fit in a way this package does not know; Keras 3.12 and 3.15 were "
                "tested. Install one of them.".format(self.keras.__version__))
        return Keras3Feed(iterator, self.engine, listener, salt)

    def validation_feed(self, model: Any) -> Optional[Keras3Feed]:
        iterator = getattr(model, "_eval_epoch_iterator", None)
        return None if iterator is None else Keras3Feed(iterator, self.engine, SilentListener())

    def epoch_logs(self, model: Any, is_over: bool) -> Dict[str, np.ndarray]:
        frame = self.fit_frame(model)
        logs = frame.f_locals.get("epoch_logs" if is_over else "logs", {}) if frame is not None else {}
        return {name: np.asarray(self.keras.ops.convert_to_numpy(value)) for name, value in logs.items()}

    def fit_data(self, frame: FrameType) -> Tuple[Any, Dict[str, str]]:
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
        variables = list(model.variables) + list(states_of(model))  # a functional model does not list the states
        return self._leaves_of(model, "model", variables, self._leaves)

    def metric_variables(self, model: Any) -> List[Leaf]:
        return self._leaves_of(model, "metrics", list(model.metrics_variables), self._leaves)

    def optimizer_variables(self, model: Any) -> List[Leaf]:
        """Variables of all optimizers: the compiled one, and those that are attributes (GANs)."""
        variables: List[Any] = []
        for optimizer in self.optimizers(model):
            variables += optimizer.variables
        return self._leaves_of(model, "optimizers", variables, self._leaves)

    def _leaves(self, variables: Sequence[Any]) -> List[Leaf]:
        return leaves_of(variables, self.engine.dtype_name)

    @staticmethod
    def slots(optimizer: Any) -> List[Any]:
        return list(optimizer.variables)

    def optimizers(self, model: Any) -> List[Any]:
        return optimizers_of(model, lambda value: isinstance(value, self.keras.optimizers.Optimizer))

    def _sync(self, model: Any) -> None:
        """JAX keeps the state outside the model while an epoch runs."""
        sync = getattr(model, "jax_state_sync", None) or getattr(model, "_backend_state_sync", None)
        if self.engine.name == "jax" and sync is not None:
            sync()

    def build(self, model: Any, feed: Feed, tables: Sequence[Dict[str, Any]]) -> None:
        # fit has built model and metrics before the callbacks are called
        if self.engine.name != "tensorflow" or self.engine.replicas(model) > 1:
            if len(tables) < 2 and getattr(model.optimizer, "built", False):
                self._build_anew(model, tables[0].get("trains") or () if tables else ())
            self.build_optimizers(model, tables)
            return
        several = len(self.optimizers(model)) > 1  # only its own train step knows which weights each one updates
        if several or not self._symbolically_built(model, feed.dataset.element_spec):
            self._throw_away_step(model, feed.dataset)
        if not several:
            self.build_optimizers(model)

    @staticmethod
    def _symbolically_built(model: Any, spec: Any) -> bool:
        try:
            model._symbolic_build(data_batch=spec)
        except Exception:  # a model that cannot be called on its data alone: Keras raises whatever the user's code met
            return False
        return True

    def _throw_away_step(self, model: Any, dataset: Any) -> None:
        """Traces a step without running it, or runs one on a made-up batch, in a function that is then made anew."""
        model.make_train_function(force=True)
        traced = [one for one in callables_within([model.train_function]) if hasattr(one, "get_concrete_function")]
        if traced and not model.run_eagerly:
            traced[0].get_concrete_function(iter(dataset.take(0)))  # no iterator of the dataset itself
        else:
            first_that_runs(lambda batch: model.train_function(iter([batch])), made_up_batches(dataset.element_spec))
        model.make_train_function(force=True)

    def _build_anew(self, model: Any, wanted: Sequence[int]) -> None:
        """Where training had unfrozen layers and compiled again; the script has compiled for what it says of them.

        Not where the script now says that other layers are trainable: the optimizer is made for these.
        """
        variables = [leaf.variable for leaf in self.model_variables(model)]
        trained = [variables[number] for number in wanted if number < len(variables)] or model.trainable_variables
        known, then, now = ({id(variable) for variable in several} for several in (
            model.optimizer._trainable_variables, trained, model.trainable_variables))
        if then == now != known:
            model.optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
            model.optimizer.build(trained)

    def build_optimizers(self, model: Any, tables: Sequence[Dict[str, Any]] = ()) -> None:
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and not optimizer.built and model.built:
            with self.inside(model):
                optimizer.build(model.trainable_variables)
        variables = [leaf.variable for leaf in self.model_variables(model)] if tables else []
        for table, optimizer in zip(tables, self.optimizers(model)):
            if not optimizer.built and table.get("trains"):
                optimizer.build([variables[number] for number in table["trains"] if number < len(variables)])

    def stand_in(self, model: Any, active: bool, logs: Dict[str, float]) -> None:
        """Swaps the train function for one that trains nothing, and back."""
        if active:
            self._running.train_function = model.train_function
            values = {name: float(value) if np.ndim(value) == 0 else value for name, value in logs.items()}
            if self.engine.name == "jax":
                model.train_function = lambda state, iterator: (dict(values), state)
            else:
                model.train_function = lambda iterator: dict(values)
        else:
            model.train_function = self._running.train_function

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

    def _global_seed_generator(self) -> Any:
        from keras.src.backend.common import global_state

        return global_state.get_global_attribute("global_seed_generator")

    def why_not_exact(self, model: Any, functions: Sequence[Any] = (), known: Sequence[Any] = ()) -> List[str]:
        functions, reasons = [model.train_function, getattr(model, "test_function", None), *functions], []
        hidden = self.engine.hidden_random_ops(functions)
        if hidden:
            reasons.append("the model uses {}, whose random state is hidden in its kernels; use keras.random with a "
                           "SeedGenerator".format(", ".join(hidden)))
        leaves = self.model_variables(model) + self.metric_variables(model) + self.optimizer_variables(model)
        known = [*known, *(leaf.variable for leaf in leaves)] + [
            generator.state for generator in [self._global_seed_generator()] if generator is not None]
        if self.engine.name == "torch" and getattr(model, "jit_compile", False):
            reasons.append("torch.compile (jit_compile=True) makes other kernels once it has seen batches of other "
                           "sizes, so that a process that has not may round in another way; leave jit_compile out")
        unlisted = self.engine.unlisted_variables(functions, known)
        if unlisted:
            reasons.append(UNLISTED.format(", ".join(unlisted)))
        return reasons

    # -- peers

    def as_array(self, value: Any) -> Optional[np.ndarray]:
        """A framework's tensor as an array; None if `value` is none, or a variable."""
        if self.keras.ops.is_tensor(value) and not self._is_variable(value):
            try:
                return np.asarray(self.keras.ops.convert_to_numpy(value))
            except (TypeError, ValueError, NotImplementedError):  # such as JAX's typed random keys
                return None
        return None

    def _is_variable(self, value: Any) -> bool:
        """Whether it is a variable of Keras, or of the engine, where that has its own."""
        return isinstance(value, self.keras.Variable) or (
            self.engine.name == "tensorflow" and hasattr(value, "assign_add") and hasattr(value, "read_value"))

    def to_tensor(self, array: np.ndarray) -> Any:
        return self.keras.ops.convert_to_tensor(array)

    def own_variables(self, model: Any) -> Set[int]:
        leaves = [*model.variables, *states_of(model), *model.metrics_variables]
        own = {id(variable) for optimizer in self.optimizers(model) for variable in optimizer.variables}
        own |= {id(variable) for variable in leaves}
        if self.engine.name == "tensorflow":  # the variables within Keras's, which do not change
            own |= {id(one) for variable in leaves for one in (variable.value, *self.engine.components(variable))}
        return own

    def _variables_within(self, value: Any) -> Optional[List[Any]]:
        if self._is_variable(value):
            return [value]
        if isinstance(value, self.keras.random.SeedGenerator):
            return [value.state]
        if isinstance(value, (self.keras.Layer, self.keras.Metric, self.keras.optimizers.Optimizer)):
            return list(value.variables)
        return self.engine.variables_of(value)

    # -- what a model is made of

    def model_objects(self, model: Any) -> List[Any]:
        compiled = [model.loss, list(model.metrics)] if getattr(model, "compiled", False) else []
        metrics = getattr(model, "_compile_metrics", None)
        compiled += [getattr(metrics, "_user_metrics", None), getattr(metrics, "_user_weighted_metrics", None)]
        optimizers = self.optimizers(model)
        schedules = [getattr(optimizer, "_learning_rate", None) for optimizer in optimizers]
        return each_once([model, *model._flatten_layers(include_self=False), *flat(compiled), *optimizers, *[
            one for one in schedules if not self._is_variable(one)]])

    def traces(self, model: Any) -> Optional[int]:
        if self.engine.name == "torch" or getattr(model, "run_eagerly", False):
            return None
        return self.engine.traces([model.train_function, getattr(model, "test_function", None)])

    def release(self) -> None:
        """Lets go of the model's variables when fit is over."""
        self.engine.release()

    # -- the script, for finding what changed

    def script(self, model: Any) -> Dict[str, Any]:
        made: Dict[str, Any] = {"model": type(model).__name__}
        made.update(optimizer_settings(self.optimizers(model)))
        compiled = getattr(model, "_compile_config", None)
        for name in ("loss", "jit_compile", "run_eagerly"):
            value = compiled.config.get(name) if compiled is not None else None
            made[name] = as_text(value)
        weights = compiled.config.get("loss_weights") if compiled is not None else None
        if weights is not None:  # older checkpoints say nothing of it
            made["loss_weights"] = as_text(weights)
        made.update(self._layout(model))
        with tensorflow_left_out():
            return dict(object_settings(self.model_objects(model), self.keras.Layer, self.is_framework_class), **made)

    def keras_view(self, model: Any) -> KerasParts:
        return keras3_parts(self.keras, self.engine.name, model)

    def backend_modules(self) -> List[Any]:
        if self.engine.name != "tensorflow":  # Keras 2's functions are TensorFlow's: keras/src/legacy/backend.py
            return [self.keras.backend]
        from keras.src.legacy import backend  # most of Keras 2's, which the public one has no more

        return [self.keras.backend, backend]

    def print_message(self, text: str) -> None:
        from keras.src.utils import io_utils

        io_utils.print_msg(text)
