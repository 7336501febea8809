"""The session of a run: where when, what, where and keep meet. It knows of no fit and no loop.

A driver calls it, in the order of the methods here; the driver of Keras's own
fit is fit.py. One save goes

```
driver's hook -> Session.poll -> Saves.commit -> Encoder.encode -> RunDirectory.publish -> Store.put
```

What a start of the script restores is in resume.py, which stage goes on from
which checkpoint in stages.py, and what happens is told to the record.
"""

import contextlib
import os
import time
from types import FrameType
from typing import Any, Callable, Dict, List, Optional

from keras_session_ext import state
from keras_session_ext.arguments import path_or_url
from keras_session_ext.backend import choose
from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.contracts.feed import Feed
from keras_session_ext.backend.tf1_session.shim import observe
from keras_session_ext.checkpoint import header
from keras_session_ext.errors import CheckpointNotFound, SessionError
from keras_session_ext.lifecycle import curves, journal
from keras_session_ext.lifecycle.record import Record, place
from keras_session_ext.policies.keep import as_keep_policy
from keras_session_ext.policies.save import AnyPolicy, OnSignal, as_policy
from keras_session_ext.progress import Progress
from keras_session_ext.run.lineage import Lineage, as_restore_setting
from keras_session_ext.run.resume import Resume
from keras_session_ext.run.saves import Saves, drain_directory
from keras_session_ext.run.script_settings import describe_script
from keras_session_ext.run.signals import SignalWatch, signal_name
from keras_session_ext.run.snapshot import Snapshot, prepare, take_snapshot, why_not_exact
from keras_session_ext.run.stages import Stages, open_run
from keras_session_ext.run.structure import is_current
from keras_session_ext.run.witness import Witness
from keras_session_ext.state.attributes_when_traced import TracedSteps
from keras_session_ext.store.run_directory import RunDirectory


