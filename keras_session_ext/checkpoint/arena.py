"""Memory in which one checkpoint file after another is laid out: warm, aligned to pages, in huge pages.

Memory that was never touched costs a page fault every 4 KiB, and on virtual machines one of the host's, too: a copy
into it takes ten times as long as one into memory that was used before. Huge pages make direct I/O cheaper.
"""

import mmap
import os
import threading
import weakref
from typing import Any, List, Optional

import numpy as np

from keras_session_ext import files
from keras_session_ext.checkpoint.free_memory import free_memory_bytes

_HUGE_BYTES = 2 << 20
_TOUCH_BYTES = 8 << 20
#: of the memory that is free, an arena takes at most so much
_SHARE = 0.5
#: a file is laid out and written in pieces of so much; where there is no arena, in memory of two of them
PIECE_BYTES = 16 << 20


class Lease:
    """The memory of an arena, for one file at a time.

    Attributes:
        memory: bytes; at least as many as were asked for, and whole pages.
        holds: what stands in it from the file before, between its tensors; None at first.
        placed: the places of the first tensors, to copy to; none at first.
        offsets: where in the file these are.
    """

    def __init__(self, memory: np.ndarray, holds: Any):
        self.memory = memory
        self.holds = holds
        self.placed: List[np.ndarray] = []
        self.offsets: List[int] = []


class Arena:
    """Memory for whole files; it grows with the largest one and is kept until `release`."""

    def __init__(self) -> None:
        _in_use.add(self)
        self._guard = threading.Condition()
        self._memory = np.empty(0, np.uint8)
        self._touched: Optional[Lease] = None  # a lease that only serves to touch the memory
        self._wanted = False  # while it is touched: for a file
        self._leased: Any = lambda: None  # a weak reference: what is let go of is back
        self._holds: Any = None

    def lease(self, size_bytes: int) -> Optional[Lease]:
        """Memory for a file.

        Returns:
            None while the last lease lasts, and where too little memory is free.
        """
        with self._guard:
            if self._touched is not None:
                self._wanted = True
                self._guard.wait(0.1)  # for a chunk to be touched: a copy into memory of no arena takes longer
            if self._leased() is not None:
                return None
            if len(self._memory) < size_bytes:
                self._memory, self._holds = np.empty(0, np.uint8), None  # never two of them at a time
                free = free_memory_bytes()
                if free is not None and size_bytes > _SHARE * free:
                    return None
                try:
                    # with room for what comes beside the variables, such as weights that a callback keeps
                    self._memory = aligned_memory(size_bytes + size_bytes // 16 + _HUGE_BYTES)
                except (MemoryError, OSError):
                    return None
            made = Lease(self._memory, self._holds)
            self._holds = None  # until it is known what the lease left there
            self._leased = weakref.ref(made)
            return made

    def touch(self, lease: Lease, size_bytes: int) -> None:
        """Touches memory for the first time, which takes long; gives it back at once where it is wanted for a file."""
        self._touched, self._wanted = lease, False
        try:
            for begin in range(0, size_bytes, _TOUCH_BYTES):
                if self._wanted:
                    break
                lease.memory[begin:min(begin + _TOUCH_BYTES, size_bytes)] = 0
        finally:
            self.give_back(lease)

    def give_back(self, lease: Lease) -> None:
        """The file is written; what stands between its tensors may serve the next one."""
        with self._guard:
            if self._leased() is lease:
                self._leased, self._holds = (lambda: None), lease.holds
            if self._touched is lease:
                self._touched = None
            self._guard.notify_all()

    def release(self) -> None:
        """Lets go of the memory; a lease that lasts keeps its own."""
        with self._guard:
            self._memory, self._holds, self._leased = np.empty(0, np.uint8), None, lambda: None


_in_use: "weakref.WeakSet[Arena]" = weakref.WeakSet()


def _forked() -> None:
    """A child has none of the memory, and may have a lock that is taken for ever."""
    for arena in list(_in_use):
        Arena.__init__(arena)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def aligned_memory(size_bytes: int) -> np.ndarray:
    """New memory of whole pages that begins at a huge one, untouched.

    Raises:
        MemoryError, OSError: there is none.
    """
    room = -(-max(size_bytes, 1) // files.PAGE_BYTES) * files.PAGE_BYTES
    # private: a shared map, which is mmap's default, takes no huge pages
    flags = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    made = mmap.mmap(-1, room + _HUGE_BYTES, **flags)
    for advice in ("MADV_HUGEPAGE", "MADV_DONTFORK"):  # a child would make the next file copy every page
        if hasattr(made, "madvise") and hasattr(mmap, advice):
            try:
                made.madvise(getattr(mmap, advice))
            except OSError:
                pass  # a kernel without it
    memory = np.frombuffer(made, np.uint8)
    first = -memory.ctypes.data % _HUGE_BYTES
    return memory[first:first + room]
