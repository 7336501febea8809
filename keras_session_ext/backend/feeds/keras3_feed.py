"""The data of a Keras 3 `fit`: where it stands, and how to get there again.

Keras's `EpochIterator` makes a *pass* (an iterator over the source) for every
epoch, or, with `steps_per_epoch`, one that lasts over several epochs. The feed
counts passes and the batches trained on in the current one. To resume it lets
Keras make the pass again from the random states of its start and drops the
batches that were trained on already, before Keras or any callback sees them.

On TensorFlow the order of shuffled arrays comes from an op with a hidden state
(and, once a seed is set, from the same one in every epoch): there the feed puts
in a seeded shuffle that differs in every pass.
"""

from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.contracts.feed import FeedListener
from keras_session_ext.backend.engines.tf_components import is_distributed_dataset
from keras_session_ext.backend.feeds import walk_tf_dataset
from keras_session_ext.backend.feeds.array_order import Order
from keras_session_ext.backend.feeds.batch_tap import Tap
from keras_session_ext.backend.feeds.keras3_sources import CountedDataset, Pass, drop_leftovers
from keras_session_ext.backend.feeds.shared_feed import SharedFeed, drop
from keras_session_ext.backend.feeds.torch_loader import TappedLoader
from keras_session_ext.backend.randomness import host_random

_SOURCES = {
    "ArrayDataAdapter": "arrays", "TFDatasetAdapter": "tf.data.Dataset", "PyDatasetAdapter": "PyDataset",
    "GeneratorDataAdapter": "generator", "TorchDataLoaderAdapter": "DataLoader", "GrainDatasetAdapter": "grain",
}


