"""Checks of arguments that many public functions have in common."""

import difflib
import inspect
import os
from typing import TYPE_CHECKING, Any, Dict, Iterable, Optional, Sequence, Union

from keras_session_ext import units, urls
from keras_session_ext.errors import ConfigError

if TYPE_CHECKING:  # Python 3.7 has no Literal
    from typing import Literal

    Mode = Literal["auto", "min", "max"]
    OnError = Literal["warn", "raise"]
    Then = Literal["requeue"]
else:
    Mode = OnError = Then = str

#: what public functions take as a path
LocalPath = Union[str, "os.PathLike[str]"]
#: and where a store behind a URL will do
PathOrUrl = LocalPath


def path_or_url(value: Any, argument: str) -> str:
    """A path, or the URL of a folder or a file in a store, as text.

    Args:
        value: what the user gave.
        argument: its name, for the message.

    Returns:
        The path, unchanged; of a URL its plain form.

    Raises:
        ConfigError: it is neither, or a run cannot live there.

    Examples:
        >>> path_or_url("runs/a", "directory"), path_or_url("s3://bucket/run/", "directory")
        ('runs/a', 's3://bucket/run')
        >>> path_or_url("sftp://host/a", "directory")
        Traceback (most recent call last):
        keras_session_ext.errors.ConfigError: Invalid value for argument `directory`. …
    """
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str) or not path:
        raise ConfigError("Invalid value for argument `{}`. Expected a path. Received: {!r}".format(argument, value))
    problem = urls.problem(path)
    if problem is not None:
        raise ConfigError("Invalid value for argument `{}`. Expected a path or the URL of a store; {}. Received: "
                          "{!r}".format(argument, problem, urls.without_secrets(path)))
    return urls.normalised(path)


def local_path(value: Any, argument: str) -> str:
    """A path on a file system of this machine, as text.

    Args:
        value: what the user gave.
        argument: its name, for the message.

    Raises:
        ConfigError: it is no path, or a URL.

    Examples:
        >>> local_path("runs/a", "path")
        'runs/a'
        >>> local_path("s3://bucket/a", "path")
        Traceback (most recent call last):
        keras_session_ext.errors.ConfigError: Invalid value for argument `path`. …
    """
    path = path_or_url(value, argument)
    if urls.is_url(path):
        raise ConfigError("Invalid value for argument `{}`. Expected a path on a file system of this machine. "
                          "Received: {!r}".format(argument, value))
    return path


def store_url(value: Any, argument: str) -> str:
    """The URL of a folder in a store, in its plain form.

    Args:
        value: what the user gave.
        argument: its name, for the message.

    Raises:
        ConfigError: it is none, or a run cannot live there.

    Examples:
        >>> store_url("s3://bucket/run/", "mirror")
        's3://bucket/run'
        >>> store_url("runs/a", "mirror")
        Traceback (most recent call last):
        keras_session_ext.errors.ConfigError: Invalid value for argument `mirror`. …
    """
    url = path_or_url(value, argument)
    if not urls.is_url(url):
        raise ConfigError("Invalid value for argument `{}`. Expected the URL of a store, such as s3://bucket/run. "
                          "Received: {!r}".format(argument, value))
    return url


def positive(name: str, value: Any) -> int:
    """Returns a positive whole number, or raises `ConfigError` naming the argument."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise _invalid(name, "a positive whole number", value)
    return value


def duration(name: str, value: Any) -> Union[int, float]:
    """Seconds, of a number of them or of what configs take.

    Examples:
        >>> duration("s", "1h30m"), duration("s", 0.5)
        (5400, 0.5)
    """
    if isinstance(value, str) and units.DURATION.match(value):
        return units.seconds(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        hint = units.duration_hint(value).split("; ")[-1] if isinstance(value, str) else ""
        raise _invalid(name, "a positive number of seconds, or a duration such as '10m' or '1h30m'", value, hint)
    return value


def size(name: str, value: Any) -> int:
    """Bytes, of a number of them or of what configs take.

    Examples:
        >>> size("size_bytes", "20GB"), size("size_bytes", "1.5KiB")
        (20000000000, 1536)
    """
    if isinstance(value, str) and units.SIZE.match(value):
        return units.size_bytes(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        hint = units.size_hint(value) if isinstance(value, str) else ""
        raise _invalid(name, "a positive number of bytes, or a size such as '20GB' or '512MiB'", value, hint)
    return value


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that is only taken for one of them."""
    if not isinstance(value, bool):
        raise _invalid(name, "True or False", value)
    return value


def choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """One of a few values."""
    known = [one for one in choices if isinstance(value, (type(one), bool)) and one == value]
    if not known:
        raise _invalid(name, " or ".join(map(repr, choices)), value, similar(value, choices))
    return known[0]


def similar(value: Any, known: Iterable[Any], cutoff: float = 0.6) -> str:
    """What a name that is not known may have meant, or nothing.

    Examples:
        >>> similar("val_los", ["loss", "val_loss"])
        "did you mean 'val_loss'?"
    """
    near = difflib.get_close_matches(value, [one for one in known if isinstance(one, str)], n=1,
                                     cutoff=cutoff) if isinstance(value, str) else []
    return "did you mean {!r}?".format(near[0]) if near else ""


def _invalid(name: str, expected: str, value: Any, hint: str = "") -> ConfigError:
    return ConfigError("Invalid value for argument `{}`. Expected {}{}. Received: {!r}".format(
        name, expected, "; " + hint.rstrip("?") if hint else "", value))


def check_keywords(kind: type, keywords: Iterable[str], elsewhere: Optional[Dict[str, str]] = None) -> None:
    """Says what is meant where a class is called with a keyword that it does not have.

    Args:
        kind: the class.
        keywords: that it was given.
        elsewhere: what other libraries call what this class does -> how it is said here.

    Raises:
        TypeError: there is no such keyword; Python's own error says no more than that.

    Examples:
        >>> class Every:
        ...     def __init__(self, steps): ...
        >>> check_keywords(Every, ["stepz"])
        Traceback (most recent call last):
        TypeError: Every() got an unexpected keyword argument 'stepz'; did you mean 'steps'? It takes: steps
    """
    if kind.__init__ is object.__init__:  # type: ignore[misc]
        parameters = []
    else:
        try:
            signature = inspect.signature(kind.__init__, follow_wrapped=False)  # type: ignore[misc]
        except ValueError:  # of a compiled class: it tells for itself
            return
        parameters = list(signature.parameters.values())[1:]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters if one.kind is not one.VAR_POSITIONAL]
    for name in keywords:
        if name not in known:
            hint = (elsewhere or {}).get(name) or similar(name, known)
            raise TypeError("{}() got an unexpected keyword argument {!r}{} It takes: {}".format(
                kind.__name__, name, "; " + hint if hint else ".", ", ".join(known) or "nothing"))


class ChecksKeywords:
    """A class whose callers are told what they may have meant by a keyword that it does not have."""

    if not TYPE_CHECKING:  # which tells by __init__ what is taken
        def __new__(cls, *args, **keywords):
            check_keywords(cls, keywords)
            if args and cls.__init__ is object.__init__:
                raise TypeError("{}() takes no arguments. Received: {!r}".format(cls.__name__, args))
            return super().__new__(cls)
