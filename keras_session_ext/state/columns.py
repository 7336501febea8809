"""A long list of items that are all alike, such as a replay buffer: one array for each place in an item."""

import operator
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from keras_session_ext.checkpoint.header import DTYPES

#: of so many items on
FROM = 256
_SCALARS: Dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float64}
_OF_ARRAYS = ("array", "scalar")
_DEPTH = 4  # of what stands within an item


class Columns:
    """The items of a list, by columns.

    Args:
        count: how many items there are.
        spec: what an item is made of: `[word, column]` of a bool, int, float, array or NumPy scalar,
            `["tuple" or "list", [spec, …]]`, or `["dict", [[key, spec], …]]`.
        arrays: the columns, each of which the spec names once; the first axis counts the items.

    Raises:
        ValueError: they are none.

    Examples:
        >>> made = columns_of([(1, 0.5)] * 300)
        >>> made.count, made.spec, [array.dtype.name for array in made.arrays]
        (300, ['tuple', [['int', 0], ['float', 1]]], ['int64', 'float64'])
        >>> made.items()[299]
        (1, 0.5)
    """

    def __init__(self, count: int, spec: Any, arrays: List[np.ndarray]):
        self.count, self.spec, self.arrays = count, spec, arrays
        self._words: Dict[int, str] = {}
        valid = type(count) is int and self._is_valid(spec, _DEPTH) and len(self._words) == len(arrays) > 0
        if not valid or any(np.shape(array)[:1] != (count,) for array in arrays):
            raise ValueError("these are no columns of a list")

    @property
    def have_arrays(self) -> bool:
        """Whether there are arrays or NumPy scalars in an item."""
        return any(word in _OF_ARRAYS for word in self._words.values())

    def _is_valid(self, spec: Any, depth: int) -> bool:
        if not isinstance(spec, list) or len(spec) != 2 or not depth:
            return False
        word, inner = spec
        if word in ("tuple", "list"):
            return isinstance(inner, list) and bool(inner) and all(self._is_valid(one, depth - 1) for one in inner)
        if word == "dict":
            return isinstance(inner, list) and bool(inner) and all(isinstance(pair, list) and len(
                pair) == 2 and isinstance(pair[0], str) and self._is_valid(pair[1], depth - 1) for pair in inner)
        if word not in (*_OF_ARRAYS, "bool", "int", "float") or type(inner) is not int or inner in self._words:
            return False
        self._words[inner] = word
        return 0 <= inner < len(self.arrays)

    def items(self) -> List[Any]:
        """The list again; its arrays have memory of their own."""
        return list(self._made(self.spec))

    def _made(self, spec: Any) -> Sequence[Any]:
        word, inner = spec
        if word in ("tuple", "list"):
            rows = zip(*map(self._made, inner))
            return list(rows if word == "tuple" else map(list, rows))
        if word == "dict":
            keys = [key for key, _ in inner]
            return [dict(zip(keys, row)) for row in zip(*(self._made(one) for _, one in inner))]
        array = self.arrays[inner]
        if word == "array":
            return [np.array(row) for row in array]
        return list(array) if word == "scalar" else array.tolist()


def columns_of(items: Sequence[Any]) -> Optional[Columns]:
    """The columns of a list or deque; None where it is short, or its items are not alike."""
    if len(items) < FROM:
        return None
    arrays: List[np.ndarray] = []
    spec = _spec_of(list(items), arrays, _DEPTH)
    return None if spec is None else Columns(len(items), spec, arrays)


def _spec_of(items: List[Any], arrays: List[np.ndarray], depth: int) -> Any:
    kinds = set(map(type, items))
    kind = kinds.pop()
    if kinds or not depth:
        return None
    if kind in _SCALARS:
        try:
            return _put(kind.__name__, np.array(items, _SCALARS[kind]), arrays)
        except OverflowError:
            return None
    if kind is np.ndarray or issubclass(kind, np.generic):
        if len(set(map(operator.attrgetter("dtype", "shape"), items))) > 1 or not _is_stored(items[0].dtype):
            return None
        return _put("array" if kind is np.ndarray else "scalar", np.array(items, items[0].dtype), arrays)
    if kind not in (list, tuple, dict) or not items[0] or len(set(map(len, items))) > 1:
        return None
    keys: Any = range(len(items[0]))
    if kind is dict:
        keys = list(items[0])
        if len(set(map(tuple, items))) > 1 or not all(type(key) is str for key in keys):
            return None
    inner = []
    for key in keys:
        inner.append(_spec_of([item[key] for item in items], arrays, depth - 1))
        if inner[-1] is None:
            return None
    return [kind.__name__, [list(pair) for pair in zip(keys, inner)] if kind is dict else inner]


def _put(word: str, array: np.ndarray, arrays: List[np.ndarray]) -> List[Any]:
    arrays.append(array)
    return [word, len(arrays) - 1]


def _is_stored(dtype: np.dtype) -> bool:
    return bool(dtype.name in DTYPES and dtype.isnative)
