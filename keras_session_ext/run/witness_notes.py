"""A small file of notes: what the logs of each step were, for whoever trains the step again.

```
magic, and a line of JSON: version, run, names of the logs      padded to 4096 bytes
slot 0, slot 1, …     number (8 bytes), one float64 or hash per name, checksum of all that (8 bytes)
```

A number's slot is its remainder, so the newest are kept and the file is bounded.
A note is one small write to the page cache, which SIGKILL does not touch; it is
not synced. What a power cut leaves half written has another checksum, and is
no note. A file of another run, or of other logs, is begun anew.
"""

import contextlib
import json
import os
import struct
from typing import Any, Dict, Optional, Tuple

import numpy as np
import xxhash

from keras_session_ext import files

MAGIC = b"KSENOTE1"
_HEADER_BYTES = 4096
_LARGEST_BYTES = 1 << 20
_VERSION = 1
_NUMBER = struct.Struct("<Q")

#: eight bytes for each name, in their order
Note = bytes


class StepNotes:
    """Notes by number, in a file.

    Args:
        path: of the file; made if it is missing.
        mode: of a file that is made.
        run: whose notes these are.

    Examples:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/notes"
        >>> notes = StepNotes(path, 0o600, "a run")
        >>> notes.write(7, {"loss": 0.5})
        b'\\x00\\x00\\x00\\x00\\x00\\x00\\xe0?'
        >>> notes.close()
        >>> names, earlier = read_notes(path, "a run")
        >>> names, sorted(earlier)
        (('loss',), [7])
    """

    def __init__(self, path: str, mode: int, run: str):
        self._path, self._mode, self._run = path, mode, run
        self._pid = os.getpid()
        self._fd: Optional[int] = None
        self.names: Tuple[str, ...] = ()
        self._given: Tuple[str, ...] = ()  # the names as they came last
        self._floats = struct.Struct("<")
        self._slots = 0

    def write(self, number: int, logs: Dict[str, Any]) -> Note:
        """Notes one step.

        Args:
            number: of the step, from 0.
            logs: name -> number or array; read now, so they must have been computed.

        Returns:
            The note, to be compared with an earlier one bit by bit.

        Raises:
            OSError: the file cannot be written.
        """
        if os.getpid() != self._pid:
            return b"".join([_bits(logs[name]) for name in sorted(logs)])  # a forked child has no files of ours
        if self._fd is None or tuple(logs) != self._given:
            self._begin(tuple(logs))
        values = [logs[name] for name in self.names]
        try:
            note = self._floats.pack(*values)
        except (struct.error, TypeError):  # not all are numbers
            note = b"".join(map(_bits, values))
        body = _NUMBER.pack(number) + note
        record = body + xxhash.xxh3_64_digest(body)
        assert self._fd is not None
        files.write_at(self._fd, record, _HEADER_BYTES + (number % self._slots) * len(record))
        return note

    def _begin(self, given: Tuple[str, ...]) -> None:
        names = tuple(sorted(given))
        if self._fd is None or names != self.names:
            self._open(names)
        self._given = given

    def _open(self, names: Tuple[str, ...]) -> None:
        self.close()
        header = _header(self._run, names)
        if len(header) > _HEADER_BYTES:
            raise OSError("the logs have too many names to be noted")
        self.names, self._slots, self._floats = names, _slots(len(names)), struct.Struct("<{}d".format(len(names)))
        self._fd, known = files.open_notes(self._path, self._mode, len(header))
        files.close_in_children(self._fd)
        if known != header:
            files.begin_anew(self._fd)
            files.write_at(self._fd, header, 0)

    def close(self) -> None:
        """Lets go of the file; the next note opens it again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):  # a note that is lost is nothing to compare
                files.close(fd)


def read_notes(path: str, run: str) -> Tuple[Tuple[str, ...], Dict[int, Note]]:
    """The notes of a run: the names of the logs, and number -> note; nothing of a file that is foreign or missing.

    Args:
        path: of the file.
        run: whose notes are wanted.
    """
    try:
        content = files.read_foreign(path, 2 * _LARGEST_BYTES)
    except OSError:
        return (), {}
    names = _names(content, run)
    if names is None:
        return (), {}
    notes: Dict[int, Note] = {}
    length = 8 * (len(names) + 2)
    for start in range(_HEADER_BYTES, len(content) - length + 1, length):
        record = content[start:start + length]
        number, = _NUMBER.unpack_from(record)
        if xxhash.xxh3_64_digest(record[:-8]) == record[-8:] and (start - _HEADER_BYTES) // length == number % _slots(
                len(names)):
            notes[number] = record[_NUMBER.size:-8]
    return names, notes


def figures(note: Note) -> Tuple[float, ...]:
    """The numbers of a note; of an array it is no meaningful one."""
    return struct.unpack("<{}d".format(len(note) // 8), note)


def _bits(value: Any) -> bytes:
    try:
        return struct.pack("<d", value)
    except (struct.error, TypeError):  # no number
        array = np.asarray(value)
        if array.ndim == 0 and array.dtype.kind in "biuf":
            return struct.pack("<d", float(array))
        return xxhash.xxh3_64_digest(repr((array.dtype.name, array.shape)).encode() + (
            array.tobytes() if array.dtype.kind in "biufc" else repr(value).encode()))


def _header(run: str, names: Tuple[str, ...]) -> bytes:
    text = json.dumps({"version": _VERSION, "run": run, "names": list(names)}).encode()
    body = MAGIC + struct.pack("<I", len(text)) + text
    return body + xxhash.xxh3_64_digest(body)


def _names(content: bytes, run: str) -> Optional[Tuple[str, ...]]:
    """The names in a header that is whole and of this run."""
    try:
        length, = struct.unpack_from("<I", content, len(MAGIC))
        names = tuple(json.loads(content[len(MAGIC) + 4:len(MAGIC) + 4 + length].decode())["names"])
        header = _header(run, names)
    except (struct.error, ValueError, KeyError, TypeError):
        return None
    return names if content[:len(header)] == header and len(header) <= _HEADER_BYTES else None


def _slots(names: int) -> int:
    return (_LARGEST_BYTES - _HEADER_BYTES) // (8 * (names + 2))
