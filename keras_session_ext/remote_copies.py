"""Small files that grow on this machine while their copies stand in a store: work that repeats behind training."""

import atexit
import concurrent.futures.thread  # noqa: F401 (what it does at the exit is registered before ours, and comes after)
import errno
import getpass
import hashlib
import logging
import os
import stat
import tempfile
import threading
import time
from typing import Callable, Dict, List, Optional, Tuple

from keras_session_ext import files, remote_files, urls

logger = logging.getLogger("keras_session_ext")

#: how often copies are made anew, where nothing asks for it earlier
COPY_SECONDS = 60.0
#: of one file; what is larger is not copied
_LARGEST_BYTES = 64 << 20


_exits: List[Tuple[int, Callable[[], None]]] = []
_has_exited = False


def before_exit(order: int, work: Callable[[], None]) -> None:
    """Does something at the end of a process that has used a store, as long as the network can still be used.

    When `atexit` is called that is over: asyncio's threads are gone.
    https://github.com/python/cpython/blob/v3.12.0/Lib/concurrent/futures/thread.py#L37

    Args:
        order: what has a smaller one comes first.
        work: it.
    """
    _exits.append((order, work))


def _before_exit() -> None:
    global _has_exited
    if _has_exited or not remote_files.is_used():
        return
    _has_exited = True
    for _, work in sorted(_exits, key=lambda one: one[0]):
        try:
            work()
        except Exception as error:
            logger.warning("At the end of the process: %s", error)


# of Python 3.9 and later; in older ones asyncio's threads end by an `atexit` that is older than this
getattr(threading, "_register_atexit", atexit.register)(_before_exit)


class Repeated:
    """Work that a thread does again and again; what it raises is told once, and it is tried again.

    Args:
        what: it does, for messages, such as "The journal in s3://bucket/run cannot be written".
        work: it.
        every_seconds: how often, where nobody asks for it.
    """

    def __init__(self, what: str, work: Callable[[], None], every_seconds: float):
        self._what, self._work, self._every = what, work, every_seconds
        self._pid = os.getpid()
        self._condition = threading.Condition()
        self._asked = self._done = 0
        self._told = False
        self._stop: Optional[threading.Event] = None

    def begin(self, at_once: bool = True) -> None:
        """Does it from now on.

        Args:
            at_once: for the first time now; else when it is time.
        """
        if self._stop is None or self._stop.is_set():
            self._stop = threading.Event()
            threading.Thread(target=self._run, args=(self._stop,), name="keras-session-copies", daemon=True).start()
        if at_once:
            self.ask()

    def ask(self) -> None:
        """Is to be done now, and is not waited for."""
        if os.getpid() == self._pid:
            with self._condition:
                self._asked += 1
                self._condition.notify_all()

    def flush(self, timeout_seconds: float) -> None:
        """Does it now, and waits until it is done, or failed."""
        if os.getpid() != self._pid or self._stop is None:
            return
        deadline = time.monotonic() + timeout_seconds
        with self._condition:
            self._asked += 1
            wanted = self._asked
            self._condition.notify_all()
            while self._done < wanted and time.monotonic() < deadline:
                self._condition.wait(max(0.0, deadline - time.monotonic()))

    def end(self) -> None:
        """Does it no more."""
        if self._stop is not None and os.getpid() == self._pid:
            self._stop.set()
            self.ask()

    def _run(self, stop: threading.Event) -> None:
        while True:
            with self._condition:
                if self._asked == self._done:
                    self._condition.wait(self._every)
                asked = self._asked
            if stop.is_set():
                return
            try:
                self._work()
                self._told = False
            except Exception as error:  # of a store, a disk or a client: training goes on
                if not self._told and not _has_exited:
                    self._told = True
                    logger.warning("%s: %s. Training goes on, and it is tried again.", self._what, error)
            with self._condition:
                self._done = asked
                self._condition.notify_all()


def folder_for(url: str, parent: Optional[str] = None) -> str:
    """The folder of this machine for what belongs to a URL; who comes again finds it again.

    Args:
        url: it.
        parent: where it is to be. Default: a private place among this machine's temporary files.

    Raises:
        OSError: it cannot be made.
    """
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    if parent is not None:
        path = os.path.join(os.path.abspath(parent), name)
        files.make_directory(path, 0o700)
        return path
    user = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    parent = os.path.join(tempfile.gettempdir(), "keras-session-{}".format(user))
    try:
        files.make_directory(parent, 0o700)
        found = os.lstat(parent)
        if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and (
                found.st_mode & 0o077 or found.st_uid != os.getuid())):
            raise OSError(errno.EPERM, "it is not this user's alone", parent)
        path = os.path.join(parent, name)
        files.make_directory(path, 0o700)
        return path
    except OSError as error:
        logger.warning("%s. What waits for %s is kept elsewhere.", error, url)
        return tempfile.mkdtemp(prefix="keras-session-")


class FolderCopy:
    """Files of a local folder, as copies behind a URL.

    Args:
        url: of the folder there.
        folder: here; made if it is missing.
        is_meant: tells by its name whether a file is copied.
        mode: of files that are made here.
    """

    def __init__(self, url: str, folder: str, is_meant: Callable[[str], bool], mode: int = 0o600):
        self.url, self.folder, self._mode = url, folder, mode
        self._is_meant = is_meant
        self._sent: Dict[str, Tuple[int, int]] = {}  # name -> size and time of what was sent last

    def bring(self, keep: Callable[[str, int], bool]) -> None:
        """What stands there stands here.

        Args:
            keep: is asked with the path of a file that is here already, and the size in bytes of the one there,
                whether the one here stays.

        Raises:
            OSError: the store or the folder cannot be read or written.
        """
        files.make_directory(self.folder, 0o700)
        for one in remote_files.entries(self.url):
            path = os.path.join(self.folder, one.name)
            if one.is_folder or not self._is_meant(one.name) or one.size_bytes > _LARGEST_BYTES:
                continue
            if files.exists(path) and keep(path, one.size_bytes):
                continue
            write(path, remote_files.read(urls.join(self.url, one.name)) if one.size_bytes else b"", self._mode)
            self._sent[one.name] = self._state(path)

    def send(self) -> None:
        """What has changed here since is there, too.

        Raises:
            OSError: the store cannot be written.
        """
        for name in files.names(self.folder):
            path = os.path.join(self.folder, name)
            if not self._is_meant(name):
                continue
            try:
                state = self._state(path)
                if state[0] > _LARGEST_BYTES or self._sent.get(name) == state:
                    continue
                data = files.read_all(path)
            except OSError:
                continue  # it has gone meanwhile
            remote_files.replace(urls.join(self.url, name), data)
            self._sent[name] = state
        for name in [name for name in self._sent if not files.exists(os.path.join(self.folder, name))]:
            remote_files.remove(urls.join(self.url, name))
            del self._sent[name]

    @staticmethod
    def _state(path: str) -> Tuple[int, int]:
        found = os.stat(path)
        return found.st_size, found.st_mtime_ns


def write(path: str, data: bytes, mode: int = 0o600) -> None:
    """Puts a file in its place at once."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, ".tmp-{}-{}".format(os.urandom(4).hex(), name))
    files.write_new(temporary, data, mode)
    files.replace(temporary, path)


