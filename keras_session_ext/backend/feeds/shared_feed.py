"""What the feeds have in common that make a pass again and drop the batches that were trained on."""

from typing import Any, Dict

from keras_session_ext.backend.contracts.feed import Feed, FeedListener
from keras_session_ext.errors import StateMismatch


class SharedFeed(Feed):
    """Counts a pass, and knows what it was resumed from.

    Args:
        listener: is told.
    """

    def __init__(self, listener: FeedListener):
        self._listener = listener
        self._iterators = 0  # made over a source that may draw a new order for each
        self._consumed = 0  # batches of the current pass that were trained on
        self._done = 0  # batches of the epoch that are done
        self._start: Dict[str, Any] = {}  # what the current pass was made from
        self._resume: Any = None  # what `capture` returned, and where in the epoch; None once it is used

    @property
    def iterators(self) -> int:
        return self._iterators

    @property
    def resuming(self) -> bool:
        return self._resume is not None

    @property
    def replays(self) -> int:
        return 0 if self._resume is None else int(self._resume["consumed"])

    def _keep_resume(self, state: Dict[str, Any], batch: int, epoch_over: bool, stopped: bool) -> None:
        """Notes where the next epoch goes on."""
        self._resume = dict(state, batch=batch, epoch_over=epoch_over, stopped=stopped)


def ran_out(done: int, count: int) -> StateMismatch:
    """The error for data that ended before the place to go on from."""
    return StateMismatch(
        "Cannot go on in the middle of the epoch: {} batches were trained on, but the data ended after {}.".format(
            count, done),
        advice="Give fit the data it had, or start in a new directory.")
