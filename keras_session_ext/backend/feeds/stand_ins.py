"""Stand-ins for data sources of Keras 3, which tell the feed what is asked of them."""

from typing import Any, Callable, Iterator, List

import numpy as np

from keras_session_ext.backend.feeds.batch_tap import Tap
from keras_session_ext.errors import StateMismatch


class Pass:
    """A pass over a source that tells when it is asked for its first batch."""

    def __init__(self, made: Any, told: Callable[[], None]):
        self._made = made
        self._told = told

    def __iter__(self) -> Iterator[Any]:
        return self._batches(iter(self._made))

    def _batches(self, iterator: Iterator[Any]) -> Iterator[Any]:
        self._told()
        yield from iterator


class CountedDataset:
    """A `tf.data.Dataset` that tells when an iterator over it is made."""

    def __init__(self, dataset: Any, told: Callable[[], None]):
        self.counted = dataset
        self._told = told

    def __iter__(self) -> Iterator[Any]:
        self._told()
        return iter(self.counted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.counted, name)


class TappedLoader:
    """A torch `DataLoader` whose batches pass through a tap."""

    def __init__(self, loader: Any, tap: Tap):
        self._loader = loader
        self._tap = tap
        self._stateful = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")

    def __iter__(self) -> Iterator[Any]:
        return self._tap.wrap(iter(self._loader), self._loader.state_dict if self._stateful else None)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_state(self, state: Any) -> None:
        self._loader.load_state_dict(state)

    def finish(self, state: Any) -> None:
        """Brings the loader to the end of a pass."""
        self._loader.load_state_dict(state)
        for _ in self._loader:
            pass

    def _own_generators(self) -> List[Any]:
        holders = (self._loader, getattr(self._loader, "sampler", None), getattr(self._loader, "batch_sampler", None))
        found = [getattr(holder, "generator", None) for holder in holders]
        return [generator for generator in found if generator is not None]

    def generators(self) -> List[np.ndarray]:
        """States of the loader's own torch generators."""
        return [generator.get_state().numpy().copy() for generator in self._own_generators()]

    def set_generators(self, states: List[np.ndarray]) -> None:
        import torch

        for generator, state in zip(self._own_generators(), states):
            generator.set_state(torch.from_numpy(state.copy()))


def drop_leftovers(adapter: Any) -> None:
    """Clears what workers had fetched beyond the last epoch's end; it would begin this one again.

    `PyDatasetEnqueuer.stop` keeps those batches in `ready_queue`; after the
    model was built from one batch even the first epoch begins with some twice.
    """
    queue = getattr(getattr(adapter, "enqueuer", None), "ready_queue", None)
    if queue is None or adapter.num_batches is None:
        return
    while not queue.empty():
        queue.get_nowait()


def ran_out(done: int, count: int) -> StateMismatch:
    """The error for data that ended before the place to go on from."""
    return StateMismatch(
        "Cannot go on in the middle of the epoch: {} batches were trained on, but the data ended after {}.".format(
            count, done),
        advice="Give fit the data it had, or start in a new directory.")
