"""The header at the start of a checkpoint file; see docs/format.md.

```
KSESSION <version: 4 digits> <block: 12 digits> <length: 12 digits> <SHA-256: 64 hex digits>\\n
<JSON, `length` bytes><zero bytes up to `block`>
```
"""

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, NamedTuple, NoReturn, Tuple

from keras_session_ext.errors import CheckpointCorrupt
from keras_session_ext.progress import CheckpointInfo, Progress

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
LINE_BYTES = 105
SMALLEST_BLOCK = 4096
LARGEST_BLOCK = 1 << 28
LARGEST_RANK = 32  # HDF5's limit, and older NumPy's
_MARK = os.urandom(8).hex()  # no text in a header is the same by chance
_VALUE_BYTES = 48  # what Python needs for a small one
_FREE_BYTES = 48 << 20  # that a header may need whatever its size
_LINE = re.compile(rb"KSESSION ([0-9]{4}) ([0-9]{12}) ([0-9]{12}) ([0-9a-f]{64})\n")

#: bytes per element of every dtype a tensor may have
DTYPES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3": 1, "float8_e4m3b11fnuz": 1, "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1, "int4": 1, "uint4": 1,
}


class TensorRow(NamedTuple):
    """One tensor in the file: `nbytes` little-endian bytes at `offset`, C order."""

    name: str
    kind: str
    dtype: str
    shape: Tuple[int, ...]
    offset: int
    nbytes: int
    checksum: str


def numpy_dtype(name: str) -> "np.dtype":
    """The NumPy dtype of a table row; the small floats come from ml_dtypes."""
    import numpy as np

    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # comes with TensorFlow, JAX and Keras 3

        return np.dtype(getattr(ml_dtypes, name))


def block_bytes(length: int) -> int:
    """The user block for a header of `length` JSON bytes: a power of two with room to grow."""
    size = SMALLEST_BLOCK
    while size < LINE_BYTES + 2 * length:
        size *= 2
    return size


class Encoded:
    """A value that is JSON already: what is the same in every header is encoded once.

    Args:
        text: the JSON.
    """

    def __init__(self, text: str):
        self.text = text


def encoded(value: Any) -> Encoded:
    """A value encoded as headers are."""
    return Encoded(json.dumps(value, allow_nan=False, separators=(",", ":")))


def _text(fields: Dict[str, Any]) -> bytes:
    places: Dict[str, str] = {}

    def place(value: Any) -> str:
        if not isinstance(value, Encoded):
            raise TypeError("{!r} is no JSON".format(value))
        name = "{}-{}".format(_MARK, len(places))
        places[name] = value.text
        return name

    text = json.dumps(fields, allow_nan=False, separators=(",", ":"), default=place)
    for name, inner in places.items():
        text = text.replace('"' + name + '"', inner, 1)
    return text.encode()


def text_bytes(fields: Dict[str, Any]) -> int:
    return len(_text(fields))


def pack(fields: Dict[str, Any], block: int) -> bytes:
    """The whole user block for `fields`, or `ValueError` if they do not fit into `block` bytes."""
    text = _text(fields)
    if LINE_BYTES + len(text) > block:
        raise ValueError("a header of {} bytes does not fit into {}".format(len(text), block))
    rest = text + b"\0" * (block - LINE_BYTES - len(text))
    digest = hashlib.sha256(rest).hexdigest()
    return "KSESSION {:04d} {:012d} {:012d} {}\n".format(VERSION, block, len(text), digest).encode() + rest


def parse_line(line: bytes) -> Tuple[int, int, str]:
    """Reads the magic line.

    Returns:
        The user block's size and the JSON's length in bytes, and the SHA-256 of
        what follows the line in the user block.

    Raises:
        CheckpointCorrupt: another file, or a newer format.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise CheckpointCorrupt("it is not a checkpoint of keras_session_ext (its first line is not a KSESSION line)")
    if int(match.group(1)) != VERSION:
        raise CheckpointCorrupt(
            "it has format version {}, this package reads version {}: install a newer keras_session_ext".format(
                int(match.group(1)), VERSION))
    block, length = int(match.group(2)), int(match.group(3))
    if block & (block - 1) or not SMALLEST_BLOCK <= block <= LARGEST_BLOCK or LINE_BYTES + length > block:
        raise CheckpointCorrupt("its first line was altered")
    return block, length, match.group(4).decode()


def unpack(text: bytes, padding: Iterable[memoryview], expected: str) -> Dict[str, Any]:
    """Checks and decodes what follows the magic line in the user block.

    Args:
        text: the JSON.
        padding: what follows it, in pieces.
        expected: the SHA-256 of both.
    """
    digest = hashlib.sha256(text)
    for piece in padding:
        digest.update(piece)
    if digest.hexdigest() != expected:
        raise CheckpointCorrupt("its header was altered (SHA-256 differs)")
    values = sum(map(text.count, (b"{", b"[", b",")))
    if values * _VALUE_BYTES > 2 * len(text) + _FREE_BYTES:
        raise CheckpointCorrupt("its header has {} values in {} bytes, which takes too much memory".format(
            values, len(text)))
    fields = _strict_json(text)
    if not isinstance(fields, dict):
        raise CheckpointCorrupt("its header is not a JSON object")
    return fields


def _strict_json(text: bytes) -> Any:
    def no_duplicates(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise ValueError("a key stands twice")
        return made

    def no_constant(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        return json.loads(text.decode(), parse_constant=no_constant, object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointCorrupt("its header is not valid JSON ({})".format(error))


def rows(fields: Dict[str, Any], block: int, size: int) -> List[TensorRow]:
    """The table of tensors, every row checked against the file's limits."""
    try:
        made = [TensorRow(row["name"], row["kind"], row["dtype"], tuple(row["shape"]), row["offset"], row["nbytes"],
                          row["checksum"]) for row in fields["tensors"]]
    except (KeyError, TypeError) as error:
        raise CheckpointCorrupt("its table of tensors is malformed ({!r})".format(error))
    for row in made:
        _check_row(row)
    end = block
    for row in sorted((row for row in made if row.nbytes), key=lambda row: row.offset):
        if row.offset < end or row.offset + row.nbytes > size:
            raise CheckpointCorrupt("its tensor {!r} lies outside the file or over another".format(row.name))
        end = row.offset + row.nbytes
    return made


