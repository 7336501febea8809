"""Reading a checkpoint: header, `pread`, checksum. libhdf5 is never on this path."""

import os
from typing import Any, Dict, List, NamedTuple

import numpy as np
import xxhash

from keras_session_ext.checkpoint import files, header
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound
from keras_session_ext.progress import CheckpointInfo


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


def _corrupt(path: str, error: Exception) -> CheckpointCorrupt:
    return CheckpointCorrupt("Cannot use {}: {}. The file was left as it is.".format(path, error))


def _open(path: str) -> int:
    try:
        return files.open_read(path)
    except (FileNotFoundError, ValueError):  # ValueError: a zero byte in the name
        raise CheckpointNotFound("There is no checkpoint {}.".format(path))
    except OSError as error:
        raise _corrupt(path, error)


def _read(fd: int, nbytes: int, offset: int) -> np.ndarray:
    target = np.empty(nbytes, np.uint8)
    if files.read_at(fd, target, offset) != nbytes:
        raise CheckpointCorrupt("it ends too early")
    return target


def _read_header(fd: int, path: str) -> Header:
    size = files.size_bytes(fd)
    if size < header.SMALLEST_BLOCK:
        raise CheckpointCorrupt("it is empty" if not size else "it is cut off ({} bytes)".format(size))
    block, length, expected = header.parse_line(_read(fd, header.LINE_BYTES, 0).tobytes())
    if block > size:
        raise CheckpointCorrupt("it is cut off ({} bytes)".format(size))
    rest = _read(fd, block - header.LINE_BYTES, header.LINE_BYTES).tobytes()
    fields = header.unpack(rest, length, expected)
    if fields.get("size_bytes") != size:
        raise CheckpointCorrupt("it has {} bytes, its header says {}".format(size, fields.get("size_bytes")))
    return Header(header.info(fields, path), fields, header.rows(fields, block, size), block)


def read_header(path: str) -> Header:
    """Reads and checks the header alone.

    Raises:
        CheckpointNotFound: no such file.
        CheckpointCorrupt: damaged, foreign or of a newer format.
    """
    fd = _open(path)
    try:
        return _read_header(fd, path)
    except (CheckpointCorrupt, OSError) as error:
        raise _corrupt(path, error)
    finally:
        files.close(fd)


def read_checkpoint(path: str) -> "tuple[Header, Dict[str, np.ndarray]]":
    """Reads a whole checkpoint, every byte of it verified.

    Returns:
        The header and the tensors by name.

    Raises:
        CheckpointNotFound: no such file.
        CheckpointCorrupt: any byte differs from what was written.
    """
    fd = _open(path)
    try:
        head = _read_header(fd, path)
        tensors = {}
        for row in head.rows:
            data = _read(fd, row.nbytes, row.offset)
            if xxhash.xxh3_128_hexdigest(data.data) != row.checksum:
                raise CheckpointCorrupt("its tensor {!r} was altered (checksum differs)".format(row.name))
            if row.name in tensors:
                raise CheckpointCorrupt("its tensor {!r} stands twice in the table".format(row.name))
            tensors[row.name] = data.view(numpy_dtype(row.dtype)).reshape(row.shape)
        digest = xxhash.xxh3_128()
        for offset, nbytes in header.gaps(head.rows, head.block, head.info.size_bytes):
            digest.update(_read(fd, nbytes, offset).data)
        if digest.hexdigest() != head.fields.get("hdf5"):
            raise CheckpointCorrupt("its HDF5 structure was altered (checksum differs)")
        return head, tensors
    except (CheckpointCorrupt, OSError) as error:
        raise _corrupt(path, error)
    finally:
        files.close(fd)


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of a table row; the small floats come from ml_dtypes."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # comes with TensorFlow, JAX and Keras 3

        return np.dtype(getattr(ml_dtypes, name))


def is_ours(path: str) -> bool:
    """Whether a file begins like one of our checkpoints."""
    try:
        fd = files.open_read(os.path.realpath(path))
    except OSError:
        return False
    try:
        return _read(fd, 9, 0).tobytes() == b"KSESSION "
    except CheckpointCorrupt:
        return False
    finally:
        files.close(fd)
