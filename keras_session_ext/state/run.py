"""The running fit, as the state kinds see it."""

from typing import Any, Dict, List

from keras_session_ext.progress import Progress, ResumeReport


class Run:
    """A model in training and what stands around it.

    Attributes:
        family: the adapter of the Keras in use.
        model: the model.
        peers: the other callbacks, in the order Keras calls them.
        feed: the training data, or None outside fit.
        validation: the validation data, once Keras has made it.
        before: fingerprints of the peers' attributes right before `on_train_begin`.
        baseline: fingerprints of the peers' attributes right after `on_train_begin`.
        source_baseline: the same of a data source with attributes.
        source_state: that source's state at the start of the epoch.
        validation_data: what fit was given.
        content: checksums of the arrays that fit was given.
        progress: how far the run has come.
        epoch_over: all batches of the epoch are done, its end is not.
        stopped: a callback had stopped the training at the checkpoint.
        report: the resume report of this process.
    """

    def __init__(self, family: Any, model: Any, peers: List[Any]):
        self.family = family
        self.model = model
        self.peers = peers
        self.feed: Any = None
        self.validation: Any = None
        self.validation_iterators = 0
        self.before: Dict[str, Any] = {}
        self.baseline: Dict[str, Any] = {}
        self.source_baseline: Dict[str, Any] = {}
        self.source_state: Any = None
        self.validation_data: Any = None
        self.content: Dict[str, str] = {}
        self.progress = Progress()
        self.epoch_over = False
        self.stopped = False
        self.report = ResumeReport()

    @property
    def mid_epoch(self) -> bool:
        return self.progress.batch > 0 or self.epoch_over
