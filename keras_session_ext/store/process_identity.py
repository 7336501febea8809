"""Which process it was, and whether it lives, for as long as that can be told on the same machine."""

import os
import socket
from typing import Any, Dict, Optional

from keras_session_ext import files

_BOOT = "/proc/sys/kernel/random/boot_id"


def this_process() -> Dict[str, Any]:
    """What others are told of this process."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "machine": _machine(), "began": _began(os.getpid())}


def is_this_process(owner: Dict[str, Any]) -> bool:
    """Whether a note is of this process."""
    mine = this_process()
    return bool(mine["machine"]) and all(owner.get(name) == value for name, value in mine.items())


def is_alive(owner: Dict[str, Any]) -> Optional[bool]:
    """Whether the process of a note lives; None where it was another machine's, or that cannot be told."""
    pid = owner.get("pid")
    if type(pid) is not int or not _machine() or owner.get("machine") != _machine():
        return None
    return _began(pid) == owner.get("began") != ""


def _machine() -> str:
    """This boot of this machine, and this space of process numbers."""
    try:
        return "{} {}".format(files.read_stream(_BOOT).decode("ascii", "replace").strip(),
                              os.readlink("/proc/self/ns/pid"))
    except OSError:
        return ""


def _began(pid: int) -> str:
    """When a process began, in ticks since the boot; empty where there is none."""
    try:
        text = files.read_stream("/proc/{}/stat".format(pid)).decode("utf-8", "replace")
    except OSError:
        return ""
    behind = text.rpartition(")")[2].split()  # its name may hold spaces and brackets
    return "" if len(behind) < 20 or behind[0] in "ZX" else behind[19]
