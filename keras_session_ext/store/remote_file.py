"""An object of a store, open for reading: by ranges, several at a time where all of it is wanted."""

import concurrent.futures
import errno
from typing import Any, Dict, Optional

from keras_session_ext import remote_files
from keras_session_ext.store.contract import StoredFile

#: what is read when it is opened: the header of an ordinary checkpoint
_FIRST_BYTES = 1 << 16
#: what one request reads where all is wanted, and how many are under way
_RANGE_BYTES, _RANGES = 32 << 20, 6


class RemoteFile(StoredFile):
    """An object that is open.

    Args:
        url: of the object.

    Raises:
        FileNotFoundError: there is none.
        OSError: the store cannot be asked.
    """

    def __init__(self, url: str):
        self._url = url
        self._total = remote_files.size_bytes(url)
        self._first = remote_files.read(url, 0, _FIRST_BYTES) if self._total else b""
        self._pool: Optional[concurrent.futures.ThreadPoolExecutor] = None
        self._ranges: "Dict[int, concurrent.futures.Future[bytes]]" = {}

    def size_bytes(self) -> int:
        return self._total

    def expect_all(self) -> None:
        if self._total > len(self._first):
            self._pool = concurrent.futures.ThreadPoolExecutor(_RANGES, "keras-session-ranges")

    def read(self, target: Any, offset: int) -> int:
        view = memoryview(target).cast("B")
        count = max(0, min(len(view), self._total - offset))
        if offset + count <= len(self._first):
            view[:count] = self._first[offset:offset + count]
        elif self._pool is None:
            view[:count] = self._ask(offset, offset + count)
        else:
            self._read_ranges(view[:count], offset)
        return count

    def _read_ranges(self, target: memoryview, offset: int) -> None:
        """From what is under way already; the next ranges are asked for before this one is waited for."""
        done = 0
        while done < len(target):
            number, within = divmod(offset + done, _RANGE_BYTES)
            for known in [one for one in self._ranges if one < number]:
                self._ranges.pop(known)  # all is read from the front to the end
            data = self._range(number).result()
            part = data[within:within + len(target) - done]
            target[done:done + len(part)] = part
            done += len(part)

    def _range(self, number: int) -> "concurrent.futures.Future[bytes]":
        assert self._pool is not None
        for wanted in range(number, number + _RANGES):
            begin = wanted * _RANGE_BYTES
            if wanted not in self._ranges and begin < self._total:
                self._ranges[wanted] = self._pool.submit(self._ask, begin, min(self._total, begin + _RANGE_BYTES))
        return self._ranges[number]

    def _ask(self, begin: int, end: int) -> bytes:
        """One range; an answer of another length says nothing of what the store holds."""
        data = remote_files.read(self._url, begin, end)
        if len(data) != end - begin:
            raise remote_files.StoreError(errno.EIO, "the answer has another length than was asked for", self._url)
        return data

    def close(self) -> None:
        if self._pool is not None:
            for one in self._ranges.values():
                one.cancel()
            self._pool.shutdown(wait=False)
            self._pool = None
        self._ranges.clear()
