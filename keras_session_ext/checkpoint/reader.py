"""Reading a checkpoint: header, `pread`, checksum. libhdf5 is never on this path.

A header needs the standard library alone: NumPy and xxhash are imported where
a tensor is read, so that listings begin at once.
"""

import contextlib
import os
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from keras_session_ext.checkpoint import header
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound, SessionError
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.remote_files import StoreError
from keras_session_ext.store.choose import open_file as open_anywhere
from keras_session_ext.store.contract import StoredFile

if TYPE_CHECKING:
    import numpy as np

OpenFile = Callable[[str], StoredFile]

_CHUNK_BYTES = 1 << 22
#: a file that is so many times larger than what the disk holds of it was not written by a save, which takes its space;
#: a file system that compresses makes zeros smaller, and a session is not made of zeros
_SPARSENESS, _LARGEST_HOLE_BYTES = 16, 64 << 20


class Header(NamedTuple):
    """A header that was checked.

    Attributes:
        info: the listing's view.
        fields: all JSON fields.
        rows: the table of tensors.
        block: bytes of the user block.
    """

    info: CheckpointInfo
    fields: Dict[str, Any]
    rows: List[header.TensorRow]
    block: int


class Opened:
    """A checkpoint that is open; what is read of it is verified.

    Args:
        path: the file, or its URL.
        open_file: opens it, where that is not to be told from the path.

    Attributes:
        head: its `Header`.

    Raises:
        CheckpointNotFound: no such file.
        CheckpointCorrupt: here and in every method: damaged, foreign or of a newer format.
    """

    def __init__(self, path: str, open_file: OpenFile = open_anywhere):
        self.path = path
        self._file = _open(path, open_file)
        try:
            with _by_name(path):
                self.head = _read_header(self._file, path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what was read of it was verified
            self._file.close()

    def read(self, target: Any, offset: int) -> int:
        """Fills a buffer with bytes as they stand in the file, which nobody has verified."""
        return self._file.read(target, offset)

    def tensor(self, row: header.TensorRow) -> "np.ndarray":
        """The tensor of a row of the table."""
        import numpy as np
        import xxhash

        with _by_name(self.path):
            try:
                data = np.empty(row.nbytes, np.uint8)
            except MemoryError:
                raise CheckpointCorrupt("its tensor {!r} of {} bytes does not fit into memory".format(
                    row.name, row.nbytes))
            _fill(self._file, data, row.offset)
            _compare(row, xxhash.xxh3_128_hexdigest(data.data))
        return data.view(header.numpy_dtype(row.dtype)).reshape(row.shape)

    def check(self, row: header.TensorRow, told: Callable[[int], None]) -> None:
        """Verifies a tensor in little memory; `told` is given the number of bytes after each piece."""
        import xxhash

        digest = xxhash.xxh3_128()
        with _by_name(self.path):
            for piece in _pieces(self._file, row.offset, row.nbytes):
                digest.update(piece)
                told(len(piece))
            _compare(row, digest.hexdigest())

    def tensors(self, told: Callable[[int], None] = lambda nbytes: None) -> "Dict[str, np.ndarray]":
        """All tensors by name, as the table has them, and every other byte verified; `told` as of `check_all`."""
        made: "Dict[str, np.ndarray]" = {}

        def take(row: header.TensorRow) -> None:
            made[row.name] = self.tensor(row)
            told(row.nbytes)

        self._walk(take, told)
        return {row.name: made[row.name] for row in self.head.rows}

    def check_all(self, told: Callable[[int], None] = lambda nbytes: None) -> None:
        """Verifies every byte in little memory; `told` is given the number of bytes after each piece."""
        told(self.head.block)
        self._walk(lambda row: self.check(row, told), told)

    def check_rest(self) -> None:
        """Verifies the bytes that belong to no tensor, and that no name stands twice."""
        self._walk(None, lambda nbytes: None)

    def _walk(self, visit: Optional[Callable[[header.TensorRow], None]], told: Callable[[int], None]) -> None:
        """Goes once through the file, from the front to the end, which a store is asked for in ranges."""
        import xxhash

        rows, digest, seen = self.head.rows, xxhash.xxh3_128(), set()
        for row in rows:
            if row.name in seen:
                raise _corrupt(self.path, CheckpointCorrupt(
                    "its tensor {!r} stands twice in the table".format(row.name)))
            seen.add(row.name)
        parts: List[Tuple[int, int, Optional[header.TensorRow]]] = [
            (offset, nbytes, None) for offset, nbytes in header.gaps(rows, self.head.block, self.head.info.size_bytes)]
        if visit is not None:
            self._file.expect_all()
            parts += [(row.offset, row.nbytes, row) for row in rows]
        for offset, nbytes, tensor in sorted(parts, key=lambda part: part[:2]):
            if tensor is not None and visit is not None:
                visit(tensor)
                continue
            with _by_name(self.path):
                for piece in _pieces(self._file, offset, nbytes):
                    digest.update(piece)
                    told(len(piece))
        if digest.hexdigest() != self.head.fields.get("hdf5"):
            raise _corrupt(self.path, CheckpointCorrupt("its HDF5 structure was altered (checksum differs)"))


def _pieces(file: StoredFile, offset: int, nbytes: int) -> Iterator[memoryview]:
    """Bytes of a file, in little memory."""
    whole = memoryview(bytearray(min(nbytes, _CHUNK_BYTES)))
    end = offset + nbytes
    while offset < end:
        piece = whole[:end - offset]
        _fill(file, piece, offset)
        yield piece
        offset += len(piece)


def _refuse_sparse(file: StoredFile, size: int) -> None:
    """A file that is nearly all holes takes its size of memory, and the time to read it."""
    held = file.held_bytes()
    if held is not None and size > _LARGEST_HOLE_BYTES + _SPARSENESS * held:
        raise CheckpointCorrupt("it says that it has {} bytes, and the disk holds {} of them".format(size, held))


def _corrupt(path: str, error: Exception) -> CheckpointCorrupt:
    return CheckpointCorrupt("Cannot use {}: {}. The file was left as it is.".format(path, error))


@contextlib.contextmanager
def _by_name(path: str) -> Iterator[None]:
    """Names the file in what goes wrong with it."""
    try:
        yield
    except StoreError as error:
        raise _unknown(path, error) from error
    except (CheckpointCorrupt, OSError) as error:
        raise _corrupt(path, error)


def _open(path: str, open_file: OpenFile) -> StoredFile:
    try:
        return open_file(path)
    except (FileNotFoundError, ValueError):  # ValueError: a zero byte in the name
        raise CheckpointNotFound("There is no checkpoint {}.".format(path))
    except StoreError as error:
        raise _unknown(path, error) from error
    except OSError as error:
        raise _corrupt(path, error)


def _unknown(path: str, error: StoreError) -> SessionError:
    """A store that does not answer says nothing of the file: it must not be passed over for an older one."""
    return SessionError("Cannot read {}: {}. Nothing was changed; try again when the store answers.".format(
        path, error))


def _fill(file: StoredFile, target: Any, offset: int) -> None:
    if file.read(target, offset) != len(target):
        raise CheckpointCorrupt("it ends too early")


def _read(file: StoredFile, nbytes: int, offset: int) -> bytes:
    target = bytearray(nbytes)
    _fill(file, target, offset)
    return bytes(target)


def _compare(row: header.TensorRow, checksum: str) -> None:
    if checksum != row.checksum:
        raise CheckpointCorrupt("its tensor {!r} was altered (checksum differs)".format(row.name))


def _read_header(file: StoredFile, path: str) -> Header:
    size = file.size_bytes()
    if size < header.SMALLEST_BLOCK:
        raise CheckpointCorrupt("it is empty" if not size else "it is cut off ({} bytes)".format(size))
    block, length, expected = header.parse_line(_read(file, header.LINE_BYTES, 0))
    if block > size:
        raise CheckpointCorrupt("it is cut off ({} bytes)".format(size))
    _refuse_sparse(file, size)
    text = _read(file, length, header.LINE_BYTES)
    behind = header.LINE_BYTES + length
    fields = header.unpack(text, _pieces(file, behind, block - behind), expected)
    if fields.get("size_bytes") != size:
        raise CheckpointCorrupt("it has {} bytes, its header says {}".format(size, fields.get("size_bytes")))
    return Header(header.info(fields, path), fields, header.rows(fields, block, size), block)


def read_header(path: str, open_file: OpenFile = open_anywhere) -> Header:
    """Reads and checks the header alone.

    Raises:
        CheckpointNotFound: no such file.
        CheckpointCorrupt: damaged, foreign or of a newer format.
    """
    with Opened(path, open_file) as opened:
        return opened.head


def read_checkpoint(path: str, open_file: OpenFile = open_anywhere, told: Callable[[int], None] = lambda nbytes: None
                    ) -> "Tuple[Header, Dict[str, np.ndarray]]":
    """Reads a whole checkpoint, every byte of it verified.

    Args:
        path: the file.
        open_file: opens it.
        told: is given the number of bytes after each piece.

    Returns:
        The header and the tensors by name.

    Raises:
        CheckpointNotFound: no such file.
        CheckpointCorrupt: any byte differs from what was written.
    """
    with Opened(path, open_file) as opened:
        return opened.head, opened.tensors(told)


def verify(path: str, told: Callable[[int], None] = lambda nbytes: None) -> Header:
    """Verifies every byte of a checkpoint, in little memory.

    Args:
        path: the file.
        told: is given the number of bytes after each piece.

    Returns:
        Its header.

    Raises:
        CheckpointNotFound: no such file.
        CheckpointCorrupt: any byte differs from what was written.
    """
    with Opened(path) as opened:
        opened.check_all(told)
        return opened.head


def is_ours(path: str) -> bool:
    """Whether a file begins like one of our checkpoints."""
    try:
        file = open_anywhere(os.path.realpath(path))
    except OSError:
        return False
    try:
        return _read(file, 9, 0) == b"KSESSION "
    except CheckpointCorrupt:
        return False
    finally:
        file.close()
