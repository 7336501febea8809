"""Checks of arguments that many public functions have in common."""

import os
import re
from typing import Any, Optional, Tuple, Type, Union

from keras_session_ext.errors import ConfigError

#: what public functions take as a path
LocalPath = Union[str, "os.PathLike[str]"]

#: a pathlib.Path makes one slash of two; one letter before the colon is a drive of Windows
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def local_path(value: Any, argument: str) -> str:
    """A path on a file system of this machine, as text.

    Args:
        value: what the user gave.
        argument: its name, for the message.

    Returns:
        The path, unchanged.

    Raises:
        ConfigError: it is no path, or the URL of a store.

    Example:
        >>> local_path("runs/a", "directory")
        'runs/a'
        >>> local_path("s3://bucket/a", "directory")
        Traceback (most recent call last):
        keras_session_ext.errors.ConfigError: Invalid value for argument `directory`. …
    """
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str) or not path:
        raise ConfigError("Invalid value for argument `{}`. Expected a path. Received: {!r}".format(argument, value))
    problem = url_problem(path)
    if problem is not None:
        raise ConfigError("Invalid value for argument `{}`. Expected a path on a file system of this machine; {}. "
                          "Received: {!r}".format(argument, problem, path))
    return path


def url_problem(path: str) -> Optional[str]:
    """Why a path that is a URL cannot be used, or None where it is none.

    Example:
        >>> url_problem("gs://bucket/a")
        'gs:// and other stores behind a URL are not supported yet: name a folder, such as one the store is mounted at'
    """
    found = _URL.match(path)
    if found is None:
        return None
    return ("{}:// and other stores behind a URL are not supported yet: name a folder, such as one the store is "
            "mounted at".format(found.group(1)))


def positive(name: str, value: Any, kinds: Tuple[Type[float], ...] = (int,)) -> Any:
    """Returns `value`, or raises `ConfigError` naming the argument."""
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
        expected = "a positive whole number" if kinds == (int,) else "a positive number of seconds"
        raise ConfigError("Invalid value for argument `{}`. Expected {}. Received: {!r}".format(name, expected, value))
    return value
