"""A run directory in a store behind a URL: S3, Google's, Azure's.

An object is there whole or not at all, so that there is no temporary name, no
rename and no tombstone. A put is `stage on this machine -> check -> upload under
the final name, on condition that it is free -> compare`; only then is it
acknowledged.
"""

import errno
import logging
import os
import re
import time
from typing import Callable, Dict, List, Optional

from keras_session_ext import remote_copies, remote_files, urls
from keras_session_ext.errors import DirectoryBusy
from keras_session_ext.lifecycle import journal
from keras_session_ext.lifecycle.journal_segments import FOLDER as JOURNAL_FOLDER
from keras_session_ext.lifecycle.journal_segments import JournalSegments
from keras_session_ext.store.contract import Image, Staged, Store, StoredFile
from keras_session_ext.store.remote_file import RemoteFile
from keras_session_ext.store.remote_lock import RemoteLock
from keras_session_ext.store.staging import StagedObject, Staging

logger = logging.getLogger("keras_session_ext")

_NOTE_LIMIT = 1 << 16
_CLAIM_TRIES = 6
_NO_CONDITIONS = (
    "the store makes an object in the place of another, though it is told not to: two starts at once could not be told "
    "apart. Update its client (pip install -U s3fs gcsfs adlfs; Python 3.9 or newer), or use a gateway that knows "
    "If-None-Match")
_NOTES = "notes"
_NOTE_FILE = re.compile(r"witness-[a-z]+")


