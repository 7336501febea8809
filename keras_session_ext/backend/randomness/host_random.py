"""Random state of the host: Python, NumPy and torch, which any engine's run may draw from.

A state is a plain value (numbers, arrays, tuples) that can be compared by `same`.
"""

import random
import sys
from typing import Any, Callable, Dict, Tuple

import numpy as np


def _get_python() -> Dict[str, Any]:
    version, words, gauss = random.getstate()
    return {"version": version, "words": np.asarray(words, np.uint32), "gauss": gauss}


def _set_python(state: Dict[str, Any], source: Any = random) -> None:
    source.setstate((state["version"], tuple(int(word) for word in state["words"]), state["gauss"]))


def _get_torch() -> Dict[str, Any]:
    return {"cpu": _torch().get_rng_state().numpy().copy()}


def _set_torch(state: Dict[str, Any]) -> None:
    torch = _torch()
    torch.set_rng_state(torch.from_numpy(np.array(state["cpu"], np.uint8)))


def _check_torch(state: Dict[str, Any]) -> None:
    torch = _torch()
    torch.Generator().set_state(torch.from_numpy(np.array(state["cpu"], np.uint8)))


def _torch() -> Any:
    return sys.modules["torch"]


_SOURCES: Dict[str, Tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "python": (_get_python, _set_python),
    "numpy": (lambda: np.random.get_state(legacy=False), np.random.set_state),
    "torch": (_get_torch, _set_torch),
}


def host_states() -> Dict[str, Any]:
    """The state of every host source that is loaded."""
    loaded = [name for name in _SOURCES if name != "torch" or hasattr(sys.modules.get("torch"), "get_rng_state")]
    return {name: _SOURCES[name][0]() for name in loaded}


def set_host_states(states: Dict[str, Any]) -> None:
    """Puts back what `host_states` returned; sources that are not loaded here are passed over."""
    loaded = host_states()
    for name, state in states.items():
        if name in loaded:
            _SOURCES[name][1](state)


#: sets a generator of its own
_CHECKS: Dict[str, Callable[[Any], None]] = {
    "python": lambda state: _set_python(state, random.Random()),  # noqa: S311
    "numpy": lambda state: np.random.RandomState().set_state(state),
    "torch": _check_torch,
}


def check(states: Dict[str, Any]) -> None:
    """Tries whether states can be put back, and changes nothing.

    Raises:
        Exception: of any kind: they are none.
    """
    loaded = host_states()
    for name, state in states.items():
        if name in loaded:
            _CHECKS[name](state)


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)