class Session:
    """One run in this process.

    Args:
        directory and all others up to mirror: as of `SessionCheckpoint`.
        family: the adapter of the Keras in use.
        is_running: tells from an interrupted frame whether the driver's loop is still there, for signals.

    Attributes:
        directory: where the run lives.
        record: is told what happens.
        saves: from snapshots to checkpoints.
        witness: is told of what each step gave.
        stage: number of the stage that is trained, from 0; -1 before the first.
        steps: is told of the steps that are made, from `follow_data` on.
    """

    def __init__(self, directory: Any, save: Any, keep: Any, restore: Any, background: bool, on_error: str,
                 verbose: int, group: bool, witness: bool, stop_is_final: bool, staging: Optional[str],
                 mirror: Optional[str], family: Family, is_running: Callable[[Optional[FrameType]], bool]):
        self.directory = RunDirectory(path_or_url(directory, "directory"), group, staging, mirror)
        self.restore_setting = as_restore_setting(restore)
        self.record = Record(lambda: choose().describe())  # it outlives the session, and must not keep it
        self.record.note, self.record.send = self.directory.note, self.directory.send
        self.saves = Saves(self.directory, as_keep_policy(keep), background, on_error, self.record)
        self.witness = Witness(lambda: self.directory.here, self.directory.file_mode, self.record, self.tell, witness)
        self.stage, self.family, self._stop_is_final = -1, family, stop_is_final
        self._policy = save if isinstance(save, AnyPolicy) else AnyPolicy([as_policy(save)])
        self._signals = SignalWatch(
            [one for one in self._policy.policies if isinstance(one, OnSignal)], is_running, lambda number:
            self.record.signalled(True, signal=signal_name(number), answered=False, **place(self.run.progress)))
        self._verbose = verbose
        self._run: Optional[state.Run] = None
        self._stages: Optional[Stages] = None
        self._resume: Optional[Resume] = None
        self._epochs = self._epoch_begin_step = 0
        self._base_seconds = self._started = 0.0
        self._pristine: Any = None  # the peers as they were when this stage began first
        self._script: Dict[str, Any] = {}

    @property
    def run(self) -> state.Run:
        """The live run, once there is a model."""
        assert self._run is not None
        return self._run

    @property
    def has_run(self) -> bool:
        """Whether a model was ever attached."""
        return self._run is not None

    @property
    def resume(self) -> Resume:
        """What is restored in this stage."""
        assert self._resume is not None
        return self._resume

    @property
    def lineage(self) -> Lineage:
        """The run's checkpoints, from the first stage on."""
        return self.stages.lineage

    @property
    def stages(self) -> Stages:
        """What each stage goes on from, from the first one on."""
        assert self._stages is not None
        return self._stages

    def attach(self, model: Any, peers: List[Any]) -> None:
        """The run is about this model from now on, with these callbacks around it."""
        before = self._run
        self._run = state.Run(self.family, model, peers)
        self.record.attend()
        observe(model)
        if before is not None:  # steps and seconds count over all stages
            self._run.progress, self._run.report = before.progress, before.report

    # -- a stage begins

    def begin_stage(self, again: bool) -> None:
        """Claims the directory and reads what this stage goes on from; before any callback is told of the beginning.

        Args:
            again: the stage before this one ended by an exception and is tried again.

        Raises:
            CheckpointNotFound: there is nothing that `restore` asks for.
            DirectoryBusy: another live process trains here.
            SessionError: the directory cannot be written.
        """
        if again:
            self._stages = None  # begin as a new process would
        else:
            self.stage += 1
            self._pristine = None
        drain_directory(self.directory.path)
        if self.restore_setting == "must" and not self.directory.exists():
            raise CheckpointNotFound("restore='must', but there is no directory {}. Use restore='auto' for a fresh "
                                     "start.".format(self.directory.path))
        self.directory.acquire()
        self.open_record()
        self.record.fit_started(owned=True, left=self.directory.left, stage=self.stage)
        if self._stages is None:
            self._stages = open_run(self.directory, self.restore_setting, self.record, self.tell)
            self.saves.lineage = self.lineage
        self._resume = Resume(self.stages.candidate(self.stage), self.run, self.tell, self._stop_is_final)
        self._resume.report.rejected = list(self.lineage.rejected)
        self._resume.before_train_begin()
        state.callbacks.before_begin(self.run)

    def follow_data(self, feed: Feed, epochs: int) -> bool:
        """The stage's data are there, and every callback was told of the beginning.

        Args:
            feed: the training data.
            epochs: how many this stage is to have.

        Returns:
            Whether there is a checkpoint to `restore`, once the model is built.
        """
        run = self.run
        run.feed, run.validation, run.validation_iterators, run.validation_unread = feed, None, 0, 0
        self._epochs = epochs
        if self._pristine is not None:  # the same objects again: what they learnt after the checkpoint goes
            state.model_objects.begin_again(self._pristine[0], run)
            state.callbacks.restore(self._pristine[1], run)
        state.callbacks.begin(run)
        state.model_objects.begin(run)
        self.steps = TracedSteps(run)
        state.data.begin(run)
        self._script = describe_script(run, epochs, {} if self._pristine is None else self._script)
        self._pristine = run.objects_script, state.callbacks.values(run)
        self._base_seconds = run.progress.elapsed_seconds
        run.progress, run.epoch_over = Progress(stage=self.stage, step=run.progress.step), False
        return run.report.checkpoint is not None

    def restore(self, began: float) -> int:
        """Brings the checkpoint back.

        Args:
            began: `time.monotonic()` when the work on it began.

        Returns:
            The epoch to begin with.

        Raises:
            StateMismatch: it does not fit; nothing was changed.
        """
        created = self.resume.created
        epoch = self.resume.restore(self._script, self._epochs)
        self.steps.resumed = self.resume.traced
        run, report = self.run, self.run.report
        self._policy.set_state(self.resume.policies)
        self._base_seconds = run.progress.elapsed_seconds
        self.saves.last_id = report.checkpoint
        finished = report.kinds["data"].startswith("finished")
        since = None if finished or report.checkpoint == self.lineage.branch_of else created
        self.record.emit("restored", id=report.checkpoint, seconds=time.monotonic() - began, exact=report.exact,
                         reasons=report.reasons, kinds=report.kinds, changes=report.changes, **place(run.progress),
                         finished=finished, **self.record.lost(run.progress.step, since))
        return epoch

    def begin_training(self) -> None:
        """All is in place, and the first epoch comes next."""
        run = self.run
        self._epoch_begin_step = run.progress.step - run.progress.batch
        self._started = time.monotonic()
        self._policy.begin(run.progress)
        self.record.emit("settings", settings=dict(self._script, save=repr(self._policy), keep=repr(self.saves.keep)))
        self.witness.begin(run, self.lineage.run)
        self._signals.install()
        self._prepared = False
        if all(getattr(one, "built", True) for one in self.family.optimizers(run.model)):
            self._prepare()  # else behind the first step
        fresh = "" if self.stage else "Session: a fresh start in " + self.directory.path
        self.tell(str(run.report) if run.report.is_news else fresh)

    def _prepare(self) -> None:
        """What the first save needs is made behind training."""
        fields = dict(self._fields({}, False, ""), reasons=[], id=self.directory.new_id(0), parent=None)
        self.saves.prepare(lambda: prepare(self.run, state.kinds_of(self.run), fields, self.saves.encoder))

    def begin_epoch(self, epoch: int) -> None:
        """The loop begins an epoch, before any callback is told."""
        self.stages.trained(self.stage)
        if not self.resume.within_epoch:
            self.move(epoch, 0)
        self.record.emit("epoch_started", **place(self.run.progress))

    def epoch_starts(self) -> None:
        """The loop asks for the epoch's batches, every callback was told; nothing was drawn yet."""
        self.resume.epoch_starts()
        state.data.epoch_start(self.run)

    def replayed(self) -> None:
        """The batches that were trained on before were drawn and dropped."""
        if self.resume.within_epoch:
            self.resume.replayed()
        else:
            self.settle()

    def settle(self) -> None:
        """The random state comes back, if it has not yet; the resume report is final then."""
        if self.resume.settle():
            report = self.run.report
            self.record.emit("replayed", batches=self.run.feed.skipped, seconds=time.monotonic() - self._started,
                             exact=report.exact, reasons=report.reasons, **place(self.run.progress))

    def move(self, epoch: int, batch: int) -> None:
        """So many batches of an epoch are behind."""
        run = self.run  # at every step; `_replace` takes three times as long
        run.progress = Progress(self.stage, epoch, batch, self._epoch_begin_step + batch, run.progress.elapsed_seconds)

    def end_epoch(self, epoch: int, logs: Dict[str, Any]) -> None:
        """An epoch is over, its validation included, and every callback was told."""
        run = self.run
        self.settle()  # the epoch may have had no batch left, and no validation
        if run.validation is not None:
            run.validation_iterators, run.validation_unread = run.validation.iterators, run.validation.unread
        step = self._epoch_begin_step + run.feed.batches_done(run.stopping)
        self._epoch_begin_step = step
        run.epoch_over = False
        run.progress = self._now()._replace(epoch=epoch + 1, batch=0, step=step)
        finished = run.stopping or 0 < self._epochs <= epoch + 1  # 0: a loop whose end is not known
        self.record.emit("epoch_finished", metrics=curves.logged(logs), **dict(place(run.progress), epoch=epoch))
        self.poll(logs, finished)

    # -- a stage ends

    def end_stage(self) -> None:
        """The last epoch is over, and every callback was told of the end."""
        self._signals.restore()
        self.witness.end()
        if not self.saves.end():
            self.saves.complain(SessionError(self.saves.left()))
        self.saves.check()
        stopped = self.run.stopping
        what, count = "stopped" if stopped else "finished", len(self.lineage.infos)
        self.tell("Session: {} at {}; {} checkpoints in {}".format(what, self.run.progress, count, self.directory.path))
        self.record.fit_finished(epochs=self._epochs, stopped=stopped, **place(self.run.progress))
        self.stages.ended(self.stage, failed=False)
        self.saves.release_directory()

    def give_up(self) -> None:
        """The stage has ended by an exception that the script catches, and is not tried again."""
        self._signals.restore()
        self.witness.end()
        self.saves.end()
        if self._stages is not None:
            self._stages.ended(self.stage, failed=True)
        self.saves.release_directory()

    # -- saving

    @property
    def repeats(self) -> bool:
        """Whether this stage failed before, and what was saved later must stay the newest."""
        return self.stages.repeats(self.stage)

    @property
    def falls_due_anywhere(self) -> bool:
        """Whether a save may be asked for in the middle of a validation."""
        return self._policy.falls_due_anywhere

    def poll(self, logs: Dict[str, Any], finished: bool = False) -> bool:
        """Asks the policies and saves if one says so; answers signals.

        Args:
            logs: of the epoch that has ended; else empty.
            finished: the stage ends here, which is always saved.

        Returns:
            Whether a save was asked for.
        """
        self.saves.check()
        if self.saves.ended():
            self._policy.save_ends()
        self.witness.answer()
        self.run.progress = self._now()
        due = self._policy(self.run.progress, logs)
        if self.repeats and not finished:
            self._answer_signals(None)
            return False  # all that was saved of it is there
        prepared, self._prepared = self._prepared, True
        if not due and not finished:
            if not prepared and not is_current(self.run):
                self._prepare()
            return False
        began = time.monotonic()
        self._signals.answering()
        reason = " | ".join(self._policy.fired + (["the end of the stage"] if finished else []))
        snapshot = self.snapshot(logs, finished, reason)
        if snapshot is not None:
            self._policy.save_begins()
            self.saves.commit(snapshot, began)
        self._answer_signals("" if snapshot is None else snapshot.fields["id"])
        return True

    def poll_with(self, snapshot: Snapshot) -> None:
        """Asks the policies where the state of now cannot be captured, and saves one that was taken before."""
        if self._policy(self._now(), {}):
            if not snapshot.is_spent:  # the state of now is in the file that was made of it
                self._policy.save_begins()
                self.saves.commit(snapshot, time.monotonic(), " | ".join(self._policy.fired))
            self._answer_signals(snapshot.fields["id"])

    def snapshot(self, logs: Dict[str, Any], finished: bool = False, reason: str = "") -> Optional[Snapshot]:
        """Captures the session; None where that failed, which is told as `on_error` says."""
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
        observe(self.run.model)  # the loop may have built it
        reasons, why = why_not_exact(self.run)
        fields = dict(self._fields(logs, finished, reason), reasons=reasons)
        return take_snapshot(self.run, state.kinds_of(self.run), fields, self.saves.encoder, why)

    def _fields(self, logs: Dict[str, Any], finished: bool, reason: str) -> Dict[str, Any]:
        run, progress = self.run, self._now()
        return {
            **self.lineage.names(), "generation": self.directory.generation,
            "progress": progress._asdict(), "created": time.time(), "reason": reason,
            "metrics": header.plain_metrics(logs), "finished": finished, "stopped": run.stopping,
            "epochs": self._epochs, "script": self._script, "policies": self._policy.get_state(),
            "failed_stages": sorted(self.stages.failed),
            "witnessed": run.report.witnessed, "diverged_at": run.report.diverged_at,
        }

    def _answer_signals(self, id: Optional[str]) -> None:  # of the checkpoint that was asked for; None: all is there
        self._signals.answer(
            lambda: self.saves.settle(id, self._signals.grace_seconds),
            lambda number, ends: self.record.signalled(ends, signal=signal_name(number), **place(self.run.progress)),
            lambda durable, what: self.tell("Session: {} at {}; {}{}".format(
                "saved" if durable else "no new checkpoint is durable", self._now(), self.saves.decided, what)))

    def _now(self) -> Progress:
        return Progress(*self.run.progress[:4], self._base_seconds + time.monotonic() - self._started)

    def open_record(self) -> None:
        """Begins to write the journal."""
        self.record.open(os.path.join(self.directory.here, journal.NAME), self.directory.file_mode)

    def tell(self, text: str) -> None:
        """Prints a line for the user; a closed or full output, or one without such letters, ends nothing."""
        if self._verbose and text:
            with contextlib.suppress(Exception):  # of whatever has been put in the place of sys.stdout
                self.family.print_message(text)
