"""The settings of `session_scope`: checked, and applied to each engine."""

import contextlib
import difflib
import logging
from typing import Any, Dict, List, NamedTuple, Optional

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

    Examples:
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


def apply_to_tensorflow(tensorflow: Any, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
    """Sets threads, memory and device of an eager TensorFlow; returns what comes too late."""
    config, late = tensorflow.config, []
    for name, set_threads in (("intra_op_threads", config.threading.set_intra_op_parallelism_threads),
                              ("inter_op_threads", config.threading.set_inter_op_parallelism_threads)):
        count = getattr(settings, name)
        if count is not None:
            try:
                set_threads(count)
            except RuntimeError:  # the runtime has started
                late.append("{}: TensorFlow has started already; open the scope before the first model".format(name))
    if settings.memory_growth is not None:
        for device in config.experimental.list_physical_devices("GPU"):
            try:
                config.experimental.set_memory_growth(device, settings.memory_growth)
            except (RuntimeError, ValueError) as error:
                late.append("memory_growth of {}: {}".format(device.name, error))
    if settings.device is not None:
        enter_device(tensorflow, settings.device, stack)
    return late


def enter_device(tensorflow: Any, device: str, stack: contextlib.ExitStack) -> None:
    """Computes on a device for as long as `stack` is open.

    Raises:
        ConfigError: it is not there; TensorFlow itself finds out when the first op is placed.
    """
    found = tensorflow.config.experimental.list_physical_devices()
    devices = ["/" + one.name.split("/physical_device:")[-1] for one in found]
    short = "/" + device.upper().replace("/DEVICE:", "/").split("/")[-1]
    if not any(short in (one, one.rsplit(":", 1)[0]) for one in devices):
        raise ConfigError("There is no device {!r} here. Expected one of: {}.".format(device, ", ".join(devices)))
    try:
        stack.enter_context(tensorflow.device(device))
    except (ValueError, RuntimeError) as error:
        raise ConfigError("There is no device {!r}: {}".format(device, error))


def torch_has(device: str) -> bool:
    """Whether a GPU is there; torch finds out when the first tensor is made."""
    import torch

    kind, _, number = device.strip("/").lower().split("/")[-1].replace("device:", "").partition(":")
    return kind not in ("gpu", "cuda") or int(number or 0) < torch.cuda.device_count()


def apply_to_torch(settings: Settings) -> List[str]:
    import torch

    late = []
    if settings.intra_op_threads:
        torch.set_num_threads(settings.intra_op_threads)
    if settings.inter_op_threads:
        try:
            torch.set_num_interop_threads(settings.inter_op_threads)
        except RuntimeError:  # torch has started
            late.append("inter_op_threads: torch has started already; open the scope before the first model")
    if settings.memory_growth is not None:
        logging.getLogger("keras_session_ext").debug("session_scope: torch always takes GPU memory as it is needed")
    return late


def apply_to_jax(settings: Settings) -> List[str]:
    late = []
    if settings.memory_growth is not None:
        late.append("memory_growth: JAX reads it when it starts; set XLA_PYTHON_CLIENT_PREALLOCATE={} before jax is "
                    "imported".format(str(not settings.memory_growth).lower()))
    if settings.intra_op_threads is not None or settings.inter_op_threads is not None:
        late.append("intra_op_threads, inter_op_threads: JAX has no such setting; limit the process's cores")
    return late
