"""Every file-system call of the package, and nothing else.

Faults are injected here and nowhere else. No call follows a symbolic link, no
call overwrites, and a failed `fsync` is never repeated on the same file: after
a failure the kernel may have marked the lost pages clean (Rebello et al.,
USENIX ATC 2020).
"""

import errno
import json
import os
import socket
import stat
from typing import Any, Dict, List, Optional

try:
    import fcntl
except ImportError:  # Windows: no lock; safety comes from the generation fence
    fcntl = None  # type: ignore[assignment]

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EACCES)
_CHUNK_BYTES = 1 << 24


def make_directory(path: str, mode: int = 0o700) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent and parent != path:
        make_directory(parent, mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    if mode & 0o077:
        os.chmod(path, mode)
    sync_directory(parent or ".")


def create(path: str, mode: int = 0o600) -> int:
    """Opens a new file for reading and writing; an existing name is an error."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC | _BINARY, mode)
    if mode & 0o077 and hasattr(os, "fchmod"):
        os.fchmod(fd, mode)  # a group mode was asked for: the umask does not take it away
    return fd


def reserve(fd: int, size_bytes: int) -> None:
    """Takes the space now, so that a full disk is met before the first byte."""
    if size_bytes and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV):
                raise
    os.ftruncate(fd, size_bytes)


def write_at(fd: int, data, offset: int) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        written = os.pwrite(fd, view[:_CHUNK_BYTES], offset)
        if written <= 0:
            raise OSError(errno.EIO, "the file system accepted no bytes")
        view, offset = view[written:], offset + written


def read_at(fd: int, target, offset: int) -> int:
    """Fills `target` from `offset`; returns how many bytes the file had."""
    view = memoryview(target).cast("B")
    done = 0
    while done < len(view):
        if hasattr(os, "preadv"):
            got = os.preadv(fd, [view[done : done + _CHUNK_BYTES]], offset + done)
        else:  # Python 3.7 on macOS
            piece = os.pread(fd, min(_CHUNK_BYTES, len(view) - done), offset + done)
            view[done : done + len(piece)] = piece
            got = len(piece)
        if got == 0:
            break
        done += got
    return done


def sync(fd: int) -> None:
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(fd, full)  # macOS: fsync alone leaves the data in the drive's cache
            return
        except OSError:
            pass  # not every file system there offers it
    os.fsync(fd)


def close(fd: int) -> None:
    os.close(fd)


def sync_directory(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOEXEC)
    except PermissionError:
        if os.name == "nt":
            return
        raise
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(temporary: str, final: str) -> None:
    """Gives a finished file its name, never taking the place of another."""
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # FAT and many FUSE mounts have no hard links; the name ends in random digits
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "the name is taken", final)
        os.rename(temporary, final)
        return
    os.unlink(temporary)


def replace(temporary: str, final: str) -> None:
    os.replace(temporary, final)


def rename(source: str, target: str) -> None:
    os.rename(source, target)


def remove(path: str) -> None:
    os.unlink(path)


def names(path: str) -> List[str]:
    return os.listdir(path)


def exists(path: str) -> bool:
    return os.path.lexists(path)


def open_read(path: str) -> int:
    """Opens a regular file for reading; links, devices and pipes are refused."""
    fd = os.open(path, os.O_RDONLY | _NOFOLLOW | _CLOEXEC | _BINARY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return fd


def size_bytes(fd: int) -> int:
    return os.fstat(fd).st_size


def truncate_text(path: str, size: int) -> int:
    """Cuts a peer's log file to `size` bytes, durably; returns the size it had."""
    fd = os.open(path, os.O_RDWR | _CLOEXEC | _BINARY)
    try:
        had = os.fstat(fd).st_size
        if had > size:
            os.ftruncate(fd, size)
            os.fsync(fd)
        return had
    finally:
        os.close(fd)


def write_owner(fd: int) -> None:
    """Notes which process holds a lock or a claim."""
    owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
    os.ftruncate(fd, 0)
    write_at(fd, owner, 0)


def read_owner(path: str) -> Dict[str, Any]:
    try:
        with open(path, "rb") as handle:
            owner = json.loads(handle.read(4096).decode())
        return owner if isinstance(owner, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def lock(path: str, mode: int = 0o600) -> Optional[int]:
    """Takes the advisory lock; returns its descriptor, or None if another process has it.

    POSIX record locks: `flock` survives in orphaned data-loader workers that
    inherited the descriptor (https://github.com/keras-team/keras/issues/11101).
    """
    fresh = not os.path.lexists(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _NOFOLLOW | _CLOEXEC, mode)
    if fresh and mode & 0o077 and hasattr(os, "fchmod"):
        os.fchmod(fd, mode)
    if fcntl is not None:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return None
            if error.errno == errno.ENOLCK:  # some NFS mounts: no locks at all
                return os.open(path, os.O_RDONLY | _CLOEXEC)
            raise
    try:
        write_owner(fd)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # the note is only for other processes' messages
            os.close(fd)
            raise
    return fd
