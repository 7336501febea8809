"""Every file-system call of the package but those on locks (file_locks.py), and nothing else.

Faults are injected here and nowhere else. No call follows a symbolic link to a
file of ours, no call overwrites, and a failed `fsync` is never repeated on the same file: after
a failure the kernel may have marked the lost pages clean (Rebello et al.,
USENIX ATC 2020).
"""

import ctypes
import errno
import os
import stat
import tempfile
from typing import TYPE_CHECKING, Iterable, Iterator, List, Optional, Set, Tuple

try:
    import fcntl
except ImportError:  # Windows: no lock; safety comes from the generation fence
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

CLOEXEC = getattr(os, "O_CLOEXEC", 0)
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
BINARY = getattr(os, "O_BINARY", 0)
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EACCES)
#: what a full disk, or quota, says
FULL = (errno.ENOSPC, errno.EDQUOT)
_CHUNK_BYTES = 1 << 24
_DIRECT = getattr(os, "O_DIRECT", 0)
_DIRECT_BYTES = 1 << 20  # a smaller write waits for the disk longer than it saves
#: what direct I/O and the kernel's memory go by
PAGE_BYTES = 4096
_ours: Set[int] = set()  # open in this process for long, and not for its children


def is_for_group(mode: int) -> bool:
    """Whether it was asked for to share with the group: then the umask does not take that away."""
    return bool(mode & 0o070) and not mode & 0o007


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
    if is_for_group(mode):
        os.chmod(path, mode)
    sync_directory(parent or ".")


def create(path: str, mode: int = 0o600) -> int:
    """Opens a new file for reading and writing; an existing name is an error."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW | CLOEXEC | BINARY, mode)
    if is_for_group(mode) and hasattr(os, "fchmod"):
        os.fchmod(fd, mode)
    return fd


def duplicate(fd: int) -> int:
    return os.dup(fd)


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


def write_at(fd: int, data: "ReadableBuffer", offset: int) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        written = os.pwrite(fd, view[:_CHUNK_BYTES], offset)
        if written <= 0:
            raise OSError(errno.EIO, "the file system accepted no bytes")
        view, offset = view[written:], offset + written


def write_pieces(fd: int, pieces: Iterable[Tuple[int, "WriteableBuffer"]]) -> None:
    """Writes (offset in bytes, buffer), one after another; large aligned ones past the page cache, where that can be.

    A page that the cache has not used yet costs several times more than the copy into it, of a core's time, too.
    https://man7.org/linux/man-pages/man2/open.2.html (O_DIRECT)
    """
    offered, direct = fcntl is not None and bool(_DIRECT), False
    for offset, data in pieces:
        wanted = offered and _is_aligned(data, offset)
        if wanted != direct:
            direct = _set_direct(fd, wanted)
            offered = direct == wanted
        try:
            write_at(fd, data, offset)
        except OSError as error:
            if not direct or error.errno != errno.EINVAL:
                raise
            offered, direct = False, _set_direct(fd, False)  # it says so only now
            write_at(fd, data, offset)


def _is_aligned(data: "WriteableBuffer", offset: int) -> bool:
    size = memoryview(data).nbytes
    if size < _DIRECT_BYTES or (offset | size) % PAGE_BYTES:
        return False
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(data)) % PAGE_BYTES == 0
    except TypeError:
        return False  # memory that is not ours


def _set_direct(fd: int, wanted: bool) -> bool:
    """Returns what holds then; most file systems without it say so here."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | _DIRECT if wanted else flags & ~_DIRECT)
    except OSError:
        return not wanted
    return wanted


def read_at(fd: int, target: "WriteableBuffer", offset: int) -> int:
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
    _ours.discard(fd)
    os.close(fd)


def close_in_children(fd: int) -> None:
    """A file that stays open is not for forked children; it is to be closed by `close`."""
    _ours.add(fd)


def _forked() -> None:
    for fd in list(_ours):
        try:
            close(fd)
        except OSError:
            pass  # someone has closed all that the child has


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def sync_directory(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | CLOEXEC)
    except PermissionError:
        if os.name == "nt":
            return
        raise
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(temporary: str, final: str) -> bool:
    """Gives a finished file its name, never taking the place of another; returns whether by a hard link."""
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # FAT and many FUSE mounts have no hard links; the name ends in random digits
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "the name is taken", final)
        os.rename(temporary, final)
        return False
    os.unlink(temporary)
    return True


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


def is_dangling(path: str) -> bool:
    """Whether a path is a link to nothing."""
    return os.path.lexists(path) and not os.path.exists(path)


