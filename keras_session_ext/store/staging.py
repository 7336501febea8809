"""Where the files of a run in a store stand on this machine, until they are up: a private folder, or memory."""

import errno
import logging
import os
from typing import Any, Callable, Dict, Optional, Union

from keras_session_ext import files, remote_copies, remote_files
from keras_session_ext.store.contract import Image, Staged
from keras_session_ext.store.write_behind import write_image

logger = logging.getLogger("keras_session_ext")

MEMORY = "memory"


class Staging:
    """The folder of one run on this machine.

    The same run finds it again when it is started here once more: what a process
    could not send any more is sent then.

    Args:
        url: of the run.
        wanted: a folder, in which there is one for each run; "memory" for checkpoints; None: a private one where this
            machine keeps temporary files, or memory where there is no such place.
        folder: the very folder, where that is a run directory of this machine.
    """

    def __init__(self, url: str, wanted: Optional[str] = None, folder: Optional[str] = None):
        self._url = url
        self._wanted = None if wanted == MEMORY else wanted
        self._in_memory = wanted == MEMORY
        self._folder = folder

    @property
    def folder(self) -> str:
        """Where small files stand that grow while the run is trained, and checkpoints that wait."""
        if self._folder is None:
            self._folder = remote_copies.folder_for(self._url, self._wanted)
        return self._folder

    def left(self) -> Dict[str, str]:
        """The checkpoints that stand here, by name, with their paths."""
        return {name: os.path.join(self.folder, name) for name in files.names(self.folder) if name.endswith(".h5")
                and not name.startswith(".")}

    def clear_unfinished(self) -> None:
        """Removes what killed processes were writing."""
        for name in files.names(self.folder):
            if name.startswith(".tmp-"):
                files.remove(os.path.join(self.folder, name))

    def write(self, url: str, name: str, image: Image) -> "StagedObject":
        """Keeps a file until it is up.

        Raises:
            OSError: it cannot be kept here.
        """
        if not self._in_memory:
            try:
                return StagedObject(url, self._write_file(name, image), image.size_bytes)
            except OSError as error:
                if error.errno not in files.FULL:
                    raise
                raise OSError(error.errno, "the staging folder is full; name another by staging=, or "
                                           "staging='memory'", self.folder) from error
        data = bytearray(image.size_bytes)
        try:
            for offset, piece in image.pieces():
                view = memoryview(piece).cast("B")
                data[offset:offset + len(view)] = view
        finally:
            image.release()
        return StagedObject(url, bytes(data), image.size_bytes)

    def _write_file(self, name: str, image: Image) -> str:
        path = os.path.join(self.folder, name)
        temporary = os.path.join(self.folder, ".tmp-{}-{}".format(os.urandom(4).hex(), name))
        fd = files.create(temporary)
        try:
            try:
                files.reserve(fd, image.size_bytes)
                write_image(fd, image)
            finally:
                files.close(fd)
            files.replace(temporary, path)  # not synced: what is acknowledged stands in the store
        except BaseException:
            files.remove(temporary)
            raise
        return path


class StagedObject(Staged):
    """A file that waits for its store.

    Args:
        url: it is to have.
        source: its path here, or its bytes.
        size: in bytes.
    """

    def __init__(self, url: str, source: Union[str, bytes], size: int):
        self.url, self.size_bytes, self.sent_bytes = url, size, 0
        self._source = source

    @property
    def waits_in(self) -> Optional[str]:
        return self._source if isinstance(self._source, str) else None

    def publish(self, check: Callable[[], None]) -> None:
        check()
        try:
            remote_files.upload(self.url, self._source, self._told)
        except FileExistsError:  # it may be ours: the answer to an earlier try was lost
            if not self.is_up():
                raise
        else:
            if not self.is_up():
                remote_files.remove(self.url)
                raise OSError(errno.EIO, "what the store holds is not what was sent", self.url)
        self.sent_bytes = self.size_bytes

    def is_up(self) -> bool:
        """Whether what the store has under its name is it, as far as the size and samples tell."""
        return remote_files.is_same(self.url, self.size_bytes, self._piece)

    def _told(self, count: int) -> None:
        self.sent_bytes = count

    def _piece(self, begin: int, end: int) -> bytes:
        if isinstance(self._source, bytes):
            return self._source[begin:end]
        fd = files.open_read(self._source)
        try:
            data: Any = bytearray(end - begin)
            return bytes(data[:files.read_at(fd, data, begin)])
        finally:
            files.close(fd)

    def put_aside(self) -> Optional[str]:
        if not isinstance(self._source, str):
            return None
        aside = self._source + ".aside"
        files.replace(self._source, aside)
        return aside

    def discard(self) -> None:
        source, self._source = self._source, b""
        if isinstance(source, str):
            try:
                files.remove(source)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", source, error)
