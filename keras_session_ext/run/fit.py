"""The driver of Keras's own `fit`: from its hooks to the session. What only fit needs stands here.

```
IDLE ──train_begin──▶ BEGINNING ──train_began──▶ READY ──epoch_begin──▶ EPOCH ──test_begin──▶ VALIDATION
  ▲                                                │                   ▲  │                       │
  │                                                │                   │  └──────epoch_end────────┤
  └──────────────────── train_end ─────────────────┴───────────────────┴──────────────────────────┘
```

`…_begin` comes before any peer's hook, `…_began` and `…_end` behind every
peer's. Keras calls no hook when fit ends by an exception: the phase stays, and
the next `train_begin` is the same stage, tried again, unless `give_up` says no.

Within an epoch that was resumed in its middle, the feed calls in between:

```
epoch_begin      Keras and the peers begin the epoch as ever
epoch_began
epoch_starts     (feed) all state comes back once more; the feed makes the pass again
passing_over     (feed, older loops) True: the peers are out of the list … False
replayed         (feed) the batches that were trained on are dropped
stand_in         (feed) only the validation is left: True, a step that does not train, False
train_batch_begin, or test_begin, or epoch_end: the random state comes back, and the epoch goes on
```
"""

import enum
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from keras_session_ext import files
from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.contracts.feed import Feed, FeedListener
from keras_session_ext.backend.hooks.fit_frames import generator_of
from keras_session_ext.errors import ConfigError, StateMismatch, UnsupportedBackend
from keras_session_ext.lifecycle.curves import logged
from keras_session_ext.lifecycle.record import place
from keras_session_ext.run.crash_after_resume import AfterResume
from keras_session_ext.run.lineage import Lineage
from keras_session_ext.run.resume import restore_weights
from keras_session_ext.run.saves import drain_directory
from keras_session_ext.run.session import Session
from keras_session_ext.run.snapshot import Snapshot
from keras_session_ext.run.stages import Stages


class Phase(enum.Enum):
    """Where a fit is, as its hooks have told."""

    IDLE = "no fit is on its way"
    BEGINNING = "the peers' on_train_begin"
    READY = "all is restored, and no epoch has begun"
    EPOCH = "an epoch"
    VALIDATION = "the validation at the end of an epoch"


