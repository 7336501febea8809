"""When to save.

A save policy is a callable `(progress, logs) -> bool`; policies are joined with
`|`, and a plain function is one too. They are asked before every training batch
with `logs={}` and after every epoch with the epoch's logs.
"""

import signal as signal_module
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Union

from keras_session_ext.arguments import ChecksKeywords, Mode, Then, choice, duration, positive
from keras_session_ext.errors import ConfigError
from keras_session_ext.policies.monitor import Monitor
from keras_session_ext.progress import Progress


class SavePolicy(ChecksKeywords):
    """A save policy that can be joined with others by `|`."""

    def begin(self, progress: Progress) -> None:
        """Called when training begins or goes on, before the first question."""

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        return False

    def save_begins(self) -> None:
        """Called when a save was asked for, by whatever policy, and its snapshot is taken."""

    def save_ends(self) -> None:
        """Called, before a batch, when that save is durable or has failed."""

    @property
    def reason(self) -> str:
        """What the checkpoint and the journal say of a save that this policy asked for."""
        return repr(self)

    def get_state(self) -> Dict[str, Any]:
        """What a resumed run needs to know; stored in the checkpoint."""
        return {}

    def set_state(self, state: Dict[str, Any]) -> None:
        """Takes what `get_state` returned in an earlier process."""

    def __or__(self, other: "PolicyLike") -> "AnyPolicy":
        return AnyPolicy([self, other])

    def __ror__(self, other: "PolicyLike") -> "AnyPolicy":
        return AnyPolicy([other, self])


PolicyLike = Union[SavePolicy, Callable[[Progress, Dict[str, Any]], bool]]


class CallablePolicy(SavePolicy):
    """A user's plain function as a policy.

    Examples:
        >>> policy = as_policy(lambda progress, logs: progress.step == 7)
        >>> policy(Progress(step=7), {})
        True
    """

    def __init__(self, function: Callable[[Progress, Dict[str, Any]], bool]):
        self.function = function

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        return bool(self.function(progress, logs))

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


class AnyPolicy(SavePolicy):
    """Saves when any of its policies asks for it.

    Attributes:
        fired: names of the policies that asked for the latest save.
    """

    def __init__(self, policies: Iterable[PolicyLike]):
        self.policies: List[SavePolicy] = []
        for policy in policies:
            policy = as_policy(policy)
            self.policies += policy.policies if isinstance(policy, AnyPolicy) else [policy]
        self.fired: List[str] = []

    def begin(self, progress: Progress) -> None:
        for policy in self.policies:
            policy.begin(progress)

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        # every policy is asked, so that each keeps its own count
        self.fired = [policy.reason for policy in self.policies if policy(progress, logs)]
        return bool(self.fired)

    def save_begins(self) -> None:
        for policy in self.policies:
            policy.save_begins()

    def save_ends(self) -> None:
        for policy in self.policies:
            policy.save_ends()

    @property
    def falls_due_anywhere(self) -> bool:
        """Whether a save may be asked for in the middle of a validation."""
        return not all(isinstance(policy, (EveryEpochs, EverySteps, OnBest)) for policy in self.policies)

    def get_state(self) -> Dict[str, Any]:
        return {repr(policy): policy.get_state() for policy in self.policies if policy.get_state()}

    def set_state(self, state: Dict[str, Any]) -> None:
        for policy in self.policies:
            if repr(policy) in state:
                policy.set_state(state[repr(policy)])

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.policies))


def as_policy(policy: PolicyLike) -> SavePolicy:
    """Accepts a policy or a plain callable.

    Raises:
        ConfigError: `policy` is neither.
    """
    if isinstance(policy, SavePolicy):
        return policy
    if callable(policy) and not isinstance(policy, type):
        return CallablePolicy(policy)
    raise ConfigError(
        "Invalid value for argument `save`. Expected a save policy such as EveryEpochs(1), several joined "
        "with `|`, or a function (progress, logs) -> bool. Received: {!r}".format(policy)
    )


class EverySteps(SavePolicy):
    """Saves whenever the number of finished batches passes a multiple of `n`.

    The count is that of the whole run, so it does not start again after a resume.

    Args:
        n: number of batches between two saves.

    Examples:
        >>> policy = EverySteps(100)
        >>> [policy(Progress(step=step), {}) for step in (99, 100, 101)]
        [False, True, False]
    """

    def __init__(self, n: int):
        self.n = positive("n", n)
        self._seen = 0

    def begin(self, progress: Progress) -> None:
        self._seen = progress.step

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        due = progress.step // self.n > self._seen // self.n
        self._seen = progress.step
        return due

    def __repr__(self) -> str:
        return "EverySteps({})".format(self.n)


class EveryEpochs(SavePolicy):
    """Saves at the end of every `n`-th epoch.

    Args:
        n: number of epochs between two saves.

    Examples:
        >>> EveryEpochs(2)(Progress(epoch=4, batch=0, step=40), {"loss": 0.1})
        True
    """

    def __init__(self, n: int = 1):
        self.n = positive("n", n)
        self._at = (0, 0)

    def begin(self, progress: Progress) -> None:
        self._at = (progress.stage, progress.epoch)

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        at = (progress.stage, progress.epoch)
        due = progress.batch == 0 and at > self._at and progress.epoch % self.n == 0
        self._at = max(at, self._at)
        return due

    def __repr__(self) -> str:
        return "EveryEpochs({})".format(self.n)


