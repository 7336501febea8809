"""What a feed offers, and what it tells its driver."""

import abc
from typing import Any, Dict, List, Optional


class FeedListener(abc.ABC):
    """What a driver is told by the feed it has made, in this order within one epoch."""

    @abc.abstractmethod
    def epoch_starts(self) -> None:
        """The loop asks for the epoch's batches; every `on_epoch_begin` is over, and nothing was drawn yet."""

    @abc.abstractmethod
    def passing_over(self, active: bool) -> None:
        """The loop runs over batches that were trained on, without training: from True to False no peer is to see it.

        Only of feeds that cannot drop batches before the loop sees them.
        """

    @abc.abstractmethod
    def replayed(self) -> None:
        """The batches that were trained on were drawn and dropped; the next one is not drawn yet."""

    @abc.abstractmethod
    def stand_in(self, active: bool) -> None:
        """The loop makes the epoch's last step once more, because only the validation is left: it must not train.

        Called with True before the step and with False behind it.
        """


class SilentListener(FeedListener):
    """For data that are only counted, such as those of a validation."""

    def epoch_starts(self) -> None:
        """Nothing to do."""

    def passing_over(self, active: bool) -> None:
        """Nothing to do."""

    def replayed(self) -> None:
        """Nothing to do."""

    def stand_in(self, active: bool) -> None:
        """Nothing to do."""


class Feed(abc.ABC):
    """Follows the data of one fit, evaluation or loop: where it stands, and how to get there again.

    A *pass* is one iterator over the source. It lasts for an epoch, or over
    several where the source is *persistent*.

    Attributes:
        source: what kind of data it is: "arrays", "tf.data.Dataset", "generator", ….
        passes: how many passes have begun.
        skipped: how many batches the resume dropped.
        verified: whether those were the same as before; None where that cannot be told.
        skipping: whether the loop passes over batches that were trained on.
        resets_metrics_late: whether the loop resets the metrics behind `on_epoch_begin`.
    """

    source: str
    passes: int = 0
    skipped: int = 0
    verified: Optional[bool] = None
    skipping: bool = False
    resets_metrics_late: bool = False

    # -- what the data is

    @property
    @abc.abstractmethod
    def dataset(self) -> Any:
        """The `tf.data.Dataset` that gives the loop its batches; None where there is none."""

    @property
    @abc.abstractmethod
    def user_source(self) -> Any:
        """The user's own object, where it may have a state of its own; else None."""

    @property
    @abc.abstractmethod
    def persistent(self) -> bool:
        """Whether one pass lasts over several epochs."""

    @property
    def may_end_anywhere(self) -> bool:
        """Whether the loop finds out that an epoch is over only by asking for a batch that is not there."""
        return False

    @property
    @abc.abstractmethod
    def begins_pass(self) -> bool:
        """Whether the epoch that starts now begins a new pass, made or not."""

    @abc.abstractmethod
    def in_pass(self, at_epoch_end: bool) -> bool:
        """Whether a resume from here makes a pass again from its start."""

    @abc.abstractmethod
    def describe(self) -> Dict[str, Any]:
        """What a resumed script must have in common, or is told about: plain values by name.

        At least `source`, `batch_size`, `samples`, `batches`, `steps_per_epoch`,
        `steps_per_execution` and `shuffle`.
        """

    @abc.abstractmethod
    def why_not_exact(self) -> List[str]:
        """Reasons known beforehand why this source cannot be replayed exactly."""

    def content(self) -> Dict[str, str]:
        """Checksums of the data that stand in a source which is no array, by name; asked once, when fit begins."""
        return {}

    def shares_shuffle(self, validation: Any) -> List[str]:
        """The reason why not, if training and validation draw their order from one shuffle."""
        return []

    # -- where it stands

    @abc.abstractmethod
    def batches_done(self, stopped: bool) -> int:
        """Batches of the epoch that were trained on, once its loop has ended.

        Args:
            stopped: a callback set `stop_training`, so the loop did not come back for more.
        """

    @abc.abstractmethod
    def capture(self, at_epoch_end: bool = False) -> Dict[str, Any]:
        """The position as a plain value; with `open` and `consumed` in it.

        Args:
            at_epoch_end: the epoch is over, validation included.
        """

    @property
    @abc.abstractmethod
    def iterators(self) -> int:
        """How many iterators were made over a source that may draw a new order for each."""

    @property
    @abc.abstractmethod
    def unread(self) -> int:
        """How many of them were never asked for a batch: what draws its order with the first one has drawn none."""

    # -- getting there again

    @abc.abstractmethod
    def resume(self, state: Dict[str, Any], batch: int, epoch_over: bool = False, stopped: bool = False) -> None:
        """Makes the next epoch go on where `state` was captured.

        Args:
            state: what `capture` returned.
            batch: how many batches of the epoch were trained on.
            epoch_over: all of them were, and the validation comes next: the loop
                makes the epoch's last step once more, `stand_in` around it. So it
                does where the epoch may be over, as `may_end_anywhere` says.
            stopped: a callback had stopped the training in the last of them.
        """

    @property
    @abc.abstractmethod
    def resuming(self) -> bool:
        """Whether a pass is to be made again that had begun before."""

    @property
    @abc.abstractmethod
    def replays(self) -> int:
        """How many batches will be drawn again and dropped."""

    @abc.abstractmethod
    def advance(self, iterators: int, unread: int = 0) -> None:
        """Makes the next iterator the one after so many others, of which some were never asked for a batch.

        `shuffle(reshuffle_each_iteration=True)` draws its order anew for every iterator made.
        """

    def drew_ahead(self, name: str) -> bool:
        """Whether the source may have drawn from a host random state for batches that training has not seen."""
        return False

    def shares_draws(self, name: str) -> bool:
        """Whether something beside the source draws from a host random state that it draws from."""
        return True

    def pass_over(self, state: Dict[str, Any]) -> Optional[bool]:
        """Draws what a finished fit drew from a generator; whether the same came, None where it cannot be known."""
        return None

    # -- hooks that some loops need

    def epoch_began(self) -> None:  # noqa: B027 (most loops need nothing)
        """Every callback's `on_epoch_begin` is over."""

    def passed_over(self) -> None:  # noqa: B027 (most loops need nothing)
        """A batch was passed over."""

    def failing(self) -> bool:
        """Whether the hooks at the end are called because of an exception; most loops do not call them then."""
        return False


class LoopFeed(Feed):
    """The feed of a loop of Keras 2, which keeps where it begins to itself; its adapter holds it while the fit runs."""

    @abc.abstractmethod
    def begin_with(self, epoch: int) -> None:
        """Lets the loop begin with this epoch, counted from 0; called after every `on_train_begin`."""

    def close(self) -> None:
        """Lets go of the loop; called when fit is over, also by an exception."""
