"""The lock of a run directory on a file system of this machine: one for all that this process has to do with it."""

import logging
import os
import threading
from typing import Any, Dict, List, Optional

from keras_session_ext import file_locks, files
from keras_session_ext.store.contract import Lock

logger = logging.getLogger("keras_session_ext")

# one descriptor per directory for all of this process, counted
_locks: Dict[str, List[int]] = {}
_locks_guard = threading.Lock()


def _forked() -> None:
    """A child has none of the locks, and no thread that holds the guard."""
    global _locks_guard
    _locks.clear()
    _locks_guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class LocalLock(Lock):
    """A lock on a file, one for all that this process has to do with the directory.

    Args:
        path: the file.
        mode: its permissions when it is made.
    """

    def __init__(self, path: str, mode: int):
        self._path = path
        self._mode = mode
        self._taken = False
        self._key = os.path.realpath(path)

    def take(self) -> Optional[Dict[str, Any]]:
        left: Dict[str, Any] = {}
        if self._taken:
            return left
        with _locks_guard:
            entry = _locks.get(self._key)
            if entry is None:
                left = file_locks.read_owner(self._path)
                fd = file_locks.lock(self._path, self._mode)
                if fd is None:
                    return None
                entry = _locks[self._key] = [fd, 0]
            entry[1] += 1
        self._taken = True
        return left

    def read(self) -> Dict[str, Any]:
        return file_locks.read_owner(self._path)

    def note(self, **place: Any) -> None:
        entry = _locks.get(self._key)
        if self._taken and entry is not None:
            file_locks.write_owner(entry[0], **place)

    def holder(self) -> Optional[int]:
        if self._key in _locks:
            return os.getpid()  # where it is a POSIX record lock, to open and close the file would give it away
        return file_locks.lock_holder(self._path)

    def give_back(self) -> None:
        if not self._taken:
            return
        self._taken = False
        with _locks_guard:
            entry = _locks.get(self._key)
            if entry is None:
                return  # a forked child: the lock is the parent's
            entry[1] -= 1
            if not entry[1]:
                try:
                    files.close(_locks.pop(self._key)[0])
                except OSError as error:  # a mount that died: it is closed all the same
                    logger.warning("%s: %s", self._path, error)
