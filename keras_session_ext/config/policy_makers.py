"""From settings to policies."""

from typing import Any, Callable, Dict, Iterator, List, Tuple

from keras_session_ext.config.entries import Path
from keras_session_ext.policies.keep import KeepAll, KeepBest, KeepEvery, KeepLast, KeepSize
from keras_session_ext.policies.overhead import Overhead
from keras_session_ext.policies.save import EveryEpochs, EverySeconds, EverySteps, OnBest, OnSignal

#: which policy an entry of the effective config makes
MAKERS: Dict[Tuple[str, str], Callable[..., Any]] = {
    ("save", "every_steps"): EverySteps,
    ("save", "every_epochs"): EveryEpochs,
    ("save", "every"): EverySeconds,
    ("save", "overhead"): lambda value: Overhead(value["share"], value["lose_at_most"]),
    ("save", "on_best"): lambda value: OnBest(**value),
    ("save", "on_signal"): lambda value, **grace: OnSignal(*value, **grace),
    ("save", "requeue_on_signal"): lambda value, **grace: OnSignal(*value, then="requeue", **grace),
    ("keep", "last"): KeepLast,
    ("keep", "best"): lambda value: KeepBest(**value),
    ("keep", "every_epochs"): lambda value: KeepEvery(epochs=value),
    ("keep", "every_steps"): lambda value: KeepEvery(steps=value),
    ("keep", "every"): lambda value: KeepEvery(seconds=value),
    ("keep", "size"): KeepSize,
    ("keep", "all"): lambda value: KeepAll(),
}


def parts(path: Path, value: Any) -> Iterator[Tuple[Path, Any]]:
    """What a maker can be asked about on its own: each signal of a list, or else all of it."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield (*path, index), [one]
    else:
        yield path, value


def joined(part: str, settings: Dict[str, Any]) -> Any:
    """The policies of `save` or `keep`, joined.

    Examples:
        >>> joined("keep", {"last": 3, "every": 3600})
        KeepLast(3) | KeepEvery(seconds=3600)
        >>> joined("save", {"on_signal": ["SIGTERM"], "grace": 25})
        OnSignal(SIGTERM, grace_seconds=25)
    """
    more = {"grace_seconds": settings["grace"]} if "grace" in settings else {}
    made: List[Any] = [MAKERS[part, name](value, **(more if name.endswith("on_signal") else {}))
                       for name, value in settings.items() if (part, name) in MAKERS]
    policy = made[0]
    for other in made[1:]:
        policy = policy | other
    return policy
