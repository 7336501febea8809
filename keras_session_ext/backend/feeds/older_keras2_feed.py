"""The data of a `fit` in Keras's older training loops: where it stands, and how to get there again.

These loops (graph mode in every version, and eager mode in TensorFlow 2.0 and
2.1) keep epoch, order and train function in local variables of one function.
The feed puts a step of its own in the place of the train function. To resume
it lets the loop run over the batches that were trained on without training,
the peers out of the way, and goes on from there.
"""

import sys
from types import FrameType
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from keras_session_ext.backend.contracts.feed import FeedListener, LoopFeed
from keras_session_ext.backend.feeds import walk_tf_dataset
from keras_session_ext.backend.feeds.shared_feed import SharedFeed, drop
from keras_session_ext.backend.hooks.fit_frames import frames, set_local
from keras_session_ext.backend.randomness import host_random
from keras_session_ext.backend.randomness.stateless_random_ops import SeededOps

_FUNCTIONS = ("f", "fit_function", "training_function", "batch_function")


class OlderKeras2Feed(SharedFeed, LoopFeed):
    """Follows one run of a training loop.

    Args:
        frame: the loop's.
        model: the model it trains.
        listener: is told.
        on_step: called with the arguments of every step that was trained.
        session_run: `session.run` of the graph families, to draw from symbolic data; None in eager mode.
        wrap: puts something around the train function, such as a source of random numbers.
        order: the source of the order of shuffled arrays, where TensorFlow shuffles them.
    """

    def __init__(self, frame: FrameType, model: Any, listener: FeedListener,
                 on_step: Callable[..., None] = lambda arguments: None,
                 session_run: Optional[Callable[..., Any]] = None,
                 wrap: Callable[[Any], Any] = lambda function: function, order: Optional[SeededOps] = None):
        super().__init__(listener)
        self._frame: Any = frame
        self._model = model
        self._on_step = on_step
        self._session_run = session_run
        self._order = order
        self._orders = 0  # orders of shuffled arrays that earlier passes used up, where TensorFlow shuffles
        self._left = 0  # batches to pass over
        self._before = 0  # batches to drop before, where they come from an iterator that is not made yet
        self._failing = sys.exc_info()[1]
        local = frame.f_locals
        self._name = next((name for name in _FUNCTIONS if name in local), None)
        self.resets_metrics_late = self._name == "training_function"
        self.source = self._find_source(local)
        self._steps_given = _plain(local.get("steps_per_epoch"))  # TensorFlow 2.1 puts there what an epoch found
        self._dataset = self._find_dataset() if self.source == "tf.data.Dataset" else None
        if self._name is None:  # fit_generator of standalone Keras calls the model's method
            self._function = wrap(model.train_on_batch)
            model.train_on_batch = self._step
        else:
            self._function = wrap(local[self._name])
            set_local(frame, self._name, self._step)
        if order is not None:
            self._own_order(local)

    # -- what the data is

    @property
    def dataset(self) -> Any:
        """Keras's own, which gives the batches, in TensorFlow 2.0 and 2.1; None where the loop draws them itself."""
        return self._local.get("training_dataset")

    def _find_source(self, local: Dict[str, Any]) -> str:
        adapter = local.get("training_data_adapter")
        if adapter is not None:  # TensorFlow 2.0 and 2.1
            name = type(adapter).__name__
            return {"TensorLikeDataAdapter": "arrays", "DatasetAdapter": "tf.data.Dataset",
                    "KerasSequenceAdapter": "Sequence", "GeneratorDataAdapter": "generator"}.get(name, name)
        if local.get("is_dataset"):
            return "tf.data.Dataset"
        if "generator" in local:
            sequence = local.get("is_sequence", local.get("use_sequence_api"))
            return "Sequence" if sequence else "generator"
        return "tensors" if local.get("steps_per_epoch") is not None else "arrays"

    def _find_dataset(self) -> Any:
        """The user's own, which the loop has turned into an iterator; its callers still have it."""
        frame = self._frame
        while frame is not None:
            for name in ("x", "inputs"):
                if hasattr(frame.f_locals.get(name), "_inputs"):
                    return frame.f_locals[name]
            frame = frame.f_back
        return None

    @property
    def _local(self) -> Dict[str, Any]:
        return self._frame.f_locals

    @property
    def test_function(self) -> Any:
        """What validates, where the model does not keep it."""
        return self._local.get("eval_function")

    @property
    def shuffle(self) -> Any:
        return self._local.get("shuffle", False) if self.source in ("arrays", "Sequence") else False

    @property
    def user_source(self) -> Any:
        """The user's own object, where it may have a state of its own."""
        if self.source != "Sequence":
            return None
        return self._local.get("data", self._local.get("x", self._local.get("generator")))

    @property
    def persistent(self) -> bool:
        if self._order is not None or self.source == "generator":
            return True
        if "recreate_training_iterator" in self._local:
            return not self._local["recreate_training_iterator"]
        return self.source == "tf.data.Dataset" and not self._local.get("reset_dataset_after_each_epoch", True)

    @property
    def begins_pass(self) -> bool:
        return not (self._consumed and self.persistent) or self._resume is not None

    def in_pass(self, at_epoch_end: bool) -> bool:
        return self.passes > 0 and (self.persistent or not at_epoch_end)

    def describe(self) -> Dict[str, Any]:
        """What a resumed script must have in common, or is told about."""
        local = self._local
        samples = local.get("num_samples_or_steps", local.get("num_train_samples", local.get("total_samples")))
        return {
            "source": self.source, "samples": _plain(samples),
            "batch_size": _plain(local.get("batch_size")) if self.source == "arrays" else None,
            "batches": None, "steps_per_epoch": self._steps_given, "steps_per_execution": 1,
            "shuffle": str(self.shuffle),
        }

    def why_not_exact(self) -> List[str]:
        if self.source == "tf.data.Dataset":
            reasons = walk_tf_dataset.why_not_exact(self._dataset)
            if self._session_run is not None and walk_tf_dataset.reshuffles(self._dataset):
                reasons.append("this Keras keeps the dataset's shuffle in an iterator of the graph that no one can "
                               "read; shuffle arrays with fit(shuffle=True) instead")
            return reasons
        if self.source == "arrays":
            return []
        if self.source == "Sequence" and not self.shuffle:
            return []
        if self.source == "Sequence":
            return ["the workers of a Sequence shuffle with Python's global random state while training runs; pass "
                    "shuffle=False and shuffle in on_epoch_end"]
        return ["the batches of {} are drawn ahead by a thread of this Keras and cannot be checked; use arrays or a "
                "Sequence".format("a generator" if self.source == "generator" else "symbolic tensors")]

    # -- following

    def epoch_began(self) -> None:
        """After every callback's `on_epoch_begin`, before Keras shuffles."""
        self._listener.epoch_starts()
        self._done = 0
        if not self.persistent or not self.passes:
            self.passes += 1
            self._consumed = 0
        resume, self._resume = self._resume, None
        if resume is None:
            self._start = {"random": host_random.host_states(), "index": self._index()}
            return
        self._start = resume["start"]
        host_random.set_host_states(self._start["random"])
        self._set_index(self._start["index"])
        self.passes, self._consumed = resume["passes"], resume["consumed"]
        self.skipped = self._consumed
        self._left = resume["batch"]
        self._drop(resume["consumed"] - resume["batch"])
        if self._left:
            self._aggregated, self._epoch_over = resume.get("aggregated"), resume["epoch_over"]
            self.skipping = True
            self._listener.passing_over(True)
        else:
            self._listener.replayed()

    def _index(self) -> Any:
        """The order that standalone Keras shuffles in place from epoch to epoch."""
        index = self._local.get("index_array")
        return None if index is None or self._name != "fit_function" else np.array(index)

    def _set_index(self, index: Any) -> None:
        if index is not None and "index_array" in self._local:
            self._local["index_array"][:] = index

    def _drop(self, count: int) -> None:
        """Draws the batches of earlier epochs that the same pass gave."""
        if self._name == "training_function":
            self._before = max(count, 0) if self._order is None else 0
            return
        iterator: Any = self._local.get("output_generator", self._local.get("generator"))
        if self.source == "generator":
            drop(lambda: next(iterator), count)
        elif self.source == "tf.data.Dataset" and self._session_run is not None:
            drop(self._draw, count)

    def _draw(self) -> None:
        tensors = [one for one in self._local["ins"] if hasattr(one, "op")]
        assert self._session_run is not None
        self._session_run(tensors)

    def _step(self, *arguments: Any, **options: Any) -> Any:
        """Stands in for the train function."""
        while self._before:
            self._before -= 1
            next(arguments[0])
        if self._left:
            self._left -= 1
            return self._pass_over(arguments)
        made = self._function(*arguments, **options)
        self._on_step(arguments)
        self._consumed += 1
        self._done += 1
        return made

    def _pass_over(self, arguments: Any) -> Any:
        count = len(self._model.metrics_names)
        self._done += 1
        if self._name == "training_function":
            batch = next(arguments[0])
            first = next(one for part in batch for one in (part if isinstance(part, (list, tuple)) else [part]))
            return {"batch_size": int(first.shape[0]), "total_loss": [0.0], "output_losses": [],
                    "metrics": [0.0] * (count - 1)}
        if self.source == "tf.data.Dataset" and self._session_run is not None:
            self._draw()
        return [0.0] * count

    def passed_over(self) -> None:
        """Behind every batch that was passed over; after the last the epoch's own state comes back."""
        if self._left or not self.skipping:
            return
        aggregator = self._aggregator()
        if aggregator is not None and self._aggregated is not None:
            aggregator.results = list(self._aggregated)
            if self._epoch_over:
                aggregator.finalize = lambda: None  # these results were final
        self.skipping = False
        self._listener.passing_over(False)
        self._listener.replayed()

    def _aggregator(self) -> Any:
        """Sums of the losses of the epoch, in a local variable of the running loop."""
        for frame in frames():
            if "aggregator" in frame.f_locals and frame.f_locals.get("mode") == "train":
                return frame.f_locals["aggregator"]
        return None

    def _results(self) -> Any:
        aggregator = self._aggregator()
        results = aggregator.results if aggregator is not None else self._local.get("training_result")
        return None if not results else [np.asarray(one)[()] for one in results]

    def batches_done(self, stopped: bool) -> int:
        """Batches of the epoch that were trained on."""
        return self._done

    def failing(self) -> bool:
        """Whether the loop is being left by an exception, in which TensorFlow 2.1 calls the hooks of its ends."""
        return sys.exc_info()[1] is not self._failing

    def close(self) -> None:
        """Lets go of the loop."""
        if self._name is None:
            self._model.__dict__.pop("train_on_batch", None)
        self._frame = None

    # -- saving and resuming

    def capture(self, at_epoch_end: bool = False) -> Dict[str, Any]:
        """The position as a plain value."""
        consumed, orders = self._consumed, 0
        if self._order is not None:
            size = self._local["training_data_adapter"].get_size()
            consumed, orders = self._consumed % size, self._orders + self._consumed // size
        state: Dict[str, Any] = {
            "passes": self.passes, "consumed": consumed,
            "open": self.in_pass(at_epoch_end) and not (self._order is not None and at_epoch_end and not consumed),
            "order": None if self._order is None else [self._order.state[0], orders],
            "iterators": 0, "index": self._index(), "steps": _plain(self._local.get("steps_per_epoch")),
        }
        if state["open"]:
            state.update(start=self._start, aggregated=self._results() if not at_epoch_end else None)
        return state

    def resume(self, state: Dict[str, Any], batch: int, epoch_over: bool = False, stopped: bool = False) -> None:
        self._set_index(state["index"])
        if self._name == "training_function" and self._local.get("steps_per_epoch") is None and state.get("steps"):
            set_local(self._frame, "steps_per_epoch", state["steps"])  # what an epoch before had found out
        if self._order is not None and state["order"] is not None:
            self._orders = state["order"][1]
            self._order.set_state(state["order"])
        if state["open"]:
            self._keep_resume(state, batch, epoch_over, stopped)
        else:
            self.passes = state["passes"]
        self.advance(state["passes"] - (1 if state["open"] else 0))

    def advance(self, iterators: int, unread: int = 0) -> None:
        """Makes the next iterator the one after so many others; a graph keeps its iterators."""
        if self._session_run is None and self._dataset is not None:
            walk_tf_dataset.advance(self._dataset, iterators, unread)

    def begin_with(self, epoch: int) -> None:
        set_local(self._frame, "epoch" if self._name is None else "initial_epoch", epoch)

    # -- the order of shuffled arrays in TensorFlow 2.0 and 2.1

    def _own_order(self, local: Dict[str, Any]) -> None:
        """Makes the array dataset anew with an order that can be repeated."""
        module = sys.modules[self._frame.f_globals["__name__"]]
        assert self._order is not None
        with self._order.active():
            adapter, _ = module._process_training_inputs(
                local["model"], local["x"], local["y"], batch_size=local["batch_size"], epochs=local["epochs"],
                sample_weights=local["sample_weight"], class_weights=local["class_weight"],
                validation_split=local["validation_split"], shuffle=local["shuffle"],
                steps_per_epoch=None, distribution_strategy=local["strategy"])
        set_local(self._frame, "training_data_adapter", adapter)
        set_local(self._frame, "training_dataset",
                  local["strategy"].experimental_distribute_dataset(adapter.get_dataset()))


def _plain(value: Any) -> Any:
    return None if value is None else int(value)
