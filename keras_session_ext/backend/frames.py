"""The frames of a running `fit`: finding it on the stack, and writing to its local variables.

Older training loops keep the epoch they begin with and the function they train
with in local variables; a callback runs inside them, and nothing else reaches them.
"""

import ctypes
import sys
from typing import Any, Iterator


def frames() -> Iterator[Any]:
    """The frames of the running calls, the innermost first."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def set_local(frame: Any, name: str, value: Any) -> None:
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


def generator_of(frame: Any) -> Any:
    """The generator that the user gave to this `fit`, or None."""
    for name in ("generator", "x"):
        if hasattr(frame.f_locals.get(name), "__next__"):
            return frame.f_locals[name]
    return None
