"""The journal of a run in a store, where nothing can be added to a file: segments that nobody rewrites.

```
<url>/journal/000003-000000-whole.jsonl     all that is known when generation 3 begins
<url>/journal/000003-000001.jsonl           what came since
<url>/journal/000003-000064-whole.jsonl     all of it again, after which the others may go
```

Read are the last whole one and what stands behind it.
"""

import concurrent.futures
import logging
import os
import re
from typing import List

from keras_session_ext import files, remote_files, urls

logger = logging.getLogger("keras_session_ext")

FOLDER = "journal"
#: every so many a whole one
_WHOLE_EVERY = 64
_SEGMENT = re.compile(r"[0-9]{6,}-[0-9]{6,}(-whole)?\.jsonl")
_READERS, _TRIES = 8, 5


class JournalSegments:
    """Sends what is added to a local journal.

    Args:
        path: of the journal here.
        url: of the run.
        generation: of this start of the run.
    """

    def __init__(self, path: str, url: str, generation: int):
        self._path, self._folder, self._generation = path, urls.join(url, FOLDER), generation
        self._number = 0
        self._at = 0  # up to there it is sent
        self._file = (0, 0)  # which file it was

    def send(self) -> None:
        """Sends what is new.

        Raises:
            OSError: the store cannot be written, or the journal cannot be read.
        """
        try:
            fd = files.open_read(self._path)
        except FileNotFoundError:
            return
        try:
            status = os.fstat(fd)
            is_whole = not self._number % _WHOLE_EVERY or self._file != (status.st_dev, status.st_ino)
            data = bytearray(max(0, files.size_bytes(fd) - (0 if is_whole else self._at)))
            begin = 0 if is_whole else self._at
            data = data[:files.read_at(fd, data, begin)]
        finally:
            files.close(fd)
        data = data[:data.rfind(b"\n") + 1]
        if not data:
            return
        before = [one for one in remote_files.names(self._folder) if _SEGMENT.fullmatch(one)] if is_whole else []
        name = "{:06d}-{:06d}{}.jsonl".format(self._generation, self._number, "-whole" if is_whole else "")
        remote_files.replace(urls.join(self._folder, name), bytes(data))
        self._number += 1
        self._at, self._file = begin + len(data), (status.st_dev, status.st_ino)
        for old in before:
            if _order(old) < _order(name):
                remote_files.remove(urls.join(self._folder, old))


def add_segment(url: str, lines: bytes) -> None:
    """Adds lines behind all that is known, where nobody trains.

    Raises:
        OSError: the store cannot be written.
    """
    folder = urls.join(url, FOLDER)
    last = max([[0, 0], *(_order(one) for one in remote_files.names(folder) if _SEGMENT.fullmatch(one))])
    remote_files.create(urls.join(folder, "{:06d}-{:06d}.jsonl".format(last[0], last[1] + 1)), lines)


def _order(name: str) -> List[int]:
    return [int(part) for part in re.findall(r"[0-9]+", name)]


def read_segments(url: str) -> bytes:
    """The lines of a run's journal in a store; none where there is no journal.

    Raises:
        OSError: the store cannot be read.
    """
    folder = urls.join(url, FOLDER)
    for tries_left in reversed(range(_TRIES)):
        names = sorted((one for one in remote_files.names(folder) if _SEGMENT.fullmatch(one)), key=_order)
        begin = max([0] + [number for number, one in enumerate(names) if one.endswith("-whole.jsonl")])
        try:
            with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
                return b"".join(pool.map(lambda one: _read(urls.join(folder, one)), names[begin:]))
        except FileNotFoundError:  # a whole one has taken its place
            if not tries_left:
                raise
    return b""


def _read(url: str) -> bytes:
    data = remote_files.read(url)
    return data if data.endswith(b"\n") or not data else data + b"\n"
