"""The session of a run: where when, what, where and keep meet.

`callbacks.py` calls the methods here from Keras's hooks. One save goes
`poll -> _commit -> _write -> Encoder.write -> RunDirectory.publish`; what a
start of the script restores is in resume.py.
"""

import atexit
import logging
import os
import time
import weakref
from typing import Any, Dict, List, Optional

from keras_session_ext import state
from keras_session_ext.checkpoint import header
from keras_session_ext.checkpoint.directory import RunDirectory
from keras_session_ext.checkpoint.writer import BackgroundWriter, Encoder, temporary_name
from keras_session_ext.errors import (
    CheckpointNotFound,
    ConfigError,
    DirectoryBusy,
    SessionError,
    UnsupportedBackend,
)
from keras_session_ext.lineage import Lineage
from keras_session_ext.policies.keep import as_keep_policy
from keras_session_ext.policies.save import AnyPolicy, EveryEpochs, EverySteps, OnBest, OnSignal, as_policy
from keras_session_ext.progress import CheckpointInfo, Progress
from keras_session_ext.resume import Resume, restore_weights
from keras_session_ext.signals import ENDING, SignalWatch
from keras_session_ext.snapshot import Snapshot, take_snapshot

logger = logging.getLogger("keras_session_ext")

#: how long the end of training waits for a save in flight, and the exit of the process
DRAIN_SECONDS = 600.0
EXIT_SECONDS = 60.0


