"""From a snapshot to a durable file, in the foreground or behind training."""

import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import numpy as np
import xxhash

from keras_session_ext import files
from keras_session_ext.checkpoint import header, layout


class Tensor(NamedTuple):
    """A named array on its way into a file."""

    name: str
    kind: str
    array: np.ndarray


class Encoder:
    """Turns headers and tensors into checkpoint files, keeping the skeleton of the last structure.

    Args:
        mode: permissions of new files.
    """

    def __init__(self, mode: int = 0o600):
        self._mode = mode
        self._key: Any = None
        self._skeleton: Optional[layout.Skeleton] = None
        self._gaps: Any = None

    def write(self, temporary: str, fields: Dict[str, Any], tensors: List[Tensor], view: layout.KerasView) -> int:
        """Writes and syncs a new file at `temporary`; removes it again where a step fails.

        Returns:
            The file's size in bytes.
        """
        for tensor in tensors:
            if tensor.array.dtype.name not in header.DTYPES:
                raise ValueError("the tensor {!r} has the dtype {}, which a checkpoint cannot hold".format(
                    tensor.name, tensor.array.dtype))
        made = [(tensor, _bytes(tensor.array)) for tensor in _unique(tensors)]
        specs = tuple(
            layout.TensorSpec(tensor.kind, tensor.array.dtype.name, tuple(tensor.array.shape), data.nbytes)
            for tensor, data in made)
        table: List[Dict[str, Any]] = [
            {"name": tensor.name, "kind": spec.kind, "dtype": spec.dtype, "shape": list(spec.shape), "offset": 0,
             "nbytes": spec.nbytes, "checksum": xxhash.xxh3_128_hexdigest(data)}
            for (tensor, data), spec in zip(made, specs)]
        fields = dict(fields, tensors=table, size_bytes=0, hdf5="0" * 32)
        skeleton, block = self._lay_out(fields, specs, view)
        for row, offset in zip(table, skeleton.offsets):
            row["offset"] = offset
        ranges = self._own_ranges(table, skeleton)
        fields.update(size_bytes=skeleton.size, hdf5=self._gaps[1])
        if skeleton.lacks:
            fields["keras_view"] = {"lacks": fields.get("keras_view", {}).get("lacks", []) + skeleton.lacks}
        block = header.pack(fields, skeleton.block)
        fd = files.create(temporary, self._mode)
        try:
            try:
                files.reserve(fd, skeleton.size)
                for offset, data in ranges:
                    files.write_at(fd, data, offset)
                for (_, data), row in zip(made, table):
                    files.write_at(fd, data, row["offset"])
                files.write_at(fd, block, 0)
                files.sync(fd)
            finally:
                files.close(fd)
        except BaseException:
            _quietly_remove(temporary)
            raise
        return skeleton.size

    def _lay_out(self, fields, specs, view):
        length = header.text_bytes(fields) + 24 * len(specs) + 24  # offsets and sizes are still zeros there
        if self._key != (specs, view) or self._skeleton is None or header.LINE_BYTES + length > self._skeleton.block:
            self._skeleton = layout.build(specs, view, header.block_bytes(length))
            self._key, self._gaps = (specs, view), None
        return self._skeleton, self._skeleton.block

    def _own_ranges(self, table, skeleton):
        """The bytes between the tensors, with their one checksum, made once per skeleton."""
        if self._gaps is None:
            rows = [header.TensorRow(**row) for row in table]
            ranges = [(offset, skeleton.read(offset, nbytes))
                      for offset, nbytes in header.gaps(rows, skeleton.block, skeleton.size)]
            digest = xxhash.xxh3_128()
            for _, data in ranges:
                digest.update(data)
            self._gaps = (ranges, digest.hexdigest())
        return self._gaps[0]


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


def _quietly_remove(path: str) -> None:
    try:
        files.remove(path)
    except OSError:
        pass  # the error that brought us here is the one to tell


class BackgroundWriter:
    """One thread, one save in flight, the newest waiting one wins.

    Every wait has a limit. The thread is a daemon: a process that must go can go.
    """

    def __init__(self):
        self._condition = threading.Condition()
        self._waiting: Optional[Callable[[], None]] = None
        self._busy = False
        self._thread: Optional[threading.Thread] = None

    def submit(self, job: Callable[[], None]) -> None:
        """Hands a save over; one that still waits is dropped for it."""
        with self._condition:
            self._waiting = job
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="keras-session-writer", daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def drain(self, timeout_seconds: float) -> bool:
        """Waits until nothing is in flight; False if the limit came first."""
        deadline = time.monotonic() + timeout_seconds
        with self._condition:
            while self._busy or self._waiting is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._condition.wait(left)
        return True

    def _run(self):
        while True:
            with self._condition:
                while self._waiting is None:
                    if not self._condition.wait(60) and self._waiting is None:
                        self._thread = None  # idle: the next save starts a thread anew
                        return
                job, self._waiting, self._busy = self._waiting, None, True
            try:
                job()  # jobs catch their own errors
            finally:
                del job
                with self._condition:
                    self._busy = False
                    self._condition.notify_all()