class EverySeconds(SavePolicy):
    """Saves when `s` seconds have passed since it last asked for a save.

    Args:
        s: seconds between two saves, or a duration such as "10m".
        clock: the time source, in seconds; for tests.

    Examples:
        >>> now = [0.0]
        >>> policy = EverySeconds(60, clock=lambda: now[0])
        >>> policy.begin(Progress())
        >>> now[0] = 61.0
        >>> policy(Progress(), {}), policy(Progress(), {})
        (True, False)
    """

    def __init__(self, s: Union[float, str], clock: Callable[[], float] = time.monotonic):
        self.s = duration("s", s)
        self._clock = clock
        self._last = clock()

    def begin(self, progress: Progress) -> None:
        self._last = self._clock()

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        now = self._clock()
        due = now - self._last >= self.s
        if due:
            self._last = now
        return due

    def __repr__(self) -> str:
        return "EverySeconds({})".format(self.s)


class OnBest(SavePolicy):
    """Saves when a metric is better than ever before.

    Args:
        monitor: name of the metric in the epoch's logs, such as "val_loss".
        mode: "min", "max", or "auto" (from the metric's name).

    Examples:
        >>> policy = OnBest("val_loss")
        >>> [policy(Progress(), {"val_loss": loss}) for loss in (0.5, 0.6, 0.4, float("nan"))]
        [True, False, True, False]
    """

    def __init__(self, monitor: str, mode: Mode = "auto"):
        self.monitor = Monitor(monitor, mode)
        self.mode = mode
        self.best: Optional[float] = None

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        if not logs:
            return False
        if self.monitor.name not in logs:
            self.monitor.warn_missing(self, logs)
        value = self.monitor.value(logs)
        due = value is not None and (self.best is None or self.monitor.better(value, self.best))
        if due:
            self.best = value
        return due

    def get_state(self) -> Dict[str, Any]:
        return {} if self.best is None else {"best": repr(self.best)}

    def set_state(self, state: Dict[str, Any]) -> None:
        self.best = float(state["best"])

    def __repr__(self) -> str:
        mode = "" if self.mode == "auto" else ", {!r}".format(self.mode)
        return "OnBest({!r}{})".format(self.monitor.name, mode)


#: how long the end of a process waits for the save in flight
_GRACE_SECONDS = 60.0


class OnSignal(SavePolicy):
    """Saves when the process receives one of `signals`.

    SIGTERM, SIGINT and SIGHUP: the session is saved and made durable, then the
    signal has the meaning it had before; where training does not come to answer
    within 60 seconds, the process ends without. SIGUSR1 and others: save, call
    the handler that the script had, and go on. The same ending signal a second
    time acts at once; another one does not. What is ignored when fit begins, as
    SIGHUP under `nohup`, stays ignored.

    Args:
        *signals: from the `signal` module, or their names. Default: SIGTERM.
        then: "requeue" puts the job back into SLURM's queue (`scontrol requeue`) once the save is durable: for the
            signal that `sbatch --signal=B:USR1@120` sends before the time is up.
        grace_seconds: how long the process has to end, as whoever sends the signal grants it: a number, or "2m". Where
            a store is too slow to take the newest checkpoint in that time, the one on its way is finished instead.

    Examples:
        >>> OnSignal("SIGTERM") | OnSignal("SIGUSR1", then="requeue")
        OnSignal(SIGTERM) | OnSignal(SIGUSR1, then='requeue')
    """

    def __init__(self, *signals: Union[int, str], then: Optional[Then] = None,
                 grace_seconds: Union[float, str] = _GRACE_SECONDS):
        self.grace_seconds = duration("grace_seconds", grace_seconds)
        self.signals = [self._signal(one) for one in (signals or (signal_module.SIGTERM,))]
        self.then = None if then is None else choice("then", then, ("requeue",))
        self.received = 0  # a plain attribute: all a signal handler may touch

    @staticmethod
    def _signal(value: Union[int, str]) -> signal_module.Signals:
        try:
            found = signal_module.Signals[value] if isinstance(value, str) else signal_module.Signals(value)
        except (KeyError, ValueError):
            found = None
        if found is None or isinstance(value, bool) or found in (signal_module.SIGKILL, signal_module.SIGSTOP):
            raise ConfigError(
                "Invalid value for argument `signals`. Expected signals that a process can catch, such as "
                "signal.SIGTERM or 'SIGUSR1'. Received: {!r}".format(value)
            )
        return found

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        return bool(self.received)

    def __repr__(self) -> str:
        more = [] if self.then is None else ["then={!r}".format(self.then)]
        if self.grace_seconds != _GRACE_SECONDS:
            more.append("grace_seconds={:g}".format(self.grace_seconds))
        return "OnSignal({})".format(", ".join([one.name for one in self.signals] + more))
