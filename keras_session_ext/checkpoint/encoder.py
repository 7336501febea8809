"""Headers and tensors as a checkpoint file."""

from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import xxhash

from keras_session_ext.checkpoint import hdf5_layout, header
from keras_session_ext.store.contract import Image


class Tensor(NamedTuple):
    """A named array on its way into a file."""

    name: str
    kind: str
    array: np.ndarray


class CheckpointImage(Image):
    """A checkpoint file that is not written yet.

    Args:
        size_bytes: of the whole file.
        parts: (offset, bytes) behind the header.
        block: the header, which goes last: a file without one is none.
    """

    def __init__(self, size_bytes: int, parts: List[Tuple[int, Any]], block: bytes):
        self.size_bytes = size_bytes
        self._parts = parts
        self._block = block

    def pieces(self) -> Iterator[Tuple[int, Any]]:
        yield from self._parts
        yield 0, self._block


class Encoder:
    """Turns headers and tensors into images of checkpoint files, keeping the skeleton of the last structure."""

    def __init__(self) -> None:
        self._key: Any = None
        self._skeleton: Optional[hdf5_layout.Skeleton] = None
        self._gaps: Optional[Tuple[List[Tuple[int, bytes]], str]] = None

    def encode(self, fields: Dict[str, Any], tensors: List[Tensor], view: hdf5_layout.KerasView) -> "CheckpointImage":
        """The file of one snapshot, in memory; the tensors' bytes are not copied.

        Raises:
            ValueError: a tensor has a dtype that a checkpoint cannot hold.
        """
        for tensor in tensors:
            if tensor.array.dtype.name not in header.DTYPES:
                raise ValueError("the tensor {!r} has the dtype {}, which a checkpoint cannot hold".format(
                    tensor.name, tensor.array.dtype))
        made = [(tensor, _bytes(tensor.array)) for tensor in _unique(tensors)]
        specs = tuple(
            hdf5_layout.TensorSpec(tensor.kind, tensor.array.dtype.name, tuple(tensor.array.shape), data.nbytes)
            for tensor, data in made)
        table: List[Dict[str, Any]] = [
            {"name": tensor.name, "kind": spec.kind, "dtype": spec.dtype, "shape": list(spec.shape), "offset": 0,
             "nbytes": spec.nbytes, "checksum": xxhash.xxh3_128_hexdigest(data)}
            for (tensor, data), spec in zip(made, specs)]
        fields = dict(fields, tensors=table, size_bytes=0, hdf5="0" * 32)
        skeleton = self._lay_out(fields, specs, view)
        for row, offset in zip(table, skeleton.offsets):
            row["offset"] = offset
        ranges, digest = self._own_ranges(table, skeleton)
        fields.update(size_bytes=skeleton.size, hdf5=digest)
        if skeleton.lacks:
            fields["keras_view"] = {"lacks": fields.get("keras_view", {}).get("lacks", []) + skeleton.lacks}
        parts = [*ranges, *((row["offset"], data) for (_, data), row in zip(made, table))]
        return CheckpointImage(skeleton.size, parts, header.pack(fields, skeleton.block))

    def _lay_out(self, fields: Dict[str, Any], specs: Tuple[hdf5_layout.TensorSpec, ...],
                 view: hdf5_layout.KerasView) -> hdf5_layout.Skeleton:
        length = header.text_bytes(fields) + 24 * len(specs) + 24  # offsets and sizes are still zeros there
        if self._key != (specs, view) or self._skeleton is None or header.LINE_BYTES + length > self._skeleton.block:
            self._skeleton = hdf5_layout.build(specs, view, header.block_bytes(length))
            self._key, self._gaps = (specs, view), None
        return self._skeleton

    def _own_ranges(self, table: List[Dict[str, Any]],
                    skeleton: hdf5_layout.Skeleton) -> Tuple[List[Tuple[int, bytes]], str]:
        """The bytes between the tensors, with their one checksum, made once per skeleton."""
        if self._gaps is None:
            rows = [header.TensorRow(**row) for row in table]
            ranges = [(offset, skeleton.read(offset, nbytes))
                      for offset, nbytes in header.gaps(rows, skeleton.block, skeleton.size)]
            digest = xxhash.xxh3_128()
            for _, data in ranges:
                digest.update(data)
            self._gaps = (ranges, digest.hexdigest())
        return self._gaps


def _unique(tensors: List[Tensor]) -> List[Tensor]:
    made, seen = [], set()
    for tensor in tensors:
        name, number = tensor.name, 1
        while name in seen:
            number += 1
            name = "{} ({})".format(tensor.name, number)
        seen.add(name)
        made.append(tensor._replace(name=name))
    return made


def _bytes(array: np.ndarray) -> memoryview:
    """The array's little-endian bytes in C order, without a copy where it has them."""
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data

