"""Brings a checkpoint back into a run that is about to begin.

Between epochs everything is restored once, before the first epoch. Within an
epoch the loop and the peers first begin the epoch as ever; then everything is
restored again, the batches that were trained on are drawn and dropped by the
feed, and the random state comes back at the very hook it was captured in. In
the order of the calls:

```
before_train_begin       callbacks that would destroy something when they begin are warned
restore                  checks everything, then restores everything
  within an epoch only:
epoch_starts             the loop asks for the epoch's batches: everything again, and the source's own state
replayed                 the batches were dropped
settle                   the random state; nothing is left to restore
```
"""

import contextlib
from typing import Any, Callable, Dict, Iterator, List, Optional

from keras_session_ext import state
from keras_session_ext.errors import SessionError, StateMismatch
from keras_session_ext.progress import ResumeReport
from keras_session_ext.run.lineage import Candidate
from keras_session_ext.run.script_settings import cause, compare, settings_in_use, settle
from keras_session_ext.state.attributes_when_traced import TracedAttributes

#: settings that make another fit of it, beside those of the optimizer
_OF_THE_FIT = (
    "model", "loss", "data.source", "data.batch_size", "data.samples", "data.steps_per_epoch", "data.shuffle",
)
#: kinds that the begin of an epoch disturbs
_DISTURBED = ("variables", "optimizer", "objects", "callbacks", "loop")


