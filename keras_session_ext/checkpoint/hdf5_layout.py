"""The HDF5 skeleton of a checkpoint file: all bytes but the tensors'.

libhdf5 never holds a file descriptor: on a full disk it takes the process down
with SIGSEGV (https://github.com/h5py/h5py/issues/914). The skeleton of a
structure is made once, in memory, by h5py's file-object driver, and replayed;
tensors are then written at the offsets it allocated.
"""

import io
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import h5py
import numpy as np

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_PAGE_BYTES = 4096
_ATTRIBUTE_BYTES = 64512  # HDF5_OBJECT_HEADER_LIMIT in Keras's legacy_h5_format.py


class TensorSpec(NamedTuple):
    """What the skeleton needs to know of a tensor."""

    kind: str
    dtype: str
    shape: Tuple[int, ...]
    nbytes: int


class KerasView(NamedTuple):
    """The part of the file that plain Keras reads.

    Attributes:
        attributes: of the root group, such as `model_config`.
        group_attributes: of `/model_weights`.
        layers: (layer name, [(weight name, index into the tensors)]), in the model's order.
        optimizer: (weight name, index into the tensors) of `/optimizer_weights`.
    """

    attributes: Tuple[Tuple[str, bytes], ...]
    group_attributes: Tuple[Tuple[str, bytes], ...]
    layers: Tuple[Tuple[str, Tuple[Tuple[str, int], ...]], ...]
    optimizer: Tuple[Tuple[str, int], ...] = ()


class Skeleton(NamedTuple):
    """A structure laid out.

    Attributes:
        block: bytes of the user block.
        size: bytes of the whole file.
        offsets: where each tensor starts; 0 for an empty one.
        lacks: what could not be given to plain Keras.
        pages: the bytes libhdf5 wrote, by page number; all others are zero.
    """

    block: int
    size: int
    offsets: List[int]
    lacks: List[str]
    pages: Dict[int, bytes]

    def read(self, offset: int, nbytes: int) -> bytes:
        """The skeleton's own bytes of a range."""
        parts, end = [], offset + nbytes
        while offset < end:
            number, start = divmod(offset, _PAGE_BYTES)
            count = min(_PAGE_BYTES - start, end - offset)
            page = self.pages.get(number)
            parts.append(page[start : start + count] if page is not None else bytes(count))
            offset += count
        return b"".join(parts)


class _Positioned(io.RawIOBase):
    """What h5py asks of a file object besides its bytes."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.end)[whence]
        return self._at

    def tell(self) -> int:
        return self._at


class _Recorder(_Positioned):
    """A sparse file in memory that keeps only the pages written to."""

    def __init__(self) -> None:
        super().__init__(end=0)
        self.pages: Dict[int, bytearray] = {}

    def truncate(self, size: Optional[int] = None) -> int:
        self.end = self._at if size is None else size
        return self.end

    def write(self, data: "ReadableBuffer") -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            number, start = divmod(self._at, _PAGE_BYTES)
            count = min(_PAGE_BYTES - start, len(view) - done)
            page = self.pages.setdefault(number, bytearray(_PAGE_BYTES))
            page[start : start + count] = view[done : done + count]
            self._at, done = self._at + count, done + count
        self.end = max(self.end, self._at)
        return len(view)

    def readinto(self, target: "WriteableBuffer") -> int:
        view = memoryview(target).cast("B")
        done = 0
        while done < len(view):
            number, start = divmod(self._at, _PAGE_BYTES)
            count = min(_PAGE_BYTES - start, len(view) - done)
            page = self.pages.get(number)
            view[done : done + count] = page[start : start + count] if page is not None else bytes(count)
            self._at, done = self._at + count, done + count
        return len(view)


def build(specs: Sequence[TensorSpec], view: KerasView, block: int) -> Skeleton:
    """Lays a structure out.

    Args:
        specs: the tensors, in the order of the table.
        view: what plain Keras is to find.
        block: bytes of the user block, a power of two of at least 4096; or 0 for
            a file that is plain Keras's alone, with no /session.

    Returns:
        A `Skeleton`.
    """
    recorder = _Recorder()
    create = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    create.set_userblock(block)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_alignment(2048, 4096)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, recorder)
    file = h5py.File(h5py.h5f.create(b"checkpoint", h5py.h5f.ACC_TRUNC, fapl=access, fcpl=create))
    try:
        datasets = [_dataset(file, spec) for spec in specs]
        for index, spec in enumerate(specs if block else ()):
            file["/session/{}/t{:05d}".format(spec.kind, index)] = datasets[index]
        lacks = _keras(file, view, datasets)
        file.flush()
        offsets = [dataset.id.get_offset() if spec.nbytes else 0 for dataset, spec in zip(datasets, specs)]
    finally:
        file.close()
    pages = {number: bytes(page) for number, page in recorder.pages.items() if any(page)}
    size = -(-recorder.end // _PAGE_BYTES) * _PAGE_BYTES  # whole pages can be written past the page cache
    return Skeleton(block, size, offsets, lacks, pages)


def _dataset(file: h5py.File, spec: TensorSpec) -> h5py.Dataset:
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_layout(h5py.h5d.CONTIGUOUS)
    create.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    create.set_obj_track_times(False)
    try:
        dtype = np.dtype(spec.dtype)
        logical = h5py.h5t.py_create(dtype, logical=True)
    except TypeError:  # HDF5 knows no bfloat16 and no float8: their bytes, as unsigned integers
        count = int(np.prod(spec.shape, dtype=np.int64)) or 1
        dtype = np.dtype("u{}".format(max(1, spec.nbytes // count) or 1))
        logical = h5py.h5t.py_create(dtype)
    space = h5py.h5s.create_simple(spec.shape) if spec.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    return h5py.Dataset(h5py.h5d.create(file.id, None, logical, space, dcpl=create))


def _keras(file: h5py.File, view: KerasView, datasets: List[h5py.Dataset]) -> List[str]:
    lacks = []
    for name, value in view.attributes:
        file.attrs[name] = value
    weights = file.create_group("model_weights")
    for name, value in view.group_attributes:
        weights.attrs[name] = value
    _names(weights, "layer_names", [name for name, _ in view.layers if name != "top_level_model_weights"])
    # sorted: a group's name must not be the prefix of one that exists already (as in Keras)
    for layer, entries in sorted(view.layers):
        try:
            _layer(weights.require_group(layer), entries, datasets)
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            lacks.append("{}: HDF5 cannot hold it ({})".format(layer[:200], error))  # best effort
    if view.optimizer:
        try:
            _layer(file.require_group("optimizer_weights"), view.optimizer, datasets)
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            lacks.append("optimizer_weights: HDF5 cannot hold it ({})".format(error))
    return lacks


def _layer(group: h5py.Group, entries: Sequence[Tuple[str, int]], datasets: List[h5py.Dataset]) -> None:
    names: List[str] = []
    for name, _ in entries:
        while name in names:  # Keras reads them by this list, so a second "w" may have any name
            name += "_"
        names.append(name)
    _names(group, "weight_names", names)
    for name, (_, index) in zip(names, entries):
        group[name] = datasets[index]


def _names(group: h5py.Group, name: str, values: List[str]) -> None:
    """A list of names as one attribute, or several where HDF5's limit asks for it (as in Keras)."""
    data: Any = np.asarray([value.encode() for value in values])
    if data.itemsize > _ATTRIBUTE_BYTES:
        raise ValueError("a name of more than {} bytes".format(_ATTRIBUTE_BYTES))
    pieces = 1
    while any(piece.nbytes > _ATTRIBUTE_BYTES for piece in np.array_split(data, pieces)):
        pieces += 1
    if pieces == 1:
        group.attrs[name] = data
    else:
        for number, piece in enumerate(np.array_split(data, pieces)):
            group.attrs["{}{}".format(name, number)] = piece