def _check_row(row: TensorRow) -> None:
    texts, numbers = (row.name, row.kind, row.dtype, row.checksum), (row.offset, row.nbytes) + row.shape
    if any(type(text) is not str for text in texts) or any(type(n) is not int or n < 0 for n in numbers):
        raise CheckpointCorrupt("its table of tensors is malformed ({!r})".format(row))
    count = span = 1  # NumPy limits the span: the size with the zeros left out
    for length in row.shape[:LARGEST_RANK]:
        count, span = count * length, span * max(1, length)
        if span >= 1 << 56:
            break
    if len(row.shape) > LARGEST_RANK or span >= 1 << 56 or row.dtype not in DTYPES or (
            DTYPES[row.dtype] * count != row.nbytes):
        raise CheckpointCorrupt("its tensor {!r} has dtype {}, shape {} but {} bytes".format(
            row.name, row.dtype, row.shape, row.nbytes))


def gaps(table: List[TensorRow], block: int, size: int) -> List[Tuple[int, int]]:
    """The (offset, nbytes) ranges behind the user block that belong to no tensor: HDF5's own bytes."""
    ranges, end = [], block
    for row in sorted((row for row in table if row.nbytes), key=lambda row: row.offset):
        if row.offset > end:
            ranges.append((end, row.offset - end))
        end = row.offset + row.nbytes
    if size > end:
        ranges.append((end, size - end))
    return ranges


def info(fields: Dict[str, Any], path: str) -> CheckpointInfo:
    """The listing's view of a header."""
    try:
        progress = fields["progress"]
        for name, kinds in _KINDS.items():
            if not isinstance(fields[name], kinds) or (isinstance(fields[name], bool) and bool not in kinds):
                raise TypeError("{} is {!r:.40}".format(name, fields[name]))
        if any(type(progress[name]) is not int or not 0 <= progress[name] < 1 << 53 for name in _COUNTS):
            raise ValueError("progress")
        _moment(fields["created"])
        return CheckpointInfo(
            id=str(fields["id"]), path=path,
            progress=Progress(int(progress["stage"]), int(progress["epoch"]), int(progress["batch"]),
                              int(progress["step"]), _finite(progress["elapsed_seconds"])),
            generation=int(fields["generation"]), created=float(fields["created"]),
            size_bytes=int(fields["size_bytes"]), metrics=_metrics(fields["metrics"]), reason=str(fields["reason"]),
            exact=not fields["reasons"], reasons=tuple(map(str, fields["reasons"])), run=str(fields["run"]),
            parent=fields["parent"], branch_of=fields["branch_of"], finished=bool(fields["finished"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointCorrupt("its header lacks a field or has a wrong one ({!r})".format(error))


_TEXT = (str,)
_KINDS: Dict[str, Tuple[type, ...]] = {
    "id": _TEXT, "run": _TEXT, "reason": _TEXT, "parent": (str, type(None)), "branch_of": (str, type(None)),
    "generation": (int,), "created": (int, float), "size_bytes": (int,), "metrics": (dict,), "reasons": (list,),
    "finished": (bool,), "progress": (dict,), "session": (dict,)}
_COUNTS = ("stage", "epoch", "batch", "step")


def _moment(value: Any) -> None:
    """A time that a calendar knows."""
    if not 0 <= _finite(value) < 1e11:
        raise ValueError("created is {!r}".format(value))


def _finite(value: Any) -> float:
    number = float(value)
    if number - number != 0:
        raise ValueError(value)
    return number


def _metrics(pairs: Dict[str, Any]) -> Dict[str, Any]:
    if any(type(value) not in (int, float, str) for value in pairs.values()):
        raise TypeError("a metric is no number")
    # JSON has no NaN and no infinity: such values are written as text
    return {str(name): float(value) if type(value) is str else value for name, value in pairs.items()}


def plain_metrics(logs: Dict[str, Any]) -> Dict[str, Any]:
    """Logs as JSON numbers; NaN and infinities as text, what is no number left out."""
    made: Dict[str, Any] = {}
    for name, value in (logs or {}).items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        made[str(name)] = number if number - number == 0 else repr(number)
    return made
