"""A checkpoint's model in files for other programs: plain Keras's own `.h5`, safetensors, npz."""

import io
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from keras_session_ext import files
from keras_session_ext.checkpoint import hdf5_layout, header
from keras_session_ext.checkpoint.header import TensorRow
from keras_session_ext.checkpoint.reader import Opened
from keras_session_ext.errors import CheckpointCorrupt, ConfigError

MODE = 0o644
#: what NumPy can name in a file without ml_dtypes
_SMALL = ("bfloat16", "float8", "int4", "uint4")

Told = Callable[[int], None]


def write_keras(opened: Opened, path: str, architecture: bool, told: Told) -> int:
    """Writes a new file that plain Keras reads: the model, or its weights alone, and no session.

    Returns:
        How many tensors are in it.

    Raises:
        CheckpointCorrupt: the checkpoint is damaged.
        ConfigError: there is no architecture in it.
    """
    view, rows = _view(opened)
    attributes = dict(view.attributes)
    if architecture and "model_config" not in attributes:
        raise ConfigError("The checkpoint {} holds no architecture: Keras could not serialise the model. Export its "
                          "weights alone (--format weights), which load_weights reads.".format(opened.path))
    kept = ("model_config", "keras_version", "backend") if architecture else ("keras_version", "backend")
    view = view._replace(attributes=tuple((name, attributes[name]) for name in kept if name in attributes))
    specs = [hdf5_layout.TensorSpec(row.kind, row.dtype, row.shape, row.nbytes) for row in rows]
    skeleton = hdf5_layout.build(specs, view, 0)
    placed = [row._replace(offset=offset) for row, offset in zip(rows, skeleton.offsets)]
    fd = files.create(path, MODE)
    try:
        files.reserve(fd, skeleton.size)
        for offset, nbytes in header.gaps(placed, 0, skeleton.size):
            files.write_at(fd, skeleton.read(offset, nbytes), offset)
        for row, place in zip(rows, placed):
            data: Any = opened.tensor(row).reshape(-1).view(np.uint8)
            files.write_at(fd, data, place.offset)
            told(row.nbytes)
        files.sync(fd)
    finally:
        files.close(fd)
    return len(rows)


def _view(opened: Opened) -> Tuple[hdf5_layout.KerasView, List[TensorRow]]:
    """What plain Keras finds in a checkpoint, and the tensors it needs, numbered as there."""
    opened.check_rest()
    places = {(row.offset if row.nbytes else 0, row.shape): row for row in opened.head.rows}
    numbers: Dict[TensorRow, int] = {}

    def number(stored: hdf5_layout.Stored) -> int:
        row = places[stored.offset if 0 not in stored.shape else 0, stored.shape]
        return numbers.setdefault(row, len(numbers))

    try:
        return hdf5_layout.read_view(opened.read, opened.head.info.size_bytes, number), list(numbers)
    except ValueError as error:
        raise CheckpointCorrupt("Cannot use {}: its Keras part is not in order ({}).".format(opened.path, error))


def chosen(opened: Opened, everything: bool) -> Dict[str, TensorRow]:
    """The tensors to export by name: the model's variables as Keras calls them, or all as the checkpoint does."""
    rows = opened.head.rows
    if everything:
        return {row.name: row for row in rows if row.kind != "keras"}
    try:
        model = opened.head.fields["session"]["variables"]["model"]
        keys, paths = list(model["arrays"]), [str(path).split(":")[0] for path in model["paths"]]
        numbers = [model["arrays"][key]["$array"] for key in keys]
        names = [path if paths.count(path) == 1 else key for path, key in zip(paths, keys)]
        return {name: rows[number] for name, number in zip(names, numbers)}
    except (IndexError, KeyError, TypeError) as error:
        raise CheckpointCorrupt("Cannot use {}: its table of variables is not in order ({!r}).".format(
            opened.path, error))


def write_npz(opened: Opened, path: str, tensors: Dict[str, TensorRow], told: Told) -> List[str]:
    """Writes a new .npz file; returns the names of tensors that were widened to float32, which NumPy can name."""
    arrays, widened = _read(opened, tensors, told), []
    for name, row in tensors.items():
        if row.dtype.startswith(_SMALL):
            arrays[name] = arrays[name].astype(np.int8 if "int" in row.dtype else np.float32)
            widened.append(name)
    fd = files.create(path, MODE)
    try:
        with io.BufferedRandom(io.FileIO(fd, "r+", closefd=False)) as handle:
            np.savez(handle, **arrays)
        files.sync(fd)
    finally:
        files.close(fd)
    return widened


def write_safetensors(opened: Opened, path: str, tensors: Dict[str, TensorRow], told: Told) -> None:
    """Writes a new .safetensors file.

    Raises:
        ConfigError: the package safetensors is not installed, or cannot hold a tensor.
    """
    try:
        from safetensors import numpy as safetensors
    except ImportError as error:
        raise ConfigError("A .safetensors file needs the package safetensors ({}). Install it: "
                          "pip install 'keras_session_ext[export]'.".format(error))
    info = opened.head.info
    about = {"format": "keras_session_ext", "checkpoint": info.id, "step": str(info.progress.step)}
    arrays = _read(opened, tensors, told)
    try:
        safetensors.save_file(arrays, path, about)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError("safetensors cannot hold these tensors: {}. Export another format.".format(error))
    files.settle(path, MODE)


def _read(opened: Opened, tensors: Dict[str, TensorRow], told: Told) -> Dict[str, Any]:
    made = {}
    for name, row in tensors.items():
        made[name] = opened.tensor(row)
        told(row.nbytes)
    return made
