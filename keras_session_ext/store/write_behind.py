"""Writing one piece of a file while the next is made: checksums cost a core's time, and the disk its own."""

import contextlib
import queue
import threading
from typing import Iterator, Optional

from keras_session_ext import files
from keras_session_ext.store.contract import Image, Piece, Pieces

#: in a smaller file a thread takes longer to begin than it saves
_SMALL_BYTES = 16 << 20


def write_image(fd: int, image: Image) -> None:
    """Writes all pieces of a file, in their order.

    Args:
        fd: the file, open for writing.
        image: what to write.

    Raises:
        OSError: of a write; whatever the image raises, too. The file is then incomplete.
    """
    try:
        with contextlib.closing(image.pieces()) as pieces:
            if image.ahead < 1 or image.size_bytes < _SMALL_BYTES:
                files.write_pieces(fd, pieces)
            else:
                _write_behind(fd, pieces, image.ahead)
    finally:
        image.release()


def _write_behind(fd: int, pieces: Pieces, ahead: int) -> None:
    writer = _Writer(fd, ahead)
    try:
        if not writer.begins():
            files.write_pieces(fd, pieces)
            return
        for piece in pieces:
            if not writer.write(piece):
                break
    finally:
        writer.end()
    if writer.error is not None:
        raise writer.error


class _Writer(threading.Thread):
    """Writes pieces behind whoever makes them.

    It has a descriptor of its own: where it is not waited for to its end (a second Ctrl-C), the file may be closed, and
    its number be another file's.

    Args:
        fd: the file.
        ahead: how many pieces may be made besides the one that is being written.

    Attributes:
        error: what ended it.
    """

    def __init__(self, fd: int, ahead: int):
        super().__init__(name="keras-session-disk", daemon=True)
        self.error: Optional[BaseException] = None
        self._fd = files.duplicate(fd)
        self._pieces: "queue.Queue[Optional[Piece]]" = queue.Queue()
        self._slots = threading.Semaphore(ahead)

    def begins(self) -> bool:
        """False where the system gives no thread, as Python 3.12 does when the process ends.

        https://github.com/python/cpython/issues/113964
        """
        try:
            self.start()
        except RuntimeError:
            return False
        return True

    def write(self, piece: Piece) -> bool:
        """Hands a piece over, and waits until there is room for the next; False where it has failed."""
        self._pieces.put(piece)
        self._slots.acquire()
        return self.error is None

    def end(self) -> None:
        """Waits for the last piece."""
        self._pieces.put(None)
        if self.ident is not None:
            self.join()
        else:
            self._close()  # it has not begun

    def run(self) -> None:
        try:
            files.write_pieces(self._fd, self._taken())
        except BaseException as error:
            self.error = error
        finally:
            self._slots.release()  # whoever waits for room looks at the error
            self._close()

    def _close(self) -> None:
        """Once: a Ctrl-C may come between the thread's beginning and the word of it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            files.close(fd)

    def _taken(self) -> Iterator[Piece]:
        while True:
            piece = self._pieces.get()
            if piece is None:
                return
            yield piece
            del piece
            self._slots.release()