class _Reading(_Positioned):
    """A file that libhdf5 reads through a function of ours."""

    def __init__(self, read: Callable[[Any, int], int], size: int):
        super().__init__(end=size)
        self._read = read

    def readinto(self, target: "WriteableBuffer") -> int:
        count = self._read(target, self._at)
        self._at += count
        return count


class Stored(NamedTuple):
    """A dataset as it stands in a file."""

    offset: int
    shape: Tuple[int, ...]


def read_view(read: Callable[[Any, int], int], size: int, number: Callable[[Stored], int]) -> KerasView:
    """The part of a file that plain Keras reads; no data of a tensor are touched, and no link out of it followed.

    Args:
        read: fills a buffer from an offset; returns how many bytes there were.
        size: bytes of the file.
        number: which tensor a dataset is.

    Raises:
        ValueError: the structure is not one of ours.
    """
    try:
        with h5py.File(_Reading(read, size), "r") as file:
            attributes = tuple((name, _bytes(file.attrs[name])) for name in file.attrs)
            weights = _group(file, "model_weights")
            group = tuple((name, _bytes(weights.attrs[name])) for name in ("backend", "keras_version")
                          if name in weights.attrs)
            names = _listed(weights, "layer_names")
            names += [name for name in ("top_level_model_weights",) if name in weights]
            layers = tuple((name, _weights(_group(weights, name), number)) for name in names)
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError) as error:
        raise ValueError("{}: {}".format(type(error).__name__, error))
    return KerasView(attributes, group, layers)


def _weights(group: h5py.Group, number: Callable[[Stored], int]) -> Tuple[Tuple[str, int], ...]:
    made = []
    for name in _listed(group, "weight_names"):
        parent, _, last = name.rpartition("/")
        dataset = _linked(_group(group, parent) if parent else group, last)
        if not isinstance(dataset, h5py.Dataset):
            raise TypeError("{} is no dataset".format(name))
        made.append((name, number(Stored(dataset.id.get_offset() or 0, tuple(dataset.shape)))))
    return tuple(made)


def _group(group: h5py.Group, path: str) -> h5py.Group:
    for name in path.split("/"):
        group = _linked(group, name)
        if not isinstance(group, h5py.Group):
            raise TypeError("{} is no group".format(path))
    return group


def _linked(group: h5py.Group, name: str) -> Union[h5py.Group, h5py.Dataset]:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise TypeError("{} is a link out of its place".format(name))
    return group[name]


def _listed(group: h5py.Group, name: str) -> List[str]:
    """A list of names, in one attribute or in several."""
    if name in group.attrs:
        pieces = [name]
    else:
        pieces = ["{}{}".format(name, number) for number in range(len(group.attrs))]
    return [_bytes(value).decode() for piece in pieces if piece in group.attrs for value in group.attrs[piece]]


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
