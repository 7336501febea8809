"""Loops of the script's own made resumable: the words that a user writes; no work is done here."""

import contextlib
import itertools
import operator
import os
from types import TracebackType
from typing import Any, Dict, Iterator, List, Optional, Type

from keras_session_ext import backend, urls
from keras_session_ext.arguments import (
    LocalPath,
    OnError,
    PathOrUrl,
    check_keywords,
    choice,
    flag,
    local_path,
    path_or_url,
    store_url,
)
from keras_session_ext.backend.feeds import followed_data
from keras_session_ext.backend.hooks import frame_scopes
from keras_session_ext.errors import ConfigError
from keras_session_ext.policies.keep import KeepLast, KeepPolicy
from keras_session_ext.policies.save import EveryEpochs, EverySeconds, OnSignal, PolicyLike, SavePolicy
from keras_session_ext.progress import CheckpointInfo, Progress, ResumeReport
from keras_session_ext.run.loop import LoopDriver
from keras_session_ext.run.loop_feed import Level
from keras_session_ext.run.loop_watch import LoopWatch
from keras_session_ext.run.session import Session


class _Asked(SavePolicy):
    """When the script has called `loop.save()`."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        asked, self.asked = self.asked, False
        return asked

    def __repr__(self) -> str:
        return "loop.save()"


class SessionLoop:
    """Makes a training loop of one's own resumable, as `SessionCheckpoint` does a fit.

    It stands where `range(…)` and the dataset stood. What the rest of the run
    reads of the loop's variables is found by itself: models, optimizers, metrics,
    tensors, numbers, lists, objects of the script's own classes. What cannot be
    captured is named. Saved is where a `for` asks for its next item.

    Args:
        directory: where the run lives, as of `SessionCheckpoint`.
        save: when to save, as of `SessionCheckpoint`: an epoch is an iteration of `epochs`, a step one of an innermost
            loop.
        keep: what to keep, as of `SessionCheckpoint`.
        restore: as of `SessionCheckpoint`.
        background: write behind training; otherwise training waits.
        on_error: "warn" a failed save is told and training goes on; "raise".
        verbose: 0 prints nothing, 1 what was found and the resume report.
        group: let the group of the files read and write, too.
        model: whose weights plain Keras finds in the file. Default: the first that the variables lead to.
        state: what no variable of the loop leads to, or what offers `get_state` and `set_state` for something that
            cannot be captured: name -> object. Plain values are put back into this dict.
        watch: look at the variables of the functions that the loop stands in; False: only at `state`.
        session: of TensorFlow 1: the `tf.Session`, or monitored session, that the loop runs. Default: the one that its
            variables lead to, the default one, or Keras's.
        stateless: on JAX, the name of the variable that holds (trainable, non_trainable, …) of `model`. Default: found
            by its shapes.
        log_dir: where TensorBoard's Session tab finds the run, as `SessionLogger(log_dir)`.
        staging: as of `SessionCheckpoint`.
        mirror: as of `SessionCheckpoint`.

    Attributes:
        progress: how far the run has come.
        history: what was logged, metric -> values.
        checkpoints: `CheckpointInfo` of every checkpoint this object saved, oldest first.
        resume_report: the last `ResumeReport`.

    Raises:
        ConfigError: an argument cannot be used.
        UnsupportedBackend: no supported Keras.

    Examples:
        >>> import tempfile
        >>> import keras_session_ext as kse
        >>> loop = kse.SessionLoop(tempfile.mkdtemp(), verbose=0)
        >>> total = 0
        >>> for epoch in loop.epochs(2):
        ...     for number in loop.batches([1, 2, 3]):
        ...         total += number
        >>> total, loop.progress.step
        (12, 6)
    """

    ELSEWHERE = {**dict.fromkeys(("checkpoint_dir", "path", "folder", "logdir"), "say `directory=`, a folder"),
                 **dict.fromkeys(("objects", "register", "named"), "say `state={'name': object}`")}

    def __new__(cls, *args: Any, **kwargs: Any) -> "SessionLoop":
        check_keywords(cls, kwargs, cls.ELSEWHERE)
        return object.__new__(cls)

    def __init__(self, directory: PathOrUrl, save: Optional[PolicyLike] = None, keep: Optional[KeepPolicy] = None,
                 restore: PathOrUrl = "auto", background: bool = True, on_error: OnError = "warn", verbose: int = 1,
                 group: bool = False, model: Any = None, state: Optional[Dict[str, Any]] = None, watch: bool = True,
                 session: Any = None, stateless: Optional[str] = None, log_dir: Optional[PathOrUrl] = None,
                 staging: Optional[LocalPath] = None, mirror: Optional[PathOrUrl] = None):
        if not isinstance(state, (dict, type(None))) or any(not isinstance(name, str) for name in state or ()):
            raise ConfigError("Invalid value for argument `state`. Expected a dict of objects by name. Received: "
                              "{!r}".format(state))
        family = backend.choose(model)
        self._asked = _Asked()
        policy = EveryEpochs(1) | EverySeconds(300) | OnSignal() if save is None else save
        self._session = Session(
            path_or_url(directory, "directory"), policy | self._asked, KeepLast(3) if keep is None else keep, restore,
            flag("background", background), choice("on_error", on_error, ("warn", "raise")),
            choice("verbose", verbose, (0, 1)), flag("group", group), True, True,
            None if staging is None else local_path(staging, "staging"),
            None if mirror is None else store_url(mirror, "mirror"), family,
            lambda frame: self._driver.is_running(frame))
        self._driver = LoopDriver(self._session, LoopWatch(
            self._session, model, {} if state is None else state, flag("watch", watch), stateless, session))
        self._iterators = 0
        if log_dir is not None:
            self._show(path_or_url(log_dir, "log_dir"))

    def _show(self, log_dir: str) -> None:
        from keras_session_ext.tensorboard.event_writer import EventWriter

        self._session.record.add_sink(EventWriter(log_dir if urls.is_url(log_dir) else os.path.abspath(log_dir)))

    # -- the words

    def epochs(self, source: Any = None) -> "LevelLoop":
        """The outer loop; `progress.epoch` counts its iterations.

        Args:
            source: a number, something to iterate over, or nothing: without end, in the place of `while True`.

        Returns:
            What `for` iterates over.

        Raises:
            ConfigError: the source hides what it reads.

        Examples:
            >>> import tempfile
            >>> import keras_session_ext as kse
            >>> for epoch in kse.SessionLoop(tempfile.mkdtemp(), verbose=0).epochs(2):
            ...     print(epoch)
            0
            1
        """
        if source is None:
            return LevelLoop(self._driver, "epochs", itertools.count(), None)
        return self._loop("epochs", _counted(source), None)

    def batches(self, source: Any) -> "LevelLoop":
        """An inner loop, or the only one; `progress.batch` counts its iterations.

        Args:
            source: a dataset, a DataLoader, a range, a list, a generator…, or a number.

        Returns:
            What `for` iterates over.

        Raises:
            ConfigError: the source hides what it reads, such as `enumerate(dataset)`.
        """
        return self._loop("batches", _counted(source), None)

    def enumerate(self, source: Any, start: int = 0) -> "LevelLoop":
        """As `enumerate(source)`, with the right number after a resume.

        Args:
            source: as of `batches`.
            start: the first number.

        Returns:
            What `for` iterates over.

        Raises:
            ConfigError: the source hides what it reads.
        """
        return self._loop("enumerate", source, start)

    def _loop(self, word: str, source: Any, start: Optional[int]) -> "LevelLoop":
        followed_data.check(source, word)
        return LevelLoop(self._driver, word, source, start)

    def iterator(self, source: Any) -> Iterator[Any]:
        """An iterator for `next()`: what is drawn from it is counted, and a resume draws it again.

        Args:
            source: as of `batches`.

        Returns:
            The iterator.

        Raises:
            ConfigError: the source hides what it reads.
        """
        followed_data.check(source, "iterator")
        return self._driver.iterator(source)

    def log(self, **metrics: Any) -> None:
        """Tells numbers of the iteration that runs: to the policies, the history, the journal and TensorBoard.

        Args:
            metrics: numbers, or tensors with one.
        """
        self._driver.log(metrics)

    def save(self) -> None:
        """Saves at the next place where that can be done: when a loop asks for its next item."""
        self._asked.asked = True

    def finish(self) -> None:
        """Says right behind a loop that was left by `break` that it is over: it is not trained again."""
        self._driver.finish()

    def __enter__(self) -> "SessionLoop":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        if kind is None:
            self._driver.finish()
        else:
            self._driver.give_up()

    # -- what there is

    @property
    def progress(self) -> Progress:
        return self._session.run.progress if self._session.has_run else Progress()

    @property
    def history(self) -> Dict[str, List[float]]:
        found: Dict[str, List[float]] = self._driver.history.history
        return found

    @property
    def checkpoints(self) -> List[CheckpointInfo]:
        return list(self._session.saves.done)

    @property
    def resume_report(self) -> ResumeReport:
        return self._session.run.report if self._session.has_run else ResumeReport()


def _counted(source: Any) -> Any:
    """A range, where a number is given, NumPy's among them."""
    if isinstance(source, int) or getattr(source, "shape", None) == ():
        with contextlib.suppress(TypeError):  # of a number that is no whole one: that is refused
            return range(operator.index(source))
    return source


