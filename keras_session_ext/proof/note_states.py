"""Inside the script: notes every state at every step, saves often, and dies when it is told to.

The notes go to a file of lines of JSON that run_differences.py reads:

```
{"at": "step", "place": [stage, epoch, batch], "step": 57, "states": {"variables/…": "9f3a…", …}}
```

A state is a tensor's checksum, or a plain value as text.
"""

import json
import os
import signal
import threading
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Sequence

import numpy as np
import xxhash

from keras_session_ext import files, state
from keras_session_ext.callbacks import SessionCheckpoint
from keras_session_ext.policies.keep import KeepLast
from keras_session_ext.policies.save import SavePolicy
from keras_session_ext.state import plain_values

if TYPE_CHECKING:
    from keras_session_ext.progress import Progress

_TEXT = 80  # of a plain value
_FIRST_SAVE_SECONDS = 60.0  # how long a kill waits for it
#: what its steps are traced with, and when it drew its first batch
_OF_A_PROCESS = ("objects/traced", "objects/script", "objects/missing", "objects/validated", "objects/settled",
                 "data/feed/start/first_draw")


class Trace:
    """Follows one process of the script.

    Args:
        settings: `directory` of the run; `notes`, the file; `every`, steps between two saves; `kill_at`, the step
            at which the process is to die, or 0; `delay`, how far into that step, from 0 to 1.
        tell: tells the supervisor how far the script has come.

    Attributes:
        checkpoint: the `SessionCheckpoint` to add to the script's callbacks.
    """

    def __init__(self, settings: Dict[str, Any], tell: Callable[..., None]):
        self._settings = settings
        self._tell = tell
        self._last_step = time.monotonic()
        self._shortest = float("inf")  # seconds of a step; the first ones compile
        self._steps = 0
        self._doomed = False
        self._last_place: List[Any] = []
        self.checkpoint: Any = self._make(settings["directory"], dict(
            keep=KeepLast(3), on_error="raise", background=settings.get("background", True)))

    def _make(self, directory: str, more: Dict[str, Any]) -> Any:
        return SessionCheckpoint(directory, save=Noting(self), **more)

    @property
    def _run(self) -> state.Run:
        return self.checkpoint._session.run

    def began(self, progress: "Progress") -> None:
        """Everything is in place, and nothing trained."""
        try:
            states = self._states((state.variables, state.optimizer, state.random))
        except Exception:
            return  # a model that its first batch builds
        self._note("begin", progress, states)

    def stepped(self, progress: "Progress") -> bool:
        """Between two batches, or at the end of an epoch; returns whether to save now."""
        place = self._place(progress)
        if place == self._last_place:
            return False  # asked again, by a batch of the validation
        self._last_place = place
        self._note("step", progress, self._states(self._kinds()))
        self._tell("step", step=progress.step)
        self._steps += 1
        now = time.monotonic()
        self._shortest, self._last_step = min(self._shortest, now - self._last_step), now
        first = self._steps == 1 and self.checkpoint.resume_report.checkpoint is None
        if self._settings["kill_at"] and progress.step >= self._settings["kill_at"] and not self._doomed:
            self._doomed = True
            if self.checkpoint.resume_report.checkpoint is None:  # a kill that nothing can resume would prove nothing
                self.checkpoint._session.saves.drain(_FIRST_SAVE_SECONDS)
                self._last_step = time.monotonic()
            pause = self._settings["delay"] * self._shortest
            threading.Timer(min(pause, 1.0), os.kill, [os.getpid(), signal.SIGKILL]).start()
        every = self._settings["every"]
        return first or bool(every and progress.step % every == 0)

    def fitted(self, model: Any, result: Any) -> None:
        """A `fit` has returned."""
        states = self._states((state.variables,))
        states.update(_states("returned", {name: [np.asarray(value).tolist() for value in values]
                                           for name, values in getattr(result, "history", {}).items()}))
        states["returned/epoch"] = repr(list(getattr(result, "epoch", [])))[:_TEXT]
        self._note("end", self._run.progress, states)

    def _kinds(self) -> Sequence[ModuleType]:
        return state.KINDS

    def _place(self, progress: "Progress") -> List[Any]:
        return [progress.stage, progress.epoch, "validation" if self._run.epoch_over else progress.batch]

    def _note(self, at: str, progress: "Progress", states: Dict[str, str]) -> None:
        line = {"at": at, "place": self._place(progress), "step": progress.step, "states": states}
        files.append(self._settings["notes"], json.dumps(line).encode() + b"\n")

    def _states(self, kinds: Any) -> Dict[str, str]:
        run = self._run
        states: Dict[str, str] = {}
        with run.family.inside(run.model):
            for kind in kinds:
                states.update(_states(kind.NAME, kind.capture(run)))
        for count in ("passes", "iterators", "unread"):  # how often a process began anew; what comes of it is compared
            states.pop("data/feed/" + count, None)
        states = {path: value for path, value in states.items() if not path.startswith(_OF_A_PROCESS)}
        # names that Keras numbers through; nothing is restored by them
        states = {path: value for path, value in states.items() if not path.startswith("variables/model/paths")}
        if not run.mid_epoch:  # they begin anew with every epoch
            states = {path: value for path, value in states.items() if not path.startswith("variables/metrics/")}
        return states


class Noting(SavePolicy):
    """The policy that is asked at every step."""

    def __init__(self, trace: Trace):
        self._trace = trace

    def begin(self, progress: "Progress") -> None:
        self._trace.began(progress)

    def __call__(self, progress: "Progress", logs: Dict[str, Any]) -> bool:
        return self._trace.stepped(progress)

    def __repr__(self) -> str:
        return "prove"


def _states(prefix: str, value: Any) -> Dict[str, str]:
    """Every tensor and every plain value below `value`, by path."""
    plain, arrays = plain_values.flatten(value, prefix)
    states = {path: _checksum(array) for path, array in arrays}
    states.update(_leaves(prefix, plain))
    return states


def _checksum(array: np.ndarray) -> str:
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return "{}{} {}".format(array.dtype, list(array.shape), xxhash.xxh3_64_hexdigest(data.data))


def _leaves(path: str, plain: Any) -> Dict[str, str]:
    if isinstance(plain, dict) and not any(tag in plain for tag in ("$array", "$scalar")):
        parts: Any = plain.items()
    elif isinstance(plain, list) and len(plain) <= 64 and any(isinstance(one, (dict, list)) for one in plain):
        parts = enumerate(plain)
    elif isinstance(plain, dict):
        return {}  # a tensor
    else:
        text = json.dumps(plain)
        return {path: text if len(text) <= _TEXT else "{}… {}".format(
            text[:_TEXT // 2], xxhash.xxh3_64_hexdigest(text.encode()))}
    made: Dict[str, str] = {}
    for name, one in parts:
        made.update(_leaves(path if str(name).startswith("$") else "{}/{}".format(path, name), one))
    return made
