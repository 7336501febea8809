"""The lock of a run in a store: its newest claim, which the process that made it rewrites as long as it lives.

A claim that was rewritten lately is a sign of life. What is late is told by the
store's clock alone, or by watching: the clocks of the machines may be wrong by
hours. Safety comes from the claims' numbers.
"""

import json
import logging
import os
import threading
import time
import weakref
from typing import Any, Dict, Optional

from keras_session_ext import remote_files, urls
from keras_session_ext.remote_copies import Repeated, before_exit
from keras_session_ext.store.checkpoint_names import CLAIM
from keras_session_ext.store.contract import Lock
from keras_session_ext.store.process_identity import is_alive, is_this_process, this_process

logger = logging.getLogger("keras_session_ext")

#: how often a sign of life is given, and after how long without one a process is taken to be gone
BEAT_SECONDS, SILENCE_SECONDS = 10.0, 35.0
_LOOK_SECONDS = 2.0
_TRIES = 20

_taken: "weakref.WeakSet[RemoteLock]" = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_taken.clear)


class RemoteLock(Lock):
    """A lock that is a sign of life.

    Args:
        folder: the URL where the claims are.

    Attributes:
        judged: the newest claim, when it was taken: its process is gone. Behind another one no claim may be made.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self.judged = ""
        self._name = ""  # of our claim
        self._pid = os.getpid()
        self._note: Dict[str, Any] = {}
        self._beats = 0
        self._taken = False
        self._guard = threading.Lock()
        self._beat = Repeated("Signs of life cannot be given to " + folder, self._write, BEAT_SECONDS)

    def body(self, **more: Any) -> bytes:
        """What a claim of this process says."""
        return json.dumps(dict(self._note, **dict(this_process(), **more))).encode()

    def claimed(self, name: str, is_new: bool = True) -> None:
        """This claim is ours: it is kept alive from now on; one that we had given back is so at once."""
        self._name, self._taken, self._pid = name, True, os.getpid()
        self.judged = name
        _taken.add(self)
        self._beat.begin(at_once=not is_new)

    def take(self) -> Optional[Dict[str, Any]]:
        for _ in range(_TRIES):
            newest = self._newest()
            if self._taken:
                self.judged = self._name
                return {} if newest in ("", self._name) else None
            owner = self._read(newest) if newest else {}
            if owner is None:
                continue  # another start has removed it: that one's claim is the newest
            if newest and newest == self._name:
                self.claimed(newest, is_new=False)
                self.judged = newest
                return owner
            if newest and not owner.get("ended") and not is_this_process(owner):
                alive = is_alive(owner)
                if alive or (alive is None and not self._falls_silent(newest, owner)):
                    return None
            if self._newest() == newest:
                self.judged = newest
                return owner
        return None

    @property
    def is_ours(self) -> bool:
        """Whether this process has claimed the run before."""
        return bool(self._name) and os.getpid() == self._pid

    def go_on(self) -> None:
        """Gives signs of life again for a claim of ours, as soon as that can be done."""
        self.claimed(self._name, is_new=False)

    def is_judged(self) -> bool:
        """Whether nobody has claimed anything since the lock was taken."""
        return self._newest() == self.judged

    def _newest(self) -> str:
        claims = [name for name in remote_files.names(self._folder) if CLAIM.fullmatch(name)]
        return max(claims, key=lambda name: (len(name), name), default="")

    def _falls_silent(self, name: str, owner: Dict[str, Any]) -> bool:
        """Waits until a process has given no sign of life for long enough; False where it gives one."""
        url = urls.join(self._folder, name)
        left, changed = SILENCE_SECONDS, remote_files.changed(url)
        if changed is not None:
            now = self._clock()
            left -= 0.0 if now is None else max(0.0, now - changed)
        if left > _LOOK_SECONDS:
            logger.warning("Process %s on %s has trained in %s until lately. Waiting %.0f seconds for another sign of "
                           "life.", owner.get("pid", "?"), owner.get("host", "an unknown host"), self._folder, left)
        end = time.monotonic() + left
        while time.monotonic() < end:
            time.sleep(min(_LOOK_SECONDS, max(0.0, end - time.monotonic())))
            seen = self._read(name)
            if seen is None or seen.get("ended"):
                return True
            if seen != owner:
                return False
        return True

    def _clock(self) -> Optional[float]:
        """What time it is for the store."""
        url = urls.join(self._folder, ".clock-" + os.urandom(4).hex())
        remote_files.replace(url, b"-")
        try:
            return remote_files.changed(url)
        finally:
            remote_files.remove(url)

    def read(self) -> Dict[str, Any]:
        if self._taken:
            return dict(self._note, **this_process())
        newest = self._newest()
        return (self._read(newest) if newest else None) or {}

    def _read(self, name: str) -> Optional[Dict[str, Any]]:
        """What a claim says; None where there is none."""
        try:
            found = json.loads(remote_files.read(urls.join(self._folder, name)).decode())
            return found if isinstance(found, dict) else {}
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            return {}

    def note(self, **place: Any) -> None:
        if self._taken:
            self._note = place  # the next sign of life tells it

    def _write(self) -> None:
        with self._guard:
            if self._taken and self._name and os.getpid() == self._pid:
                self._beats += 1
                remote_files.replace(urls.join(self._folder, self._name), self.body(beat=self._beats))

    def holder(self) -> Optional[int]:
        if self._taken:
            return os.getpid()
        owner = self.read()
        return owner.get("pid") if not owner.get("ended") and is_alive(owner) else None

    def give_back(self) -> None:
        if not self._taken:
            return
        _taken.discard(self)
        self._beat.end()
        with self._guard:
            self._taken = False
            if os.getpid() != self._pid:
                return
            try:
                if self._newest() != self._name:
                    return
                remote_files.replace(urls.join(self._folder, self._name), self.body(ended=True))
            except OSError as error:
                logger.warning("The end of this process cannot be told in %s: %s. The next start waits %.0f seconds "
                               "for a sign of life.", self._folder, error, SILENCE_SECONDS)


def _before_exit() -> None:
    for lock in list(_taken):
        lock.give_back()


before_exit(2, _before_exit)
