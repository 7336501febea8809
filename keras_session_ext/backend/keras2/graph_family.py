"""Keras 2 in graph mode: real sessions.

TF 1.15's tf.keras, standalone Keras to 2.3.1, and `tf.compat.v1` with v2 behaviour off.
Private attributes of Keras stand in the table of `private_attributes.py`.
"""

import weakref
from types import FrameType
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from keras_session_ext.backend.contracts.feed import Feed, FeedListener
from keras_session_ext.backend.engines.tensorflow_graph import TensorFlowGraph
from keras_session_ext.backend.feeds.older_keras2_feed import OlderKeras2Feed
from keras_session_ext.backend.kept_values import OfModel
from keras_session_ext.backend.keras2.shared_by_keras2_families import Keras2, version_of
from keras_session_ext.backend.randomness.redraw_kernel_ops import KernelOps
from keras_session_ext.backend.tf1_session.graph_session_access import GraphAccess


def is_graph(name: str, keras: Any, model: Any = None) -> bool:
    """Whether this Keras trains in sessions: the model's class says so, or else the mode TensorFlow is in."""
    if name == "keras":
        return True  # standalone Keras knows nothing else
    if model is not None and any(base.__module__.endswith("training_v1") for base in type(model).__mro__):
        return True
    import tensorflow

    outside = getattr(tensorflow.compat.v1, "executing_eagerly_outside_functions", tensorflow.executing_eagerly)
    return not outside()


class Counted:
    """A train function that tells of its inputs.

    Args:
        function: Keras's own.
        count: called with the inputs of every step.
    """

    def __init__(self, function: Any, count: Any):
        self.function = function
        self._count = count

    def __call__(self, inputs: Any) -> Any:
        made = self.function(inputs)
        self._count(inputs)
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


class Graph(GraphAccess, Keras2):
    """The adapter of the graph family."""

    family = "graph"

    def __init__(self, name: str, keras: Any):
        super().__init__(name, keras, TensorFlowGraph(self._session_of))
        self._kernels = OfModel("_session_kernel_ops")
        self._seen: Any = weakref.WeakKeyDictionary()
        self._given: Any = weakref.WeakKeyDictionary()

    def _run(self, model: Any) -> Any:
        return lambda fetches, feeds=None: self.session(model).run(fetches, feeds)

    # -- the loop

    def _is_fit(self, frame: FrameType) -> bool:
        name, local = frame.f_code.co_name, frame.f_locals
        if name == "model_iteration":
            return local.get("mode") == "train"
        return name in ("fit_loop", "fit_generator") and "callback_model" in local

    def feed(self, frame: FrameType, salt: str, listener: FeedListener) -> OlderKeras2Feed:
        self.release()  # of a fit that ended by an exception
        model = frame.f_locals["model"]
        kernels = self._kernel_ops(model)
        if "f" in frame.f_locals or "fit_function" in frame.f_locals:
            self._running.feed = OlderKeras2Feed(frame, model, listener, lambda arguments: kernels.count(arguments[0]),
                                            self._run(model))
        else:  # the loops over generators call train_on_batch, which calls the function
            model.train_function = Counted(model.train_function, kernels.count)
            self._running.feed = OlderKeras2Feed(frame, model, listener, session_run=self._run(model))
        return self._running.feed

    def _kernel_ops(self, model: Any) -> KernelOps:
        if getattr(model, "train_function", None) is None:
            model._make_train_function()
        if isinstance(model.train_function, Counted):
            model.train_function = model.train_function.function
        function = model.train_function
        known: Optional[KernelOps] = self._kernels.get(model)
        if known is None:
            known = KernelOps(function, self._run(model))
            self._kernels.set(model, known)
        elif known._function is not function:
            known.rebind(function)
        return known

    def validation_feed(self, model: Any) -> None:
        """Validation data of these loops is read in order, from its start."""
        return

    def epoch_logs(self, model: Any, is_over: bool) -> Dict[str, np.ndarray]:
        """Nothing: the loop's sums travel with the data, those of standalone Keras with its BaseLogger."""
        return {}

    def fit_data(self, frame: FrameType) -> Tuple[Any, Dict[str, str]]:
        """What fit was given for validation, and checksums of the arrays it was given."""
        local = frame.f_locals
        if "fit_inputs" in local:
            given = {"training": _arrays(local["fit_inputs"]), "validation": _arrays(local.get("val_inputs"))}
        else:
            given = {"training": [local.get(name) for name in ("inputs", "targets", "sample_weights")],
                     "validation": [local.get("val_" + name) for name in ("inputs", "targets", "sample_weights")]}
        return local.get("validation_data"), self.content(given)

    def stand_in(self, model: Any, active: bool, logs: Dict[str, float]) -> None:
        """Nothing to swap: the feed passes over batches by itself."""

    def build(self, model: Any, feed: Feed, tables: Sequence[Dict[str, Any]]) -> None:
        """Nothing to build: the train function, and all it needs, is made before any callback is called."""

    def build_optimizers(self, model: Any, tables: Sequence[Dict[str, Any]] = ()) -> None:
        """Makes the slots of the compiled optimizer."""
        if getattr(model, "optimizer", None) is not None and hasattr(model, "_make_train_function"):
            model._make_train_function()

    # -- variables

    def held_variables(self, value: Any, own: Set[int]) -> Optional[List[Any]]:
        """All or none: what a script makes by hand it initialises by hand, perhaps later."""
        found = super().held_variables(value, own)
        return found if found is None or all(map(self._has_value, found)) else []

    def _has_value(self, variable: Any) -> bool:
        try:
            self.engine.value(variable)
        except self.tensorflow.errors.FailedPreconditionError:
            return False
        return True

    def traces(self, model: Any) -> Optional[int]:
        """One graph, which is made before any hook is called."""
        return 1

    # -- random state

    def _ops_state(self, model: Any) -> Any:
        known = self._kernels.get(model)
        return None if known is None else known.state()

    def _set_ops_state(self, state: Any, model: Any) -> List[str]:
        known = self._kernels.get(model)
        return [] if known is None or state is None else known.restore(state)

    def why_not_exact(self, model: Any, functions: Sequence[Any] = (), known: Sequence[Any] = ()) -> List[str]:
        kernels = self._kernels.get(model)
        tests = any(getattr(model, name, None) is not None for name in ("test_function", "predict_function"))
        reasons = kernels.why_not_exact(tests) if kernels is not None else []
        return reasons + (
            self._not_repeatable(model) if self.name == "keras" and self.optimizers(model) else [])

    def _not_repeatable(self, model: Any) -> List[str]:
        """Why two plain runs may differ: the optimizers read `iterations` while another op of the step adds to it.

        https://github.com/keras-team/keras/blob/2.3.1/keras/optimizers.py#L483
        """
        version = self.keras.__version__
        if version_of(self.keras) < (2, 3):
            return ["Keras {} does not repeat a run by itself, seeds or not; use Keras 2.3.1 or tf.keras".format(
                version)]
        config = self.session(model)._config
        if config is None or config.intra_op_parallelism_threads != 1 or config.inter_op_parallelism_threads != 1:
            return ["Keras {} on several threads does not repeat a run by itself; give its session one: "
                    "keras_session_ext.backend.session_scope({{'intra_op_threads': 1, 'inter_op_threads': "
                    "1}})".format(version)]
        return []


def _arrays(values: Any) -> Any:
    return [value for value in values or [] if hasattr(value, "shape")]
