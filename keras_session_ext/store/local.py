"""A run directory on a file system of this machine.

A put is `create a temporary name -> write -> fsync -> check -> link to the name
-> unlink -> fsync the folder`; a removal goes through a tombstone.
"""

import errno
import logging
import os
import re
from typing import Any, Callable, Dict, List, Optional

from keras_session_ext import file_locks, files
from keras_session_ext.store.contract import Image, Staged, Store, StoredFile
from keras_session_ext.store.local_lock import LocalLock
from keras_session_ext.store.write_behind import write_image

logger = logging.getLogger("keras_session_ext")

_UNFINISHED = re.compile(r"\.(?:tmp|del)-[0-9a-f]{8}-(.*)")
_UNFINISHED_NOTE = re.compile(r"\.tmp-[0-9a-f]{8}-.*|journal\.jsonl\.tmp-[0-9a-f]{8}")


def write_file(path: str, image: Image, mode: int = 0o600) -> None:
    """Writes and syncs a new file; removes it again where a step fails."""
    fd = files.create(path, mode)
    try:
        try:
            files.reserve(fd, image.size_bytes)
            write_image(fd, image)
            files.sync(fd)
        finally:
            files.close(fd)
    except BaseException:
        quietly_remove(path)
        raise


def save_file(path: str, image: Image, mode: int = 0o600) -> None:
    """Writes one file to a path of the user's choice: new, or in place of one that is there."""
    temporary = temporary_name(path)
    write_file(temporary, image, mode)
    give_name(temporary, path)


def give_name(temporary: str, path: str) -> None:
    """Gives a finished file its name, in place of one that is there; it is removed where that fails."""
    try:
        if files.exists(path):
            files.replace(temporary, path)
        else:
            files.publish(temporary, path)
    except BaseException:
        files.remove(temporary)
        raise
    files.sync_directory(os.path.dirname(os.path.abspath(path)))


def temporary_name(final: str, kind: str = "tmp") -> str:
    """The path under which a file is written before it gets its own, or "del": goes to when it is removed."""
    folder, name = os.path.split(final)
    return os.path.join(folder, ".{}-{}-{}".format(kind, os.urandom(4).hex(), name))


def quietly_remove(path: str) -> None:
    """Removes a file, if that is possible."""
    try:
        files.remove(path)
    except OSError:
        pass  # the error that brought us here is the one to tell; the next start removes it


class LocalFile(StoredFile):
    """A file of this machine that is open.

    Args:
        path: the file.

    Raises:
        OSError: it is not there, or no regular file; links are not followed.
    """

    def __init__(self, path: str):
        self._fd = files.open_read(path)

    def size_bytes(self) -> int:
        return files.size_bytes(self._fd)

    def held_bytes(self) -> Optional[int]:
        return files.held_bytes(self._fd)

    def read(self, target: Any, offset: int) -> int:
        return files.read_at(self._fd, target, offset)

    def close(self) -> None:
        files.close(self._fd)


class LocalStaged(Staged):
    """A file under a temporary name.

    Args:
        temporary: that name.
        final: the path that it is to have.
        size: in bytes.
    """

    def __init__(self, temporary: str, final: str, size: int):
        self._temporary, self._final, self.size_bytes = temporary, final, size

    def publish(self, check: Callable[[], None]) -> None:
        check()
        files.publish(self._temporary, self._final)
        self._temporary = ""
        files.sync_directory(os.path.dirname(self._final))

    def discard(self) -> None:
        if self._temporary:
            quietly_remove(self._temporary)


def _resolved(path: str) -> str:
    """The folder itself, once and for all: a link that is pointed elsewhere later leads no checkpoint there."""
    path = os.path.abspath(path)
    return path if files.is_dangling(path) else os.path.realpath(path)


class LocalStore(Store):
    """A folder: LOCK and notes in it, checkpoints and claims in `checkpoints` below it.

    Args:
        path: the folder.
        group: whether members of the files' group may read and write, too.
    """

    def __init__(self, path: str, group: bool = False):
        self.path = _resolved(path)
        self.folder = os.path.join(self.path, "checkpoints")
        self.file_mode = 0o660 if group else 0o600
        self._folder_mode = 0o770 if group else 0o700
        self.lock = LocalLock(os.path.join(self.path, "LOCK"), self.file_mode)

    @property
    def here(self) -> str:
        return self.path

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def describe(self) -> str:
        return self.folder

    def path_of(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def prepare(self) -> None:
        if files.is_dangling(self.path):
            raise FileNotFoundError(errno.ENOENT, "it is a link to {}, which is not there; mount or make that".format(
                os.path.realpath(self.path)), self.path)
        files.make_directory(self.folder, self._folder_mode)

    def names(self) -> List[str]:
        try:
            return files.names(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def claim(self, name: str) -> bool:
        try:
            fd = files.create(self.path_of(name), self.file_mode)
        except FileExistsError:
            return False
        try:
            try:
                file_locks.note_owner(fd)
                files.sync(fd)
            finally:
                files.close(fd)
            files.sync_directory(self.folder)
        except BaseException:
            quietly_remove(self.path_of(name))  # or every start that fails would leave one
            raise
        return True

    def stage(self, name: str, image: Image) -> Staged:
        final = self.path_of(name)
        temporary = temporary_name(final)
        write_file(temporary, image, self.file_mode)
        return LocalStaged(temporary, final, image.size_bytes)

    def open(self, name: str) -> StoredFile:
        return LocalFile(self.path_of(name))

    def remove(self, names: List[str], check: Callable[[], None]) -> List[str]:
        """A name is first given to a tombstone, and the folder synced.

        After a power cut a file must not come back under its own name with re-used blocks.
        """
        tombstones: Dict[str, str] = {}
        try:
            for name in names:
                tombstone = temporary_name(self.path_of(name), "del")
                try:
                    files.rename(self.path_of(name), tombstone)
                except FileNotFoundError:
                    continue  # someone removed it by hand
                tombstones[name] = tombstone
            if tombstones:
                files.sync_directory(self.folder)
                check()
        except BaseException:
            self._give_back(tombstones)
            raise
        for tombstone in tombstones.values():
            quietly_remove(tombstone)
        return list(tombstones)

    def _give_back(self, tombstones: Dict[str, str]) -> None:
        for name, tombstone in tombstones.items():
            try:
                files.publish(tombstone, self.path_of(name))
            except OSError as error:
                logger.warning("%s cannot get its name %s back: %s", tombstone, name, error)

    def clear_leftovers(self, is_leftover: Callable[[str, bool], bool]) -> None:
        for name in self.names():
            unfinished = _UNFINISHED.fullmatch(name)
            if not (is_leftover(unfinished.group(1), True) if unfinished else is_leftover(name, False)):
                continue
            try:
                files.remove(self.path_of(name))
            except OSError as error:
                logger.warning("Cannot remove the leftover %s: %s", name, error)
        for name in filter(_UNFINISHED_NOTE.fullmatch, files.names(self.path)):
            quietly_remove(os.path.join(self.path, name))

    def write_note(self, name: str, data: bytes) -> None:
        temporary = os.path.join(self.path, ".tmp-{}-{}".format(os.urandom(4).hex(), name))
        files.write_new(temporary, data, self.file_mode)
        files.replace(temporary, os.path.join(self.path, name))

    def read_note(self, name: str) -> Optional[bytes]:
        try:
            return files.read_all(os.path.join(self.path, name), 1 << 16)
        except OSError:
            return None
