"""Keras 2: what its graph and eager families have in common.

It is one code under three names: standalone Keras (to 2.3.1), tf.keras and tf_keras.
"""

import abc
import re
import sys
from typing import Any, Dict, List, Optional, Set, Tuple

import numpy as np

from keras_session_ext.backend.constructor_arguments import object_settings
from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.contracts.family import KerasParts
from keras_session_ext.backend.feeds.batch_tap import digest
from keras_session_ext.backend.kept_values import OfThread
from keras_session_ext.backend.keras2.keras2_file_parts import keras2_parts
from keras_session_ext.backend.layers_and_variables import Leaf, layers_of, states_of, weights_of
from keras_session_ext.backend.nested_values import each_once, flat
from keras_session_ext.backend.optimizers import as_text, optimizer_settings, optimizers_of
from keras_session_ext.backend.randomness import host_random
from keras_session_ext.backend.shared_by_families import SharedFamily
from keras_session_ext.errors import UnsupportedBackend

_PACKAGES = frozenset(["keras", "tf_keras", "tensorflow", "tensorflow_core", "tensorboard"])


class Keras2(SharedFamily):
    """What the adapters of Keras 2 share.

    Args:
        name: "keras", "tf.keras" or "tf_keras".
        keras: its public module.
        engine: what it computes on.
    """

    own_packages = framework_packages = _PACKAGES
    callback_attributes = frozenset(["model", "_model", "params", "_supports_tf_logs", "validation_data",
                                     "_chief_worker_only", "_keras_api_names", "_keras_api_names_v1"])

    def __init__(self, name: str, keras: Any, engine: Engine):
        self.name = name
        self.keras = keras
        self._callback_class: Any = None
        self._running = OfThread()
        self.tensorflow = sys.modules["tensorflow"]
        self.v1 = self.tensorflow.compat.v1
        #: the module behind keras.backend, which has get_session even where the public one lost it
        self.K = sys.modules[keras.backend.get_value.__module__]
        self.engine = engine

    def describe(self) -> Dict[str, str]:
        """Names and versions, for headers and reports."""
        version = getattr(self.keras, "__version__", None) or self.tensorflow.__version__
        return {"family": self.family, "keras": str(version).replace("-tf", ""), "name": self.name,
                "engine": "tensorflow", "tensorflow": self.tensorflow.__version__, "numpy": np.__version__}

    @property
    def callback_class(self) -> type:
        """Keras's, which else would fetch the logs of every batch for us, who do not look at them."""
        if self._callback_class is None:
            kind = self.keras.callbacks.Callback
            self._callback_class = type("Callback", (kind,), {"_supports_tf_logs": True,
                                                              "__module__": kind.__module__})
        return self._callback_class

    def flush(self, callback_list: Any) -> None:
        """Nothing to wait for: Keras 2 calls its hooks one after the other."""

    def check_model(self, model: Any) -> None:
        """Refuses what would be wrong in silence."""
        if not isinstance(model, self.keras.Model):
            raise UnsupportedBackend(
                "The callback was made for {} {} but the model is a {}.{}. Import the Keras of the model before this "
                "callback is made.".format(self.name, self.describe()["keras"], type(model).__module__,
                                           type(model).__name__))

    def check_mode(self) -> None:
        """Both modes have a family of their own."""

    # -- finding what calls us

    @property
    def _callback_list_class(self) -> Any:
        return sys.modules[self.callback_class.__module__].__dict__["CallbackList"]

    def content(self, given: Dict[str, Any]) -> Dict[str, str]:
        """Checksums of the arrays that fit was given."""
        made = {}
        for name, data in given.items():
            arrays = list(flat(data))
            if arrays and all(hasattr(one, "shape") and hasattr(one, "dtype") for one in arrays):
                try:
                    made[name] = digest([np.asarray(one) for one in arrays])
                except (TypeError, ValueError, NotImplementedError):  # sparse matrices, symbolic tensors
                    continue
        return made

    def is_py_dataset(self, value: Any) -> bool:
        return isinstance(value, self.keras.utils.Sequence)

    # -- the loop

    def set_initial_epoch(self, model: Any, epoch: int) -> None:
        """Where fit begins; asked within a fit, which has its feed."""
        assert self._running.feed is not None
        self._running.feed.begin_with(epoch)

    def clear_initial_epoch(self, model: Any) -> None:
        """Keras 2 keeps it in the loop, which ends with the fit."""

    def release(self) -> None:
        """Lets go of the loop and of what was prepared for it."""
        if self._running.feed is not None:
            self._running.feed.close()
        self._running.feed = None
        self.engine.release()

    # -- variables

    def no_model(self) -> Any:
        made = super().no_model()
        made.built = True  # or its weights, of which there are none, cannot be asked for
        return made

    def _is_variable(self, value: Any) -> bool:
        return isinstance(value, self.tensorflow.Variable)

    def model_variables(self, model: Any) -> List[Leaf]:
        """Weights, and behind them the states of stateful recurrent layers, which models do not list."""
        return self._leaves_of(model, "model", weights_of(model) + list(states_of(model)), self._leaves)

    def metric_variables(self, model: Any) -> List[Leaf]:
        found: List[Any] = []
        # the losses of several outputs are metrics that the older loops keep to themselves
        for metric in list(getattr(model, "metrics", None) or []) + list(
                getattr(model, "_output_loss_metrics", None) or []):
            found += list(getattr(metric, "weights", None) or getattr(metric, "variables", None) or [])
        return self._leaves_of(model, "metrics", found, self._leaves)

    def optimizer_variables(self, model: Any) -> List[Leaf]:
        """Variables of all optimizers: slots, counters, and the hyperparameters that are variables."""
        known = {id(variable) for variable in weights_of(model)}
        found: List[Any] = []
        for optimizer in self.optimizers(model):
            for variable in self._optimizer_state(optimizer):
                if id(variable) not in known:
                    known.add(id(variable))
                    found.append(variable)
        return self._leaves_of(model, "optimizers", found, self._leaves)

    def _optimizer_state(self, optimizer: Any) -> List[Any]:
        found = self.slots(optimizer)

        def visit(value: Any, depth: int) -> None:
            if self._is_variable(value):
                found.append(value)
            elif depth and isinstance(value, dict):
                for key in sorted(value, key=str):
                    visit(value[key], depth - 1)
            elif depth and (self._is_optimizer(value) or type(value).__name__.endswith(("LossScale", "ScaleState"))):
                found.extend(self.slots(value))
                visit(dict(vars(value)), depth)

        visit(dict(vars(optimizer)), 4)
        return found

    def slots(self, optimizer: Any) -> List[Any]:
        for name in ("weights", "variables"):
            try:
                found = getattr(optimizer, name)
                return list(found() if callable(found) and not isinstance(found, list) else found)
            except (AttributeError, NotImplementedError):  # each generation has one of the two
                continue
        wrapped = getattr(optimizer, "optimizer", None)  # TFOptimizer around an optimizer of tf.train
        return list(wrapped.variables()) if wrapped is not None else []

    @staticmethod
    def _is_optimizer(value: Any) -> bool:
        return any(base.__name__ in ("Optimizer", "OptimizerV2", "_BaseOptimizer") for base in type(value).__mro__)

    def optimizers(self, model: Any) -> List[Any]:
        return optimizers_of(model, self._is_optimizer)

    def _leaves(self, variables: Any) -> List[Leaf]:
        made: List[Leaf] = []
        seen = set()
        for variable in variables:
            if id(variable) in seen or not self._is_variable(variable):
                continue
            seen.add(id(variable))
            path = str(variable.name).split(":")[0]
            local = re.sub(r"_\d+$", "", path.split("/")[-1])
            made.append(Leaf("{:04d}/{}".format(len(made), local), path, tuple(variable.shape.as_list()),
                             variable.dtype.base_dtype.name, variable))
        return made

    # -- peers

    def as_array(self, value: Any) -> Optional[np.ndarray]:
        """An eager tensor as an array; None for anything else."""
        if isinstance(value, self.tensorflow.Tensor) and hasattr(value, "numpy") and not self._is_variable(value):
            try:
                return np.asarray(value.numpy())
            except (AttributeError, NotImplementedError, TypeError, ValueError):  # symbolic tensors
                return None
        return None

    def to_tensor(self, array: np.ndarray) -> Any:
        return self.tensorflow.constant(array)

    def own_variables(self, model: Any) -> Set[int]:
        return {id(leaf.variable) for leaf in
                self.model_variables(model) + self.metric_variables(model) + self.optimizer_variables(model)}

    def _variables_within(self, value: Any) -> Optional[List[Any]]:
        if self._is_variable(value):
            return [value]
        if self._is_optimizer(value):
            return self._optimizer_state(value)
        if isinstance(value, self.keras.layers.Layer):
            return weights_of(value)
        return self.engine.variables_of(value)

    # -- what a model is made of

    def model_objects(self, model: Any) -> List[Any]:
        compiled = [getattr(model, name, None) for name in ("loss", "metrics", "_output_loss_metrics")]
        user = getattr(getattr(model, "compiled_metrics", None), "_user_metrics", None)
        optimizers = self.optimizers(model)
        schedules = [value for optimizer in optimizers for value in flat(getattr(optimizer, "_hyper", None))
                     if not self._is_variable(value)]
        return each_once([model, *layers_of(model), *flat(compiled), *flat(user), *optimizers, *schedules])

    # -- random state

    def random_state(self, model: Any) -> Dict[str, Any]:
        """All random state outside the variables."""
        return {"host": host_random.host_states(), "engine": self.engine.random_state(), "keras": None,
                "ops": self._ops_state(model)}

    def set_random_state(self, state: Dict[str, Any], model: Any) -> List[str]:
        """Puts it back; returns what could not be."""
        self.engine.set_random_state(state["engine"])
        reasons = self._set_ops_state(state.get("ops"), model)
        host_random.set_host_states(state["host"])  # last: the lines above may draw
        return reasons

    @abc.abstractmethod
    def _ops_state(self, model: Any) -> Any:
        """The state of the random ops in the model."""

    @abc.abstractmethod
    def _set_ops_state(self, state: Any, model: Any) -> List[str]:
        """Puts it back; returns what could not be."""

    # -- the script, for finding what changed

    def script(self, model: Any) -> Dict[str, Any]:
        made: Dict[str, Any] = {"model": type(model).__name__}
        made.update(optimizer_settings(self.optimizers(model)))
        made["loss"] = as_text(getattr(model, "loss", None))
        made["run_eagerly"] = as_text(bool(getattr(model, "run_eagerly", False)))
        made.update(self._layout(model))
        layer = self.keras.layers.Layer
        return dict(object_settings(self.model_objects(model), layer, self.is_framework_class), **made)

    def keras_view(self, model: Any) -> KerasParts:
        return keras2_parts(self, model)

    def view_settings(self, model: Any) -> Any:
        try:
            return self.optimizers(model)[0].get_config()  # with the learning rate, which is in no weight of its own
        except Exception:  # none, or the user's get_config raises: the view says so
            return None

    def print_message(self, text: str) -> None:
        tell = getattr(getattr(self.keras.utils, "io_utils", None), "print_msg", None)
        if tell is None:
            print(text, flush=True)
        else:
            tell(text)


def version_of(module: Any) -> Tuple[int, ...]:
    """A module's version as numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", str(module.__version__))[:3])
