"""The session of a run: where when, what, where and keep meet.

`callbacks.py` calls the methods here from Keras's hooks. One save goes
`poll -> Saves.commit -> Encoder.write -> RunDirectory.publish`; what a start of
the script restores is in resume.py, and what happens is told to the record.
"""

import atexit
import logging
import os
import time
import weakref
from typing import Any, Dict, List, Optional

from keras_session_ext import state
from keras_session_ext.arguments import local_path
from keras_session_ext.backend import choose
from keras_session_ext.backend.frames import generator_of
from keras_session_ext.backend.shim import observe
from keras_session_ext.checkpoint import header
from keras_session_ext.checkpoint.directory import RunDirectory
from keras_session_ext.errors import CheckpointNotFound, ConfigError, SessionError, UnsupportedBackend
from keras_session_ext.lifecycle import journal
from keras_session_ext.lifecycle.record import Record, place, signal_name
from keras_session_ext.lineage import Lineage, as_restore_setting
from keras_session_ext.policies.keep import as_keep_policy
from keras_session_ext.policies.save import AnyPolicy, OnSignal, as_policy
from keras_session_ext.progress import Progress
from keras_session_ext.resume import Resume, describe_script, restore_weights
from keras_session_ext.saves import Saves, figures
from keras_session_ext.signals import ENDING, SignalWatch
from keras_session_ext.snapshot import Snapshot, take_snapshot

logger = logging.getLogger("keras_session_ext")

#: how long the end of training waits for a save in flight, and the exit of the process
DRAIN_SECONDS, EXIT_SECONDS = 600.0, 60.0

_saves: Any = weakref.WeakSet()  # of the sessions in use, and those in flight, which their threads keep
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_saves.clear)  # a child has no writer's thread to wait for