class Keras3Feed(SharedFeed):
    """Follows one `EpochIterator`.

    Args:
        iterator: fit's (or evaluate's) `EpochIterator`.
        engine: the engine in use.
        listener: is told.
        salt: makes the order of this fit differ from that of others.
    """

    def __init__(self, iterator: Any, engine: Engine, listener: FeedListener, salt: str = ""):
        super().__init__(listener)
        self._iterator = iterator
        self._engine = engine
        self.adapter = iterator.data_adapter
        self.source = _SOURCES.get(type(self.adapter).__name__, type(self.adapter).__name__)
        self._started = False  # whether the current pass has made its own
        self._read = False  # whether it was asked for a batch
        self._tap: Optional[Tap] = None
        self._epoch_random: Dict[str, Any] = {}
        self._before_draw: Dict[str, Any] = {}
        self._left: Any = None  # the source's own state at the end of the last pass
        self._order: Any = None
        self._pipeline: Optional[walk_tf_dataset.Pipeline] = None
        self._ended = False
        self._original_epoch = iterator._enumerate_iterator
        self._original_pass = iterator._get_iterator
        iterator._enumerate_iterator = self._epoch
        iterator._get_iterator = self._pass
        self._tap_source()
        if self.owns_order:
            self._own_order(salt)

    # -- what the data is

    @property
    def shuffle(self) -> Any:
        return getattr(self.adapter, "_shuffle", getattr(self.adapter, "shuffle", False))

    @property
    def owns_order(self) -> bool:
        return self._engine.name == "tensorflow" and self.source == "arrays" and bool(self.shuffle)

    @property
    def _draws_before_hooks(self) -> bool:
        """torch fetches a batch before `on_train_batch_begin`; this shuffle draws for every batch."""
        return self._engine.name == "torch" and self.source == "arrays" and self.shuffle == "batch"

    @property
    def user_source(self) -> Any:
        """The user's own object, where it may have a state of its own."""
        if self.source == "PyDataset":
            return self.adapter.py_dataset
        return None

    @property
    def runs_ahead(self) -> bool:
        """Whether the source may be asked for batches before training needs them."""
        if self._tap is None:
            return False
        return self._engine.name == "tensorflow" or self._has_workers()

    @property
    def persistent(self) -> bool:
        return self._iterator.steps_per_epoch is not None

    @property
    def may_end_anywhere(self) -> bool:
        return (self._iterator.steps_per_epoch or self.adapter.num_batches) is None

    @property
    def begins_pass(self) -> bool:
        return not self._consumed or self._resume is not None

    def in_pass(self, at_epoch_end: bool) -> bool:
        return self.passes > 0 and (self.persistent or not at_epoch_end) and bool(self._consumed or not at_epoch_end)

    def shares_shuffle(self, validation: Any) -> List[str]:
        """The reason why, if training and validation draw their order from one shuffle."""
        if self.source == "tf.data.Dataset" and walk_tf_dataset.shared_shuffles(self.dataset, validation):
            return [walk_tf_dataset.SHARED]
        return []

    def describe(self) -> Dict[str, Any]:
        """What a resumed script must have in common, or is told about."""
        adapter = self.adapter
        return {
            "source": self.source,
            "batch_size": adapter.batch_size,
            "samples": getattr(adapter, "_num_samples", None),
            "batches": adapter.num_batches,
            "steps_per_epoch": self._iterator.steps_per_epoch,
            "steps_per_execution": self._iterator.steps_per_execution,
            "shuffle": str(self.shuffle),
        }

    def _look(self) -> walk_tf_dataset.Pipeline:
        if self._pipeline is None:
            self._pipeline = walk_tf_dataset.Pipeline(self.dataset)
        return self._pipeline

    def content(self) -> Dict[str, str]:
        found = self._look().content if self.source == "tf.data.Dataset" else ""
        return {"training dataset": found} if found else {}

    def why_not_exact(self) -> List[str]:
        if self.source == "tf.data.Dataset":
            return self._look().why_not_exact() + (walk_tf_dataset.read_ahead(self.dataset) if self._cut else [])
        if self.source not in ("arrays", "PyDataset", "generator", "DataLoader"):
            return ["the batches of a {} source cannot be checked; use a tf.data.Dataset, a PyDataset or "
                    "arrays".format(self.source)]
        if self.source == "generator" and self._cut:
            return ["replicas read ahead of training on threads, also for the batch that Keras builds the model from, "
                    "so that where a generator stands differs from run to run; use a PyDataset, or arrays"]
        if self.source == "generator" and self.passes > 1:
            return ["the generator was started anew in the middle of the run; pass steps_per_epoch and let it "
                    "yield without end"]
        if self._tap is not None and self._has_workers():
            # Keras shuffles with Python's, and torch trains with its own
            drawn = (self._tap.draws | self._tap.between) - {"python", self._engine.name}
            if drawn:
                return ["the {} draws from the global random state of {} in its workers, whose order differs from "
                        "run to run; give it a generator of its own, seeded by the index".format(
                            self.source, ", ".join(sorted(drawn)))]
        return []

    def _has_workers(self) -> bool:
        return self.source == "PyDataset" and getattr(self.adapter, "enqueuer", None) is not None

    @property
    def dataset(self) -> Any:
        if self.source != "tf.data.Dataset" and self._engine.name != "tensorflow":
            return None
        if self._engine.name == "tensorflow":
            # of other sources a strategy's cannot be looked at, and would be made, and drawn from, once more
            looked_at = self.source == "tf.data.Dataset" and self._cut
            return self.adapter.get_tf_dataset() if looked_at else self._iterator._distributed_dataset
        return getattr(self.adapter._dataset, "counted", self.adapter._dataset)

    @property
    def _cut(self) -> bool:
        """Whether a strategy cuts the batches for several replicas."""
        return is_distributed_dataset(getattr(self._iterator, "_distributed_dataset", None))

    # -- following

    def _tap_source(self) -> None:
        adapter = self.adapter
        if self.source in ("generator", "PyDataset", "DataLoader"):
            tap = self._tap = Tap()
        if self.source == "generator":
            adapter.generator = self._tapped(tap, adapter.generator)
        elif self.source == "PyDataset":
            for name in ("_finite_generator", "_infinite_generator",
                         "_finite_enqueuer_generator", "_infinite_enqueuer_generator"):
                setattr(adapter, name, self._tapped(tap, getattr(adapter, name)))
        elif self.source == "DataLoader":
            adapter._dataloader = TappedLoader(adapter._dataloader, tap)
        elif self.source == "tf.data.Dataset" and self._engine.name != "tensorflow":
            adapter._dataset = CountedDataset(adapter._dataset, self._iterator_made)  # made at the first batch

    @property
    def unread(self) -> int:
        """Keras makes an iterator behind the last batch of an epoch, and another one when the next epoch begins."""
        return self._unread + (self._started and not self._read and self._engine.name == "tensorflow")

    def _iterator_made(self) -> None:
        self._iterators += 1
        self._started = True

    @staticmethod
    def _tapped(tap: Tap, make: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: tap.wrap(iter(make()))

    def _pass(self) -> Any:
        """Stands in for `EpochIterator._get_iterator`."""
        if self._tap is not None:
            self._left = self._tap.source_state(self._consumed)
            self._tap.begin_pass()
        self._unread = self.unread
        self.passes += 1
        self._consumed = 0
        self._started = self._read = False
        self._start = {"epoch_random": self._epoch_random, "random": host_random.host_states()}
        if self.source == "DataLoader":
            self._start["loader"] = self.adapter._dataloader.generators()
        if self._order is not None:
            self._order.assign(self.passes)
        if self._resume is not None:
            self._restart_pass()
        if self._engine.name == "tensorflow":
            self._iterator_made()
            return self._original_pass()
        return Pass(self._original_pass(), self._first_draw)

    def _first_draw(self) -> None:
        """Called when the current pass is asked for its first batch, which may be an epoch after it was made."""
        if self._start.get("first_draw"):
            host_random.set_host_states(self._start["first_draw"])
        else:
            self._start["first_draw"] = host_random.host_states()

    def _epoch(self) -> Iterator[Tuple[int, int, Any]]:
        """Stands in for `EpochIterator._enumerate_iterator`, one call per epoch."""
        self._listener.epoch_starts()
        drop_leftovers(self.adapter)
        resume = self._resume
        if resume is not None:
            if not resume["consumed"] and not resume["epoch_over"]:
                resume["start"]["first_draw"] = host_random.host_states()  # the pass was made, but not drawn from
            host_random.set_host_states(resume["start"]["epoch_random"])
        self._epoch_random = host_random.host_states()
        steps = self._original_epoch()
        self._done, self._ended = 0, False
        if resume is not None:
            yield from self._skip(steps, resume)
            if resume["epoch_over"] and resume["stopped"]:
                self._ended = True
                return  # Keras had left the epoch here
        for step in steps:
            if self._draws_before_hooks:
                self._before_draw = host_random.host_states()
            self._read = True
            yield step
            self._count(step[1])
        self._ended = True

    def _count(self, end: int) -> None:
        self._consumed += self._iterator.steps_per_execution
        self._done = end + 1

    def batches_done(self, stopped: bool) -> int:
        done = self._done
        if stopped and not self._ended:
            done += self._iterator.steps_per_execution
        limit = self._iterator.steps_per_epoch or self.adapter.num_batches
        return min(done, limit) if limit else done

    # -- saving and resuming

    def capture(self, at_epoch_end: bool = False) -> Dict[str, Any]:
        """The position as a plain value.

        Args:
            at_epoch_end: the epoch is over, validation included.
        """
        consumed = self._consumed
        if not self.persistent and self.adapter.num_batches:
            consumed = min(consumed, self.adapter.num_batches)  # the last execution may have had fewer batches
        is_open = self.passes > 0 and (self.persistent or not at_epoch_end)
        state: Dict[str, Any] = {
            "passes": self.passes, "consumed": consumed, "open": is_open,
            "order": None if self._order is None else self._order.seed,
            "iterators": self._iterators, "unread": self._unread if is_open else self.unread,
        }
        if is_open:
            state.update(start=self._start, before_draw=self._before_draw)
            state["iterators"] -= 1 if self._started else 0
        if self.source == "DataLoader":
            state["loader"] = self.adapter._dataloader.generators()
        if self._tap is not None:
            state.update(tap=self._tap.state(), chain=self._tap.chain(consumed), left=self._left,
                         source_state=self._tap.source_state(consumed))
        return state

    def resume(self, state: Dict[str, Any], batch: int, epoch_over: bool = False, stopped: bool = False) -> None:
        if self._order is not None and state["order"] is not None:
            self._order.set_seed(state["order"])
        if self._tap is not None and "tap" in state:
            self._tap.set_state(state["tap"])
        self.passes = state["passes"] - (1 if state["open"] else 0)
        self.advance(state["iterators"], state.get("unread", 0))
        if "loader" in state:
            self.adapter._dataloader.set_generators(state["loader"])
        if state["open"]:
            self._keep_resume(state, batch, epoch_over, stopped)
        elif state.get("left") is not None:
            self.adapter._dataloader.finish(state["left"])

    def pass_over(self, state: Dict[str, Any]) -> Optional[bool]:
        if self._tap is None or self._engine.name == "tensorflow" or state["passes"] > 1:
            return None  # what was fetched ahead and lost depends on threads
        batches = self.adapter.generator()
        for _ in range(state["consumed"]):
            next(batches, None)
        return self._tap.chain(state["consumed"]) == state["chain"]

    @property
    def replays(self) -> int:
        if self._resume is None or self._resume.get("source_state") is not None:
            return 0
        return self._resume["consumed"]

    def advance(self, iterators: int, unread: int = 0) -> None:
        self._iterators, self._unread = iterators, unread
        if self.source == "tf.data.Dataset":
            walk_tf_dataset.advance(self.dataset, iterators, unread)

    def _restart_pass(self) -> None:
        start = self._resume["start"]
        self._start = start
        if not self._has_workers():  # their thread has begun to draw already
            host_random.set_host_states(start["random"])
        if "loader" in start:
            self.adapter._dataloader.set_generators(start["loader"])
        if self._resume.get("source_state") is not None:
            self.adapter._dataloader.load_state(self._resume["source_state"])
            assert self._tap is not None  # only a DataLoader's has a state
            self._tap.begin_pass(self._resume["consumed"], self._resume["chain"])

    def _skip(self, steps: Any, resume: Dict[str, Any]) -> Iterator[Tuple[int, int, Any]]:
        """Drops what was trained on and yields the step that comes next."""
        per_execution = self._iterator.steps_per_execution
        count, batch = resume["consumed"], resume["batch"]
        begin, end, iterator = next(steps)
        self._resume = None
        self.skipped = 0 if resume.get("source_state") is not None else count
        drop(lambda: next(iterator), self.skipped, per_execution - 1 if self.may_end_anywhere else 0)
        self._read = bool(self.skipped)
        self._consumed = count
        if self._tap is not None and resume.get("chain") is not None:
            self.verified = self._tap.chain(count) == resume["chain"]
        self._iterator._steps_seen = count - batch + per_execution
        self._listener.replayed()
        stands_in = resume["epoch_over"] or (batch and self.may_end_anywhere)
        target = max(batch - per_execution, 0) if stands_in else batch
        while begin < target:
            begin, end, iterator = next(steps)
        if stands_in:
            self._done = batch
            self._listener.stand_in(True)
            nothing_left = self._engine.name == "torch" and self.may_end_anywhere  # where Keras draws before it calls
            try:
                yield begin, end, iter([None] * per_execution) if nothing_left else iterator
            finally:
                self._listener.stand_in(False)
            if resume["before_draw"] and not resume["epoch_over"]:
                host_random.set_host_states(resume["before_draw"])
        else:
            self._done = begin
            if resume["before_draw"]:
                host_random.set_host_states(resume["before_draw"])
            self._read = True
            yield begin, end, iterator
            self._count(end)

    def drew_ahead(self, name: str) -> bool:
        return self.runs_ahead and self._tap is not None and name in self._tap.draws

    def shares_draws(self, name: str) -> bool:
        return self._tap is not None and name in self._tap.shared

    # -- the order of shuffled arrays on TensorFlow

    def _own_order(self, salt: str) -> None:
        import tensorflow

        self._order = Order(tensorflow, self._engine.global_seed(), salt)
        dataset = self._order.shuffled(self.adapter.get_tf_dataset)
        self._iterator._distributed_dataset = (
            self._iterator._distribute_strategy.experimental_distribute_dataset(dataset))
