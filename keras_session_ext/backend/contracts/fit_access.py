"""What the driver of Keras's own `fit` asks of each family."""

import abc
from types import FrameType
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from keras_session_ext.backend.contracts.feed import Feed, FeedListener


class FitAccess(abc.ABC):
    """Finding a running `fit`, following its data, and telling it where to begin."""

    @property
    @abc.abstractmethod
    def callback_class(self) -> type:
        """The class that callbacks derive from."""

    @abc.abstractmethod
    def check_fit(self, model: Any) -> None:
        """Refuses what `check_model` does, and a training on devices or processes that no resume could repeat.

        Raises:
            UnsupportedBackend: it says what was found, and what to do.
        """

    @abc.abstractmethod
    def callback_list(self, callback: Any) -> Any:
        """Keras's list of callbacks that is calling `callback` right now, or None."""

    @abc.abstractmethod
    def flush(self, callback_list: Any) -> None:
        """Waits for hooks that Keras has handed to a thread."""

    @abc.abstractmethod
    def fit_frame(self, model: Any) -> Optional[FrameType]:
        """The frame of the `fit` that is running on `model`, or None."""

    @abc.abstractmethod
    def fit_running(self, code_frame: Optional[FrameType]) -> bool:
        """Whether a Keras `fit` stands on the stack that ends in `code_frame`; called by signal handlers."""

    @abc.abstractmethod
    def feed(self, frame: FrameType, salt: str, listener: FeedListener) -> Feed:
        """Follows the data of a running fit, from before its first epoch.

        Args:
            frame: what `fit_frame` gave.
            salt: makes the order of this fit differ from that of others.
            listener: is told.
        """

    @abc.abstractmethod
    def validation_feed(self, model: Any) -> Optional[Feed]:
        """Follows the validation data, once Keras has made its iterator."""

    @abc.abstractmethod
    def fit_data(self, frame: FrameType) -> Tuple[Any, Dict[str, str]]:
        """What fit was given for validation; and checksums of the arrays given for "training" and "validation"."""

    @abc.abstractmethod
    def is_py_dataset(self, value: Any) -> bool:
        """Whether data are a `PyDataset` (`Sequence` in Keras 2), which may have a state of its own."""

    @abc.abstractmethod
    def epoch_logs(self, model: Any, is_over: bool) -> Dict[str, np.ndarray]:
        """The training logs of the epoch; empty where the loop keeps them elsewhere.

        Args:
            model: the model.
            is_over: the epoch is being validated; else they are those of its last step.
        """

    @abc.abstractmethod
    def set_initial_epoch(self, model: Any, epoch: int) -> None:
        """Where fit begins; called after every `on_train_begin`, before Keras looks."""

    @abc.abstractmethod
    def clear_initial_epoch(self, model: Any) -> None:
        """A later fit begins where its own arguments say."""

    @abc.abstractmethod
    def build(self, model: Any, feed: Feed, tables: Sequence[Dict[str, Any]]) -> None:
        """Makes the variables that Keras would make in the first batch: model, metrics, optimizers.

        Values do not matter here; a restore overwrites all of them.

        Args:
            model: compiled, perhaps not built.
            feed: of the fit that is about to begin.
            tables: what the checkpoint says of its optimizers (transfer/layer_and_slot_tables.py).
        """

    @abc.abstractmethod
    def stand_in(self, model: Any, active: bool, logs: Dict[str, Any]) -> None:
        """Swaps the train function for one that trains nothing and returns `logs`, and back."""

    @abc.abstractmethod
    def release(self) -> None:
        """Lets go of the loop and of the model's variables when fit is over."""
