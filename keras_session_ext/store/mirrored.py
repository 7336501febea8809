"""A run directory on this machine, with a second copy in a store behind a URL.

The first copy is today's local protocol, and a save is durable with it. The
second is made behind training, one checkpoint at a time. A start sees what is
in either: on an empty disk it goes on from the second.
"""

import logging
import os
import threading
from typing import Any, Callable, Dict, List, Optional, Set

from keras_session_ext import files
from keras_session_ext.store.checkpoint_names import CHECKPOINT, place
from keras_session_ext.store.contract import Image, Lock, Staged, Store, StoredFile
from keras_session_ext.store.local import LocalStore
from keras_session_ext.store.remote import RemoteStore
from keras_session_ext.store.remote_lock import RemoteLock
from keras_session_ext.store.staging import StagedObject

logger = logging.getLogger("keras_session_ext")


class MirroredStore(Store):
    """A folder, and what it has in a store.

    Args:
        near: the folder.
        far: the store; what grows in the folder is copied to it.
    """

    def __init__(self, near: LocalStore, far: RemoteStore):
        self.near, self.far = near, far
        self.path, self.file_mode = near.path, near.file_mode
        self.mirror_url = far.path
        far.file_mode = near.file_mode
        self.lock: Lock = _BothLocks(near.lock, far.lock, self.look)
        self._claimed = ""
        self._there: Set[str] = set()  # what the store had when it was last looked at
        self._surplus: Set[str] = set()  # what it is to have no more
        self._guard = threading.Lock()  # of these two: saves and uploads have a thread each

    @property
    def here(self) -> str:
        return self.near.here

    def exists(self) -> bool:
        return self.near.exists() or self.far.exists()

    def describe(self) -> str:
        return self.near.describe()

    def path_of(self, name: str) -> str:
        near = self.near.path_of(name)
        return self.far.path_of(name) if name in self._there and not files.exists(near) else near

    def prepare(self) -> None:
        self.near.prepare()
        self.far.prepare()

    def names(self) -> List[str]:
        """Once this process has claimed the run, the store is asked at uploads only: a save waits for no network."""
        if not self._claimed:
            self.look()
        near = self.near.names()
        with self._guard:  # our own claim counts where it stands here: another folder may be in the place of this one
            return list(self._there.difference([self._claimed]).union(near).difference(self._surplus))

    def claim(self, name: str) -> bool:
        if self._claimed != name:
            if not self.far.claim(name):
                self.look()
                return False
            self._claimed = name
            self.look()
        return self.near.claim(name)

    def stage(self, name: str, image: Image) -> Staged:
        return self.near.stage(name, image)

    def mirror(self, name: str) -> Optional[Staged]:
        if name in self._there or name in self._surplus:
            return None
        try:
            return _Copy(self, name, self.near.path_of(name))
        except FileNotFoundError:  # retention has taken it: a newer one comes
            return None

    def open(self, name: str) -> StoredFile:
        try:
            return self.near.open(name)
        except FileNotFoundError:
            if name not in self._there:
                raise
        return self.far.open(name)

    def remove(self, names: List[str], check: Callable[[], None]) -> List[str]:
        """In the store they go behind the next upload, when newer ones are sure to be there."""
        removed = self.near.remove(names, check)
        with self._guard:
            self._surplus.update(names)
            return [name for name in names if name in removed or name in self._there]

    def look(self) -> Set[str]:
        """Sees what is in the store."""
        there = set(self.far.names())
        with self._guard:
            self._there = there
        return there

    def retain_mirror(self, check: Callable[[], None]) -> None:
        """Only what is older than one that is kept: uploads may be slower than saves, which give all of it up."""
        self._look_and(check)()
        with self._guard:
            kept = [place(name) for name in self._there.difference(self._surplus) if CHECKPOINT.fullmatch(name)]
            gone = {name for name in self._surplus.intersection(self._there) if kept and place(name) < max(kept)}
        self.far.remove(sorted(gone), self._look_and(check))
        with self._guard:
            self._there = self._there - gone

    def other_copy(self, name: str) -> Optional[StoredFile]:
        return self.far.open(name) if name in self._there else None

    def clear_leftovers(self, is_leftover: Callable[[str, bool], bool]) -> None:
        self.near.clear_leftovers(is_leftover)
        self.far.clear_leftovers(is_leftover)
        self.look()

    def write_note(self, name: str, data: bytes) -> None:
        self.near.write_note(name, data)
        try:
            self.far.write_note(name, data)
        except OSError as error:
            logger.warning("%s cannot be written to %s: %s. It is in %s.", name, self.far.path, error, self.path)

    def read_note(self, name: str) -> Optional[bytes]:
        found = self.near.read_note(name)
        return self.far.read_note(name) if found is None else found

    def bring(self, generation: int, check: Callable[[], None]) -> None:
        self.far.bring(generation, self._look_and(check))

    def _look_and(self, check: Callable[[], None]) -> Callable[[], None]:
        """What is checked before anything is written there: by what is there now."""
        def looked() -> None:
            self.look()
            check()

        return looked

    def send(self, timeout_seconds: float = 0.0) -> None:
        self.far.send(timeout_seconds)


class _Copy(StagedObject):
    """A checkpoint that is to be in the store, too. It is held open: retention may take its name meanwhile.

    Args:
        store: of both.
        name: of the checkpoint.
        path: where it is here.
    """

    def __init__(self, store: MirroredStore, name: str, path: str):
        self._fd = files.open_read(path)
        held = "/proc/self/fd/{}".format(self._fd)  # Linux: opened anew, from its beginning
        super().__init__(store.far.path_of(name), held if os.path.exists(held) else path, files.size_bytes(self._fd))
        self._store, self._name, self._path = store, name, path

    @property
    def waits_in(self) -> Optional[str]:
        return self._path

    def publish(self, check: Callable[[], None]) -> None:
        is_there = self._name in self._store.look()
        check()
        if not is_there or not self.is_up():
            super().publish(check)
        self._store.look()

    def _piece(self, begin: int, end: int) -> bytes:
        data: Any = bytearray(end - begin)
        return bytes(data[:files.read_at(self._fd, data, begin)])

    def put_aside(self) -> Optional[str]:
        return self._path  # it is a checkpoint of this run, wherever else it is or is not

    def discard(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            files.close(fd)


class _BothLocks(Lock):
    """The folder's lock, and the store's sign of life: each keeps others out."""

    def __init__(self, near: Lock, far: RemoteLock, look: Callable[[], Any]):
        self._near, self._far, self._look = near, far, look
        self._refused: Lock = near

    def take(self) -> Optional[Dict[str, Any]]:
        left = []
        for take, lock in ((self._take_far, self._far), (self._near.take, self._near)):
            found = take()
            if found is None:
                self._refused = lock
                self.give_back()
                return None
            left.append(found)
        return max(left, key=lambda note: note.get("time") or 0.0)

    def _take_far(self) -> Optional[Dict[str, Any]]:
        try:
            found = self._far.take()
            self._look()
            return found
        except OSError as error:
            if not self._far.is_ours:
                raise
            logger.warning("The mirror cannot be asked who trains: %s. Training goes on.", error)
            self._far.go_on()  # a run of this process, which another one may take over: it is fenced at the next upload
            return {}

    def read(self) -> Dict[str, Any]:
        return self._refused.read()

    def note(self, **place: Any) -> None:
        self._near.note(**place)
        self._far.note(**place)

    def holder(self) -> Optional[int]:
        return self._near.holder() or self._far.holder()

    def give_back(self) -> None:
        self._near.give_back()
        self._far.give_back()
