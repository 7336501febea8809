"""Nested plain values: split into JSON and arrays, and put together again.

Plain values are None, bool, int, float, str, bytes, lists, tuples, dicts, sets,
NumPy scalars and numeric arrays, and random generators of Python and NumPy.
What JSON cannot say exactly is written as `{"$tag": …}`.
"""

import collections
import functools
import json
import random
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import xxhash

from keras_session_ext.checkpoint.header import DTYPES
from keras_session_ext.state.columns import Columns


class NotPlain(TypeError):
    """A value that cannot be stored; the message is its path and type."""


def encode(value: Any, put: Callable[[np.ndarray, str], int], path: str = "") -> Any:
    """Turns a plain value into JSON.

    Args:
        value: any nesting of plain values.
        put: called with every array and its path; returns the number to find it by.
        path: where `value` stands.

    Returns:
        What `json.dumps` takes with `allow_nan=False`.

    Raises:
        NotPlain: something cannot be stored.
    """
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if abs(value) < 2**53 else {"$int": hex(value)}
    if kind is float:
        return value if value - value == 0 else {"$float": repr(value)}
    if isinstance(value, np.generic) and value.dtype.name in DTYPES:
        return {"$scalar": put(np.asarray(value), path)}
    if isinstance(value, np.ndarray) and value.dtype.name in DTYPES and (
            not isinstance(value, np.ma.MaskedArray)):
        return {"$array": put(value, path)}
    if kind is Columns:
        return {"$columns": [value.count, value.spec, [
            put(array, "{}/{}".format(path, number)) for number, array in enumerate(value.arrays)]]}
    if kind is bytes:
        return {"$bytes": value.hex()}
    if kind is collections.deque:
        return {"$deque": [value.maxlen, encode(list(value), put, path)]}
    if kind in (list, tuple, set, frozenset):
        if kind in (set, frozenset):
            items = [encode(item, put, path) for item in sorted(value, key=repr)]
        else:
            items = [encode(item, put, "{}/{}".format(path, i)) for i, item in enumerate(value)]
        return items if kind is list else {"$" + kind.__name__: items}
    if isinstance(value, dict):
        return _encode_dict(value, put, path)
    if kind is random.Random:
        return {"$random": encode(value.getstate(), put, path)}
    if kind is np.random.RandomState:
        return {"$RandomState": encode(value.get_state(legacy=False), put, path)}
    if kind is np.random.Generator:
        return {"$Generator": encode(value.bit_generator.state, put, path)}
    raise NotPlain("{} ({})".format(path or "value", kind.__name__))


def _encode_dict(value: Dict[Any, Any], put: Callable[[np.ndarray, str], int], path: str) -> Dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: encode(item, put, "{}/{}".format(path, key) if path else key) for key, item in value.items()}
    return {"$dict": [[encode(key, put, path), encode(item, put, "{}/{!r}".format(path, key))]
                      for key, item in value.items()]}


def decode(value: Any, get: Callable[[int], np.ndarray]) -> Any:
    """The inverse of `encode`; `get` returns a stored array by its number."""
    if isinstance(value, list):
        return [decode(item, get) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (tag, content), = value.items()
        if tag in _DECODERS:
            return _DECODERS[tag](content, get)
    return {key: decode(item, get) for key, item in value.items()}


def _random(content: Any, get: Callable[[int], np.ndarray]) -> random.Random:
    made = random.Random()  # noqa: S311 (the user's own generator)
    made.setstate(decode(content, get))
    return made


def _random_state(content: Any, get: Callable[[int], np.ndarray]) -> np.random.RandomState:
    made = np.random.RandomState()
    made.set_state(decode(content, get))
    return made


#: NumPy's bit generators: no other function of it is called by what a file says
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def _generator(content: Any, get: Callable[[int], np.ndarray]) -> np.random.Generator:
    state = decode(content, get)
    if state["bit_generator"] not in _BIT_GENERATORS:
        raise ValueError("{!r} is no bit generator of NumPy".format(state["bit_generator"]))
    made = getattr(np.random, state["bit_generator"])()
    made.state = state
    return np.random.Generator(made)


_DECODERS: Dict[str, Callable] = {
    "$int": lambda content, get: int(content, 16),
    "$float": lambda content, get: float(content),
    "$scalar": lambda content, get: get(content)[()],
    "$array": lambda content, get: get(content),
    "$bytes": lambda content, get: bytes.fromhex(content),
    "$tuple": lambda content, get: tuple(decode(content, get)),
    "$set": lambda content, get: set(decode(content, get)),
    "$frozenset": lambda content, get: frozenset(decode(content, get)),
    "$dict": lambda content, get: {decode(key, get): decode(item, get) for key, item in content},
    "$deque": lambda content, get: collections.deque(decode(content[1], get), content[0]),
    "$columns": lambda content, get: Columns(content[0], content[1], list(map(get, content[2]))),
    "$random": _random, "$RandomState": _random_state, "$Generator": _generator,
}


def flatten(value: Any, path: str = "") -> Tuple[Any, List[Tuple[str, np.ndarray]]]:
    """`encode` with the arrays in a list of (path, array); their numbers are the positions.

    Examples:
        >>> flatten({"a": (1, float("inf"))})
        ({'a': {'$tuple': [1, {'$float': 'inf'}]}}, [])
    """
    arrays: List[Tuple[str, np.ndarray]] = []

    def put(array: np.ndarray, where: str) -> int:
        arrays.append((where, array))
        return len(arrays) - 1

    return encode(value, put, path), arrays


def copy(value: Any) -> Any:
    """An independent copy of a plain value; raises `NotPlain` for others."""
    encoded, arrays = flatten(value)
    return decode(encoded, lambda number: np.array(arrays[number][1]))


def fingerprint(value: Any, ordered: bool = False) -> str:
    """A checksum of a plain value; raises `NotPlain` for others.

    Args:
        value: it.
        ordered: whether dicts in another order are another value.
    """
    if type(value) in (bool, int, str, float):
        return _fingerprint_of_scalar(type(value).__name__, value if type(value) is not float else repr(value))
    encoded, arrays = flatten(value)
    state = xxhash.xxh3_64(json.dumps(encoded, sort_keys=not ordered).encode())
    for _, array in arrays:
        state.update("{} {}".format(array.dtype, array.shape).encode())
        state.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


@functools.lru_cache(maxsize=1 << 15)
def _fingerprint_of_scalar(kind: str, value: Any) -> str:
    """Remembered, because the settings of a thousand layers are few; 0.0 and -0.0 are told apart by their text."""
    encoded = encode(float(value) if kind == "float" else value, _no_array)
    return str(xxhash.xxh3_64(json.dumps(encoded, sort_keys=True).encode()).hexdigest())


def _no_array(array: np.ndarray, path: str) -> int:
    raise NotPlain(path)
