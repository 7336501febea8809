"""The data of a Keras 2 `fit` on TensorFlow 2.2 and later: where it stands, and how to get there again.

Keras's `DataHandler` makes iterators over a `tf.data.Dataset` of its own. The
feed makes them itself, counts what training consumed, and to resume makes the
same iterator again and drops the batches that were trained on, before Keras or
any callback sees them.
"""

import sys
from typing import Any, Dict, Iterator, List, Optional, Tuple

import xxhash

from keras_session_ext.backend.contracts.feed import FeedListener, LoopFeed
from keras_session_ext.backend.engines.tf_components import is_distributed_dataset
from keras_session_ext.backend.feeds import walk_tf_dataset
from keras_session_ext.backend.feeds.batch_tap import digest
from keras_session_ext.backend.feeds.shared_feed import SharedFeed, drop
from keras_session_ext.backend.randomness import host_random
from keras_session_ext.backend.randomness.stateless_random_ops import SeededOps

_SOURCES = {
    "TensorLikeDataAdapter": "arrays", "GenericArrayLikeDataAdapter": "arrays", "ListsOfScalarsDataAdapter": "arrays",
    "CompositeTensorDataAdapter": "sparse tensors", "DatasetAdapter": "tf.data.Dataset",
    "GeneratorDataAdapter": "generator", "KerasSequenceAdapter": "Sequence",
}
_REMEMBERED = 256  # positions of a Python source; its prefetch is one to a few batches