def open_read(path: str) -> int:
    """Opens a regular file for reading; links, devices and pipes are refused."""
    fd = os.open(path, os.O_RDONLY | NOFOLLOW | CLOEXEC | BINARY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return fd


def size_bytes(fd: int) -> int:
    return os.fstat(fd).st_size


def held_bytes(fd: int) -> Optional[int]:
    """What the disk holds of a file, fewer bytes than it has where it has holes; None where that is not told.

    Some FUSE and network mounts say 0 of every file.
    """
    return 512 * int(getattr(os.fstat(fd), "st_blocks", 0)) or None


def append(path: str, data: bytes, mode: int = 0o600) -> None:
    """Adds bytes behind a file's last one, all in one call; made if it is missing."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NOFOLLOW | CLOEXEC | BINARY, mode)
    try:
        if os.fstat(fd).st_size == 0 and is_for_group(mode) and hasattr(os, "fchmod"):
            os.fchmod(fd, mode)
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)


def read_all(path: str, limit: int = 1 << 40) -> bytes:
    """A regular file's bytes; of a file beyond `limit` only the last so many."""
    fd = open_read(path)
    try:
        size = size_bytes(fd)
        data = bytearray(min(size, limit))
        return bytes(data[:read_at(fd, data, size - len(data))])
    finally:
        os.close(fd)


def read_foreign(path: str, limit: int) -> bytes:
    """The first `limit` bytes of a file that is not ours; links to it are followed, devices and pipes refused."""
    fd = os.open(path, os.O_RDONLY | CLOEXEC | BINARY | getattr(os, "O_NONBLOCK", 0))
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        data = bytearray(min(size_bytes(fd), limit))
        return bytes(data[:read_at(fd, data, 0)])
    finally:
        os.close(fd)


def read_stream(path: str) -> bytes:
    """All bytes of a file that does not know its size, such as those in /proc."""
    with open(path, "rb") as handle:
        return handle.read()


def is_at(fd: int, path: str) -> bool:
    """Whether an open file is the one that stands at `path`."""
    mine = os.fstat(fd)
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def write_new(path: str, data: bytes, mode: int = 0o600) -> None:
    """Writes and syncs a new file."""
    fd = create(path, mode)
    try:
        try:
            write_at(fd, data, 0)
            sync(fd)
        finally:
            os.close(fd)
    except BaseException:
        os.unlink(path)
        raise


def settle(path: str, mode: int) -> None:
    """Syncs a file that a library wrote, and gives it its permissions."""
    fd = open_read(path)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(fd, mode)
        sync(fd)
    finally:
        os.close(fd)


def truncate_text(path: str, size: int) -> int:
    """Cuts a log file to `size` bytes, durably; returns the size it had."""
    fd = os.open(path, os.O_RDWR | CLOEXEC | BINARY)
    try:
        had = os.fstat(fd).st_size
        if had > size:
            os.ftruncate(fd, size)
            os.fsync(fd)
        return had
    finally:
        os.close(fd)


def temporary_directory() -> "tempfile.TemporaryDirectory[str]":
    """A directory of our own, which is removed with all that is in it."""
    return tempfile.TemporaryDirectory(prefix="keras-session-")


def read_tree(path: str) -> Iterator[Tuple[str, bytes]]:
    """(relative name, content) of every file below a directory, in the order of the names."""
    for folder, _, found in sorted(os.walk(path)):
        for name in sorted(found):
            whole = os.path.join(folder, name)
            yield os.path.relpath(whole, path), read_all(whole)


def write_below(path: str, name: str, data: bytes) -> None:
    """A new file below a directory of our own, at no other place.

    Raises:
        ValueError: the name leads out of the directory.
    """
    whole = os.path.abspath(os.path.join(path, name))
    if not whole.startswith(os.path.abspath(path) + os.sep):
        raise ValueError("{!r} is no name below a directory".format(name))
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    write_new(whole, data)


def open_notes(path: str, mode: int, length: int) -> Tuple[int, bytes]:
    """Opens a file that is written to in place, or makes it.

    Returns:
        The descriptor, and the first `length` bytes of the file.

    Raises:
        OSError: it cannot be opened, or is no ordinary file.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | CLOEXEC | NOFOLLOW | BINARY, mode)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file", path)
        start = bytearray(length)
        read_at(fd, start, 0)
        return fd, bytes(start)
    except BaseException:
        os.close(fd)
        raise


def begin_anew(fd: int) -> None:
    """Empties a file."""
    os.ftruncate(fd, 0)
