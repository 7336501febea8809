"""Keras 2 on TensorFlow 2: tf.keras to 2.15 and tf_keras, in eager mode.

Private attributes of Keras stand in the table of `private_attributes.py`.
"""

from types import FrameType
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from keras_session_ext.backend import several_processes
from keras_session_ext.backend.contracts.feed import Feed, FeedListener, SilentListener
from keras_session_ext.backend.engines.tensorflow import TensorFlow
from keras_session_ext.backend.engines.tf_components import strategy_of
from keras_session_ext.backend.engines.tf_function_graphs import UNLISTED
from keras_session_ext.backend.feeds.batch_tap import digest
from keras_session_ext.backend.feeds.keras2_feed import Keras2Feed
from keras_session_ext.backend.feeds.made_up_batches import first_that_runs, made_up_batches
from keras_session_ext.backend.feeds.older_keras2_feed import OlderKeras2Feed
from keras_session_ext.backend.kept_values import OfModel
from keras_session_ext.backend.keras2.shared_by_keras2_families import Keras2, version_of
from keras_session_ext.backend.keras2.watch_build import numbers_taken_back
from keras_session_ext.backend.layers_and_variables import Leaf
from keras_session_ext.backend.randomness import host_random
from keras_session_ext.backend.randomness.stateless_random_ops import SeededOps
from keras_session_ext.backend.tf1_session.eager_session_access import EagerAccess
from keras_session_ext.errors import UnsupportedBackend

#: the first TensorFlow whose replicas were tried
_REPLICAS_SINCE = (2, 21)
#: counted anew in every epoch, by Keras itself
COUNTERS = ("_train_counter", "_test_counter", "_predict_counter")


class SeededStep:
    """A train function whose random ops draw from a source that can be saved.

    Args:
        function: Keras's own.
        ops: the source.

    Attributes:
        may_run_out: whether the data may end within a call: the length of a dataset is not known before its first
            epoch is over. Nothing orders the draws of that call behind the end, so they are taken back.
    """

    def __init__(self, function: Any, ops: SeededOps):
        self.function = function
        self.ops = ops
        self.may_run_out: Any = lambda: False

    def __call__(self, iterator: Any) -> Any:
        before = self.ops.state if self.may_run_out() else None
        try:
            with self.ops.active():  # tracing happens in the first call, and again for every new shape
                return self.function(iterator)
        except Exception:
            if before is not None:
                self.ops.set_state(before)
            raise