class Keras2Feed(SharedFeed, LoopFeed):
    """Follows one `DataHandler`.

    Args:
        handler: fit's `DataHandler`.
        tensorflow: the module.
        listener: is told.
        arguments: fit's own, to make its array dataset anew; None where it is only counted.
        seed: of the order of shuffled arrays.
    """

    def __init__(self, handler: Any, tensorflow: Any, listener: FeedListener,
                 arguments: Optional[Dict[str, Any]] = None, seed: int = 0):
        super().__init__(listener)
        self._handler = handler
        self._tf = tensorflow
        self.adapter = handler._adapter
        self.source = _SOURCES.get(type(self.adapter).__name__, type(self.adapter).__name__)
        self._first_epoch: Optional[int] = None
        self._iterator: Any = None
        self._fresh = False  # whether the epoch that starts now begins a new iterator
        self._orders = 0  # orders of shuffled arrays that earlier iterators used up
        self._ended = False
        self._order: Optional[SeededOps] = None
        self._pipeline: Optional[walk_tf_dataset.Pipeline] = None
        self._chain: Dict[int, str] = {0: ""}
        self._made = 0
        self._is_resumed = False
        self._draws: set = set()
        self._between: Any = None
        self._make_epochs, self._make_steps = handler.enumerate_epochs, handler.steps
        handler.enumerate_epochs, handler.steps = self._epochs, self._steps
        self._known_steps = handler._inferred_steps  # what the first epoch finds out is no setting
        if self.source in ("generator", "Sequence"):
            self._standardize = self.adapter._standardize_batch
            self.adapter._standardize_batch = self._tapped
        if arguments is not None and self.owns_order:
            self._own_order(arguments, seed)

    # -- what the data is

    @property
    def dataset(self) -> Any:
        """Keras's own, which gives the batches; before a strategy cuts these for its replicas."""
        made = self._handler._dataset
        return self.adapter.get_dataset() if is_distributed_dataset(made) else made

    @property
    def shuffle(self) -> Any:
        return getattr(self.adapter, "_shuffle", getattr(self.adapter, "_shuffle_sequence", False))

    @property
    def owns_order(self) -> bool:
        return self.source == "arrays" and hasattr(self.adapter, "_size") and bool(self.shuffle) \
            and self.shuffle != "batch"

    @property
    def user_source(self) -> Any:
        """The user's own object, where it may have a state of its own."""
        return self.adapter._keras_sequence if self.source == "Sequence" else None

    @property
    def persistent(self) -> bool:
        """Whether one iterator lasts over several epochs."""
        return not self.adapter.should_recreate_iterator()

    @property
    def may_end_anywhere(self) -> bool:
        return self._handler._inferred_steps is None

    @property
    def begins_pass(self) -> bool:
        return self._fresh or self._resume is not None

    def in_pass(self, at_epoch_end: bool) -> bool:
        """Whether a resume from here makes an iterator again from its start."""
        return self.passes > 0 and (self.persistent or not at_epoch_end)

    def shares_shuffle(self, validation: Any) -> List[str]:
        """The reason why, if training and validation draw their order from one shuffle."""
        if self.source == "tf.data.Dataset" and walk_tf_dataset.shared_shuffles(self.dataset, validation):
            return [walk_tf_dataset.SHARED]
        return []

    def describe(self) -> Dict[str, Any]:
        """What a resumed script must have in common, or is told about."""
        return {
            "source": self.source, "batch_size": self.adapter.batch_size(), "samples": None,
            "batches": self.adapter.get_size(), "steps_per_epoch": self._known_steps,
            "steps_per_execution": self._per_execution, "shuffle": str(self.shuffle),
        }

    @property
    def _per_execution(self) -> int:
        value = self._handler._steps_per_execution
        return int(value.numpy()) if hasattr(value, "numpy") else int(value)

    def _look(self) -> walk_tf_dataset.Pipeline:
        if self._pipeline is None:
            self._pipeline = walk_tf_dataset.Pipeline(self.dataset)
        return self._pipeline

    def content(self) -> Dict[str, str]:
        found = self._look().content if self.source == "tf.data.Dataset" else ""
        return {"training dataset": found} if found else {}

    def why_not_exact(self) -> List[str]:
        if self.source == "tf.data.Dataset":
            ahead = walk_tf_dataset.read_ahead(self.dataset) if is_distributed_dataset(self._handler._dataset) else []
            return self._look().why_not_exact() + ahead
        if self.source == "sparse tensors" and self.shuffle:
            return ["the order of shuffled sparse tensors cannot be read; pass shuffle=False, or a tf.data.Dataset"]
        if self.source == "arrays" and self.shuffle == "batch":
            return ["shuffle='batch' draws its order from an op that no one can read; pass shuffle=True"]
        if self.source not in ("arrays", "sparse tensors", "generator", "Sequence"):
            return ["the batches of a {} source cannot be checked; use a tf.data.Dataset or arrays".format(
                self.source)]
        if getattr(self.adapter, "_enqueuer", None) is not None and self.shuffle:
            return ["the workers of a Sequence shuffle with Python's global random state while training runs; pass "
                    "shuffle=False and shuffle in on_epoch_end, or workers=1"]
        if self._draws:
            return ["the {} runs ahead of training and {}'s global random state changes meanwhile; give it a "
                    "generator of its own, seeded by the index".format(self.source, ", ".join(sorted(self._draws)))]
        return []

    # -- following

    def _tapped(self, data: Any) -> Any:
        """Stands in for the adapter's `_standardize_batch`, which sees every batch of a Python source in order."""
        states = host_random.host_states()
        if self._between is not None and self._made > 1:  # the first draws of a pass are its shuffle
            self._draws |= {name for name, state in states.items()
                            if name in self._between and not host_random.same(state, self._between[name])}
        self._between = states
        made = self._standardize(data)
        chain = xxhash.xxh3_64_hexdigest((self._chain[self._made] + digest(made)).encode())
        self._made += 1
        self._chain[self._made] = chain
        self._chain.pop(self._made - _REMEMBERED, None)
        return made

    def _begin_pass(self) -> Any:
        """Makes an iterator; nothing is drawn from it yet."""
        self.passes += 1
        self._orders += self._orders_used
        self._consumed, self._made, self._chain, self._between = 0, 0, {0: ""}, None
        self._iterators += 1
        return iter(self._handler._dataset)

    def begin_with(self, epoch: int) -> None:
        self._first_epoch = epoch

    def _epochs(self) -> Iterator[Tuple[int, Any]]:
        """Stands in for `DataHandler.enumerate_epochs`."""
        handler = self._handler
        if self._first_epoch is not None:
            handler._initial_epoch, self._first_epoch = self._first_epoch, None
        handler._initial_step = 0
        with handler._truncate_execution_to_epoch():
            self._iterator = None
            self._make_one_more()
            for epoch in range(handler._initial_epoch, handler._epochs):
                if handler._insufficient_data:  # set by catch_stop_iteration
                    break
                self._fresh = self._iterator is None or not self.persistent
                if self._fresh:
                    self._iterator = self._begin_pass()
                yield epoch, self._iterator
                self.adapter.on_epoch_end()

    def _make_one_more(self) -> None:
        """Keras makes an iterator before the first epoch makes its own: a shuffle draws an order for it."""
        if self.source == "tf.data.Dataset" and not self.persistent and not self._is_resumed:
            iter(self._handler._dataset)
            self._iterators, self._unread = self._iterators + 1, self._unread + 1

    def _steps(self) -> Iterator[int]:
        """Stands in for `DataHandler.steps`, one call per epoch."""
        self._listener.epoch_starts()
        resume = self._resume
        steps = self._make_steps()
        self._done, self._ended = 0, False
        if resume is not None:
            self._start = resume["start"]
            host_random.set_host_states(self._start["random"])
        elif self._fresh:
            self._start = {"random": host_random.host_states()}
        if self._order is not None and self._fresh:
            self._order.set_state([self._order.state[0], self._orders])
        if resume is not None:
            yield from self._skip(steps, resume)
            if resume["epoch_over"] and resume["stopped"]:
                self._ended = True
                return  # Keras had left the epoch here
        for step in steps:
            yield step
            self._count(step)
        self._ended = True

    @property
    def _orders_used(self) -> int:
        """How many orders of shuffled arrays the current iterator has used up."""
        return 0 if self._order is None else self._consumed // self.adapter.get_size()

    def _count(self, step: int) -> None:
        count = self._handler.step_increment + 1
        self._consumed += count
        self._done = step + count

    def _skip(self, steps: Iterator[int], resume: Dict[str, Any]) -> Iterator[int]:
        """Drops what was trained on and yields the step that comes next."""
        handler, per_execution = self._handler, self._per_execution
        count, batch = resume["consumed"], resume["batch"]
        next(steps, None)
        self._resume = None
        self.skipped = count
        drop(lambda: next(self._iterator), count, 0 if resume.get("steps") else per_execution - 1)
        self.passes, self._consumed = resume["passes"], count
        if resume.get("chain") is not None:
            self.verified = self._chain.get(count) == resume["chain"]
        self._listener.replayed()
        self._done = batch
        if resume["epoch_over"] or (batch and self.may_end_anywhere):
            handler._current_step = max(batch - per_execution, 0)
            self._listener.stand_in(True)
            try:
                yield handler._current_step
            finally:
                self._listener.stand_in(False)
        elif not batch:
            yield 0
            self._count(0)
        if batch:
            handler._current_step = batch - per_execution  # Keras's generator adds one execution

    def batches_done(self, stopped: bool) -> int:
        done = self._done
        if stopped and not self._ended:
            done += self._handler.step_increment + 1
        limit = self._handler._inferred_steps
        return min(done, limit) if limit else done

    # -- saving and resuming

    def capture(self, at_epoch_end: bool = False) -> Dict[str, Any]:
        """The position as a plain value."""
        size = self.adapter.get_size() if self._order is not None else None
        consumed = self._consumed % size if size else self._consumed
        state: Dict[str, Any] = {
            "passes": self.passes, "consumed": consumed,
            "open": self.in_pass(at_epoch_end) and not (size and at_epoch_end and not consumed),
            "order": None if self._order is None else [self._order.state[0], self._orders + self._orders_used],
            "iterators": self._iterators, "unread": self._unread, "draws": sorted(self._draws),
            "steps": self._handler._inferred_steps,
        }
        if state["open"]:
            state.update(start=self._start)
            state["iterators"] -= 1
            if self.source in ("generator", "Sequence"):
                state["chain"] = self._chain.get(consumed)
        return state

    def resume(self, state: Dict[str, Any], batch: int, epoch_over: bool = False, stopped: bool = False) -> None:
        if self._handler._inferred_steps is None:  # the first epoch finds out, and the next ones then end in time
            self._handler._inferred_steps = state.get("steps")
        if self._order is not None and state["order"] is not None:
            seed, self._orders = state["order"]
            self._order.set_state([seed, 0])
        self._draws |= set(state["draws"])
        self._is_resumed = True
        self.advance(state["iterators"], state.get("unread", 0))
        if state["open"]:
            self._keep_resume(state, batch, epoch_over, stopped)
        else:
            self.passes = state["passes"]

    def advance(self, iterators: int, unread: int = 0) -> None:
        self._iterators, self._unread = iterators, unread
        if self.source == "tf.data.Dataset":
            walk_tf_dataset.advance(self.dataset, iterators, unread)

    def drew_ahead(self, name: str) -> bool:
        return name in self._draws

    # -- the order of shuffled arrays

    def _own_order(self, arguments: Dict[str, Any], seed: int) -> None:
        """Makes the array dataset anew with an order that can be repeated.

        Keras takes it from an op with a hidden state, over one dataset for all epochs.
        """
        handler, adapter = self._handler, self.adapter
        strategy = self._tf.distribute.get_strategy()
        self._order = SeededOps(self._tf, seed)
        with self._order.active():
            self.adapter = type(adapter)(
                arguments["x"], arguments.get("y"), sample_weights=arguments.get("sample_weight"),
                batch_size=arguments.get("batch_size"), steps=arguments.get("steps_per_epoch"),
                epochs=handler._epochs, shuffle=adapter._shuffle, distribution_strategy=strategy,
                model=arguments.get("self"))
        dataset = self.adapter.get_dataset()
        if arguments.get("class_weight"):
            module = sys.modules[type(handler).__module__]
            dataset = dataset.map(module._make_class_weight_map_fn(arguments["class_weight"]))
        handler._adapter = self.adapter
        handler._dataset = strategy.experimental_distribute_dataset(dataset)

