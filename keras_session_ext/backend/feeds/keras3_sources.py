"""Stand-ins for data sources of Keras 3, which tell the feed what is asked of them."""

from typing import Any, Callable, Iterator


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