class Resume:
    """The restoring half of a session, for one stage.

    Args:
        candidate: the checkpoint, or None for a fresh start.
        run: the live run.
        tell: prints a line for the user.
        stop_is_final: whether a stage that a callback has stopped is finished, as long as `epochs` is what it was.

    Attributes:
        report: the `ResumeReport`.
        within_epoch: whether the epoch's state has still to come back.
        traced: the attributes that steps were traced with, once restored.
    """

    def __init__(self, candidate: Optional[Candidate], run: state.Run, tell: Callable[[str], None],
                 stop_is_final: bool):
        self._stop_is_final = stop_is_final
        self._candidate = candidate
        self._run = run
        self._tell = tell
        self._states: Dict[str, Any] = {} if candidate is None else dict(candidate.states)
        if candidate is not None and "data" not in self._states:
            raise StateMismatch("The checkpoint {} was saved outside fit, and knows of no epoch to go on with. Call "
                                "restore_session(model, path) before fit.".format(candidate.info.path))
        if candidate is not None and (state.loop_variables.NAME in self._states) != (run.loop is not None):
            raise StateMismatch(
                "Stage {} of the run was {}, and is {} now. The fits and loops of a run must come in the same order at "
                "every start: undo the change, or start in a new directory (or with restore='never'). The checkpoint: "
                "{}".format(candidate.info.progress.stage, *(("a fit", "a loop") if run.loop is not None else (
                    "a loop", "a fit")), candidate.info.path))
        self._states.setdefault(state.model_objects.NAME, state.model_objects.NOTHING)
        self.traced: Optional[TracedAttributes] = None
        self._random: Any = None  # comes back once the data is in place
        self.within_epoch = False
        self.report = ResumeReport()
        if candidate is not None:
            self.report = ResumeReport(candidate.info.id, candidate.info.progress)
        run.report = self.report

    @property
    def candidate(self) -> Candidate:
        """What is restored, as long as something is left to restore."""
        assert self._candidate is not None
        return self._candidate

    def before_train_begin(self) -> None:
        """Before any peer's `on_train_begin`."""
        if self._candidate is not None:
            state.callbacks.before_train_begin(self._states["callbacks"], self._run)

    def meet(self) -> List[Dict[str, Any]]:
        """Where the run will stand, and which Keras the checkpoint is of; nothing is restored yet.

        Returns:
            What the checkpoint says of its optimizers, for `Family.build`, which
            makes the variables that are to be restored.
        """
        run, candidate = self._run, self.candidate
        run.progress, run.epoch_over = candidate.info.progress, bool(self._states["data"]["epoch_over"])
        run.meet(candidate.fields["versions"])
        if not run.foreign:
            state.model_objects.before_build(self._states["objects"], run)
        return state.optimizer.tables(self._states["optimizer"], run)

    def restore(self, script: Dict[str, Any], epochs: int) -> int:
        """Checks everything, then restores everything.

        Args:
            script: the settings of this start, as of `describe_script`.
            epochs: how many this stage is to have.

        Returns:
            The epoch to begin with; all of them where nothing is left to train.

        Raises:
            StateMismatch: the checkpoint does not fit; nothing was changed.
        """
        run, states, candidate = self._run, self._states, self.candidate
        if run.foreign:
            self._begin_epoch_anew()
        self.report.changes = compare(candidate.fields["script"], script, strictly=not run.foreign)
        told = {change.split(": ")[0] for change in self.report.changes}  # with both values
        self.report.changes += [change for change in state.callbacks.changes(states["callbacks"], run)
                                if change.split(": ")[0] not in told]
        self._check(script)
        run.stopped = bool(candidate.fields["stopped"])
        over = candidate.info.finished and candidate.info.progress.epoch >= epochs
        if candidate.info.finished and run.stopped and not over:
            more = epochs > candidate.fields["epochs"] and not self._stopped_early()
            over = self._stop_is_final and not more
            if not over:
                self._go_on_after_stop()
        if over:
            self._check_same_fit(script)
            state.data.pass_over(states["data"], run)
        state.model_objects.begin_again(run.objects_script, run)  # as they were before the model was built
        self.traced = TracedAttributes(states["objects"], run)
        for kind in state.kinds_of(run):
            if kind.NAME in self.report.kinds:
                continue  # told already why it is not restored
            with self._naming(kind.NAME):
                kind.restore(states[kind.NAME], run)
            self.report.kinds[kind.NAME] = "restored"
        if run.foreign:
            self.traced = None  # nothing of it is of this Keras
            with self._naming("optimizer"):
                cross(states, run, self.report)
        else:
            self.traced.restored()
            self._settle_settings(script)
        for reason in candidate.fields["reasons"]:
            self.report.because(reason)
        self._tell_missing("callbacks", state.callbacks.missing(states["callbacks"]))
        self._tell_missing("objects", states["objects"]["missing"])
        if run.loop is not None:
            self._tell_unlike_loop()
        return self._start_epoch(epochs, over)

    @contextlib.contextmanager
    def _naming(self, kind: str) -> Iterator[None]:
        """Names the file in what goes wrong while a state kind is restored."""
        try:
            yield
        except SessionError:
            raise
        except Exception as error:  # of a user's set_state, or of an engine that refuses what the file says
            raise StateMismatch("The checkpoint {} cannot be restored: its {} could not be put back ({}: {}).".format(
                self.candidate.info.path, kind, type(error).__name__, error),
                advice="Correct what the error names, or pass restore=<the id of an older checkpoint>; "
                       "`keras-session ls` lists them.") from error

    def _begin_epoch_anew(self) -> None:
        """Another engine draws other numbers: neither random state nor a place in the data mean anything on it."""
        run, progress = self._run, self.candidate.info.progress
        where = run.foreign
        self.report.kinds.update(random="not restored: it is of " + where, data="not restored: the epoch begins anew")
        self.report.kinds["optimizer"] = "carried over from " + where
        if any(self._states["objects"][name] for name in ("values", "own", "buffers")):
            self.report.because("what the model's objects keep outside of variables is not carried over")
        self.report.kinds["objects"] = "not restored: it is of " + where
        self._states["callbacks"] = state.callbacks.by_class(self._states["callbacks"], run)
        self.report.because("the checkpoint was taken on {}, which computes differently".format(where))
        if not progress.batch and not run.epoch_over:
            self.report.kinds["data"] = "the next epoch begins"
        else:
            self.report.because("{} batches of epoch {} are trained on a second time".format(
                progress.batch, progress.epoch))
        run.epoch_over = False
        run.progress = self.report.progress = progress._replace(batch=0, step=progress.step - progress.batch)

    def _settle_settings(self, script: Dict[str, Any]) -> None:
        then = self.candidate.fields["script"]
        plain = compare(then, script)
        changes, reasons = settle(then, script, settings_in_use(self._run))
        self.report.changes = changes + [change for change in self.report.changes if change not in plain]
        for reason in reasons:
            self.report.because(reason)

    def _check(self, script: Dict[str, Any]) -> None:
        problems = [problem for kind in state.kinds_of(self._run) if kind.NAME not in self.report.kinds
                    for problem in kind.check(self._states[kind.NAME], self._run)]
        if problems:
            changes = ["Changed since then:"] + ["  - " + change for change in self.report.changes]
            if any("trainable" in values for values in self._states["objects"]["values"].values()):
                changes.append("The training itself had changed which layers are trainable, and may have compiled the "
                               "model again for it. Do both before fit, as they were when the checkpoint was taken.")
            raise StateMismatch(
                "This script does not fit its checkpoint: {}\nThe checkpoint: {}".format(
                    cause(self.candidate.fields["script"], script, problems), self.candidate.info.path), problems,
                "\n".join((changes if len(changes) > 1 else []) + [
                    "Undo the change, or start in a new directory (or with restore='never')."]))

    def _tell_unlike_loop(self) -> None:
        told = self._states[state.loop_variables.NAME]
        self._tell_missing(state.loop_variables.NAME, told["missing"])
        changes, reasons = state.loop_variables.unlike(told, self._run)
        self.report.changes += changes
        for reason in reasons:
            self.report.because(reason)

    def _tell_missing(self, kind: str, missing: List[str]) -> None:
        if missing:
            self.report.kinds[kind] = "restored, but not captured: " + ", ".join(missing)
        for name in missing:
            self.report.because("{} cannot be captured; keep plain values, or offer get_state and set_state".format(
                name))

    def _stopped_early(self) -> bool:
        """Whether it was EarlyStopping that had stopped the training: more epochs are no reason to go on."""
        return any(key.split(" ")[0].endswith(".EarlyStopping") and (saved.get("values") or {}).get("stopped_epoch")
                   for key, saved in self._states.get("callbacks", {}).items())

    def _go_on_after_stop(self) -> None:
        """A callback had stopped the training, and it is to go on: with the next epoch."""
        run, progress = self._run, self.candidate.info.progress
        run.stopped = False
        self.report.changes.append("stop_training: set by a callback at the checkpoint; training goes on")
        described = self._states["data"]["describe"]
        batches = described.get("steps_per_epoch") or described.get("batches")
        if progress.stage or not batches or progress.step != progress.epoch * batches:
            self.report.because("a callback had stopped the training, as far as is known in the middle of an epoch; "
                                "stop it in on_epoch_end")

    def _check_same_fit(self, script: Dict[str, Any]) -> None:
        """A finished stage is not trained again, so this call must be the one that made it.

        Where a script leaves out a fit that it made at an earlier start, the next one takes its place.
        """
        then = self.candidate.fields["script"]
        common = [name for name in then if name in script and (name.startswith("optimizer") or name in _OF_THE_FIT)]
        problems = compare({name: then[name] for name in common}, {name: script[name] for name in common})
        if problems and not self._run.foreign:
            raise StateMismatch(
                "This is the fit number {} of the run, which has finished with other settings and is not trained "
                "again:".format(self.candidate.info.progress.stage), problems,
                "Undo the change, or start in a new directory (or with restore='never'). If the script has left out a "
                "fit that it made before: the fits of a run must come in the same order at every start.")

    def _start_epoch(self, epochs: int, over: bool) -> int:
        run, progress = self._run, self.candidate.info.progress
        if over:
            self.report.kinds["data"] = "finished: nothing is left to train. To go on, {}; to begin anew, pass " \
                "restore='never', or name another directory".format(
                    "pass stop_is_final=False" if run.stopped else "raise `epochs`")
            return max(epochs, progress.epoch)
        if run.mid_epoch:
            self.within_epoch = True
            self._random = self._states["random"]
        if run.feed.replays:
            self.report.kinds["data"] = "replayed: {} batches are drawn again and dropped".format(run.feed.replays)
        return progress.epoch

    @property
    def created(self) -> float:
        """When the checkpoint was taken, in seconds since the epoch."""
        return float(self.candidate.info.created)

    @property
    def policies(self) -> Dict[str, Any]:
        """The state of the save policies."""
        policies: Dict[str, Any] = self.candidate.fields["policies"]
        return policies

    # -- while the first epoch begins

    def epoch_starts(self) -> None:
        """Keras asks for the epoch's batches; every `on_epoch_begin` is over."""
        if self.within_epoch:
            self.apply()
            state.data.restore_source(self._states["data"], self._run)
        elif self._run.feed.resuming:
            self._random = self._run.family.random_state(self._run.model)  # peers may have drawn in `on_epoch_begin`

    def apply(self) -> None:
        """Restores what the begin of an epoch, or a step that must not train, has disturbed."""
        for kind in state.kinds_of(self._run):
            if kind.NAME in _DISTURBED:
                kind.restore(self._states[kind.NAME], self._run)

    def replayed(self) -> None:
        """The dropped batches were drawn, and the next one is not yet."""
        if self._run.feed.resets_metrics_late and self.within_epoch:
            self.apply()

    def settle(self) -> bool:
        """The random state comes back, and nothing is left to restore; within an epoch at the hook it was captured in.

        Returns:
            Whether there was something to settle: the report is final now.
        """
        if self._random is None:
            self._candidate, self._states = None, {}  # the memory goes
            return False
        run, random, told = self._run, self._random, len(self.report.reasons)
        self._random, self.within_epoch = None, False
        state.random.settle(random, run)
        if run.feed.verified is False:
            self.report.because("the {} did not repeat its batches; {}".format(run.feed.source, state.data.SEED_IT))
        if run.epoch_over:
            run.stopping = bool(self.candidate.fields["stopped"])
        self._candidate, self._states = None, {}
        if len(self.report.reasons) > told:
            self._tell("Session: exact: no, because " + "; ".join(self.report.reasons[told:]))
        return True

    @property
    def epoch_logs(self) -> Dict[str, Any]:
        """The logs of the epoch that was being validated."""
        logs: Dict[str, Any] = self._states["data"]["epoch_logs"]
        return logs


def cross(states: Dict[str, Any], run: state.Run, report: ResumeReport) -> None:
    """Carries the optimizers over from another Keras, behind the weights; the report says what was lost."""
    plan = state.variables.plan(states["variables"], run)
    notes = state.optimizer.cross(states["optimizer"], dict(plan.moves), run)
    report.kinds["variables"] = "restored by layer, from " + run.foreign + "".join("; " + one for one in plan.notes)
    report.kinds["optimizer"] = "carried over from " + run.foreign + "".join("; " + one for one in notes)
    for note in plan.notes + notes:
        report.because(note)


def restore_weights(candidate: Candidate, run: state.Run) -> None:
    """The variables and what layers keep beside them, for `evaluate` and `predict` on their own."""
    run.meet(candidate.fields["versions"])
    states = candidate.states
    problems = state.variables.check(states["variables"], run)
    if problems:
        raise StateMismatch("The checkpoint {} is of another model:".format(candidate.info.path), problems)
    state.variables.restore(states["variables"], run)
    if not run.foreign:
        state.model_objects.restore(states.get("objects", state.model_objects.NOTHING), run)
