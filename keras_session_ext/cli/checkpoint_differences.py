"""Two checkpoints, value by value."""

import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from keras_session_ext.checkpoint.header import TensorRow
from keras_session_ext.checkpoint.reader import Header, Opened

_ARRAYS = re.compile(r".*?arrays/[0-9]+/")
_PROGRESS = ("stage", "epoch", "batch", "step")


class Difference(NamedTuple):
    """What differs in one tensor.

    Attributes:
        name: the tensor's; "a → b" where the two files call it differently.
        what: "same", "values", "shape", "dtype", "only in A" or "only in B".
        elements: how many there are; of the file that has it.
        different: how many of them differ.
        most: the largest difference; None where there are no numbers to subtract.
        relative: the largest difference in proportion to the larger of the two values.
        detail: dtypes and shapes.
    """

    name: str
    what: str
    elements: int
    different: int = 0
    most: Optional[float] = None
    relative: Optional[float] = None
    detail: str = ""


def tensors(a: Opened, b: Opened, atol: float = 0.0, rtol: float = 0.0) -> Iterator[Difference]:
    """Compares all tensors; copies that only plain Keras needs are left out.

    Without tolerances two elements are the same if their bits are: 0.0 and -0.0
    are not, and a NaN is the same as one with the same bits.
    """
    for one, other in _pairs(a.head, b.head):
        if one is None or other is None:
            row: Any = one or other
            yield Difference(row.name, "only in A" if other is None else "only in B", _count(row), _count(row),
                             detail=_kind(row))
        else:
            yield _compare(a, one, b, other, atol, rtol)


def _pairs(a: Header, b: Header) -> Iterator[Tuple[Optional[TensorRow], Optional[TensorRow]]]:
    """Rows that belong together: of one name, or of one shape at one place under names that Keras made up."""
    here, there = ({row.name: row for row in head.rows if row.kind != "keras"} for head in (a, b))
    places = {(_place(name), row.shape): name for name, row in there.items() if name not in here}
    matched = {name: name if name in there else places.get((_place(name), row.shape)) for name, row in here.items()}
    for name, row in here.items():
        partner = matched[name]
        yield row, there[partner] if partner is not None else None
    taken = set(matched.values())
    for name, row in there.items():
        if name not in taken:
            yield None, row


def _place(name: str) -> str:
    """Where a tensor stands, without the name of its layer: "optimizer/arrays/0002/"."""
    found = _ARRAYS.match(name)
    return found.group(0) if found else name


def _count(row: TensorRow) -> int:
    return int(np.prod(row.shape, dtype=np.int64))


def _kind(row: TensorRow) -> str:
    return "{} {}".format(row.dtype, list(row.shape))


def _compare(a: Opened, one: TensorRow, b: Opened, other: TensorRow, atol: float, rtol: float) -> Difference:
    name = one.name if one.name == other.name else "{} → {}".format(one.name, other.name)
    x, y = a.tensor(one), b.tensor(other)
    detail = "{} → {}".format(_kind(one), _kind(other)) if _kind(one) != _kind(other) else _kind(one)
    if one.shape != other.shape:
        return Difference(name, "shape", _count(one), _count(one), detail=detail)
    x, y = x.reshape(-1), y.reshape(-1)
    most, relative, differs = _measure(x, y, atol, rtol)
    if one.dtype != other.dtype:
        return Difference(name, "dtype", x.size, differs, most, relative, detail)
    if not differs:
        return Difference(name, "same", x.size, 0, most, relative, detail)
    return Difference(name, "values", x.size, differs, most, relative, detail)


def _measure(x: Any, y: Any, atol: float, rtol: float) -> Tuple[float, float, int]:
    """The largest difference, the largest relative one, and how many elements differ."""
    same = _same_bits(x, y) if x.dtype == y.dtype else np.zeros(x.shape, bool)
    with np.errstate(all="ignore"):
        alike = x.dtype == y.dtype
        x, y, gap = _numbers(x, y)
        if not alike:
            same = (x == y) | (np.isnan(x) & np.isnan(y))
        larger = np.maximum(abs(x), abs(y)).astype(np.float64)
        gap = np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))  # an infinity less itself is no number
        relative = np.where(gap == 0, 0.0, np.where(np.isinf(gap), np.inf, gap / larger))
        if atol or rtol:
            same |= np.isfinite(gap) & (gap <= atol + rtol * larger)
    return float(gap.max(initial=0.0)), float(relative.max(initial=0.0)), int(np.count_nonzero(~same))


def _same_bits(x: Any, y: Any) -> Any:
    width = min(x.dtype.itemsize, 8)
    parts = [one.view("u{}".format(width)).reshape(one.size, one.dtype.itemsize // width) for one in (x, y)]
    return (parts[0] == parts[1]).all(axis=1)


def _numbers(x: Any, y: Any) -> Any:
    """Both as numbers, and their distance; whole numbers are subtracted exactly."""
    if x.dtype == y.dtype and x.dtype.kind in "iu":
        low, high = np.minimum(x, y), np.maximum(x, y)
        gap = (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)
        return x.astype(np.float64), y.astype(np.float64), gap
    wide = np.complex128 if "c" in x.dtype.kind + y.dtype.kind else np.float64
    x, y = x.astype(wide), y.astype(wide)
    return x, y, abs(x - y)


def scalars(a: Header, b: Header) -> Iterator[Tuple[str, Any, Any]]:
    """What differs beside the tensors: progress, metrics, settings, versions, and the session's plain values.

    What only names a file and its origin (id, run, parent, time) is not compared.
    """
    here, there = _flat(a), _flat(b)
    for name in dict.fromkeys([*here, *there]):
        yield name, here.get(name), there.get(name)


def _flat(head: Header) -> Dict[str, Any]:
    fields = head.fields
    made: Dict[str, Any] = {}
    chosen: Dict[str, Any] = {"progress": {name: fields["progress"].get(name) for name in _PROGRESS}}
    chosen.update({name: fields.get(name) for name in (
        "finished", "stopped", "epochs", "metrics", "reasons", "script", "versions", "session")})
    _walk(chosen, "", made)
    return made


def _walk(value: Any, path: str, made: Dict[str, Any]) -> None:
    if isinstance(value, dict) and set(value) & {"$array", "$scalar"}:
        return  # a tensor, which is compared as such
    items: List[Tuple[str, Any]] = []
    if isinstance(value, dict):
        items = [(str(name), item) for name, item in value.items()]
    elif isinstance(value, list):
        items = [(str(index), item) for index, item in enumerate(value)]
    elif value is not None:
        made[path] = value
    for name, item in items:
        if not (path == "session/variables" and name == "layers") and name != "paths":
            _walk(item, "{}/{}".format(path, name) if path else name, made)
