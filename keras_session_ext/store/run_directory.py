"""The run directory: one owner, generations, publication, retention.

```
<directory>/LOCK                                      which process trains here; comfort, not safety
<directory>/config.json                               what callbacks_from_config was told, if it was
<directory>/next-run                                  the id of the run that begins here, if run_id was asked for it
<directory>/checkpoints/g000003-s0000001234-1a2b3c4d.h5
<directory>/checkpoints/g000003.claim                 the newest start of a run; fences off older ones
```

Under a checkpoint's name there is either a complete file or none. Files are
ordered by (generation, step) and never by their times. Only names that this
module made are ever removed.
"""

import concurrent.futures
import contextlib
import errno
import json
import logging
import os
import re
import socket
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

from keras_session_ext import files
from keras_session_ext.checkpoint import reader
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound, DirectoryBusy, SessionError
from keras_session_ext.policies.keep import Plan
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.store.checkpoint_names import CHECKPOINT, CLAIM, claim_of, new_id, place
from keras_session_ext.store.choose import store_of
from keras_session_ext.store.contract import Image, Staged, StoredFile
from keras_session_ext.store.unsent import publish_unsent

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger("keras_session_ext")

_RUN = re.compile(r"[0-9a-f]{16}")
_NEXT_RUN = "next-run"  # the note of the run that was asked for before it began
_SEND_SECONDS = 15.0  # how long the last words of the journal are waited for
#: headers that are read at once from a store
_READERS = 16

#: what a training notes in the lock of how far it has come
_NOTED = ("process", "time", "stage", "epoch", "batch", "step")


