"""Which store a path leads to: this machine's file systems, one behind a URL, or both."""

import os
from typing import Optional

from keras_session_ext import urls
from keras_session_ext.errors import ConfigError
from keras_session_ext.store.contract import Store, StoredFile
from keras_session_ext.store.local import LocalFile, LocalStore


def store_of(path: str, group: bool = False, staging: Optional[str] = None, mirror: Optional[str] = None) -> Store:
    """The store of a run directory.

    Args:
        path: a folder, or a URL.
        group: whether members of the files' group may read and write, too; of a folder.
        staging: where files wait on this machine for what is behind a URL.
        mirror: the URL of a second copy, of a folder.

    Raises:
        ConfigError: what the URL needs is not installed, or refuses its options.

    Examples:
        >>> store_of("runs/a").is_far
        False
    """
    path = os.fspath(path)
    if not urls.is_url(path) and mirror is None:
        return LocalStore(path, group)
    from keras_session_ext.store.mirrored import MirroredStore  # it takes a while, and most runs need none
    from keras_session_ext.store.remote import RemoteStore

    if mirror is None:
        return RemoteStore(urls.normalised(path), staging)
    if urls.is_url(path):
        raise ConfigError("mirror={!r} is the second copy of a folder on this machine. Received the directory {!r}: "
                          "what is there outlives the machine already.".format(mirror, path))
    near = LocalStore(path, group)
    return MirroredStore(near, RemoteStore(urls.normalised(mirror), here=near.path))


def open_file(path: str) -> StoredFile:
    """Opens a file of any store for reading.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
    """
    if not urls.is_url(path):
        return LocalFile(path)
    from keras_session_ext.store.remote_file import RemoteFile

    return RemoteFile(urls.normalised(path))
