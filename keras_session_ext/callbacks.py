"""Keras's hooks, handed on to the session; no work is done here."""

import copy
import logging
import os
from typing import Any, Dict, List, Optional

from keras_session_ext import backend, files, urls
from keras_session_ext.arguments import LocalPath, OnError, PathOrUrl, choice, flag, local_path, path_or_url, store_url
from keras_session_ext.backend.tf1_session.shim import observe
from keras_session_ext.errors import ConfigError
from keras_session_ext.first_and_last_callbacks import First, Last, Passing
from keras_session_ext.keras_callback_class import Bound, callback_class_of
from keras_session_ext.lifecycle import journal
from keras_session_ext.lifecycle.curves import logged
from keras_session_ext.lifecycle.record import Record, place
from keras_session_ext.policies.keep import KeepLast, KeepPolicy
from keras_session_ext.policies.save import EveryEpochs, EverySeconds, OnSignal, PolicyLike
from keras_session_ext.progress import CheckpointInfo, Progress, ResumeReport
from keras_session_ext.remote_copies import folder_for
from keras_session_ext.run.copies import directory_of_copy
from keras_session_ext.run.fit import FitDriver
from keras_session_ext.run.session import Session

logger = logging.getLogger("keras_session_ext")


class SessionCheckpoint(Bound):
    """Makes a training resumable: saves the session on a policy, restores it when the script is started again.

    The session is everything that determines the rest of the run: variables,
    optimizer, random state, the place in the data, the other callbacks' state,
    history. The place of this callback in the list does not matter.

    Args:
        directory: where the run lives: a folder, or the URL of one in a store, such as "s3://bucket/run"; made if it is
            missing. One run at a time.
        save: when to save; policies joined with `|`, or a function
            `(progress, logs) -> bool`. Default: every epoch, every five minutes,
            and on SIGTERM.
        keep: what to keep. Default: the last three.
        restore: "auto" the newest valid checkpoint, or a fresh start; "must" the
            same, but nothing there is an error; "never" a fresh start; or a
            checkpoint's id or path, "best" or "best:val_loss": a branch begins
            there, and later starts of the script follow it.
        background: write behind training; otherwise training waits.
        on_error: "warn" a failed save is told and training goes on; "raise".
        verbose: 0 prints nothing, 1 the resume report.
        group: let the group of the files read and write, too (mode 0660, not 0600).
        witness: note what each step gave, and compare the steps that a resume trains again: the report says
            `witnessed`, or which step differs first.
        stop_is_final: a fit that a callback has stopped (`stop_training`, such as a time limit) is finished, and
            later starts train no more, unless `epochs` has grown and it was not EarlyStopping; False: the next start
            goes on, whoever has stopped it.
        staging: where files wait on this machine until a store behind a URL has them: a folder, or "memory". Default: a
            private one where this machine keeps temporary files. A start of the script on the same machine sends what
            the process before could not.
        mirror: the URL of a second copy, such as "s3://bucket/run", for a folder on a disk that may not survive: a save
            is durable in the folder, and soon after in the mirror (the event `checkpoint_mirrored`). A start goes on
            from the newest of both, on an empty disk from the mirror.

    Attributes:
        resume_report: the last `ResumeReport`.
        checkpoints: `CheckpointInfo` of every checkpoint this object saved, oldest first.
        progress: where the training stands, a `Progress`: in `on_train_batch_end` the batches before this one.
        trains_again: in another callback's `on_train_batch_end` and `on_epoch_end`, whether the process before had come
            here already, and has told a tracker of it. By the witness's notes: never true with `witness=False`.

    Raises:
        ConfigError: an argument cannot be used.
        UnsupportedBackend: no supported Keras.

    Examples:
        >>> import keras_session_ext as kse
        >>> callback = kse.SessionCheckpoint(
        ...     "runs/a", save=kse.EveryEpochs(1) | kse.EverySteps(500), keep=kse.KeepLast(2))
        >>> # model.fit(x, y, epochs=20, callbacks=[callback])
    """

    ELSEWHERE = {
        **dict.fromkeys(("backup_dir", "filepath", "checkpoint_dir", "dirpath", "path", "folder"),
                        "say `directory=`, a folder"),
        **dict.fromkeys(("save_freq", "period", "save_interval", "every_n_epochs", "every_n_train_steps"),
                        "say `save=EverySteps(100)`, or `save=EveryEpochs(1)` for 'epoch'"),
        **dict.fromkeys(("max_to_keep", "save_top_k", "save_last", "delete_checkpoint", "double_checkpoint"),
                        "say `keep=KeepLast(3)`"),
        **dict.fromkeys(("monitor", "save_best_only", "mode", "initial_value_threshold"),
                        "say `save=OnBest('val_loss')` and `keep=KeepBest(1, 'val_loss')`"),
        "save_weights_only": "a checkpoint holds all that the run needs, and plain Keras opens it",
        **dict.fromkeys(("resume", "load_weights_on_restart"), "say `restore='auto'`, which is the default"),
        "asynchronous": "say `background=`", "async_save": "say `background=`"}

    def __init__(self, directory: PathOrUrl, save: Optional[PolicyLike] = None, keep: Optional[KeepPolicy] = None,
                 restore: PathOrUrl = "auto", background: bool = True, on_error: OnError = "warn", verbose: int = 1,
                 group: bool = False, witness: bool = True, stop_is_final: bool = True,
                 staging: Optional[LocalPath] = None, mirror: Optional[PathOrUrl] = None):
        super().__init__()
        if save is None:
            save = EveryEpochs(1) | EverySeconds(300) | OnSignal()
        self._settings: Dict[str, Any] = {
            "directory": path_or_url(directory, "directory"), "save": save,
            "keep": KeepLast(3) if keep is None else keep, "restore": restore,
            "background": flag("background", background), "on_error": choice("on_error", on_error, ("warn", "raise")),
            "verbose": choice("verbose", verbose, (0, 1)), "group": flag("group", group),
            "witness": flag("witness", witness), "stop_is_final": flag("stop_is_final", stop_is_final),
            "staging": None if staging is None else local_path(staging, "staging"),
            "mirror": None if mirror is None else store_url(mirror, "mirror")}
        self._is_copy = False
        self._make_session(self._settings["directory"], self._settings["mirror"])

    def _make_session(self, directory: str, mirror: Optional[str]) -> None:
        self._session = Session(family=self._family, is_running=lambda frame: self._session.family.fit_running(frame),
                                **dict(self._settings, directory=directory, mirror=mirror))
        self._driver = FitDriver(self._session)
        self._make_inner()

    def __deepcopy__(self, memo: Dict[int, Any]) -> "SessionCheckpoint":
        """For a search, which copies its callbacks for every trial: each trains in a directory of its own below this.

        Raises:
            ConfigError: a fit has begun.
        """
        made = SessionCheckpoint(**dict(self._unused("copied"), save=copy.deepcopy(self._settings["save"]),
                                        keep=copy.deepcopy(self._settings["keep"])))
        made._is_copy = True
        return made

    def __reduce__(self) -> Any:
        """Pickled before a fit has begun, such as for another process, it is the same callback there.

        Raises:
            ConfigError: a fit has begun.
        """
        return _unpickled, ("SessionCheckpoint", self._unused("pickled"))

    def _unused(self, what: str) -> Dict[str, Any]:
        if self._session.has_run:
            raise ConfigError(
                "This SessionCheckpoint for {} cannot be {}: a fit with it has begun, and its run can live in one "
                "object only. Make a new one, or do it before fit.".format(self._settings["directory"], what))
        return self._settings

    def _make_inner(self) -> None:
        kinds = (First, Passing, Last)
        inner = [callback_class_of(kind, self._session.family.callback_class)() for kind in kinds]
        for one in inner:
            one.driver = self._driver
        self._first, self._passing, self._last = inner

    @property
    def resume_report(self) -> ResumeReport:
        return self._session.run.report if self._session.has_run else ResumeReport()

    @property
    def checkpoints(self) -> List[CheckpointInfo]:
        return list(self._session.saves.done)

    @property
    def progress(self) -> Progress:
        return self._session.run.progress if self._session.has_run else Progress()

    @property
    def trains_again(self) -> bool:
        return self._session.witness.repeats

    def give_up(self) -> None:
        """After a `fit` that raised: the script goes on without it, and its next fit is another stage.

        Otherwise a fit with the same callback is the same stage, tried again.

        Examples:
            >>> import keras_session_ext as kse
            >>> checkpoint = kse.SessionCheckpoint("runs/search")
            >>> for trial in []:
            ...     try:
            ...         model.fit(x, y, callbacks=[checkpoint])
            ...     except TrialPruned:
            ...         checkpoint.give_up()
        """
        self._driver.give_up()

    def set_model(self, model: Any) -> None:
        if self._follow(model):
            self._session.family = self._family
            self._make_inner()
        super().set_model(model)  # type: ignore[misc]
        callback_list = self._session.family.callback_list(self)
        if callback_list is None or self._first in callback_list.callbacks:
            return
        if self._is_copy and not self._session.has_run:
            directory = directory_of_copy(self._settings["directory"], callback_list.callbacks)
            mirror = self._settings["mirror"]
            self._make_session(directory, mirror and urls.join(mirror, os.path.basename(directory)))
        peers = [peer for peer in callback_list.callbacks if peer is not self and not isinstance(peer, SessionLogger)]
        if any(isinstance(peer, SessionCheckpoint) for peer in peers):
            raise ConfigError(
                "Two SessionCheckpoint callbacks stand in one list; each would restore what the other trains. Keep "
                "one; to save on several occasions join policies with `|`.")
        self._driver.attach(model, peers, lambda active: self._silence(callback_list, active))
        # a new list: Keras is walking over the old one right now
        callback_list.callbacks = [self._first] + callback_list.callbacks + [self._last]
        for inner in (self._first, self._passing, self._last):
            inner.set_model(model)
            inner.set_params(callback_list.params if hasattr(callback_list, "params") else None)

    def _silence(self, callback_list: Any, active: bool) -> None:
        """Takes the peers out of the list for a step that must not reach them, and back."""
        self._session.family.flush(callback_list)
        if active:
            self._all = callback_list.callbacks
            callback_list.callbacks = [self._first, self._passing, self._last]
        else:
            callback_list.callbacks = self._all