class RunDirectory:
    """A directory that a run writes its checkpoints to.

    Args:
        path: the directory, which may be a URL; made if it is missing.
        group: whether members of the file's group may read and write, too.
        staging: where files wait on this machine for what is behind a URL; see `Staging`.
        mirror: the URL of a second copy.

    Attributes:
        is_far: whether a save goes over a network.
        mirror_url: of the second copy; empty where there is none.
        generation: which start of the run this is, from 1; 0 before `acquire`.
        left: what the owner before us noted last.
        config: what the run was configured with, to be written here by `acquire`.
    """

    def __init__(self, path: str, group: bool = False, staging: Optional[str] = None, mirror: Optional[str] = None):
        self._store = store_of(path, group, staging, mirror)
        self.path, self.is_far, self.mirror_url = self._store.path, self._store.is_far, self._store.mirror_url
        self.file_mode = self._store.file_mode
        self.generation = 0
        self._claimed = ""  # the name of our claim; none while `held`, or as long as the disk is full
        self._is_claim_due = False
        self.left: Dict[str, Any] = {}
        self.config: Optional[Dict[str, Any]] = None

    @property
    def checkpoints(self) -> str:
        """Where the checkpoints are."""
        return self._store.describe()

    def exists(self) -> bool:
        """Whether a run was ever at home here; `SessionError` where that cannot be asked."""
        try:
            return self._store.exists()
        except OSError as error:
            raise self._cannot_read(error) from error

    @property
    def here(self) -> str:
        """The folder of this machine for small files that grow while the run is trained."""
        return self._store.here

    # -- ownership

    def acquire(self) -> None:
        """Makes the directory, locks it and claims the next generation.

        Raises:
            DirectoryBusy: another live process trains here.
            SessionError: the directory cannot be written.
        """
        again = self.generation > 0
        try:
            self._store.prepare()
            self._lock()
            if again:
                self._check_fence()
            else:
                self._claim()
                self._store.clear_leftovers(self._is_leftover)
                self._note_config()
                self._store.bring(self.generation, self._check_fence)
                publish_unsent(self._store, self.generation, self.infos, self._check_fence)
        except BaseException as error:
            self.release()
            if not again:
                self.generation, self._claimed = 0, ""  # another try claims, and brings, as the first would have
            if isinstance(error, OSError):
                raise self._cannot_write(error) from error
            raise

    def _lock(self) -> None:
        left = self._store.lock.take()
        if left is None:
            owner = self._store.lock.read()
            raise DirectoryBusy(
                "The directory {} is in use by another run: process {} on {}. Stop that process, or choose another "
                "directory.".format(self.path, owner.get("pid", "unknown"), owner.get("host", "an unknown host")))
        self.left = left or self.left

    def note(self, **place: Any) -> None:
        """Notes in the lock how far this process has come: its last sign of life, should it vanish.

        Raises:
            OSError: the note could not be written.
        """
        self._store.lock.note(**place)

    def release(self) -> None:
        """Gives the lock back, once the last words are safe; the generation stays claimed."""
        self._store.send(_SEND_SECONDS)
        self._store.lock.give_back()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the directory for work on its files while no training is at it.

        No generation is claimed: the next start counts on as if nothing had
        been, its last owner's note included, and a start that comes meanwhile
        where locks do not work fences this work off, not the other way round.

        Raises:
            DirectoryBusy: a live process trains here.
            SessionError: the directory cannot be written.
        """
        try:
            self._lock()
        except OSError as error:
            raise SessionError("Cannot work on {}: {}.".format(self.path, error)) from error
        try:
            self.generation = max([0] + [generation for generation, _ in self._generations()])
            yield
        finally:
            self.generation = 0
            try:
                self.note(**{name: self.left[name] for name in _NOTED if name in self.left})
            except OSError:
                pass  # it only tells how far the process before had come
            self.release()

    def holder(self) -> Optional[int]:
        """The process on this machine that trains here now, as far as locks tell; it is not disturbed."""
        return self._store.lock.holder()

    def _note_config(self) -> None:
        if self.config is not None:
            try:
                self._store.write_note("config.json", json.dumps(self.config, indent=2).encode() + b"\n")
            except OSError as error:
                logger.warning("config.json cannot be written to %s: %s. Training goes on.", self.path, error)

    # -- the run that begins here next

    def reserved_run(self) -> str:
        """The id for a run that begins here: the one that `reserve_run` gave, as long as no checkpoint has it."""
        noted = (self._store.read_note(_NEXT_RUN) or b"").decode("ascii", "replace").strip()
        if _RUN.fullmatch(noted) and all(info.run != noted for info in self.infos()):
            return noted
        return os.urandom(8).hex()

    def reserve_run(self) -> str:
        """The same, and it stays so until the run has saved something; `SessionError` where it cannot be noted."""
        run = self.reserved_run()
        try:
            self._store.prepare()
            self._store.write_note(_NEXT_RUN, run.encode() + b"\n")
        except OSError as error:
            raise self._cannot_write(error) from error
        return run

    def _cannot_read(self, error: OSError) -> SessionError:
        return SessionError("Cannot read {}: {}. Nothing was changed; try again when that works.".format(
            self.checkpoints, error))

    def _cannot_write(self, error: OSError) -> SessionError:
        return SessionError("Cannot write checkpoints to {}: {}. Choose a {} that this user can write to.".format(
            self.path, error, "URL" if self.is_far else "directory"))

    def _claim(self) -> None:
        """Takes the next number; on a full disk it is taken at the first save, and what is there can be restored."""
        while True:  # another start that was faster has taken the number: the next one
            self.generation = 1 + max([0] + [generation for generation, _ in self._generations()])
            name = claim_of(self.generation)
            try:
                if self._store.claim(name):
                    self._claimed = name
                    return
                if self.is_far:
                    self._lock()  # whoever has taken it may live
            except OSError as error:
                if error.errno not in files.FULL:
                    raise
                self._is_claim_due = True
                logger.warning("The disk of %s is full. Training begins, and saves once there is space.", self.path)
                return

    def _generations(self) -> List[Tuple[int, str]]:
        found = []
        for name in self._store.names():
            match = CLAIM.fullmatch(name) or CHECKPOINT.fullmatch(name)
            if match:
                found.append((int(match.group(1)), name))
        return found

    def _check_fence(self) -> None:
        found = self._generations()
        newer = [name for generation, name in found if generation > self.generation]
        if not newer and self._is_claim_due:
            claimed = claim_of(self.generation)
            if self._store.claim(claimed):
                self._claimed, self._is_claim_due = claimed, False
            else:
                newer = [claimed]
        elif not newer and self._claimed and all(name != self._claimed for _, name in found):
            raise OSError(errno.ESTALE, "it is not the directory that this run began in, {} is gone".format(
                self._claimed), self.path)
        if newer:
            raise DirectoryBusy("Another run has taken over {} ({} is newer than generation {} of this process, pid {} "
                                "on {}). This process saves no more; stop one of the two.".format(
                                    self.path, newer[0], self.generation, os.getpid(), socket.gethostname()))

    def _is_leftover(self, name: str, unfinished: bool) -> bool:
        """Half-written files, files that were to go, older claims."""
        if unfinished:
            return CHECKPOINT.fullmatch(name) is not None
        claim = CLAIM.fullmatch(name)
        return claim is not None and int(claim.group(1)) < self.generation

    # -- saving

    def new_id(self, step: int) -> str:
        """A name for the checkpoint of a step, which nothing else has."""
        return new_id(self.generation, step)

    def path_of(self, id: str) -> str:
        """Where the checkpoint of an id is."""
        return self._store.path_of(id + ".h5")

    def publish(self, id: str, image: Image) -> None:
        """Makes a checkpoint, durably.

        Raises:
            DirectoryBusy: a newer generation owns the directory.
            OSError: a step of it failed; nothing is left of it.
        """
        self._store.put(id + ".h5", image, self._check_fence)

    def stage(self, id: str, image: Image) -> Staged:
        """Writes a checkpoint that is none yet, for `publish_staged`.

        Raises:
            OSError: a step of it failed; nothing is left of it.
        """
        return self._store.stage(id + ".h5", image)

    def publish_staged(self, staged: Staged) -> None:
        """Makes a checkpoint of it, durably.

        Raises:
            DirectoryBusy: a newer generation owns the directory.
            OSError: a step of it failed; it may be tried again.
        """
        staged.publish(self._check_fence)

    def mirror(self, id: str) -> Optional[Staged]:
        """A checkpoint for `publish_staged` that is to be in the second copy, too; None where nothing is to be done."""
        return self._store.mirror(id + ".h5")

    def retain_mirror(self) -> None:
        """The second copy lets go of what retention has removed here, once something newer is acknowledged there.

        Raises:
            OSError: a step of it failed; it comes again with the next one.
        """
        self._store.retain_mirror(self._check_fence)

    def send(self, timeout_seconds: float = 0.0) -> None:
        """What was written in `here` is to be safe soon; that is waited for up to so long."""
        self._store.send(timeout_seconds)

    def retain(self, plan: Plan) -> List[str]:
        """Removes what a keep policy's plan gives up; returns the ids removed."""
        if plan.remove:
            self._check_fence()
        ours = [name for info in plan.remove for name in [os.path.basename(info.path)]
                if info.path == self._store.path_of(name) and CHECKPOINT.fullmatch(name)]
        removed = self._store.remove(ours, self._check_fence)
        return [name[:-3] for name in removed]

    # -- reading

    def paths(self) -> List[str]:
        """Checkpoint files, newest first by their names.

        Raises:
            SessionError: the directory cannot be read.
        """
        try:
            names = self._store.names()
        except OSError as error:
            raise self._cannot_read(error) from error
        names = sorted(filter(CHECKPOINT.fullmatch, names), key=place, reverse=True)
        return [self._store.path_of(name) for name in names]

    def infos(self, rejected: Optional[List[str]] = None) -> List[CheckpointInfo]:
        """Headers of all checkpoints, newest first; damaged ones are told in `rejected`.

        A run at work removes old files while we look; if that took all we knew
        of, newer ones have come, and we look again.
        """
        for _ in range(100):
            found, damaged, vanished = [], [], False
            for one in self._heads(self.paths()):
                if isinstance(one, CheckpointInfo):
                    found.append(one)
                elif isinstance(one, CheckpointNotFound):
                    vanished = True
                else:
                    damaged.append(str(one))
            if found or not vanished:
                break
        else:
            raise self._cannot_read(OSError("names are listed, and no file of them is there"))
        if rejected is not None:
            rejected += damaged
        return sorted(found, key=lambda info: info.order, reverse=True)

    def _heads(self, paths: List[str]) -> "Iterable[Union[CheckpointInfo, SessionError]]":
        def head(path: str) -> "Union[CheckpointInfo, SessionError]":
            try:
                return self._head(path)
            except (CheckpointNotFound, CheckpointCorrupt) as error:
                return error

        if not self.is_far and not self.mirror_url:
            return map(head, paths)
        with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(head, paths))

    def _head(self, path: str) -> CheckpointInfo:
        try:
            return reader.read_header(path, self._open).info
        except CheckpointCorrupt:
            other = self._store.other_copy(os.path.basename(path))
            if other is None:
                raise
            return reader.read_header(path, lambda path: other).info

    def _open(self, path: str) -> StoredFile:
        return self._store.open(os.path.basename(path))

    def read(self, info: CheckpointInfo, told: Callable[[int], None]) -> "Tuple[reader.Header, Dict[str, np.ndarray]]":
        """Reads a checkpoint of this directory, every byte of it verified; `told` is given the bytes after each piece.

        Raises:
            CheckpointNotFound: it is gone.
            CheckpointCorrupt: any byte differs from what was written.
        """
        try:
            return reader.read_checkpoint(info.path, self._open, told)
        except CheckpointCorrupt as error:
            other = self._store.other_copy(os.path.basename(info.path))
            if other is None:
                raise
            logger.warning("%s The copy in %s is read instead.", error, self.mirror_url)
            return reader.read_checkpoint(info.path, lambda path: other, told)