class RemoteStore(Store):
    """A folder of a store: claims, which are signs of life, and checkpoints; beside them notes and the journal.

    Args:
        url: of the folder.
        staging: where files wait on this machine; see `Staging`.
        here: the run directory of this machine that this one is a copy of.

    Raises:
        ConfigError: what the URL needs is not installed, or refuses its options.
    """

    is_far = True

    def __init__(self, url: str, staging: Optional[str] = None, here: Optional[str] = None):
        self.path = url
        remote_files.client(url)
        self.folder = urls.join(url, "checkpoints")
        self.lock: RemoteLock = RemoteLock(self.folder)
        self._staging = Staging(url, staging, here)
        self._is_mirror = here is not None
        self._copies: Optional[remote_copies.Repeated] = None

    @property
    def here(self) -> str:
        return self._staging.folder

    def describe(self) -> str:
        return self.folder

    def path_of(self, name: str) -> str:
        return urls.join(self.folder, name)

    def exists(self) -> bool:
        return bool(remote_files.entries(self.path))

    def prepare(self) -> None:
        """A store has no folders; whether it can be written the claim shows."""

    def names(self) -> List[str]:
        return remote_files.names(self.folder)

    def claim(self, name: str) -> bool:
        if not self.lock.is_judged():
            return False  # another start has come between: whether it lives must be asked first
        url, body = self.path_of(name), self.lock.body(nonce=os.urandom(8).hex())
        for tries in range(_CLAIM_TRIES):
            try:
                remote_files.create(url, body)
                break
            except remote_files.StoreError as error:
                if "mode" in str(error):  # what s3fs before 2025 and adlfs before 2024 make of it
                    raise OSError(errno.ENOTSUP, _NO_CONDITIONS, url) from error
                raise
            except FileExistsError:
                there = self._read(url)
                if there == body:
                    break  # the answer was lost, and the client tried again
                if there is not None:
                    return False
                time.sleep(0.2 * 2 ** tries)  # a removal is under way, says S3 that way
        else:
            raise OSError(errno.EAGAIN, "the store says that the name is taken, and that there is nothing", url)
        try:
            remote_files.create(url, body)
        except FileExistsError:
            self.lock.claimed(name)
            return True
        raise OSError(errno.ENOTSUP, _NO_CONDITIONS, url)

    @staticmethod
    def _read(url: str) -> Optional[bytes]:
        try:
            return remote_files.read(url)
        except FileNotFoundError:
            return None

    def put(self, name: str, image: Image, check: Callable[[], None]) -> None:
        staged = self.stage(name, image)
        try:
            staged.publish(check)
        except DirectoryBusy:
            staged.discard()
            raise
        staged.discard()  # what could not be sent stays, for the next start

    def stage(self, name: str, image: Image) -> Staged:
        return self._staging.write(self.path_of(name), name, image)

    def open(self, name: str) -> StoredFile:
        return RemoteFile(self.path_of(name))

    def remove(self, names: List[str], check: Callable[[], None]) -> List[str]:
        there = set(self.names()).intersection(names) if names else set()
        if there:
            check()
        return [name for name in names if name in there and remote_files.remove(self.path_of(name))]

    def clear_leftovers(self, is_leftover: Callable[[str, bool], bool]) -> None:
        for name in self.names():
            if is_leftover(name, False) or name.startswith(".clock-"):
                try:
                    remote_files.remove(self.path_of(name))
                except OSError as error:
                    logger.warning("Cannot remove the leftover %s: %s", self.path_of(name), error)
        try:
            remote_files.abort_uploads(self.folder, lambda name: is_leftover(name, True))
        except OSError as error:  # it takes a permission that trainings often do not have
            logger.info("Unfinished uploads to %s cannot be looked for: %s", self.folder, error)

    def write_note(self, name: str, data: bytes) -> None:
        remote_files.replace(urls.join(self.path, name), data)

    def read_note(self, name: str) -> Optional[bytes]:
        try:
            found = self._read(urls.join(self.path, name))
        except OSError:
            return None
        return None if found is None else found[-_NOTE_LIMIT:]

    # -- small files that grow here

    def bring(self, generation: int, check: Callable[[], None]) -> None:
        path = os.path.join(self.here, journal.NAME)
        self._staging.clear_unfinished()
        is_newer = self._join_journals(path, is_first=generation == 1)
        notes = remote_copies.FolderCopy(urls.join(self.path, _NOTES), self.here,
                                         lambda name: _NOTE_FILE.fullmatch(name) is not None, self.file_mode)
        notes.bring(lambda path, size: is_newer)
        segments = JournalSegments(path, self.path, generation)

        def send() -> None:
            check()  # a process that another has taken over from tells no more
            segments.send()
            notes.send()

        self._copies = remote_copies.Repeated("The journal cannot be written to {}".format(
            urls.join(self.path, JOURNAL_FOLDER)), send, remote_copies.COPY_SECONDS)
        self._copies.begin()

    def _join_journals(self, path: str, is_first: bool) -> bool:
        """What was told there and here stands here; whether this machine knew something newer.

        What is here when a run begins is of another one, which was removed.
        """
        there = journal.read_journal(self.path).events
        mine = [] if is_first and not self._is_mirror else journal.read_journal(path).events
        last = max([0] + [event.seq for event in there])
        known = {(event.seq, event.process) for event in mine}
        if there and not any((event.seq, event.process) in known for event in there):
            if self._is_mirror and mine:
                return True  # of another run, which is told behind this
            mine, known = [], set()  # of another run that had this URL, on another server perhaps
        if any((event.seq, event.process) not in known for event in there) or not known:
            known = {(event.seq, event.process) for event in there}
            joined = there + [event for event in mine if event.seq > last and (event.seq, event.process) not in known]
            remote_copies.write(path, b"".join(map(journal.line_of, joined)), self.file_mode)
        return bool(mine) and max(event.seq for event in mine) >= last

    def send(self, timeout_seconds: float = 0.0) -> None:
        if self._copies is None:
            return
        if timeout_seconds > 0:
            self._copies.flush(timeout_seconds)
        else:
            self._copies.ask()

    def left_here(self) -> Dict[str, Staged]:
        return {name: StagedObject(self.path_of(name), path, os.path.getsize(path))
                for name, path in self._staging.left().items()}
