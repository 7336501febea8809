"""What to keep: pure plans over the checkpoints of one run.

`plan(infos)` looks at `CheckpointInfo` values, newest first, touches no file
and says for each what happens and why; the idea is restic's
(https://restic.readthedocs.io, "removing snapshots").
"""

import math
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from keras_session_ext.arguments import ChecksKeywords, Mode, duration, positive, size
from keras_session_ext.errors import ConfigError
from keras_session_ext.policies.monitor import Monitor
from keras_session_ext.progress import CheckpointInfo


class Plan(NamedTuple):
    """The outcome of a keep policy.

    Attributes:
        keep: the checkpoints that stay, newest first.
        remove: the others.
        reasons: why each id stays or goes.
    """

    keep: List[CheckpointInfo]
    remove: List[CheckpointInfo]
    reasons: Dict[str, List[str]]


class KeepPolicy(ChecksKeywords):
    """A keep policy that can be joined with others by `|`."""

    def wanted(self, infos: Sequence[CheckpointInfo]) -> Dict[str, str]:
        """The ids this policy wants to keep, each with its reason."""
        return {}

    def plan(self, infos: Iterable[CheckpointInfo]) -> Plan:
        """Splits `infos` into what stays and what goes.

        The newest checkpoint and the last one of every stage always stay.

        Args:
            infos: checkpoints of one run, in any order.

        Returns:
            A `Plan`.

        Examples:
            >>> KeepLast(3).plan([])
            Plan(keep=[], remove=[], reasons={})
        """
        ordered = sorted(infos, key=lambda info: info.order, reverse=True)
        reasons: Dict[str, List[str]] = {info.id: [] for info in ordered}
        for info in ordered[:1]:
            reasons[info.id].append("the newest")
        stages, ended = set(), set()
        for info in ordered:
            stage = info.progress.stage
            if info.finished and stage not in ended:  # with more epochs it has ended again
                ended.add(stage)
                reasons[info.id].append("the end of stage {}".format(stage))
            elif stage not in stages and stage < ordered[0].progress.stage:
                reasons[info.id].append("the last of stage {}".format(stage))  # which ended by an exception
            stages.add(stage)
        for id, reason in self.wanted(ordered).items():
            reasons[id].append(reason)
        keep = [info for info in ordered if reasons[info.id]]
        remove = [info for info in ordered if not reasons[info.id]]
        for info in remove:
            reasons[info.id].append("wanted by none of {!r}".format(self))
        return Plan(keep, remove, reasons)

    def __repr__(self) -> str:
        return type(self).__name__ + "()"

    def __or__(self, other: "KeepPolicy") -> "KeepAny":
        return KeepAny([self, as_keep_policy(other)])


class KeepAny(KeepPolicy):
    """Keeps what any of its policies wants."""

    def __init__(self, policies: Sequence[KeepPolicy]):
        self.policies = list(policies)

    def wanted(self, infos: Sequence[CheckpointInfo]) -> Dict[str, str]:
        wanted: Dict[str, str] = {}
        for policy in self.policies:
            for id, reason in policy.wanted(infos).items():
                wanted[id] = wanted[id] + ", " + reason if id in wanted else reason
        return wanted

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.policies))


def as_keep_policy(policy: Any) -> KeepPolicy:
    """Returns `policy`, or raises `ConfigError` if it is no keep policy."""
    if isinstance(policy, KeepPolicy):
        return policy
    raise ConfigError(
        "Invalid value for argument `keep`. Expected a keep policy such as KeepLast(3), or several joined "
        "with `|`. Received: {!r}".format(policy)
    )


class KeepLast(KeepPolicy):
    """Keeps the `n` newest checkpoints.

    Args:
        n: how many.
    """

    def __init__(self, n: int):
        self.n = positive("n", n)

    def wanted(self, infos: Sequence[CheckpointInfo]) -> Dict[str, str]:
        return {info.id: "one of the last {}".format(self.n) for info in infos[: self.n]}

    def __repr__(self) -> str:
        return "KeepLast({})".format(self.n)


