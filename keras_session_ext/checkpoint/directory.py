"""The run directory: one owner, generations, publication, retention.

```
<directory>/LOCK                                      which process trains here; comfort, not safety
<directory>/config.json                               what callbacks_from_config was told, if it was
<directory>/checkpoints/g000003-s0000001234-1a2b3c4d.h5
<directory>/checkpoints/g000003.claim                 the newest start of a run; fences off older ones
```

Under a checkpoint's name there is either a complete file or none. Files are
ordered by (generation, step) and never by their times. Only names that this
module made are ever removed.
"""

import contextlib
import json
import logging
import os
import re
import socket
import threading
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from keras_session_ext import files
from keras_session_ext.arguments import local_path
from keras_session_ext.checkpoint import reader
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound, DirectoryBusy, SessionError
from keras_session_ext.progress import CheckpointInfo, CheckpointList

logger = logging.getLogger("keras_session_ext")

_CHECKPOINT = re.compile(r"g([0-9]{6,})-s([0-9]{10,})-([0-9a-f]{8})\.h5")
_CLAIM = re.compile(r"g([0-9]{6,})\.claim")
_LEFTOVER = re.compile(r"\.(tmp|del)-[0-9a-f]{8}-g[0-9]{6,}-s[0-9]{10,}-[0-9a-f]{8}\.h5")

#: what a training notes in the lock of how far it has come
_NOTED = ("process", "time", "stage", "epoch", "batch", "step")
# POSIX record locks belong to the process: one descriptor per directory, counted
_locks: Dict[str, List] = {}
_locks_guard = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_locks.clear)