class Session:
    """One `SessionCheckpoint`'s work.

    Args:
        directory, save, keep, restore, background, on_error, verbose, group: as of `SessionCheckpoint`.
        family: the adapter of the Keras in use.
    """

    def __init__(self, directory, save, keep, restore, background, on_error, verbose, group, family):
        self.directory = RunDirectory(local_path(directory, "directory"), group)
        self.policy = save if isinstance(save, AnyPolicy) else AnyPolicy([as_policy(save)])
        self.restore_setting = as_restore_setting(restore)
        self.record = Record(lambda: choose().describe())  # it outlives the session, and must not keep it
        self.record.note = self.directory.note
        self.saves = Saves(self.directory, as_keep_policy(keep), background, on_error, self.record)
        self.verbose = verbose
        self.run: Any = None
        self.stage = -1
        self._fitting = self._trained = False
        self._lineage: Any = None
        self._resume: Any = None
        self._epochs = self._epoch_begin_step = 0
        self._base_seconds = self._started = 0.0
        self._validation_snapshot: Optional[Snapshot] = None
        self._inference_done = False
        self._pristine: Any = None  # the peers as they were when this stage began first
        self._script: Dict[str, Any] = {}
        self.follow(family)
        _saves.add(self.saves)

    def follow(self, family: Any) -> None:
        """The model is of another Keras than the one that was guessed."""
        self.family = family
        self._signals = SignalWatch(
            [policy for policy in self.policy.policies if isinstance(policy, OnSignal)], family.fit_running)

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
        self.record.attend()
        observe(model)
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
        self._drain_directory()
        if self.restore_setting == "must" and not os.path.isdir(self.directory.path):
            raise CheckpointNotFound("restore='must', but there is no directory {}. Use restore='auto' for a fresh "
                                     "start.".format(self.directory.path))
        self.directory.acquire()
        self._open_record()
        self.record.fit_started(owned=True, left=self.directory.left, stage=self.stage)
        if self._lineage is None:
            self._lineage = self.saves.lineage = Lineage(self.directory, self.restore_setting)
            for why in self._lineage.rejected:
                self.record.emit("checkpoint_rejected", why=why)
            for info in reversed(self._lineage.infos):
                self.record.found(created=info.created, directory=self.directory.path, **figures(info))
        self._resume = Resume(self._lineage.candidate(self.stage), self.run, self._tell)
        self._resume.report.rejected = list(self._lineage.rejected)
        self._resume.on_settled = self._settled
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
        run.feed.on_skip = self.silence
        run.validation, run.validation_iterators = None, 0
        self._epochs = int(frame.f_locals.get("epochs") or 0)
        run.generator = generator_of(frame) if run.feed.source == "generator" else None
        run.validation_data, run.content = self.family.fit_data(frame)
        if self._pristine is not None:  # the same objects again: what they learnt after the checkpoint goes
            state.callbacks.restore(self._pristine, run)
        state.callbacks.begin(run)
        self._pristine = state.callbacks.values(run)
        state.data.begin(run)
        self._script = describe_script(run, self._epochs)
        before = run.progress
        run.progress, run.epoch_over = Progress(stage=self.stage, step=before.step), False
        self._base_seconds = before.elapsed_seconds
        if run.report.checkpoint is not None:
            self._restore()
        self._epoch_begin_step = run.progress.step - run.progress.batch
        self._started = time.monotonic()
        self.policy.begin(run.progress)
        self._signals.install()
        fresh = "" if self.stage else "Session: a fresh start in " + self.directory.path
        self._tell(str(run.report) if run.report.is_news else fresh)

    def _restore(self) -> None:
        began, created = time.monotonic(), self._resume.created
        self._resume.restore(self._script, self._epochs)
        run, report = self.run, self.run.report
        self.policy.set_state(self._resume.policies)
        self._base_seconds = run.progress.elapsed_seconds
        self.saves.last_id = report.checkpoint
        finished = report.kinds["data"].startswith("finished")
        since = None if finished or report.checkpoint == self._lineage.branch_of else created
        self.record.emit("restored", id=report.checkpoint, seconds=time.monotonic() - began, exact=report.exact,
                         reasons=report.reasons, kinds=report.kinds, changes=report.changes, **place(run.progress),
                         finished=finished, **self.record.lost(run.progress.step, since))

    def _settled(self) -> None:
        """Batches that were trained on have been drawn and dropped: the report is final."""
        report = self.run.report
        self.record.emit("replayed", batches=self.run.feed.skipped, seconds=time.monotonic() - self._started,
                         exact=report.exact, reasons=report.reasons, **place(self.run.progress))

    def epoch_begin(self, epoch: int) -> None:
        self.family.clear_initial_epoch(self.run.model)
        self._lineage.trained(self.stage)
        self._trained = True
        if not self._resume.within_epoch:
            self._move(epoch, 0)
        self.record.emit("epoch_started", **place(self.run.progress))

    def epoch_began(self) -> None:
        """After every peer's `on_epoch_begin`."""
        self.run.feed.epoch_began()

    def train_batch_begin(self, batch: int) -> None:
        if self.run.feed.skipping or (self._resume.within_epoch and self.run.epoch_over):
            return  # a step that does not train
        self._resume.settle()
        self._move(self.run.progress.epoch, batch)
        self.record.beat(self.run.progress)
        if batch:
            self.poll({})

    def test_begin(self) -> None:
        """Validation inside fit, or an evaluation of its own."""
        run = self.run
        if not self._fitting:
            self._inference_begins(self.record.evaluate_started)
            return
        if self.family.fit_frame(run.model) is None:
            return  # a callback evaluates
        if self._resume.within_epoch:
            self._resume.apply()
        self._resume.settle()
        run.follow_validation()
        stopped = bool(run.model.stop_training)
        run.epoch_over = True
        self._move(run.progress.epoch, run.feed.batches_done(stopped))
        self.record.evaluate_started(validation=True, **place(run.progress))
        if not self.poll({}) and self.policy.falls_due_anywhere and not self._lineage.repeats(self.stage):
            self._validation_snapshot = self._snapshot({}, False, "")

    def test_batch_begin(self) -> None:
        self.record.beat(self.run.progress)
        if self._validation_snapshot is not None and self.policy(self._now(), {}):
            self.saves.commit(self._validation_snapshot, time.monotonic(), " | ".join(self.policy.fired))
            self._answer_signals()

    def test_end(self, logs: Any) -> None:
        self.record.evaluate_finished(validation=self._fitting, metrics=header.plain_metrics(logs or {}))

    def predict_begin(self) -> None:
        self._inference_begins(lambda: self.record.emit("predict_started"))

    def predict_end(self) -> None:
        self.record.emit("predict_finished")

    def _inference_begins(self, tell: Any) -> None:
        """`evaluate` or `predict`; on their own they make no directory."""
        if os.path.isdir(self.directory.path):
            self._open_record()
        tell()
        self._restore_for_inference()

    def _restore_for_inference(self) -> None:
        """`evaluate` and `predict` on their own: only a checkpoint that was asked for is restored."""
        if self._fitting or self._inference_done or self.stage >= 0 or self.restore_setting in ("auto", "never"):
            return
        self._inference_done = True
        self._drain_directory()
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
        self.record.emit("epoch_finished", metrics=header.plain_metrics(logs or {}), **dict(
            place(run.progress), epoch=epoch))
        self.poll(logs or {}, finished)

    def train_end(self) -> None:
        if not self._trained and self.run.report.checkpoint is None:
            self.poll({}, finished=True)  # nothing to train is a finished stage, too
        self._fitting = False
        self.family.clear_initial_epoch(self.run.model)
        self._signals.restore()
        if not self.saves.drain(DRAIN_SECONDS):
            self.saves.complain(SessionError("The last save goes on in the background"))
        self.saves.check()
        self.family.release()
        stopped = bool(self.run.model.stop_training)
        self._tell("Session: {} at {}; {} checkpoints in {}".format(
            "stopped" if stopped else "finished", self.run.progress, len(self._lineage.infos),
            self.directory.path))
        self.record.fit_finished(epochs=self._epochs, stopped=stopped, **place(self.run.progress))
        self._lineage.ended(self.stage, failed=False)
        self.directory.release()

    def give_up(self) -> None:
        """The fit has ended by an exception that the script catches: its next fit is another stage, not this again."""
        if self._fitting:
            self._fitting = False
            self._signals.restore()
            self.saves.drain(DRAIN_SECONDS)
            if self._lineage is not None:
                self._lineage.ended(self.stage, failed=True)
            self.directory.release()

    # -- progress

    def _elapsed(self) -> float:
        return self._base_seconds + time.monotonic() - self._started

    def _move(self, epoch: int, batch: int) -> None:
        self.run.progress = self.run.progress._replace(
            stage=self.stage, epoch=epoch, batch=batch, step=self._epoch_begin_step + batch)

    def _now(self) -> Progress:
        return self.run.progress._replace(elapsed_seconds=self._elapsed())

    # -- saving

    def poll(self, logs: Dict[str, Any], finished: bool = False) -> bool:
        """Asks the policies and saves if one says so."""
        self.saves.check()
        self.run.progress = self._now()
        due = self.policy(self.run.progress, logs)
        if self._lineage.repeats(self.stage) and not finished:
            self._answer_signals()
            return False  # all that was saved of it is there, and what was saved later must stay the newest
        if not due and not finished:
            return False
        began = time.monotonic()
        reasons = self.policy.fired + (["the end of the stage"] if finished else [])
        snapshot = self._snapshot(logs, finished, " | ".join(reasons))
        if snapshot is not None:
            self.saves.commit(snapshot, began)
        self._answer_signals()
        return True

    def _answer_signals(self) -> None:
        number = self._signals.received()
        if not number:
            return
        ends = number in ENDING
        durable = self.saves.drain(EXIT_SECONDS) if ends else True
        self.record.signalled(ends, signal=signal_name(number), **place(self.run.progress))
        if ends:
            self._tell("Session: saved at {}; the process ends now".format(self._now()) if durable
                       else "Session: the save was not durable in time")
            self._signals.deliver(number)

    def _snapshot(self, logs: Dict[str, Any], finished: bool, reason: str) -> Optional[Snapshot]:
        began = time.monotonic()
        try:
            snapshot = self._take_snapshot(logs, finished, reason)
        except Exception as error:  # a peer's get_state may raise anything; on_error says what follows
            self.record.emit("save_failed", error="{}: {}".format(type(error).__name__, error),
                             **place(self.run.progress))
            self.saves.complain(error)
            return None
        self.record.emit("snapshot_taken", seconds=time.monotonic() - began, **place(self.run.progress))
        return snapshot

    def _take_snapshot(self, logs: Dict[str, Any], finished: bool, reason: str) -> Snapshot:
        run = self.run
        observe(run.model)  # fit may have built it
        progress = self._now()
        fields = {
            "run": self._lineage.run, "branch_of": self._lineage.branch_of, "generation": self.directory.generation,
            "progress": progress._asdict(), "created": time.time(), "reason": reason,
            "metrics": header.plain_metrics(logs), "finished": finished, "stopped": bool(run.model.stop_training),
            "epochs": self._epochs, "script": self._script, "policies": self.policy.get_state(),
            "reasons": self._why_not_exact(), "failed_stages": sorted(self._lineage.failed_stages),
        }
        return take_snapshot(run, state.KINDS, fields)

    def _why_not_exact(self) -> List[str]:
        run = self.run
        reasons = list(run.report.reasons) + state.data.why_not_exact(run)
        if run.progress.step:
            reasons += self.family.why_not_exact(run.model)
        return list(dict.fromkeys(reasons))

    def _open_record(self) -> None:
        self.record.open(os.path.join(self.directory.path, journal.NAME), self.directory.file_mode)

    def _drain_directory(self) -> None:
        """Waits for saves in flight to this directory: a fit that ended by an exception may have left one."""
        for saves in list(_saves):
            if saves.directory.path == self.directory.path:
                saves.drain(DRAIN_SECONDS)

    def _epoch_starts(self) -> None:
        """Keras asks for the epoch's batches; every `on_epoch_begin` is over."""
        self._resume.epoch_starts()
        state.data.epoch_start(self.run)

    def _stand_in(self, active: bool) -> None:
        self.family.stand_in(self.run.model, active, self._resume.stand_in_logs() if active else {})
        self.silence(active)

    silence = staticmethod(lambda active: None)  # set by the callback, which knows the list

    def _tell(self, text: str) -> None:
        if self.verbose and text:
            self.family.print_message(text)


@atexit.register
def _at_exit() -> None:
    for saves in list(_saves):
        saves.drain(EXIT_SECONDS)
