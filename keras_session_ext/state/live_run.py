"""The live run, as the state kinds see it: a model in training and what stands around it."""

from typing import Any, Dict, List, Optional

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.contracts.feed import Feed
from keras_session_ext.backend.transfer import layer_and_slot_tables
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
        validation: the validation data, once Keras has made it.
        validation_iterators: how many iterators were made over them.
        validation_unread: how many of these were never asked for a batch.
        before: fingerprints of the peers' attributes right before `on_train_begin`.
        baseline: fingerprints of the peers' attributes right after `on_train_begin`.
        objects_begun: fingerprints of the attributes of the model's objects at the beginning, by id of the object.
        objects_script: copies of their values then.
        objects_traced: what these were when this process's first step was traced, the last time.
        objects_stepped: what they were right behind it.
        objects_traces: how many traces were made with the attributes as they were then.
        objects_validated: whether a validation was traced, in this process or in those before.
        objects_settled: whether all steps of an epoch were, so that no other one is to come.
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
        structure: what run/structure.py made of its variables.
        loop: the view of a loop of the script's own (state/loop_variables.py); None in a fit.
    """

    def __init__(self, family: Family, model: Any, peers: List[Any]):
        self.family = family
        self.model = model
        self.peers = peers
        self._feed: Optional[Feed] = None
        self.validation: Optional[Feed] = None
        self.validation_iterators = self.validation_unread = 0
        self.before: Dict[str, Any] = {}
        self.baseline: Dict[str, Any] = {}
        self.objects_begun: Dict[int, Dict[str, str]] = {}
        self.objects_script: Dict[int, Dict[str, Any]] = {}
        self.objects_traced: Any = None
        self.objects_stepped: Any = None
        self.objects_traces = 0
        self.objects_validated = self.objects_settled = False
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
        self.structure: Any = None
        self.loop: Any = None

    @property
    def feed(self) -> Feed:
        """The training data; there are none outside of fits and loops."""
        assert self._feed is not None
        return self._feed

    @feed.setter
    def feed(self, feed: Feed) -> None:
        self._feed = feed

    @property
    def trains(self) -> bool:
        """Whether there are data to train on: it is a fit or a loop, and no lonely restore."""
        return self._feed is not None

    @property
    def stopping(self) -> bool:
        """Whether a callback has asked Keras to end the training."""
        return bool(getattr(self.model, "stop_training", False))

    @stopping.setter
    def stopping(self, value: bool) -> None:
        self.model.stop_training = value

    @property
    def tables(self) -> Dict[str, Any]:
        """The transfer tables of the model, made once for a count of variables."""
        count = len(self.family.model_variables(self.model)), len(self.family.optimizer_variables(self.model))
        if self._tables is None or self._tables[0] != count:
            self._tables = count, layer_and_slot_tables.tables(self.family, self.model)
        made: Dict[str, Any] = self._tables[1]
        return made

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
                self.validation.advance(self.validation_iterators, self.validation_unread)

    @property
    def mid_epoch(self) -> bool:
        """Whether the epoch's first batch is behind, and its end is not."""
        return self.progress.batch > 0 or self.epoch_over