class KeepBest(KeepPolicy):
    """Keeps the `n` checkpoints with the best value of a metric.

    Checkpoints without the metric, or where it is NaN, are never the best; of
    equal ones the older stays.

    Args:
        n: how many.
        monitor: name of the metric.
        mode: "min", "max", or "auto" (from the metric's name).
    """

    def __init__(self, n: int, monitor: str, mode: Mode = "auto"):
        self.n = positive("n", n)
        self.monitor = Monitor(monitor, mode)

    def wanted(self, infos: Sequence[CheckpointInfo]) -> Dict[str, str]:
        known = [(self.monitor.value(info.metrics), info) for info in infos]
        logged = {name for info in infos if not info.progress.batch for name in info.metrics}  # at ends of epochs: all
        if logged and self.monitor.name not in logged:
            self.monitor.warn_missing(self, logged)
        ranked = sorted(
            ((value, info) for value, info in known if value is not None),
            key=lambda pair: (self.monitor.rank(pair[0]), pair[1].order),
        )
        return {info.id: "{} = {:.6g}, one of the best {}".format(self.monitor.name, value, self.n)
                for value, info in ranked[: self.n]}

    def __repr__(self) -> str:
        return "KeepBest({}, {!r})".format(self.n, self.monitor.name)


class KeepEvery(KeepPolicy):
    """Keeps the first checkpoint of every so many steps, epochs or seconds of training.

    Args:
        steps: distance in batches.
        epochs: distance in epochs.
        seconds: distance in seconds of training time, or a duration such as "1h".

    Raises:
        ConfigError: not exactly one distance was given.
    """

    def __init__(self, steps: Optional[int] = None, epochs: Optional[int] = None,
                 seconds: Union[float, str, None] = None):
        given = {name: value for name, value in
                 (("steps", steps), ("epochs", epochs), ("seconds", seconds)) if value is not None}
        if len(given) != 1:
            raise ConfigError("KeepEvery takes exactly one of steps=, epochs=, seconds=. Received: {}".format(given))
        (self.unit, distance), = given.items()
        self.distance: Any = (duration if self.unit == "seconds" else positive)(self.unit, distance)

    def _bucket(self, info: CheckpointInfo) -> Union[int, Tuple[int, int]]:
        progress = info.progress
        if self.unit == "steps":
            return progress.step // self.distance
        if self.unit == "epochs":
            return (progress.stage, progress.epoch // self.distance)
        return math.floor(progress.elapsed_seconds / self.distance)

    def wanted(self, infos: Sequence[CheckpointInfo]) -> Dict[str, str]:
        first: Dict[object, CheckpointInfo] = {}
        for info in reversed(infos):
            first.setdefault(self._bucket(info), info)
        return {info.id: "the first within {} {}".format(self.distance, self.unit) for info in first.values()}

    def __repr__(self) -> str:
        return "KeepEvery({}={})".format(self.unit, self.distance)


class KeepSize(KeepPolicy):
    """Keeps the newest checkpoints that fit into so many bytes together.

    Args:
        size_bytes: how many, or a size such as "20GB". The newest checkpoint stays, however large it is.

    Examples:
        >>> KeepSize("20GB")
        KeepSize(20000000000)
    """

    def __init__(self, size_bytes: Union[int, str]):
        self.size_bytes = size("size_bytes", size_bytes)

    def wanted(self, infos: Sequence[CheckpointInfo]) -> Dict[str, str]:
        wanted: Dict[str, str] = {}
        total = 0
        for info in infos:
            total += info.size_bytes
            if total > self.size_bytes:
                break
            wanted[info.id] = "among the newest that fit into {} bytes".format(self.size_bytes)
        return wanted

    def __repr__(self) -> str:
        return "KeepSize({})".format(self.size_bytes)


class KeepAll(KeepPolicy):
    """Keeps everything."""

    def wanted(self, infos: Sequence[CheckpointInfo]) -> Dict[str, str]:
        return {info.id: "everything is kept" for info in infos}