class RunDirectory:
    """A directory that a run writes its checkpoints to.

    Args:
        path: the directory; made if it is missing.
        group: whether members of the file's group may read and write, too.
    """

    def __init__(self, path: str, group: bool = False):
        self.path = os.path.abspath(path)
        self.checkpoints = os.path.join(self.path, "checkpoints")
        self.file_mode = 0o660 if group else 0o600
        self._folder_mode = 0o770 if group else 0o700
        self.generation = 0
        self.left: Dict[str, Any] = {}  # what the owner before us noted last
        self.config: Optional[Dict[str, Any]] = None  # what the run was configured with, to be written here
        self._locked = False

    # -- ownership

    def acquire(self) -> None:
        """Makes the directory, locks it and claims the next generation.

        Raises:
            DirectoryBusy: another live process trains here.
            SessionError: the directory cannot be written.
        """
        try:
            files.make_directory(self.checkpoints, self._folder_mode)
            self._lock()
            if self.generation:
                self._check_fence()
            else:
                self._claim()
                self._clean()
                self._write_config()
        except DirectoryBusy:
            self.release()
            raise
        except OSError as error:
            self.release()
            raise SessionError(
                "Cannot write checkpoints to {}: {}. Choose a directory that this user can write to.".format(
                    self.path, error)) from error

    def _lock(self):
        if self._locked:
            return
        name = os.path.join(self.path, "LOCK")
        with _locks_guard:
            entry = _locks.get(os.path.realpath(name))
            if entry is None:
                left = files.read_owner(name)
                fd = files.lock(name, self.file_mode)
                if fd is None:
                    owner = files.read_owner(name)
                    raise DirectoryBusy(
                        "The directory {} is in use by another run: process {} on {}. Stop that process, or "
                        "choose another directory.".format(
                            self.path, owner.get("pid", "unknown"), owner.get("host", "an unknown host")))
                self.left = left
                entry = _locks[os.path.realpath(name)] = [fd, 0]
            entry[1] += 1
        self._locked = True

    def note(self, **place: Any) -> None:
        """Notes in the lock how far this process has come: its last sign of life, should it vanish.

        Raises:
            OSError: the note could not be written.
        """
        entry = _locks.get(os.path.realpath(os.path.join(self.path, "LOCK")))
        if self._locked and entry is not None:
            files.write_owner(entry[0], **place)

    def release(self) -> None:
        """Gives the lock back; the generation stays claimed."""
        if not self._locked:
            return
        self._locked = False
        with _locks_guard:
            key = os.path.realpath(os.path.join(self.path, "LOCK"))
            entry = _locks.get(key)
            if entry is None:
                return  # a forked child: the lock is the parent's
            entry[1] -= 1
            if not entry[1]:
                files.close(_locks.pop(key)[0])

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
        name = os.path.join(self.path, "LOCK")
        if os.path.realpath(name) in _locks:
            return os.getpid()  # to open and close the file would give our own lock away
        return files.lock_holder(name)

    def _claim(self):
        while True:
            self.generation = 1 + max([0] + [generation for generation, _ in self._generations()])
            name = os.path.join(self.checkpoints, "g{:06d}.claim".format(self.generation))
            try:
                fd = files.create(name, self.file_mode)
            except FileExistsError:
                continue  # another start was faster: take the next number
            try:
                files.write_owner(fd)
                files.sync(fd)
            finally:
                files.close(fd)
            files.sync_directory(self.checkpoints)
            return

    def _write_config(self) -> None:
        if self.config is None:
            return
        temporary = os.path.join(self.path, ".tmp-{}-config.json".format(os.urandom(4).hex()))
        files.write_new(temporary, json.dumps(self.config, indent=2).encode() + b"\n", self.file_mode)
        files.replace(temporary, os.path.join(self.path, "config.json"))

    def _generations(self) -> List[Tuple[int, str]]:
        found = []
        for name in files.names(self.checkpoints):
            match = _CLAIM.fullmatch(name) or _CHECKPOINT.fullmatch(name)
            if match:
                found.append((int(match.group(1)), name))
        return found

    def _check_fence(self):
        newer = [name for generation, name in self._generations() if generation > self.generation]
        if newer:
            raise DirectoryBusy(
                "Another run has taken over {} ({} is newer than generation {} of this process, pid {} on {}). "
                "This process saves no more; stop one of the two.".format(
                    self.path, newer[0], self.generation, os.getpid(), socket.gethostname()))

    def _clean(self):
        """Removes what killed processes left: half-written files, tombstones, older claims."""
        for name in files.names(self.checkpoints):
            match = _CLAIM.fullmatch(name)
            if _LEFTOVER.fullmatch(name) or (match and int(match.group(1)) < self.generation):
                try:
                    files.remove(os.path.join(self.checkpoints, name))
                except OSError as error:
                    logger.warning("Cannot remove the leftover %s: %s", name, error)

    # -- saving

    def new_path(self, step: int) -> str:
        name = "g{:06d}-s{:010d}-{}.h5".format(self.generation, step, os.urandom(4).hex())
        return os.path.join(self.checkpoints, name)

    def publish(self, temporary: str, final: str) -> None:
        """Gives a written and synced file its name, durably.

        Raises:
            DirectoryBusy: a newer generation owns the directory.
        """
        try:
            self._check_fence()
            files.publish(temporary, final)
        except BaseException:
            try:
                files.remove(temporary)
            except OSError:
                pass  # removed by the next start
            raise
        files.sync_directory(self.checkpoints)

    def retain(self, plan) -> List[str]:
        """Removes what a keep policy's plan gives up; returns the ids removed.

        A victim is first renamed to a tombstone and the directory synced: after a
        power cut a file must not come back under its own name with re-used blocks.
        """
        if plan.remove:
            self._check_fence()
        tombstones = []
        for info in plan.remove:
            name = os.path.basename(info.path)
            if not _CHECKPOINT.fullmatch(name) or os.path.dirname(info.path) != self.checkpoints:
                continue
            tombstone = os.path.join(self.checkpoints, ".del-{}-{}".format(os.urandom(4).hex(), name))
            try:
                files.rename(info.path, tombstone)
            except FileNotFoundError:
                continue  # someone removed it by hand
            tombstones.append((info.id, tombstone))
        if tombstones:
            files.sync_directory(self.checkpoints)
        for _, tombstone in tombstones:
            files.remove(tombstone)
        return [id for id, _ in tombstones]

    # -- reading

    def paths(self) -> List[str]:
        """Checkpoint files, newest first by their names."""
        try:
            found = files.names(self.checkpoints)
        except (FileNotFoundError, NotADirectoryError):
            return []
        matches = [match for match in map(_CHECKPOINT.fullmatch, found) if match]
        matches.sort(key=lambda match: (int(match.group(1)), int(match.group(2)), match.group(3)), reverse=True)
        return [os.path.join(self.checkpoints, match.group(0)) for match in matches]

    def infos(self, rejected: Optional[List[str]] = None) -> List[CheckpointInfo]:
        """Headers of all checkpoints, newest first; damaged ones are told in `rejected`.

        A run at work removes old files while we look; if that took all we knew
        of, newer ones have come, and we look again.
        """
        for _ in range(100):
            found, damaged, vanished = [], [], False
            for path in self.paths():
                try:
                    found.append(reader.read_header(path).info)
                except CheckpointNotFound:
                    vanished = True
                except CheckpointCorrupt as error:
                    damaged.append(str(error))
            if found or not vanished:
                break
        if rejected is not None:
            rejected += damaged
        return sorted(found, key=lambda info: info.order, reverse=True)

    def named(self, id: str, known: Sequence[CheckpointInfo]) -> CheckpointInfo:
        """The checkpoint called `id` among those that are known.

        Raises:
            CheckpointNotFound: there is none; the message names the nearest.
        """
        by_id = {info.id: info for info in known}
        if id in by_id:
            return by_id[id]
        import difflib

        nearest = difflib.get_close_matches(id, by_id, n=3, cutoff=0.0)
        raise CheckpointNotFound("There is no checkpoint {!r} in {}. {}".format(
            id, self.checkpoints, "The nearest: {}.".format(", ".join(nearest)) if nearest else "It is empty."))


