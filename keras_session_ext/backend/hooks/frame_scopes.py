"""The variables of running frames that the rest of the run reads, and how to assign them."""

import os
import sys
import sysconfig
from types import FrameType
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set

from keras_session_ext.backend.hooks.fit_frames import frames, set_local
from keras_session_ext.backend.hooks.live_names import liveness_of, names_read_by_functions

_OPTIMIZED = 1  # CO_OPTIMIZED: the variables are no dictionary
_GENERATOR = 0x20  # CO_GENERATOR
_ANY_NAME = frozenset(["globals", "vars", "exec", "eval"])  # these read variables whose names no bytecode tells
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_STANDARD = sysconfig.get_paths()["stdlib"] + os.sep


class Scope(NamedTuple):
    """Variables of one module or one running function.

    Attributes:
        prefix: before their names; the same in every process.
        holder: assigns one, as a dictionary does.
        values: the live ones that are bound.
        level: whether it is of the outermost frame that was looked at, or of a module.
    """

    prefix: str
    holder: Any
    values: Dict[str, Any]
    level: bool


class Locals(dict):
    """Assigns the local variables of a running function.

    Args:
        frame: of it.
    """

    def __init__(self, frame: FrameType):
        super().__init__()
        self._frame = frame

    def __setitem__(self, name: str, value: Any) -> None:
        set_local(self._frame, name, value)


def is_loop(frame: FrameType) -> bool:
    """Whether a `for` of this frame asks for its next item right now."""
    return liveness_of(frame.f_code).is_loop(frame.f_lasti)


def is_followed(frame: FrameType) -> bool:
    """Whether the variables of a frame can be looked at: those of a function or a module."""
    return bool(frame.f_code.co_flags & _OPTIMIZED) or frame.f_locals is frame.f_globals


def place_of(found: List[FrameType]) -> str:
    """Where the `for` of a frame stands, and of those behind it: names of functions, and which of their loops it is."""
    made = []
    for frame in found:
        name = frame.f_code.co_name
        made.append("{} in {}".format(1 + liveness_of(frame.f_code).loops_before(frame.f_lasti),
                                      "the script" if name == "<module>" else name))
    return ", ".join(made)


def frame_of_script(frame: Optional[FrameType]) -> Optional[FrameType]:
    """The frame itself, or the next one outwards that is not of an installed package, such as a progress bar's."""
    while frame is not None and _is_installed(frame):
        frame = frame.f_back
    return frame


def frames_around(frame: FrameType) -> List[FrameType]:
    """A frame; of a generator, which is not on the stack between two items, those that ask it for items, too."""
    made, one = [frame], frame
    while one.f_code.co_flags & _GENERATOR:
        outer = frame_of_script(one.f_back)
        if outer is None:
            break
        made.append(outer)
        one = outer
    return made


def _is_installed(frame: FrameType) -> bool:
    return is_installed_path(frame.f_code.co_filename)


def is_installed_path(path: str) -> bool:
    """Whether a file is of Python itself, of this package, or of another one that was installed."""
    return "-packages" in path or path.startswith((_OURS, _STANDARD))


def frames_between(outer: FrameType, inner: FrameType) -> List[FrameType]:
    """The frames of the script from one to one that it has called, the outermost first."""
    chain = []
    for frame in frames(inner):
        if not _is_installed(frame):
            chain.append(frame)
        if frame is outer:
            return chain[::-1]
    return [outer] if outer is inner else [outer, inner]


def scopes(found: List[FrameType]) -> List[Scope]:
    """The live variables of frames, modules first."""
    made: List[Scope] = []
    for scope, names in _modules(found):
        prefix = "" if scope is found[0].f_globals else str(scope.get("__name__")) + ":"
        made.append(Scope(prefix, scope, _bound(scope, names), True))
    seen: Dict[str, int] = {}
    for number, frame in enumerate(found):
        if not frame.f_code.co_flags & _OPTIMIZED:
            continue
        name = frame.f_code.co_name
        seen[name] = seen.get(name, 0) + 1
        prefix = name + (" {}".format(seen[name]) if seen[name] > 1 else "") + "."
        names = liveness_of(frame.f_code).at(frame.f_lasti) & _own_names(frame)
        made.append(Scope(prefix, Locals(frame), _bound(frame.f_locals, names), not number))
    return made


def _modules(found: List[FrameType]) -> Iterator[Any]:
    """Each dictionary of global variables, with the names of it that are live."""
    done: List[Any] = []
    for frame in found:
        scope = frame.f_globals
        if any(one is scope for one in done):
            continue
        done.append(scope)
        names: Set[str] = names_read_by_functions(scope)
        for one in found:
            if one.f_globals is scope:
                names |= liveness_of(one.f_code).at(one.f_lasti) - _own_names(one)
        if "get_ipython" in scope or names & _ANY_NAME:  # what later cells read, or texts name, is not known
            names |= {name for name in scope if not name.startswith("_")}
        yield scope, names


def _own_names(frame: FrameType) -> Set[str]:
    code = frame.f_code
    return {*code.co_varnames, *code.co_cellvars, *code.co_freevars} if code.co_flags & _OPTIMIZED else set()


def _bound(values: Any, names: Any) -> Dict[str, Any]:
    return {name: values[name] for name in sorted(names) if name in values and not name.startswith("__")}


def caller(depth: int = 2) -> FrameType:
    """The frame that has called the function that asks."""
    return sys._getframe(depth)
