"""Locked files: the lock of a run directory with its owner's note, and files that several processes add lines to."""

import errno
import json
import os
import socket
import struct
import sys
import time
from typing import Any, Dict, Optional

from keras_session_ext import files

try:
    import fcntl
except ImportError:  # Windows: no lock; safety comes from the generation fence
    fcntl = None  # type: ignore[assignment]

_OWNER_BYTES = 256
_IS_LINUX = sys.platform == "linux"
# struct flock: type, whence, start, length, pid; macOS has the last three first
_FLOCK = "hhqqi" if _IS_LINUX else "qqihh"
_WHOLE_FILE = () if fcntl is None else (fcntl.F_WRLCK, 0, 0, 0, 0) if _IS_LINUX else (0, 0, 0, fcntl.F_WRLCK, 0)
#: F_OFD_SETLK of Linux 3.15 and later, which Python 3.7 and 3.8 do not name
_OFD_SETLK = 37
_OWN_BY_DESCRIPTOR = _IS_LINUX and sys.maxsize > 1 << 32
#: what FUSE, Lustre and some NFS mounts say that have no locks
_NOT_OFFERED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


class Lines:
    """A file of lines that several processes add to: open, and theirs alone for as long as a block lasts.

    Args:
        path: the file; made if it is missing.
        mode: its permissions then.
        patience_seconds: how long others' locks are waited for.

    Attributes:
        is_ours: whether nobody else writes now, as far as locks tell.
    """

    def __init__(self, path: str, mode: int = 0o600, patience_seconds: float = 0.0):
        self._path = path
        self._mode = mode
        self._end = time.monotonic() + patience_seconds
        self._fd = -1
        self.is_ours = True

    def __enter__(self) -> "Lines":
        while True:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | files.NOFOLLOW | files.CLOEXEC | files.BINARY
            self._fd = os.open(self._path, flags | getattr(os, "O_NONBLOCK", 0), self._mode)
            try:
                self.is_ours = fcntl is None or self._lock()
                if self._is_in_place():
                    return self
            except BaseException:
                self.__exit__()
                raise
            self.__exit__()  # someone has put another file in its place

    def _lock(self) -> bool:
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= self._end:
                    return False
                time.sleep(0.005)
                continue
            except OSError:
                pass  # some network mounts have no locks; one call still writes one line
            return True

    def _is_in_place(self) -> bool:
        if os.fstat(self._fd).st_size == 0 and files.is_for_group(self._mode):
            os.fchmod(self._fd, self._mode)
        return files.is_at(self._fd, self._path)

    def __exit__(self, *exception: Any) -> None:
        if fcntl is not None and self.is_ours:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_UN)  # a process that was forked meanwhile has the descriptor, too
            except OSError:
                pass  # no locks there
        os.close(self._fd)

    def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    def tail(self, limit: int) -> Optional[bytes]:
        """What stands behind the last line's end: nothing, unless a process died while it wrote.

        Returns:
            The bytes; None where there are `limit` of them, or more.
        """
        size = self.size_bytes()
        if not size or os.pread(self._fd, 1, size - 1) == b"\n":
            return b""
        data = bytearray(min(size, limit))
        files.read_at(self._fd, data, size - len(data))
        end = data.rfind(b"\n") + 1
        return None if not end and size >= limit else bytes(data[end:])

    def cut(self, count: int) -> None:
        """Takes the last `count` bytes away."""
        os.ftruncate(self._fd, self.size_bytes() - count)

    def append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data):]


def write_owner(fd: int, **more: Any) -> None:
    """Notes which process holds a lock or a claim, and how far it has come, in place of the note before."""
    owner = json.dumps(dict(more, pid=os.getpid(), host=socket.gethostname())).encode()
    files.write_at(fd, owner.ljust(_OWNER_BYTES), 0)


def note_owner(fd: int) -> None:
    """`write_owner` in a new file, where a full disk is no error: the note is only for other processes' messages."""
    try:
        write_owner(fd)
    except OSError as error:
        if error.errno not in files.FULL:
            raise


def read_owner(path: str) -> Dict[str, Any]:
    try:
        fd = files.open_read(path)
    except (OSError, ValueError):
        return {}
    try:
        data = bytearray(min(files.size_bytes(fd), 4096))
        owner = json.loads(data[:files.read_at(fd, data, 0)].decode())
        return owner if isinstance(owner, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}
    finally:
        os.close(fd)


def lock(path: str, mode: int = 0o600) -> Optional[int]:
    """Takes the advisory lock; returns its descriptor, or None if another process has it.

    It belongs to the descriptor, where the kernel offers that: whatever else in this process opens and closes the
    file, such as a copy of the whole directory, does not give it away, as it would a POSIX record lock. A forked
    child would keep it (https://github.com/keras-team/keras/issues/11101), so `files.close_in_children`.
    """
    fresh = not os.path.lexists(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | files.NOFOLLOW | files.CLOEXEC, mode)
    try:
        if fresh and files.is_for_group(mode) and hasattr(os, "fchmod"):
            os.fchmod(fd, mode)
        is_ours = fcntl is None or _lock(fd)
        if is_ours:
            note_owner(fd)
    except BaseException:
        os.close(fd)
        raise
    if not is_ours:
        os.close(fd)
        return None
    files.close_in_children(fd)
    return fd


def _lock(fd: int) -> bool:
    """Whether the lock is ours now, as far as locks are offered here."""
    try:
        if _OWN_BY_DESCRIPTOR:
            try:
                fcntl.fcntl(fd, _OFD_SETLK, struct.pack(_FLOCK, *_WHOLE_FILE))
                return True
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return False  # and whatever else it was: the older kind of lock may be offered
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        if error.errno not in _NOT_OFFERED:
            raise
    return True


def lock_holder(path: str) -> Optional[int]:
    """The process on this machine that has the lock, or None; nothing is touched, and no start is sent away by it."""
    if fcntl is None or not hasattr(fcntl, "F_GETLK"):
        return None
    try:
        fd = files.open_read(path)
    except OSError:
        return None
    try:
        found = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(_FLOCK, *_WHOLE_FILE)))
    except OSError:
        return None  # no locks at all
    finally:
        os.close(fd)
    kind, pid = (found[0], found[4]) if _IS_LINUX else (found[3], found[2])
    if kind == fcntl.F_UNLCK:
        return None
    if pid > 0:
        return pid
    owner = read_owner(path)  # the lock is a descriptor's, and no process's
    ours = owner.get("host") == socket.gethostname() and type(owner.get("pid")) is int
    return owner["pid"] if ours else None
