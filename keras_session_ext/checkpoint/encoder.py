"""Headers and tensors as a checkpoint file."""

import itertools
import json
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import xxhash

from keras_session_ext.checkpoint import hdf5_layout, header
from keras_session_ext.checkpoint.arena import PIECE_BYTES, Arena, Lease, aligned_memory
from keras_session_ext.store.contract import Image, Pieces

#: how many layouts are kept: the saves in an epoch, at its end and at a stage's have other tensors
_LAYOUTS = 4


class Tensor(NamedTuple):
    """A named array on its way into a file; or what `np.asarray` makes one of, on whatever thread."""

    name: str
    kind: str
    array: Any


class Layout(NamedTuple):
    """A structure laid out: what is the same in every file of it.

    Attributes:
        names: of the tensors.
        specs, view: what it was made for.
        skeleton: all bytes but the tensors'.
        gaps: (offset, bytes) of what stands between the tensors.
        gaps_checksum: of these bytes.
        rows: of the table of tensors, as JSON, each up to its checksum.
        segments: (offset, number of a tensor, or -1 - number of a gap) in the order of the file, behind the header.
    """

    names: Tuple[str, ...]
    specs: Tuple[hdf5_layout.TensorSpec, ...]
    view: hdf5_layout.KerasView
    skeleton: hdf5_layout.Skeleton
    gaps: List[Tuple[int, bytes]]
    gaps_checksum: str
    rows: List[str]
    segments: List[Tuple[int, int]]


