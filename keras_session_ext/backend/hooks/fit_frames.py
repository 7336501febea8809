"""The frames of a running `fit`: finding it on the stack, and writing to its local variables.

Older training loops keep the epoch they begin with and the function they train
with in local variables; a callback runs inside them, and nothing else reaches them.
"""

import ctypes
import sys
from types import FrameType
from typing import Any, Callable, Iterator, Optional


def frames(innermost: Optional[FrameType] = None) -> Iterator[FrameType]:
    """The frames of the running calls, the innermost first.

    Args:
        innermost: where to begin; otherwise at the caller.
    """
    frame: Optional[FrameType] = sys._getframe(1) if innermost is None else innermost
    while frame is not None:
        yield frame
        frame = frame.f_back


def frame_of_fit(model: Any, is_fit: Callable[[FrameType], bool]) -> Optional[FrameType]:
    """The frame of the training loop that is running on a model, or None.

    Args:
        model: the model.
        is_fit: knows the loops of a Keras.
    """
    for frame in frames():
        if is_fit(frame) and any(frame.f_locals.get(name) is model for name in ("self", "model")):
            return frame
    return None


def calling_list(callback: Any, kind: Any) -> Any:
    """The list of callbacks, of class `kind`, that is calling a callback; or None."""
    for frame in frames():
        found = frame.f_locals.get("self")
        if isinstance(found, kind) and any(callback is one for one in found.callbacks):
            return found
    return None


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
