"""The running fit, as the state kinds see it."""

from typing import Any, Dict, List

from keras_session_ext.backend import correspondence
from keras_session_ext.progress import Progress, ResumeReport


def describe(versions: Dict[str, str]) -> str:
    """A Keras in words."""
    return "{} (Keras {} on {})".format(versions.get("name", versions["family"]), versions["keras"],
                                         versions["engine"])


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
        generator: the user's own, if fit was given one.
        source_baseline: the same of a data source with attributes.
        source_state: that source's state at the start of the epoch.
        validation_data: what fit was given.
        content: checksums of the arrays that fit was given.
        progress: how far the run has come.
        epoch_over: all batches of the epoch are done, its end is not.
        stopped: a callback had stopped the training at the checkpoint.
        report: the resume report of this process.
        foreign: what the checkpoint was taken on, where that is not this Keras.
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
        self.generator: Any = None
        self.source_baseline: Dict[str, Any] = {}
        self.source_state: Any = None
        self.validation_data: Any = None
        self.content: Dict[str, str] = {}
        self.progress = Progress()
        self.epoch_over = False
        self.stopped = False
        self.report = ResumeReport()
        self.foreign = ""
        self._tables: Any = None

    @property
    def tables(self) -> Dict[str, Any]:
        """The correspondence tables of the model, made once for a count of variables."""
        count = len(self.family.model_variables(self.model)), len(self.family.optimizer_variables(self.model))
        if self._tables is None or self._tables[0] != count:
            self._tables = count, correspondence.tables(self.family, self.model)
        return self._tables[1]

    def meet(self, versions: Dict[str, str]) -> None:
        """Notes whether a checkpoint with these versions comes from another Keras, whose variables are others."""
        here = self.family.describe()
        names = ("family", "name", "keras") if here["family"] != "keras3" else ("family", "engine")
        self.foreign = "" if all(versions.get(name) == here.get(name) for name in names) else describe(versions)

    def follow_validation(self) -> None:
        """Keras has made its validation data, or is about to."""
        if self.validation is None:
            self.validation = self.family.validation_feed(self.model)
            if self.validation is not None and self.validation_iterators:
                self.validation.advance(self.validation_iterators)

    @property
    def mid_epoch(self) -> bool:
        return self.progress.batch > 0 or self.epoch_over
