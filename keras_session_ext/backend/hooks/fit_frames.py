"""The frames of a running `fit`: finding it on the stack, and writing to its local variables.

Older training loops keep the epoch they begin with and the function they train
with in local variables; a callback runs inside them, and nothing else reaches them.
"""

import ctypes
import sys
from types import FrameType
from typing import Any, Iterator, Optional


def frames(innermost: Optional[FrameType] = None) -> Iterator[FrameType]:
    """The frames of the running calls, the innermost first.

    Args:
        innermost: where to begin; otherwise at the caller.
    """
    frame: Optional[FrameType] = sys._getframe(1) if innermost is None else innermost
    while frame is not None:
        yield frame
        frame = frame.f_back


def set_local(frame: FrameType, name: str, value: Any) -> None:
    """Assigns a local variable of a running function, as debuggers do.

    From Python 3.13 on `f_locals` writes through (PEP 667); before, CPython's
    `PyFrame_LocalsToFast` copies it back.

    Args:
        frame: the frame.
        name: a local variable it has.
        value: the new value.
    """
    frame.f_locals[name] = value
    if sys.version_info < (3, 13):
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


def generator_of(frame: FrameType) -> Any:
    """The generator that the user gave to this `fit`, or None."""
    for name in ("generator", "x"):
        if hasattr(frame.f_locals.get(name), "__next__"):
            return frame.f_locals[name]
    return None
