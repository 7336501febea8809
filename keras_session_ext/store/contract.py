"""What a store offers: the bytes of one run directory, wherever they lie.

A name is that of a checkpoint or a claim, with no folder in it. Under a
checkpoint's name there is a whole file or none, at every instant, whatever
dies; what was put is durable when `put` returns.
"""

import abc
from typing import Any, Callable, Dict, Generator, List, Optional, Tuple

Piece = Tuple[int, Any]  # offset in bytes, and a buffer
Pieces = Generator[Piece, None, None]


class Image(abc.ABC):
    """A file that is not written yet: its size, and its bytes piece by piece.

    Attributes:
        size_bytes: of the whole file; what no piece covers is zero.
        ahead: how many further pieces may be asked for while one is still used.
    """

    size_bytes: int
    ahead: int = 0

    @abc.abstractmethod
    def pieces(self) -> Pieces:
        """(offset in bytes, buffer) of every part; no two overlap.

        Called once. A buffer is good until the piece that is `ahead` behind the next one is asked for; where `ahead`
        covers all of them, until `release`.
        """

    def release(self) -> None:  # noqa: B027 (most have no memory that others wait for)
        """Every piece is written, or none is any more: the memory may serve another file."""


class StoredFile(abc.ABC):
    """A file that is open for reading.

    What is removed meanwhile stays readable, or raises `OSError`: never are other bytes read.
    """

    @abc.abstractmethod
    def size_bytes(self) -> int:
        """Bytes of the whole file."""

    def held_bytes(self) -> Optional[int]:
        """How many of them are really stored somewhere; None where nobody knows."""
        return None

    @abc.abstractmethod
    def read(self, target: Any, offset: int) -> int:
        """Fills a buffer with bytes from `offset` on; returns how many there were."""

    def expect_all(self) -> None:  # noqa: B027 (most are as fast without)
        """All of it will be read, from the front to the end."""

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of the file."""


class Staged(abc.ABC):
    """A file whose bytes are safe on this machine, and which has no name in the store yet.

    Attributes:
        size_bytes: of the whole file.
        sent_bytes: how many of them have gone out, as far as that can be told.
    """

    size_bytes: int
    sent_bytes: int = 0

    @property
    def waits_in(self) -> Optional[str]:
        """The file of this machine that holds it; None where there is none that anyone could use."""
        return None

    @abc.abstractmethod
    def publish(self, check: Callable[[], None]) -> None:
        """Gives it its name, durably, and never in the place of another. It may be tried again.

        Args:
            check: called right before; what it raises ends the try.

        Raises:
            FileExistsError: the name is taken.
        """

    @abc.abstractmethod
    def discard(self) -> None:
        """Removes what is left of it on the way: it has its name, or is to have none."""

    def put_aside(self) -> Optional[str]:
        """Keeps it where nobody finds it who does not look for it; returns where."""
        return self.waits_in


class Lock(abc.ABC):
    """The lock of a run directory: comfort, which sends a second run away by name. Safety comes from the claims."""

    @abc.abstractmethod
    def take(self) -> Optional[Dict[str, Any]]:
        """Takes the lock.

        Returns:
            What its last holder noted, or None where another live process has it.

        Raises:
            OSError: the place cannot be written.
        """

    @abc.abstractmethod
    def read(self) -> Dict[str, Any]:
        """What the holder noted last; empty where that cannot be read."""

    @abc.abstractmethod
    def note(self, **place: Any) -> None:
        """Notes how far this process has come, in place of the note before; nothing where the lock is not ours.

        Raises:
            OSError: the note could not be written.
        """

    @abc.abstractmethod
    def holder(self) -> Optional[int]:
        """The process on this machine that has the lock, as far as can be told without disturbing it."""

    @abc.abstractmethod
    def give_back(self) -> None:
        """Gives the lock back, if it is ours."""


class Store(abc.ABC):
    """Where a run directory's bytes lie. Every call may raise `OSError`.

    Attributes:
        path: of the run directory, as the user can name it: a folder, or a URL.
        lock: of the directory.
        file_mode: of files that are made in `here`.
        is_far: publishing goes over a network, and is done behind the making of the next file.
        mirror_url: of the second copy; empty where there is none.
    """

    path: str
    lock: Lock
    file_mode: int = 0o600
    is_far: bool = False
    mirror_url: str = ""

    @property
    @abc.abstractmethod
    def here(self) -> str:
        """The folder of this machine for small files that grow: the run directory, or where copies are made from."""

    def bring(self, generation: int, check: Callable[[], None]) -> None:  # noqa: B027 (where they stand in place)
        """What the processes before wrote in `here` stands there, and what is written from now on is sent.

        Args:
            generation: of this start of the run.
            check: called before anything is sent; what it raises keeps it from that.
        """

    def send(self, timeout_seconds: float = 0.0) -> None:  # noqa: B027 (where they stand in place)
        """What has been written in `here` is to be safe soon.

        Args:
            timeout_seconds: how long that is waited for.
        """

    def left_here(self) -> Dict[str, Staged]:
        """What an earlier process staged on this machine and did not publish, by name."""
        return {}

    @abc.abstractmethod
    def exists(self) -> bool:
        """Whether there is such a place."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Where it is, for messages and for `CheckpointInfo.path` in front of a name."""

    @abc.abstractmethod
    def path_of(self, name: str) -> str:
        """Where the file of a name is, as the user can name it."""

    @abc.abstractmethod
    def prepare(self) -> None:
        """Makes the place, if it is missing."""

    @abc.abstractmethod
    def names(self) -> List[str]:
        """All names, in no order; none where there is no place yet. Files of unfinished puts may be among them."""

    @abc.abstractmethod
    def claim(self, name: str) -> bool:
        """Makes a tiny file of this name, durably; False where the name is taken, however closely another came."""

    @abc.abstractmethod
    def stage(self, name: str, image: Image) -> Staged:
        """Writes a file that is to have a name; the image is spent.

        Args:
            name: a new one.
            image: its bytes.
        """

    def mirror(self, name: str) -> Optional[Staged]:
        """A checkpoint that is to be in the second copy; None where it is, where it is gone, or where there is none."""
        return None

    def other_copy(self, name: str) -> Optional[StoredFile]:
        """The second copy of a file, for where the first is damaged; None where there is none."""
        return None

    def retain_mirror(self, check: Callable[[], None]) -> None:  # noqa: B027 (most have none)
        """The second copy lets go of what was removed from the first; `check` as of `remove`."""

    def put(self, name: str, image: Image, check: Callable[[], None]) -> None:
        """Makes a file, durably, and never in the place of another.

        Args:
            name: a new one.
            image: its bytes.
            check: called when all bytes are safe, right before the file gets its
                name; what it raises ends the put, and leaves nothing behind.

        Raises:
            FileExistsError: the name is taken.
        """
        staged = self.stage(name, image)
        try:
            staged.publish(check)
        finally:
            staged.discard()

    @abc.abstractmethod
    def open(self, name: str) -> StoredFile:
        """Opens a file for reading.

        Raises:
            FileNotFoundError: there is none.
        """

    @abc.abstractmethod
    def remove(self, names: List[str], check: Callable[[], None]) -> List[str]:
        """Removes files for good: none comes back after a power cut.

        Args:
            names: of the files.
            check: called when none of them is to be seen any more, right before they are gone for good; what it
                raises ends the removal, and they are there again.

        Returns:
            Those that were there.
        """

    @abc.abstractmethod
    def clear_leftovers(self, is_leftover: Callable[[str, bool], bool]) -> None:
        """Removes what killed processes left; what cannot be removed is told, and harms nothing.

        Args:
            is_leftover: asked for every file with the name that it has, and False;
                or with the name that a put or removal was for which never ended, and True.
        """

    @abc.abstractmethod
    def write_note(self, name: str, data: bytes) -> None:
        """Writes a small file beside the checkpoints, in place of one that is there."""

    @abc.abstractmethod
    def read_note(self, name: str) -> Optional[bytes]:
        """What was written there, or its last 64 KiB; None where there is none that can be read."""