class LevelLoop:
    """What a `for` iterates over, once.

    Args:
        driver: is told.
        word: how the script has called it.
        source: what it iterates over.
        start: the first number, where it counts.
    """

    def __init__(self, driver: LoopDriver, word: str, source: Any, start: Optional[int]):
        self._driver, self._word, self._source, self._start = driver, word, source, start
        self._is_open = False

    def __iter__(self) -> "_LevelIterator":
        if self._is_open:
            raise ConfigError("One loop.{0}(…) was iterated over twice. Write loop.{0}(…) anew for each `for`.".format(
                self._word))
        self._is_open = True
        frame = frame_scopes.frame_of_script(frame_scopes.caller())
        assert frame is not None
        level = Level(self._word, frame_scopes.frames_around(frame), self._driver.data_of(self._source))
        epochs = len(self) if self._word == "epochs" and hasattr(self._source, "__len__") else 0
        return _LevelIterator(self._driver, level, epochs if self._word == "epochs" else 1, self._start)

    def __len__(self) -> int:
        return len(self._source)


class _LevelIterator:
    """Asks the driver for each item; tells it when the `for` lets go."""

    def __init__(self, driver: LoopDriver, level: Level, epochs: int, start: Optional[int]):
        self._driver, self._level, self._epochs, self._start = driver, level, epochs, start
        self._state = "new"

    def __iter__(self) -> "_LevelIterator":
        return self

    def __next__(self) -> Any:
        if self._state == "new":
            self._state = "over"  # also where what follows raises
            self._driver.check_wrapped(self, self._level)
            if not self._driver.open(self._level, self._epochs):
                raise StopIteration
            self._state = "open"
        if self._state == "over":
            raise StopIteration
        item = self._driver.step(self._level)
        return item if self._start is None else (self._start + self._level.index, item)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # of an interpreter that ends
            self._driver.left(self._level)