class CheckpointImage(Image):
    """A checkpoint file that is not written yet; it is laid out while its pieces are taken.

    Args:
        layout: of the file.
        arrays: of its tensors; each is let go of as soon as it was copied, so that the engine need not copy it, too.
        pack: makes the header of the tensors' checksums.
        lease: memory for all of the file; without it the file is laid out piece by piece.
        give_back: is called with the lease at `release`.

    Attributes:
        specs: names and specs of the tensors.
        lease: the memory.
    """

    def __init__(self, layout: Layout, arrays: List[Any], pack: Callable[[List[str]], bytes], lease: Optional[Lease],
                 give_back: Callable[[Lease], None]):
        self.size_bytes = layout.skeleton.size
        self.specs = list(zip(layout.names, layout.specs))
        self._layout = layout
        self._arrays = arrays
        self._pack = pack
        self.lease = lease
        self._give_back = give_back
        count = -(-self.size_bytes // PIECE_BYTES)
        self.ahead = count if lease is not None else min(1, count - 1)

    def pieces(self) -> Pieces:
        lease, block = self.lease, self._layout.skeleton.block
        checksums = [xxhash.xxh3_128_hexdigest(b"")] * len(self._arrays)
        yield from self._lay_out(checksums)
        head: Any = self._pack(checksums)  # goes last: a file without one is none
        if lease is not None:
            lease.memory[:block] = np.frombuffer(head, np.uint8)
            head = lease.memory[:block].data
        yield 0, head

    def release(self) -> None:
        if self.lease is not None:
            self._give_back(self.lease)

    def _memory(self) -> Iterator[np.ndarray]:
        """Where the pieces of the file stand behind its header, one after another."""
        size = self.size_bytes
        if self.lease is None:
            windows = [aligned_memory(min(PIECE_BYTES, size)) for _ in range(1 + self.ahead)]
            yield from itertools.cycle(windows)
        else:
            for begin in range(self._layout.skeleton.block, size, PIECE_BYTES):
                yield self.lease.memory[begin:min(begin + PIECE_BYTES, size)]

    def _lay_out(self, checksums: List[str]) -> Iterator[Tuple[int, Any]]:
        """Copies all behind the header into memory, and gives each piece of it away that is full."""
        layout, lease, memory = self._layout, self.lease, self._memory()
        placed = 0 if lease is None else len(lease.placed)
        kept = lease is not None and lease.holds is layout
        if lease is not None:
            lease.holds = None  # until all of it stands there: this may end at any piece
        begin, filled, piece = layout.skeleton.block, 0, next(memory)
        for _, number in layout.segments:
            if number < 0:
                data, is_there = np.frombuffer(layout.gaps[-1 - number][1], np.uint8), kept
            else:
                data, is_there = _bytes(self._arrays[number]), number < placed
                self._arrays[number] = None
            state = xxhash.xxh3_128() if number >= 0 else None
            done = 0
            while done < len(data):
                if filled == len(piece):
                    yield begin, piece.data
                    begin, filled, piece = begin + filled, 0, next(memory)
                count = min(len(piece) - filled, len(data) - done)
                target = piece[filled:filled + count]
                if not is_there:
                    target[...] = data[done:done + count]
                if state is not None:
                    state.update(target.data)
                filled, done = filled + count, done + count
            del data
            if state is not None:
                checksums[number] = state.hexdigest()
        if lease is not None:
            lease.holds = layout
        yield begin, piece[:filled].data


class Encoder:
    """Turns headers and tensors into images of checkpoint files, keeping the layouts of the last structures."""

    def __init__(self) -> None:
        self._layouts: List[Layout] = []  # the last one is the one in use
        self._arena = Arena()

    def encode(self, fields: Dict[str, Any], tensors: List[Tensor], view: hdf5_layout.KerasView,
               lease: Optional[Lease] = None) -> CheckpointImage:
        """The file of one snapshot.

        Args:
            fields: of the header.
            tensors: all of them, in an order that stays the same; an array that nobody else holds is let go of
                when it was copied.
            view: what plain Keras is to find.
            lease: of `lease`, with the first tensors in their places.

        Raises:
            ValueError: a tensor has a dtype that a checkpoint cannot hold.
        """
        names, kinds = _unique(tensors), [one.kind for one in tensors]
        arrays = [np.asarray(one.array) for one in tensors]
        for name, array in zip(names, arrays):
            if array.dtype.name not in header.DTYPES:
                raise ValueError("the tensor {!r} has the dtype {}, which a checkpoint cannot hold".format(
                    name, array.dtype))
        specs = tuple(hdf5_layout.TensorSpec(kind, array.dtype.name, array.shape, array.nbytes)
                      for kind, array in zip(kinds, arrays))
        layout = self._lay_out(fields, names, specs, view)
        if lease is not None and not _fits(lease, layout):  # other tensors came, and each has another place
            arrays[:len(lease.placed)] = [np.array(array) for array in lease.placed]
            self._arena.give_back(lease)
            lease = None
        if lease is None:
            lease = self._arena.lease(layout.skeleton.size)
        fields = dict(fields, size_bytes=layout.skeleton.size, hdf5=layout.gaps_checksum)
        if layout.skeleton.lacks:
            fields["keras_view"] = {"lacks": fields.get("keras_view", {}).get("lacks", []) + layout.skeleton.lacks}

        def pack(checksums: List[str]) -> bytes:
            return header.pack(dict(fields, tensors=_table(layout.rows, checksums)), layout.skeleton.block)

        return CheckpointImage(layout, arrays, pack, lease, self._arena.give_back)

    def lease(self, names: Sequence[str], specs: Sequence[hdf5_layout.TensorSpec]) -> Optional[Lease]:
        """Memory for a whole file, with the places of its first tensors.

        Args:
            names, specs: of these tensors.

        Returns:
            None where it is not known yet where they are to stand, where a file is being written, or memory is short.
        """
        layout, count = self._layouts[-1] if self._layouts else None, len(names)
        if layout is None or layout.names[:count] != tuple(names) or layout.specs[:count] != tuple(specs):
            return None
        made = self._arena.lease(layout.skeleton.size)
        if made is not None:
            made.offsets = layout.skeleton.offsets[:count]
            made.placed = [
                made.memory[offset:offset + spec.nbytes].view(header.numpy_dtype(spec.dtype)).reshape(spec.shape)
                for offset, spec in zip(layout.skeleton.offsets, specs)]
        return made

    def prepare(self, image: CheckpointImage) -> None:
        """Takes a file that is not to be written: its layout is there now, and the memory that it needs is touched."""
        if image.lease is not None:
            self._arena.touch(image.lease, image.size_bytes)

    def release(self) -> None:
        """Lets go of the memory; the layout stays."""
        self._arena.release()

    def _lay_out(self, fields: Dict[str, Any], names: Tuple[str, ...], specs: Tuple[hdf5_layout.TensorSpec, ...],
                 view: hdf5_layout.KerasView) -> Layout:
        known = next((one for one in self._layouts if (one.names, one.specs, one.view) == (names, specs, view)), None)
        rows = known.rows if known is not None else _rows(names, specs, [0] * len(specs))
        empty = dict(fields, tensors=[], size_bytes=0, hdf5="0" * 32)
        # a row lacks its checksum and two characters; offsets and sizes may still be zeros there
        length = header.text_bytes(empty) + sum(map(len, rows)) + (32 + 3 + 24) * len(rows) + 24
        others = [one for one in self._layouts if one is not known]
        if known is None or header.LINE_BYTES + length > known.skeleton.block:
            block = max([header.block_bytes(length)] + [one.skeleton.block for one in others if one.view is view])
            known = _make(names, specs, view, block)
        self._layouts = [*others[1 - _LAYOUTS:], known]
        return known


def _fits(lease: Lease, layout: Layout) -> bool:
    """Whether the tensors that stand in a lease already have the places that a layout gives them."""
    return len(lease.memory) >= layout.skeleton.size and layout.skeleton.offsets[:len(lease.offsets)] == lease.offsets


def _make(names: Tuple[str, ...], specs: Tuple[hdf5_layout.TensorSpec, ...], view: hdf5_layout.KerasView,
          block: int) -> Layout:
    skeleton = hdf5_layout.build(specs, view, block)
    table = [header.TensorRow(name, spec.kind, spec.dtype, spec.shape, offset, spec.nbytes, "")
             for name, spec, offset in zip(names, specs, skeleton.offsets)]
    gaps = [(offset, skeleton.read(offset, nbytes)) for offset, nbytes in header.gaps(table, block, skeleton.size)]
    digest = xxhash.xxh3_128()
    for _, data in gaps:
        digest.update(data)
    segments = [(offset, number) for number, (offset, spec) in enumerate(zip(skeleton.offsets, specs)) if spec.nbytes]
    segments += [(offset, -1 - number) for number, (offset, _) in enumerate(gaps)]
    return Layout(names, specs, view, skeleton, gaps, digest.hexdigest(), _rows(names, specs, skeleton.offsets),
                  sorted(segments))


def _rows(names: Sequence[str], specs: Sequence[hdf5_layout.TensorSpec], offsets: Sequence[int]) -> List[str]:
    return [json.dumps({"name": name, "kind": spec.kind, "dtype": spec.dtype, "shape": list(spec.shape),
                        "offset": offset, "nbytes": spec.nbytes}, separators=(",", ":"))[:-1] + ',"checksum":"'
            for name, spec, offset in zip(names, specs, offsets)]


def _table(rows: Sequence[str], checksums: Sequence[str]) -> header.Encoded:
    return header.Encoded("[" + ",".join(row + checksum + '"}' for row, checksum in zip(rows, checksums)) + "]")


def _unique(tensors: Sequence[Tensor]) -> Tuple[str, ...]:
    """The tensors' names; those that come twice get numbers."""
    made, seen = [], set()
    for tensor in tensors:
        name, number = tensor.name, 1
        while name in seen:
            number += 1
            name = "{} ({})".format(tensor.name, number)
        seen.add(name)
        made.append(name)
    return tuple(made)


def _bytes(array: np.ndarray) -> np.ndarray:
    """The array's little-endian bytes in C order, without a copy where it has them."""
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