class FitDriver(FeedListener):
    """Calls the session from the hooks of `fit`, and of `evaluate` and `predict` on their own.

    Args:
        session: what is called.

    Attributes:
        phase: where fit is.
    """

    def __init__(self, session: Session):
        self.session = session
        self.phase = Phase.IDLE
        self._silence: Callable[[bool], None] = lambda active: None
        self._pending: Optional[Snapshot] = None  # taken before a validation, in which nothing can be captured
        self._inference_done = False
        self._after_resume: Optional[AfterResume] = None
        self._thread = 0  # the one that trains
        self._stands_in = False  # whether the loop makes a step only to come to the end of its epoch
        self._trains = False  # whether the step that is being made does
        self._epoch_step = 0  # finished steps when the epoch began

    @property
    def _family(self) -> Family:
        return self.session.family

    def attach(self, model: Any, peers: List[Any], silence: Callable[[bool], None]) -> None:
        """A list of callbacks was given to a model.

        Args:
            model: the model.
            peers: the other callbacks.
            silence: takes them out of the list, and back.
        """
        self._family.check_fit(model)
        for peer in peers:
            if self._family.is_peer(peer, "BackupAndRestore"):
                raise ConfigError(
                    "BackupAndRestore and SessionCheckpoint stand in one list of callbacks; both set the epoch that "
                    "fit begins with. Remove BackupAndRestore: SessionCheckpoint restores all it does, and more.")
        self._silence = silence
        self.session.attach(model, peers)

    # -- fit, in the order Keras calls

    def train_begin(self) -> None:
        """Before any peer's `on_train_begin`."""
        again, self.phase = self.phase is not Phase.IDLE, Phase.BEGINNING
        self._pending = None
        self.session.begin_stage(again)

    def train_began(self) -> None:
        """After every peer's `on_train_begin`: restores."""
        session, run = self.session, self.session.run
        frame = self._family.fit_frame(run.model)
        if frame is None:
            raise UnsupportedBackend(
                "SessionCheckpoint works inside Keras's own fit; {} is trained by another loop. Use save_session "
                "and restore_session there.".format(type(run.model).__name__))
        feed = self._family.feed(frame, str(session.stage), self)
        run.generator = generator_of(frame) if feed.source == "generator" else None
        run.validation_data, run.content = self._family.fit_data(frame)
        run.content.update(feed.content())
        if session.follow_data(feed, int(frame.f_locals.get("epochs") or 0)):
            began = time.monotonic()
            path = session.resume.candidate.info.path
            self._build(feed)
            self._family.set_initial_epoch(run.model, session.restore(began))
            self._after_resume = AfterResume(path, session.directory.path)
        session.begin_training()
        self.phase = Phase.READY

    def _resume_is_over(self) -> None:
        if self._after_resume is not None:
            self._after_resume.over()
            self._after_resume = None

    def _build(self, feed: Feed) -> None:
        """Makes the variables that are to be restored."""
        run, resume = self.session.run, self.session.resume
        tables = resume.meet()
        try:
            self._family.build(run.model, feed, tables)
        except Exception as error:  # whatever the user's code says to a made-up batch
            raise StateMismatch(
                "The checkpoint {} cannot be restored: the model's variables cannot be made before its first batch "
                "({}: {}). Build the model before fit: call it on a batch, or model.build(shape).".format(
                    resume.candidate.info.path, type(error).__name__, error)) from error

    def epoch_begin(self, epoch: int) -> None:
        """Before any peer's `on_epoch_begin`."""
        self._family.clear_initial_epoch(self.session.run.model)
        self.phase = Phase.EPOCH
        self.session.begin_epoch(epoch)

    def epoch_began(self) -> None:
        """After every peer's `on_epoch_begin`."""
        self.session.run.feed.epoch_began()
        self.session.steps.epoch_begins()

    def train_batch_begin(self, batch: int) -> None:
        """Before any peer's `on_train_batch_begin`: all batches before this one are trained on."""
        session, run = self.session, self.session.run
        session.steps.over()
        if self._trains:
            self._resume_is_over()
        self._trains = not self._does_not_train
        if not self._trains:
            return
        session.settle()
        session.move(run.progress.epoch, batch)
        session.record.beat(run.progress)
        self._epoch_step = run.progress.step - run.progress.batch
        if batch:
            session.poll({})

    @property
    def _does_not_train(self) -> bool:
        """Whether the step that is about to be made is one of a resume's, which trains nothing."""
        run, resume = self.session.run, self.session.resume
        return self._stands_in or run.feed.skipping or (resume.within_epoch and run.epoch_over)

    def train_batch_began(self) -> None:
        """After every peer's `on_train_batch_begin`."""
        if self._trains:
            self._thread = threading.get_ident()
            self.session.steps.begins()

    def train_batch_end(self, batch: int, logs: Optional[Dict[str, Any]]) -> None:
        """Before any peer's `on_train_batch_end`; Keras 3 may call this on another thread."""
        if self._trains:
            self.session.record.step(self._epoch_step + batch + 1, logs)
            self.session.witness.step(self._epoch_step + batch + 1, logs)
        if self._thread == threading.get_ident():
            self.session.steps.over()

    def test_begin(self) -> None:
        """Before any peer's `on_test_begin`: validation inside fit, or an evaluation of its own."""
        session, run = self.session, self.session.run
        if self.phase is Phase.IDLE:
            self._inference_begins(session.record.evaluate_started)
            return
        session.steps.over()
        if self._family.fit_frame(run.model) is None:
            return  # a callback evaluates
        if session.resume.within_epoch:
            session.resume.apply()
        session.settle()
        run.follow_validation()
        self.phase = Phase.VALIDATION if self.phase is Phase.EPOCH else self.phase
        run.epoch_over = True
        session.move(run.progress.epoch, run.feed.batches_done(run.stopping))
        session.record.evaluate_started(validation=True, **place(run.progress))
        if not session.poll({}) and session.falls_due_anywhere and not session.repeats:
            self._pending = session.snapshot({})
        session.steps.begins(validates=True)

    def test_batch_begin(self) -> None:
        """Before any peer's `on_test_batch_begin`."""
        self.session.record.beat(self.session.run.progress)
        if self._pending is not None:
            self.session.poll_with(self._pending)

    def test_end(self, logs: Optional[Dict[str, Any]]) -> None:
        """Before any peer's `on_test_end`."""
        if self.phase is Phase.VALIDATION:
            self.session.steps.over()
        self.session.record.evaluate_finished(validation=self.phase is not Phase.IDLE,
                                              metrics=logged(logs))

    def epoch_ends(self, logs: Optional[Dict[str, Any]]) -> None:
        """Before any peer's `on_epoch_end`."""
        self._resume_is_over()
        self.session.steps.epoch_ends()
        self.session.witness.epoch_ends(logs)

    def epoch_end(self, epoch: int, logs: Optional[Dict[str, Any]]) -> None:
        """After every peer's `on_epoch_end`."""
        if self.session.run.feed.failing():
            return
        self._pending = None
        self.session.end_epoch(epoch, logs or {})
        self.phase = Phase.EPOCH

    def train_end(self) -> None:
        """After every peer's `on_train_end`."""
        if self.session.run.feed.failing():
            return
        session, run = self.session, self.session.run
        if self.phase is Phase.READY and run.report.checkpoint is None:
            session.poll({}, finished=True)  # nothing to train is a finished stage, too
        self.phase = Phase.IDLE
        self._resume_is_over()
        self._family.clear_initial_epoch(run.model)
        self._family.release()
        session.end_stage()

    def give_up(self) -> None:
        """The fit has ended by an exception that the script catches: its next fit is another stage, not this again."""
        if self.phase is not Phase.IDLE:
            self.phase = Phase.IDLE
            self._family.engine.release()
            self.session.give_up()

    # -- what the feed tells, within an epoch

    def epoch_starts(self) -> None:
        self.session.epoch_starts()

    def passing_over(self, active: bool) -> None:
        self._silence(active)

    def replayed(self) -> None:
        self.session.replayed()

    def stand_in(self, active: bool) -> None:
        self._stands_in = active
        self._family.stand_in(self.session.run.model, active, self.session.resume.epoch_logs if active else {})
        self._silence(active)

    def passed_over(self) -> None:
        """The step of a batch that is passed over has ended."""
        self.session.run.feed.passed_over()

    # -- evaluate and predict on their own

    def predict_begin(self) -> None:
        """Before any peer's `on_predict_begin`."""
        self._inference_begins(lambda: self.session.record.emit("predict_started"))

    def predict_end(self) -> None:
        """Before any peer's `on_predict_end`."""
        self.session.record.emit("predict_finished")

    def _inference_begins(self, tell: Callable[[], None]) -> None:
        """On their own they make no directory, and restore only a checkpoint that was asked for by name."""
        session = self.session
        if session.directory.exists() and files.exists(session.directory.here):
            session.open_record()
        tell()
        if self.phase is not Phase.IDLE or self._inference_done or session.stage >= 0 \
                or session.restore_setting in ("auto", "never"):
            return
        self._inference_done = True
        drain_directory(session.directory.path)
        lineage = Lineage(session.directory, session.restore_setting)
        candidate = Stages(session.directory, lineage).candidate_of_any_stage()
        restore_weights(candidate, session.run)
        session.tell("Session: weights of {} at {}".format(candidate.info.id, candidate.info.progress))