def list_checkpoints(directory) -> List[CheckpointInfo]:
    """Lists the checkpoints of a run directory, newest first.

    Only headers are read. A damaged file is left out and told by a warning of
    the logger "keras_session_ext".

    Args:
        directory: what `SessionCheckpoint` was given.

    Returns:
        A list of `CheckpointInfo`, shown as a table in notebooks; empty if nothing was saved yet.

    Example:
        >>> list_checkpoints("no/such/run")
        []
    """
    rejected: List[str] = []
    found = RunDirectory(local_path(directory, "directory")).infos(rejected)
    for message in rejected:
        logger.warning("%s", message)
    return CheckpointList(found)


def verify_checkpoint(path) -> CheckpointInfo:
    """Reads a checkpoint and checks every byte of it against its checksums.

    Args:
        path: the file.

    Returns:
        Its `CheckpointInfo`.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointCorrupt: the file is truncated, altered or not ours.

    Example:
        >>> verify_checkpoint("no/such/file.h5")
        Traceback (most recent call last):
        keras_session_ext.errors.CheckpointNotFound: There is no checkpoint no/such/file.h5.
    """
    return reader.verify(local_path(path, "path")).info


def temporary_name(final: str) -> str:
    """The name under which a file is written before it gets its own."""
    folder, name = os.path.split(final)
    return os.path.join(folder, ".tmp-{}-{}".format(os.urandom(4).hex(), name))


def save_file(path: str, encoder, fields, tensors, view) -> None:
    """Writes one checkpoint to a path of the user's choice: new, or in place of one of ours."""
    temporary = temporary_name(path)
    encoder.write(temporary, fields, tensors, view)
    try:
        if files.exists(path):
            files.replace(temporary, path)
        else:
            files.publish(temporary, path)
    except BaseException:
        files.remove(temporary)
        raise
    files.sync_directory(os.path.dirname(os.path.abspath(path)))