class Session:
    """One `SessionCheckpoint`'s work.

    Args:
        directory, save, keep, restore, background, on_error, verbose, group: as of `SessionCheckpoint`.
        family: the adapter of the Keras in use.
    """

    def __init__(self, directory, save, keep, restore, background, on_error, verbose, group, family):
        if on_error not in ("warn", "raise"):
            raise ConfigError("Invalid value for argument `on_error`. Expected 'warn' or 'raise'. "
                              "Received: {!r}".format(on_error))
        if not isinstance(restore, (str, os.PathLike)) or not str(restore):
            raise ConfigError("Invalid value for argument `restore`. Expected 'auto', 'must', 'never', a checkpoint "
                              "id or a path. Received: {!r}".format(restore))
        if not isinstance(directory, (str, os.PathLike)) or not str(directory):
            raise ConfigError("Invalid value for argument `directory`. Expected a path. "
                              "Received: {!r}".format(directory))
        self.directory = RunDirectory(os.fspath(directory), group)
        self.family = family
        self.policy = save if isinstance(save, AnyPolicy) else AnyPolicy([as_policy(save)])
        self.keep = as_keep_policy(keep)
        self.restore_setting = os.fspath(restore)
        self.background = background
        self.on_error = on_error
        self.verbose = verbose
        self.run: Any = None
        self.stage = -1
        self.saved: List[CheckpointInfo] = []
        self._fitting = False
        self._lineage: Any = None
        self._resume: Any = None
        self._epochs = 0
        self._epoch_begin_step = 0
        self._base_seconds = 0.0
        self._started = 0.0
        self._validation_snapshot: Optional[Snapshot] = None
        self._last_id: Optional[str] = None
        self._failure: Optional[BaseException] = None
        self._inference_done = False
        self._hidden_ops: List[str] = []
        self._hidden_ops_of: Any = None
        self._pristine: Any = None  # the peers as they were when this stage began first
        self._trained = False
        self._script: Dict[str, Any] = {}
        self._encoder = Encoder(self.directory.file_mode)
        self._writer = BackgroundWriter()
        self._signals = SignalWatch(
            [policy for policy in self.policy.policies if isinstance(policy, OnSignal)], family.fit_running)
        atexit.register(_drain_at_exit, weakref.ref(self))

    # -- the hooks, in the order Keras calls them

    def attach(self, model: Any, peers: List[Any]) -> None:
        """A list of callbacks was given to a model."""
        self.family.check_model(model)
        for peer in peers:
            if self.family.is_peer(peer, "BackupAndRestore"):
                raise ConfigError(
                    "BackupAndRestore and SessionCheckpoint stand in one list of callbacks; both set the epoch that "
                    "fit begins with. Remove BackupAndRestore: SessionCheckpoint restores all it does, and more.")
        before = self.run
        self.run = state.Run(self.family, model, peers)
        if before is not None:  # steps and seconds count over all stages
            self.run.progress, self.run.report = before.progress, before.report

    def train_begin(self) -> None:
        """Before any peer's `on_train_begin`."""
        if not self._fitting:
            self.stage += 1
        else:
            self._lineage = None  # the fit before this one ended by an exception: begin as a new process would
        again, self._fitting, self._trained = self._fitting, True, False
        if not again:
            self._pristine = None
        self._validation_snapshot = None
        self._writer.drain(DRAIN_SECONDS)  # a fit that ended by an exception may have left a save in flight
        if self.restore_setting == "must" and not os.path.isdir(self.directory.path):
            raise CheckpointNotFound("restore='must', but there is no directory {}. Use restore='auto' for a fresh "
                                     "start.".format(self.directory.path))
        self.directory.acquire()
        if self._lineage is None:
            self._lineage = Lineage(self.directory, self.restore_setting)
        self._resume = Resume(self._lineage.candidate(self.stage), self.run, self._tell)
        self._resume.report.rejected = list(self._lineage.rejected)
        self._resume.before_train_begin()
        state.callbacks.before_begin(self.run)

    def train_began(self) -> None:
        """After every peer's `on_train_begin`: restores."""
        run = self.run
        frame = self.family.fit_frame(run.model)
        if frame is None:
            raise UnsupportedBackend(
                "SessionCheckpoint works inside Keras's own fit; {} is trained by another loop. Use save_session "
                "and restore_session there.".format(type(run.model).__name__))
        run.feed = self.family.feed(frame, str(self.stage))
        run.feed.on_epoch_start = self._epoch_starts
        run.feed.on_replayed = self._resume.replayed
        run.feed.on_stand_in = self._stand_in
        run.validation, run.validation_iterators = None, 0
        self._epochs = int(frame.f_locals.get("epochs") or 0)
        run.validation_data, run.content = self.family.fit_data(frame)
        if self._pristine is not None:  # the same objects again: what they learnt after the checkpoint goes
            state.callbacks.restore(self._pristine, run)
        state.callbacks.begin(run)
        self._pristine = state.callbacks.values(run)
        state.data.begin(run)
        self._script = self._describe_script()
        before = run.progress
        run.progress, run.epoch_over = Progress(stage=self.stage, step=before.step), False
        self._base_seconds = before.elapsed_seconds
        if run.report.checkpoint is not None:
            self._resume.restore(self._script, self._epochs)
            self.policy.set_state(self._resume.policies)
            self._base_seconds = run.progress.elapsed_seconds
            self._last_id = run.report.checkpoint
        self._epoch_begin_step = run.progress.step - run.progress.batch
        self._started = time.monotonic()
        self.policy.begin(run.progress)
        self._signals.install()
        if run.report.checkpoint is not None or run.report.rejected:
            self._tell(str(run.report))

    def epoch_begin(self, epoch: int) -> None:
        self.family.clear_initial_epoch(self.run.model)
        self._lineage.trained()
        self._trained = True
        if not self._resume.within_epoch:
            self._move(epoch, 0)

    def train_batch_begin(self, batch: int) -> None:
        if self._resume.within_epoch and self.run.epoch_over:
            return  # the stand-in step
        self._resume.settle()
        self._move(self.run.progress.epoch, batch)
        if batch:
            self.poll({})

    def test_begin(self) -> None:
        """Validation inside fit, or an evaluation of its own."""
        if not self._fitting:
            self.predict_begin()
            return
        run = self.run
        if self.family.fit_frame(run.model) is None:
            return  # a callback evaluates
        if self._resume.within_epoch:
            self._resume.apply()
        self._resume.settle()
        self._follow_validation()
        stopped = bool(run.model.stop_training)
        run.epoch_over = True
        self._move(run.progress.epoch, run.feed.batches_done(stopped))
        if not self.poll({}) and self._may_fall_due_in_validation():
            self._validation_snapshot = self._snapshot({}, False, "")

    def test_batch_begin(self) -> None:
        if self._validation_snapshot is not None and self.policy(self._now(), {}):
            self._commit(self._validation_snapshot, " | ".join(self.policy.fired))
            self._answer_signals()

    def predict_begin(self) -> None:
        """`evaluate` and `predict` on their own: only a checkpoint that was asked for is restored."""
        if self._fitting or self._inference_done or self.stage >= 0 or self.restore_setting in ("auto", "never"):
            return
        self._inference_done = True
        candidate = Lineage(self.directory, self.restore_setting).candidate_of_any_stage()
        restore_weights(candidate, self.run)
        self._tell("Session: weights of {} at {}".format(candidate.info.id, candidate.info.progress))

    def epoch_end(self, epoch: int, logs: Dict[str, Any]) -> None:
        """After every peer's `on_epoch_end`."""
        run = self.run
        self._resume.settle()  # the epoch may have had no batch left, and no validation
        if run.validation is not None:
            run.validation_iterators = run.validation.iterators
        step = self._epoch_begin_step + run.feed.batches_done(bool(run.model.stop_training))
        self._epoch_begin_step = step
        run.epoch_over, self._validation_snapshot = False, None
        run.progress = run.progress._replace(epoch=epoch + 1, batch=0, step=step, elapsed_seconds=self._elapsed())
        finished = bool(run.model.stop_training) or epoch + 1 >= self._epochs
        self.poll(logs or {}, finished)

    def train_end(self) -> None:
        if not self._trained and self.run.report.checkpoint is None:
            self.poll({}, finished=True)  # nothing to train is a finished stage, too
        self._fitting = False
        self.family.clear_initial_epoch(self.run.model)
        self._signals.restore()
        if not self._writer.drain(DRAIN_SECONDS):
            self._complain(SessionError("The last save did not end within {} s; it goes on in the background".format(
                DRAIN_SECONDS)))
        self._check_failure()
        self.family.release()
        self.directory.release()

    # -- progress

    def _elapsed(self) -> float:
        return self._base_seconds + time.monotonic() - self._started

    def _move(self, epoch: int, batch: int) -> None:
        self.run.progress = self.run.progress._replace(
            stage=self.stage, epoch=epoch, batch=batch, step=self._epoch_begin_step + batch)

    def _now(self) -> Progress:
        return self.run.progress._replace(elapsed_seconds=self._elapsed())

    def _may_fall_due_in_validation(self) -> bool:
        return not all(isinstance(policy, (EveryEpochs, EverySteps, OnBest)) for policy in self.policy.policies)

    # -- saving

    def poll(self, logs: Dict[str, Any], finished: bool = False) -> bool:
        """Asks the policies and saves if one says so."""
        self._check_failure()
        self.run.progress = self._now()
        due = self.policy(self.run.progress, logs)
        if not due and not finished:
            return False
        reasons = self.policy.fired + (["the end of the stage"] if finished else [])
        snapshot = self._snapshot(logs, finished, " | ".join(reasons))
        if snapshot is not None:
            self._commit(snapshot, "")
        self._answer_signals()
        return True

    def _answer_signals(self) -> None:
        number = self._signals.received()
        if number in ENDING:
            durable = self._writer.drain(EXIT_SECONDS)
            self._tell("Session: saved at {}; the process ends now".format(self._now()) if durable
                       else "Session: the save was not durable in time")
            self._signals.deliver(number)

    def _snapshot(self, logs: Dict[str, Any], finished: bool, reason: str) -> Optional[Snapshot]:
        try:
            return self._take_snapshot(logs, finished, reason)
        except Exception as error:  # a peer's get_state may raise anything; on_error says what follows
            self._complain(error)
            return None

    def _take_snapshot(self, logs: Dict[str, Any], finished: bool, reason: str) -> Snapshot:
        run = self.run
        progress = self._now()
        fields = {
            "run": self._lineage.run, "branch_of": self._lineage.branch_of, "generation": self.directory.generation,
            "progress": progress._asdict(), "created": time.time(), "reason": reason,
            "metrics": header.plain_metrics(logs), "finished": finished, "stopped": bool(run.model.stop_training),
            "epochs": self._epochs, "script": self._script, "policies": self.policy.get_state(),
            "reasons": self._why_not_exact(),
        }
        return take_snapshot(run, state.KINDS, fields)

    def _why_not_exact(self) -> List[str]:
        run = self.run
        function = run.model.train_function
        if run.progress.step and self._hidden_ops_of is not function:
            self._hidden_ops, self._hidden_ops_of = self.family.hidden_random_ops(run.model), function
        reasons = list(run.report.reasons) + state.data.why_not_exact(run)
        if self._hidden_ops:
            reasons.append("the model uses {}, whose random state is hidden in its kernels; use keras.random with a "
                           "SeedGenerator".format(", ".join(self._hidden_ops)))
        return list(dict.fromkeys(reasons))

    def _commit(self, snapshot: Snapshot, reason: str) -> None:
        final = self.directory.new_path(snapshot.fields["progress"]["step"])
        fields = dict(snapshot.fields, id=os.path.basename(final)[:-3])
        if reason:
            fields["reason"] = reason
        snapshot = snapshot._replace(fields=fields)
        if self.background:
            self._writer.submit(lambda: self._write(snapshot, final))
        else:
            self._write(snapshot, final)
            self._check_failure()

    def _write(self, snapshot: Snapshot, final: str) -> None:
        """On the writer's thread: file, name, then retention."""
        try:
            fields = dict(snapshot.fields, parent=self._last_id)
            temporary = temporary_name(final)
            size = self._encoder.write(temporary, fields, snapshot.tensors, snapshot.view)
            self.directory.publish(temporary, final)
            info = header.info(dict(fields, size_bytes=size), final)
            self._last_id = info.id
            self.saved.append(info)
            self._lineage.add(info)
            self._lineage.removed(self.directory.retain(self.keep.plan(self._lineage.infos)))
        except BaseException as error:  # told on the training thread
            self._failure = error

    def _check_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            self._complain(failure)

    def _complain(self, failure: BaseException) -> None:
        if isinstance(failure, DirectoryBusy) or self.on_error == "raise":
            raise failure
        logger.warning("Saving the session to %s failed: %s: %s. Training goes on and the next save is tried as "
                       "planned.", self.directory.path, type(failure).__name__, failure)

    def _epoch_starts(self) -> None:
        """Keras asks for the epoch's batches; every `on_epoch_begin` is over."""
        self._resume.epoch_starts()
        state.data.epoch_start(self.run)

    def _stand_in(self, active: bool) -> None:
        self.family.stand_in(self.run.model, active, self._resume.stand_in_logs() if active else {})
        self.silence(active)

    silence = staticmethod(lambda active: None)  # set by the callback, which knows the list

    def _tell(self, text: str) -> None:
        if self.verbose:
            self.family.print_message(text)

    def _follow_validation(self) -> None:
        run = self.run
        if run.validation is None:
            run.validation = self.family.validation_feed(run.model)
            if run.validation is not None and run.validation_iterators:
                run.validation.advance(run.validation_iterators)

    # -- the script

    def _describe_script(self) -> Dict[str, Any]:
        run = self.run
        made = dict(self.family.script(run.model), epochs=self._epochs)
        made.update({"data." + name: value for name, value in run.feed.describe().items()})
        for key, peer in state.callbacks.keyed(run.peers):
            skipped = self.family.skipped_attributes(peer)
            if skipped is None:
                continue
            values = state.attributes.look(peer, skipped, run).values
            name = key.split(" ")[0].rsplit(".", 1)[-1]
            made.update({"{}.{}".format(name, attribute): value for attribute, value in values.items()
                         if not attribute.startswith("_") and isinstance(value, (bool, int, float, str))
                         and value == value})
        return {name: value if isinstance(value, (bool, int, str, type(None))) else repr(value)
                for name, value in made.items()}


def _drain_at_exit(reference) -> None:
    session = reference()
    if session is not None:
        session._writer.drain(EXIT_SECONDS)
