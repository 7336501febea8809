"""Which variables the rest of a run still reads, as its bytecode says: liveness, as compilers know it.

A name is live at a place if some way from there reads it before it is assigned.
What cannot be told is live: a variable that an inner function shares, and on
Pythons without a table of exceptions whatever a handler reads.
"""

import dis
import functools
import types
from typing import Any, Dict, FrozenSet, Iterator, List, Set, Tuple

_LOADS = frozenset([
    "LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_FAST_AND_CLEAR", "LOAD_DEREF",
    "LOAD_CLASSDEREF", "LOAD_CLOSURE", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF"])
_STORES = frozenset([
    "STORE_NAME", "STORE_GLOBAL", "STORE_FAST", "DELETE_NAME", "DELETE_GLOBAL", "DELETE_FAST"])
_OUTSIDE = frozenset(["LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"])
#: what comes behind these in the code does not come behind them in a run
_LEAVES = frozenset([
    "RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_ABSOLUTE", "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT", "BREAK_LOOP", "CONTINUE_LOOP"])
_JUMPS = frozenset([*dis.hasjrel, *dis.hasjabs])


class Liveness:
    """The live names at every instruction of a piece of code.

    Args:
        code: what is looked at.
    """

    def __init__(self, code: types.CodeType):
        found = list(dis.get_instructions(code))
        self._offsets = [one.offset for one in found]
        self._shared = frozenset([*code.co_cellvars, *code.co_freevars])
        self._heads = frozenset(one.offset for one in found if one.opname == "FOR_ITER")
        self._names = sorted(set().union(*(_loaded(one) | _stored(one) for one in found)))
        self._live = self._solve(found, _successors(code, found))

    def _solve(self, found: List[Any], behind: List[List[int]]) -> List[int]:
        """Backward, until nothing changes; a set of names is a number with a bit for each."""
        bits = {name: 1 << number for number, name in enumerate(self._names)}
        read = [sum(bits[name] for name in _loaded(one)) for one in found]
        kept = [~sum(bits[name] for name in _stored(one)) for one in found]
        for number, one in enumerate(found):  # the second half of the pair is read behind the first is written
            if one.opname == "STORE_FAST_LOAD_FAST" and one.argval[0] == one.argval[1]:
                read[number] = 0
        live = [0] * len(found)
        changed = True
        while changed:
            changed = False
            for number in range(len(found) - 1, -1, -1):
                out = 0
                for other in behind[number]:
                    out |= live[other]
                now = (out & kept[number]) | read[number]
                changed = changed or now != live[number]
                live[number] = now
        return live

    def _at(self, offset: int) -> int:
        """The number of the instruction that is being run."""
        return max((number for number, one in enumerate(self._offsets) if one <= offset), default=0)

    @functools.lru_cache(maxsize=256)  # noqa: B019 (as long-lived as the code)
    def at(self, offset: int) -> FrozenSet[str]:
        """The names that are live where the instruction at `offset` is about to be run."""
        live = self._live[self._at(offset)]
        return self._shared.union(name for number, name in enumerate(self._names) if live >> number & 1)

    def is_loop(self, offset: int) -> bool:
        """Whether a `for` asks for its next item there."""
        return self._offsets[self._at(offset)] in self._heads

    def loops_before(self, offset: int) -> int:
        """How many `for` stand in front of the one that begins, or asks for its next item, there."""
        return sum(head < offset for head in self._heads)


@functools.lru_cache(maxsize=1024)
def liveness_of(code: types.CodeType) -> Liveness:
    """Looked at once for each piece of code."""
    return Liveness(code)


@functools.lru_cache(maxsize=4096)
def names_read(code: types.CodeType) -> FrozenSet[str]:
    """The global names that a function, or one within it, reads.

    Examples:
        >>> sorted(names_read(compile("f(a)", "", "eval")))
        ['a', 'f']
    """
    inner = [names_read(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return frozenset(one.argval for one in dis.get_instructions(code) if one.opname in _OUTSIDE).union(*inner)


def names_read_by_functions(scope: Dict[str, Any]) -> Set[str]:
    """The global names that functions, and methods of classes, of a module read; traced and compiled ones, too."""
    found: Set[str] = set()
    for value in list(scope.values()):
        members = list(vars(value).values()) if isinstance(value, type) and (
            value.__module__ == scope.get("__name__")) else [value]
        for one in members:
            for function in functions_in(one):
                if function.__globals__ is scope:
                    found |= names_read(function.__code__)
    return found


def functions_in(value: Any) -> Iterator[types.FunctionType]:
    """The Python function in what decorators, TensorFlow and JAX make of one."""
    for _ in range(5):
        if isinstance(value, types.FunctionType):
            yield value
        inner = [vars(value).get(name) if isinstance(value, types.FunctionType) else _attribute(value, name)
                 for name in ("python_function", "__wrapped__", "__func__", "fget", "func")]
        value = next((one for one in inner if one is not None), None)
        if value is None:
            return


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # whatever a user's property raises
        return None


def _loaded(one: Any) -> Set[str]:
    if one.opname in _LOADS:
        return {one.argval}
    if one.opname.startswith(("LOAD_FAST_LOAD", "LOAD_FAST_BORROW_LOAD")) and isinstance(one.argval, tuple):
        return set(one.argval)
    if one.opname == "STORE_FAST_LOAD_FAST":
        return {one.argval[1]}
    if isinstance(one.argval, types.CodeType):
        return set(names_read(one.argval))
    return set()


def _stored(one: Any) -> Set[str]:
    """What is overwritten; a variable that an inner function shares never is, which may read it at any call."""
    if one.opname in _STORES:
        return {one.argval}
    if one.opname == "STORE_FAST_LOAD_FAST":
        return {one.argval[0]}
    if one.opname == "STORE_FAST_STORE_FAST":
        return set(one.argval)
    return set()


def _successors(code: types.CodeType, found: List[Any]) -> List[List[int]]:
    """Which instructions may come behind each."""
    at = {one.offset: number for number, one in enumerate(found)}
    behind: List[List[int]] = []
    for number, one in enumerate(found):
        follows = [] if one.opname in _LEAVES or number + 1 == len(found) else [number + 1]
        if one.opcode in _JUMPS and one.argval in at:
            follows.append(at[one.argval])
        behind.append(follows)
    for start, end, target in _blocks(code, found):
        for number, one in enumerate(found):
            if start <= one.offset < end and target in at:
                behind[number].append(at[target])
    return behind


def _blocks(code: types.CodeType, found: List[Any]) -> Iterator[Tuple[int, int, int]]:
    """(begin, end, where to) of all code that may leave for a handler, or for the end of its loop."""
    for entry in getattr(dis.Bytecode(code), "exception_entries", None) or ():
        yield entry.start, entry.end, entry.target
    for one in found:
        if one.opname.startswith("SETUP_") and isinstance(one.argval, int):
            yield one.offset, one.argval, one.argval
