"""What the feeds have in common that make a pass again and drop the batches that were trained on."""

from typing import Any, Callable, Dict

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
        self._unread = 0  # of them, that were never asked for a batch
        self._consumed = 0  # batches of the current pass that were trained on
        self._done = 0  # batches of the epoch that are done
        self._start: Dict[str, Any] = {}  # what the current pass was made from
        self._resume: Any = None  # what `capture` returned, and where in the epoch; None once it is used

    @property
    def iterators(self) -> int:
        return self._iterators

    @property
    def unread(self) -> int:
        return self._unread

    @property
    def resuming(self) -> bool:
        return self._resume is not None

    @property
    def replays(self) -> int:
        return 0 if self._resume is None else int(self._resume["consumed"])

    def _keep_resume(self, state: Dict[str, Any], batch: int, epoch_over: bool, stopped: bool) -> None:
        """Notes where the next epoch goes on."""
        self._resume = dict(state, batch=batch, epoch_over=epoch_over, stopped=stopped)


def drop(draw: Callable[[], Any], count: int, may_lack: int = 0) -> None:
    """Draws batches that were trained on, and drops them.

    Args:
        draw: draws one.
        count: how many.
        may_lack: so many of them may never have been there: an execution of several steps ends where the data end.

    Raises:
        StateMismatch: the data ended before the place to go on from.
    """
    for done in range(max(count, 0)):
        try:
            draw()
        except Exception as error:
            if not isinstance(error, StopIteration) and type(error).__name__ != "OutOfRangeError":
                raise
            if count - done > may_lack:
                raise _ran_out(done, count)
            return


def _ran_out(done: int, count: int) -> StateMismatch:
    return StateMismatch(
        "Cannot go on in the middle of the epoch: {} batches were trained on, but the data ended after {}.".format(
            count, done),
        advice="Give fit the data it had, or start in a new directory.")