class Eager(EagerAccess, Keras2):
    """The adapter of the eager family."""

    family = "eager"

    def __init__(self, name: str, keras: Any):
        super().__init__(name, keras, TensorFlow(lambda variable: variable))
        self._steps = OfModel("_session_seeded_step")

    def describe(self) -> Dict[str, str]:
        return dict(super().describe(), **self.engine.several())

    def check_fit(self, model: Any) -> None:
        super().check_fit(model)
        strategy = strategy_of(model)
        if strategy is not None and version_of(self.tensorflow) < _REPLICAS_SINCE:
            raise UnsupportedBackend(several_processes.graph_strategy(type(strategy).__name__))

    def _is_fit(self, frame: FrameType) -> bool:
        local = frame.f_locals
        if frame.f_code.co_name == "fit":
            return "data_handler" in local or "training_function" in local
        return frame.f_code.co_name == "model_iteration" and local.get("mode") == "train"

    def feed(self, frame: FrameType, salt: str, listener: FeedListener) -> Feed:
        self.release()  # of a fit that ended by an exception
        local = frame.f_locals
        if "data_handler" in local:
            handler = local["data_handler"]
            self._own_random_ops(local["self"], salt)
            self._steps.get(local["self"]).may_run_out = lambda: handler.inferred_steps is None
            self._running.feed = Keras2Feed(handler, self.tensorflow, listener, local, self._seed(salt + " order"))
            return self._running.feed
        model, order = local["model"], None
        if type(local.get("training_data_adapter")).__name__ == "TensorLikeDataAdapter" and local["shuffle"] is True:
            order = SeededOps(self.tensorflow, self._seed(salt + " order"))
        self._running.feed = OlderKeras2Feed(frame, model, listener,
                                        wrap=lambda function: self._seeded(model, function, salt), order=order)
        adapter = local.get("training_data_adapter")
        if adapter is not None and adapter.get_size() is None:
            self._steps.get(model).may_run_out = lambda: True
        return self._running.feed

    def _seeded(self, model: Any, function: Any, salt: str) -> SeededStep:
        known = self._steps.get(model)
        ops = known.ops if known is not None else SeededOps(
            self.tensorflow, self._seed(salt + " ops"), strategy_of(model))
        step = SeededStep(function, ops)
        self._steps.set(model, step)
        return step

    @staticmethod
    def _again(step: SeededStep, function: Any) -> SeededStep:
        """The same step around a function that is not traced yet."""
        made = SeededStep(function, step.ops)
        made.may_run_out = step.may_run_out
        return made

    def _seed(self, salt: str) -> int:
        """Follows the user's seeds, if there are any, without drawing from them."""
        material = {"host": host_random.host_states(), "global": self.engine.global_seed(), "salt": salt}
        return int(digest(material)[:12], 16)

    def _own_random_ops(self, model: Any, salt: str) -> None:
        """Puts a train function in place that draws from seeded ops; Keras asks the model for it at every step."""
        if isinstance(model.train_function, SeededStep):
            return
        if self.engine.hidden_random_ops([model.train_function]):  # traced by a fit without this callback
            model.train_function = None
            model.make_train_function()
        model.train_function = self._seeded(model, model.train_function, salt)

    def validation_feed(self, model: Any) -> Optional[Keras2Feed]:
        """Follows the validation data, once Keras has made its handler."""
        handler = getattr(model, "_eval_data_handler", None)
        return None if handler is None else Keras2Feed(handler, self.tensorflow, SilentListener())

    def epoch_logs(self, model: Any, is_over: bool) -> Dict[str, np.ndarray]:
        frame = self.fit_frame(model)
        if frame is None or not isinstance(self._running.feed, Keras2Feed):
            return {}
        logs = frame.f_locals.get("epoch_logs" if is_over else "logs") or {}
        return {name: np.asarray(value) for name, value in logs.items()}

    def fit_data(self, frame: FrameType) -> Tuple[Any, Dict[str, str]]:
        """What fit was given for validation, and checksums of the arrays it was given."""
        local = frame.f_locals
        validation = local.get("validation_data")
        training = [local.get(name) for name in ("x", "y", "sample_weight")]
        return validation, self.content({"training": training, "validation": validation})

    # -- variables

    def optimizer_variables(self, model: Any) -> List[Leaf]:
        """Those of Keras 2; counters that are made when they are read first are made now, whoever reads first."""
        with self.tensorflow.init_scope():
            for optimizer in self.optimizers(model):
                getattr(optimizer, "iterations", None)
        return super().optimizer_variables(model)

    def build(self, model: Any, feed: Feed, tables: Sequence[Dict[str, Any]]) -> None:
        """Makes the variables that Keras would make in the first batch: model, metrics, optimizer.

        Tracing the step makes them without running it; an eager step has to run.
        Values do not matter here; a restore overwrites all of them.
        """
        if isinstance(feed, OlderKeras2Feed) and feed.dataset is None:
            return  # TensorFlow 2.1's way back to the loop of 1.15: its functions were made before any hook is called
        step, dataset = self._steps.get(model), feed.dataset
        traced = _traceable(step.function)
        with numbers_taken_back(model, self.model_objects(model)):
            if traced is None:
                first_that_runs(lambda batch: step(iter(self.tensorflow.data.Dataset.from_tensors(batch).repeat())),
                                made_up_batches(dataset.element_spec))
                return
            with step.ops.active():
                traced(self._empty_iterator(model, dataset))
        if model.train_function is step:  # what was traced keeps what layers are to get only now, such as a mean
            model.train_function = None
            model.make_train_function()
            model.train_function = self._again(step, model.train_function)
            self._steps.set(model, model.train_function)

    @staticmethod
    def _empty_iterator(model: Any, dataset: Any) -> Any:
        """None of the dataset itself, which might shuffle anew."""
        empty, strategy = dataset.take(0), strategy_of(model)
        return iter(empty if strategy is None else strategy.experimental_distribute_dataset(empty))

    def build_optimizers(self, model: Any, tables: Sequence[Dict[str, Any]] = ()) -> None:
        """Makes the slots of the compiled optimizer."""
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None or not model.built:
            return
        optimizer = getattr(optimizer, "inner_optimizer", getattr(optimizer, "_optimizer", optimizer))
        if hasattr(optimizer, "_create_all_weights"):  # optimizer_v2
            optimizer._create_all_weights(model.trainable_weights)
        elif hasattr(optimizer, "_create_slots"):  # as TensorFlow 2.0 to 2.2 have it
            with self.tensorflow.init_scope():
                optimizer.iterations  # noqa: B018  (made when it is read first)
                optimizer._create_hypers()
                optimizer._create_slots(model.trainable_weights)
        elif hasattr(optimizer, "build"):
            optimizer.build(model.trainable_weights)

    def stand_in(self, model: Any, active: bool, logs: Dict[str, float]) -> None:
        """Swaps the train function for one that trains nothing, and back."""
        if active:
            self._running.train_function = model.train_function
            values = {name: float(value) if np.ndim(value) == 0 else value for name, value in logs.items()}
            model.train_function = lambda iterator: dict(values)
        else:
            model.train_function = self._running.train_function

    # -- random state

    def _ops_state(self, model: Any) -> Any:
        step = self._steps.get(model)
        return {
            "step": None if step is None else step.ops.state,
            "generators": [self.engine.value(generator.state) for generator in self._generators(model)],
        }

    def _set_ops_state(self, state: Any, model: Any) -> List[str]:
        step = self._steps.get(model)
        if state is None:
            return []
        if state["step"] is not None and step is not None:
            step.ops.set_state(state["step"])
        for generator, value in zip(self._generators(model), state["generators"]):
            self.engine.assign([generator.state], [value])
        return []

    def _generators(self, model: Any) -> List[Any]:
        """The tf.random.Generators of the layers, in the order of the layers."""
        kind = getattr(self.tensorflow.random, "Generator", None)
        found: List[Any] = []
        if kind is None:  # no layer of so old a Keras has one
            return found
        for layer in model._flatten_layers():
            for value in list(vars(layer).values()):
                for one in (value, getattr(value, "_generator", None)):
                    if isinstance(one, kind) and not any(one is other for other in found):
                        found.append(one)
        return found

    def why_not_exact(self, model: Any, functions: Sequence[Any] = (), known: Sequence[Any] = ()) -> List[str]:
        step = self._steps.get(model)
        functions = [step.function if step is not None else None, getattr(model, "test_function", None), *functions]
        if isinstance(self._running.feed, OlderKeras2Feed):
            functions.append(self._running.feed.test_function)
        reasons = []
        if isinstance(self._running.feed, OlderKeras2Feed) and self._running.feed.dataset is None:
            reasons.append("experimental_run_tf_function=False runs random ops that were built with the layers, whose "
                           "state is hidden in its kernels; leave that argument out")
        hidden = self.engine.hidden_random_ops(functions)
        if hidden:
            reasons.append("the model uses {}, whose random state is hidden in its kernels; use a tf.random.Generator "
                           "that is an attribute of its layer, or tf.random.uniform, normal, shuffle".format(
                               ", ".join(hidden)))
        unlisted = self.engine.unlisted_variables(functions, [*known, *self._known(model)])
        if unlisted:
            reasons.append(UNLISTED.format(", ".join(unlisted)))
        return reasons

    def _known(self, model: Any) -> List[Any]:
        """Variables that are captured, or that begin anew with every fit or epoch."""
        leaves = self.model_variables(model) + self.metric_variables(model) + self.optimizer_variables(model)
        found = [leaf.variable for leaf in leaves] + [generator.state for generator in self._generators(model)]
        found += [getattr(model, name) for name in COUNTERS if hasattr(model, name)]
        step = self._steps.get(model)
        return found + (step.ops.variables if step is not None else [])

    def traces(self, model: Any) -> Optional[int]:
        if getattr(model, "run_eagerly", False):
            return None
        step = self._steps.get(model)
        return self.engine.traces([None if step is None else step.function, getattr(model, "test_function", None)])


def _traceable(function: Any) -> Any:
    """What traces a train function without running it; None where it is run eagerly."""
    found = [function] + [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return next((one.get_concrete_function for one in found if hasattr(one, "get_concrete_function")), None)
