"""The settings of `session_scope`, checked."""

import difflib
from typing import Any, Dict, NamedTuple, Optional

from keras_session_ext.errors import ConfigError


class Settings(NamedTuple):
    """What a session computes with.

    Attributes:
        memory_growth: take GPU memory as it is needed, not all at once.
        intra_op_threads: threads within one op.
        inter_op_threads: ops at a time.
        device: where, such as "/CPU:0" or "/GPU:1".
        proto: a `ConfigProto`, as TF1 code has it; the settings are read from it.
    """

    memory_growth: Optional[bool] = None
    intra_op_threads: Optional[int] = None
    inter_op_threads: Optional[int] = None
    device: Optional[str] = None
    proto: Any = None


_TYPES = {"memory_growth": bool, "intra_op_threads": int, "inter_op_threads": int, "device": str}


def _fits(value: Any, expected: type) -> bool:
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, expected)


def as_settings(config: Any) -> Settings:
    """Checks a configuration.

    Args:
        config: None, a mapping with the fields of `Settings`, or a `ConfigProto`.

    Returns:
        The settings.

    Raises:
        ConfigError: every wrong key and value, in one message.

    Example:
        >>> as_settings({"intra_op_threads": 2}).intra_op_threads
        2
    """
    if config is None:
        return Settings()
    if hasattr(config, "gpu_options") and hasattr(config, "intra_op_parallelism_threads"):
        return Settings(bool(config.gpu_options.allow_growth) or None, config.intra_op_parallelism_threads or None,
                        config.inter_op_parallelism_threads or None, None, config)
    if not hasattr(config, "items"):
        raise ConfigError("Invalid session config. Expected a mapping with {}, or a ConfigProto. Received: {!r}".format(
            ", ".join(_TYPES), config))
    problems = []
    given: Dict[str, Any] = dict(config)
    for name, value in given.items():
        expected = _TYPES.get(name)
        if expected is None:
            nearest = difflib.get_close_matches(str(name), _TYPES, n=1, cutoff=0.5)
            problems.append("{!r}: unknown key{}".format(
                name, "; did you mean {!r}?".format(nearest[0]) if nearest else "; expected " + ", ".join(_TYPES)))
        elif value is not None and not _fits(value, expected):
            problems.append("{}: expected {}. Received: {!r}".format(
                name, "a count of at least 0" if expected is int else "a " + expected.__name__, value))
    if problems:
        raise ConfigError("Invalid session config:\n" + "\n".join("  - " + problem for problem in problems))
    return Settings(**given)
