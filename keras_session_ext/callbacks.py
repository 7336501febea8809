"""Keras's hooks, handed on to the session; no work is done here."""

from typing import Any, Dict, List

from keras_session_ext import backend
from keras_session_ext.errors import ConfigError
from keras_session_ext.policies.keep import KeepLast
from keras_session_ext.policies.save import EveryEpochs, EverySeconds, OnSignal
from keras_session_ext.progress import CheckpointInfo, ResumeReport
from keras_session_ext.session import Session

_bound: Dict[Any, type] = {}


def _callback_class(base: type, keras_callback: type) -> type:
    """`base` as a real Callback of the Keras in use."""
    key = (base, keras_callback)
    if key not in _bound:
        names = {"__module__": base.__module__, "__doc__": base.__doc__}
        _bound[key] = type(base.__name__, (base, keras_callback), names)
    return _bound[key]


class _First:
    """Stands before all peers: what must happen before any of them is asked."""

    session: Session

    def on_train_begin(self, logs=None):
        self.session.train_begin()

    def on_epoch_begin(self, epoch, logs=None):
        self.session.epoch_begin(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        self.session.train_batch_begin(batch)

    def on_test_begin(self, logs=None):
        self.session.test_begin()

    def on_test_batch_begin(self, batch, logs=None):
        self.session.test_batch_begin()

    def on_predict_begin(self, logs=None):
        self.session.predict_begin()


class _Last:
    """Stands behind all peers, History included: what must happen after each of them had its turn."""

    session: Session

    def on_train_begin(self, logs=None):
        self.session.train_began()

    def on_epoch_end(self, epoch, logs=None):
        self.session.epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        self.session.train_end()


class SessionCheckpoint:
    """Makes a training resumable: saves the session on a policy, restores it when the script is started again.

    The session is everything that determines the rest of the run: variables,
    optimizer, random state, the place in the data, the other callbacks' state,
    history. The place of this callback in the list does not matter.

    Args:
        directory: where the run lives; made if it is missing. One run at a time.
        save: when to save; policies joined with `|`, or a function
            `(progress, logs) -> bool`. Default: every epoch, every five minutes,
            and on SIGTERM.
        keep: what to keep. Default: the last three.
        restore: "auto" the newest valid checkpoint, or a fresh start; "must" the
            same, but nothing there is an error; "never" a fresh start; or a
            checkpoint's id or path: a branch begins there, and later starts of
            the script follow it.
        background: write behind training; otherwise training waits.
        on_error: "warn" a failed save is told and training goes on; "raise".
        verbose: 0 prints nothing, 1 the resume report.
        group: let the group of the files read and write, too (mode 0660, not 0600).

    Attributes:
        resume_report: the last `ResumeReport`.
        checkpoints: `CheckpointInfo` of every checkpoint this object saved, oldest first.

    Raises:
        ConfigError: an argument cannot be used.
        UnsupportedBackend: no supported Keras.

    Example:
        >>> import keras_session_ext as kse
        >>> callback = kse.SessionCheckpoint(
        ...     "runs/a", save=kse.EveryEpochs(1) | kse.EverySteps(500), keep=kse.KeepLast(2))
        >>> # model.fit(x, y, epochs=20, callbacks=[callback])
    """

    def __new__(cls, *args, **kwargs):
        bound = _callback_class(cls, backend.choose().callback_class)
        return object.__new__(bound)

    def __init__(self, directory, save=None, keep=None, restore="auto", background=True, on_error="warn", verbose=1,
                 group=False):
        super().__init__()
        family = backend.choose()
        if save is None:
            save = EveryEpochs(1) | EverySeconds(300) | OnSignal()
        self._session = Session(directory, save, KeepLast(3) if keep is None else keep, restore, background, on_error,
                                verbose, group, family)
        self._first, self._last = (_callback_class(kind, family.callback_class)() for kind in (_First, _Last))
        self._first.session = self._last.session = self._session

    @property
    def resume_report(self) -> ResumeReport:
        return self._session.run.report if self._session.run is not None else ResumeReport()

    @property
    def checkpoints(self) -> List[CheckpointInfo]:
        return list(self._session.saved)

    def set_model(self, model):
        super().set_model(model)  # type: ignore[misc]
        callback_list = self._session.family.callback_list(self)
        if callback_list is None or self._first in callback_list.callbacks:
            return
        peers = [peer for peer in callback_list.callbacks if peer is not self]
        if any(isinstance(peer, SessionCheckpoint) for peer in peers):
            raise ConfigError(
                "Two SessionCheckpoint callbacks stand in one list; each would restore what the other trains. Keep "
                "one; to save on several occasions join policies with `|`.")
        self._session.attach(model, peers)
        # a new list: Keras is walking over the old one right now
        callback_list.callbacks = [self._first] + callback_list.callbacks + [self._last]
        self._session.silence = lambda active: self._silence(callback_list, active)
        for inner in (self._first, self._last):
            inner.set_model(model)
            inner.set_params(callback_list.params if hasattr(callback_list, "params") else None)

    def _silence(self, callback_list: Any, active: bool) -> None:
        """Takes the peers out of the list for a step that must not reach them, and back."""
        if hasattr(callback_list, "_flush_futures"):
            callback_list._flush_futures()
        if active:
            self._all = callback_list.callbacks
            callback_list.callbacks = [self._first, self._last]
        else:
            callback_list.callbacks = self._all