def _unpickled(name: str, settings: Dict[str, Any]) -> Any:
    """Makes a callback anew: its class is made for the Keras in use."""
    return {"SessionCheckpoint": SessionCheckpoint, "SessionLogger": SessionLogger}[name](**settings)


class SessionLogger(Bound):
    """Shows the life of a run in TensorBoard: every process, fit, evaluation, checkpoint, restore and failure.

    Beside a `SessionCheckpoint` in the same list, at any place, it shows all of
    that. Alone it shows the phases, and keeps its journal in `log_dir`. It
    writes without TensorFlow, on every engine. A folder that cannot be written is told
    once, and training goes on.

    Args:
        log_dir: what `tensorboard --logdir` is given, or a folder below it; made if it is missing. Of a URL such as
            "s3://bucket/run/tensorboard" the file is written here, and copied there every minute and where much has
            happened; TensorBoard reads it there, as docs/stores.md says.

    Raises:
        ConfigError: `log_dir` is no path.
        UnsupportedBackend: no supported Keras.

    Examples:
        >>> import keras_session_ext as kse
        >>> callbacks = [kse.SessionCheckpoint("runs/a"), kse.SessionLogger("runs/a/tensorboard")]
        >>> # model.fit(x, y, epochs=20, callbacks=callbacks)
    """

    def __init__(self, log_dir: PathOrUrl):
        self._log_dir = path_or_url(log_dir, "log_dir")
        if not urls.is_url(self._log_dir):
            self._log_dir = os.path.abspath(self._log_dir)
        super().__init__()
        self._writer: Any = None
        self._record: Any = None  # of its own, where no SessionCheckpoint keeps one
        self._alone = True
        self._progress = Progress(stage=-1)
        self._epoch_step = 0
        self._is_copy = False

    def __deepcopy__(self, memo: Dict[int, Any]) -> "SessionLogger":
        """For a search: each copy writes below this one's folder."""
        made = SessionLogger(self._log_dir)
        made._is_copy = True
        return made

    def __reduce__(self) -> Any:
        """Pickled, such as for another process, it writes to the same folder there."""
        return _unpickled, ("SessionLogger", {"log_dir": self._log_dir})

    def set_model(self, model: Any) -> None:
        self._follow(model)
        super().set_model(model)  # type: ignore[misc]
        callback_list = self._family.callback_list(self)
        if self._is_copy and self._writer is None and callback_list is not None:
            self._log_dir = directory_of_copy(self._log_dir, callback_list.callbacks)
        beside = [one for one in getattr(callback_list, "callbacks", ()) if isinstance(one, SessionCheckpoint)]
        self._alone = not beside
        record = beside[0]._session.record if beside else self._own_record()
        if self._writer is None:
            self._writer = self._make_writer()
        if self._writer is not None:
            record.add_sink(self._writer)
        if self._alone:
            record.attend()
            observe(model)

    def _own_record(self) -> Record:
        if self._record is None:
            self._record = Record(lambda: backend.choose().describe())
        return self._record

    def _make_writer(self) -> Any:
        try:
            from keras_session_ext.tensorboard.event_writer import EventWriter
        except ImportError as error:
            logger.warning("SessionLogger cannot write for TensorBoard: %s. Install tensorboard; training goes on.",
                           error)
            return None
        return EventWriter(self._log_dir)

    def _open(self) -> None:
        folder = folder_for(self._log_dir) if urls.is_url(self._log_dir) else self._log_dir
        try:
            files.make_directory(folder, 0o777)
        except OSError:
            pass  # the record tells it, when it writes
        self._record.open(os.path.join(folder, journal.NAME))

    # -- alone: the hooks that a SessionCheckpoint's session has otherwise

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._open()
            self._progress = Progress(stage=self._progress.stage + 1, step=self._progress.step)
            self._record.fit_started(owned=False, stage=self._progress.stage)

    def on_epoch_begin(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._epoch_step = self._progress.step
            self._move(epoch, 0)
            self._record.emit("epoch_started", **place(self._progress))

    def on_train_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._move(self._progress.epoch, batch)
            self._record.beat(self._progress)

    def on_train_batch_end(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._record.step(self._epoch_step + batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            observe(self.model)  # type: ignore[attr-defined] # fit may have built it
            steps = (getattr(self, "params", None) or {}).get("steps")
            stopped = bool(getattr(getattr(self, "model", None), "stop_training", False))
            self._move(epoch, steps if steps and not stopped else self._progress.batch + 1)
            self._record.emit("epoch_finished", metrics=logged(logs), **place(self._progress))

    def on_train_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._record.fit_finished(**place(self._progress))

    def _move(self, epoch: int, batch: int) -> None:
        self._progress = self._progress._replace(epoch=epoch, batch=batch, step=self._epoch_step + batch)

    def on_test_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._open()
            self._record.evaluate_started(validation=self._record.fitting)

    def on_test_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._record.beat(self._progress)

    def on_test_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._record.evaluate_finished(validation=self._record.fitting, metrics=logged(logs))

    def on_predict_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._open()
            self._record.emit("predict_started")

    def on_predict_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._record.beat(self._progress)

    def on_predict_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        if self._alone:
            self._record.emit("predict_finished")
