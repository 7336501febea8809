"""The process that a script runs in, as its parent holds it; and what a dead one leaves behind.

The two processes are tied by a socket. The child tells over it how far it has
come; that it closes is how the child learns that its parent is gone, even by
SIGKILL, and then it saves and ends, too.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

from keras_session_ext import files

_PR_SET_CHILD_SUBREAPER = 36
_ORPHAN_SECONDS = 5.0


class Child:
    """One process of a script.

    Args:
        command: the program and its arguments; the number of the socket is put behind `--tie`.
        output: a file descriptor for what the script prints; None leaves it the terminal.
        mask: the signals to block in the child, as this process had them.
        cwd: the folder it is started in; None: that of this process.

    Attributes:
        told: the last message of every kind.
    """

    def __init__(self, command: List[str], output: Optional[int] = None, mask: Any = (), cwd: Optional[str] = None):
        self._socket, other = socket.socketpair()
        os.set_inheritable(other.fileno(), True)
        self.told: Dict[str, Any] = {}
        self._rest = b""
        with other:
            self.process = subprocess.Popen(  # noqa: S603 (the user's own script)
                [one if one != "{tie}" else str(other.fileno()) for one in command], pass_fds=[other.fileno()],
                stdout=output, stderr=subprocess.STDOUT if output is not None else None,
                preexec_fn=lambda: _unblock(mask), cwd=cwd)
        self._socket.setblocking(False)

    def listen(self) -> Dict[str, Any]:
        """Reads what the child has told; returns the last message of every kind."""
        while True:
            try:
                data = self._socket.recv(65536)
            except (BlockingIOError, ConnectionResetError):
                return self.told
            if not data:
                return self.told
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line.decode())
                self.told[message.pop("kind")] = message

    def close(self) -> None:
        self._socket.close()


def _unblock(mask: Any) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# -- what a dead script leaves behind: the workers of its data loaders

def adopt_orphans() -> bool:
    """Lets orphans of our children become ours (Linux), so that they can be found."""
    if not sys.platform.startswith("linux"):
        return False
    return ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def end_orphans() -> None:
    """Ends what the script left; what made a session of its own is meant to stay."""
    end = time.monotonic() + _ORPHAN_SECONDS
    asked: set = set()
    while True:
        orphans = _orphans()
        if not orphans:
            return
        for pid in orphans:
            _send(pid, signal.SIGKILL if time.monotonic() > end else 0 if pid in asked else signal.SIGTERM)
            asked.add(pid)
        if time.monotonic() > end + 1:
            return
        time.sleep(0.05)


def _orphans() -> List[int]:
    found = []
    for name in files.names("/proc"):
        if name.isdigit() and _parent(name) == os.getpid() and not _is_reaped(int(name)):
            try:
                mine = os.getsid(int(name)) == os.getsid(0)
            except ProcessLookupError:
                continue
            if mine:
                found.append(int(name))
    return found


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _parent(pid: str) -> int:
    try:
        return int(files.read_stream("/proc/{}/stat".format(pid)).rsplit(b")", 1)[1].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
