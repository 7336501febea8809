"""A file is laid out in memory of ours: whole or piece by piece, with tensors that stand there already or not."""

import fcntl
import gc
import os
import threading
import time
import weakref

import files_of_ours
import numpy as np
import pytest
from files_of_ours import EMPTY_VIEW, fields

from keras_session_ext import files, verify_checkpoint
from keras_session_ext.checkpoint import arena, encoder, header, reader
from keras_session_ext.checkpoint.arena import Arena, aligned_memory
from keras_session_ext.checkpoint.encoder import Encoder, Tensor
from keras_session_ext.checkpoint.hdf5_layout import TensorSpec
from keras_session_ext.store import write_behind
from keras_session_ext.store.contract import Image
from keras_session_ext.store.local import write_file

VARIABLES = [("variables/a", (700, 3), "float32"), ("variables/b", (), "int64"), ("variables/c", (5,), "bool"),
             ("variables/empty", (0, 4), "float32"), ("optimizer/d", (300_001,), "float64")]


def values(seed):
    random = np.random.RandomState(seed)
    return [np.asarray(random.randn(*shape) * 100).astype(dtype).reshape(shape) for _, shape, dtype in VARIABLES]


def tensors(arrays, others=()):
    made = [Tensor(name, name.split("/")[0], array) for (name, _, _), array in zip(VARIABLES, arrays)]
    return made + [Tensor("callbacks/{}".format(number), "callbacks", array) for number, array in enumerate(others)]


def specs(arrays):
    return [TensorSpec(name.split("/")[0], array.dtype.name, array.shape, array.nbytes)
            for (name, _, _), array in zip(VARIABLES, arrays)]


def look_at(path, arrays, others=()):
    verify_checkpoint(path)
    found = list(reader.read_checkpoint(path)[1].values())
    assert len(found) == len(arrays) + len(others)
    for one, other in zip(found, [*arrays, *others]):
        assert one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.fixture
def path(tmp_path):
    count = iter(range(1000))
    return lambda: str(tmp_path / "{}.h5".format(next(count)))


@pytest.mark.parametrize("window", [4096, 8192, 1 << 20, 1 << 30])
def test_piece_by_piece_it_is_the_same_file(path, monkeypatch, window):
    whole, pieces = path(), path()
    write_file(whole, Encoder().encode(fields(), tensors(values(1)), EMPTY_VIEW))
    monkeypatch.setattr(Arena, "lease", lambda self, size_bytes: None)
    monkeypatch.setattr(encoder, "PIECE_BYTES", window)
    image = Encoder().encode(fields(), tensors(values(1)), EMPTY_VIEW)
    assert image.lease is None
    write_file(pieces, image)
    with open(whole, "rb") as one, open(pieces, "rb") as other:
        assert one.read() == other.read()
    look_at(pieces, values(1))


@pytest.fixture
def slow_disk(monkeypatch):
    """Every file is written behind, and a buffer is looked at some time after it was handed over."""
    write_at, written = files.write_at, []

    def slowly(fd, data, offset):
        time.sleep(0.005)
        write_at(fd, data, offset)
        written.append((offset, threading.current_thread()))

    monkeypatch.setattr(files, "write_at", slowly)
    monkeypatch.setattr(write_behind, "_SMALL_BYTES", 0)
    return written


@pytest.mark.parametrize("has_arena", [True, False])
@pytest.mark.parametrize("piece", [32768, 131072, 1 << 20, 1 << 30])
def test_what_is_written_behind_is_the_same_file(path, monkeypatch, slow_disk, piece, has_arena):
    """Each of its bytes once, in order, the header last; no buffer is used again before it is written."""
    monkeypatch.setattr(encoder, "PIECE_BYTES", piece)
    if not has_arena:
        monkeypatch.setattr(Arena, "lease", lambda self, size_bytes: None)
    made = Encoder()
    for seed in range(2):
        slow_disk.clear()
        final, image = path(), made.encode(fields(), tensors(values(seed)), EMPTY_VIEW)
        write_file(final, image)
        look_at(final, values(seed))
        offsets = [offset for offset, _ in slow_disk]
        assert offsets[-1] == 0 and offsets[:-1] == sorted(set(offsets[:-1]))
        assert {thread for _, thread in slow_disk} != {threading.current_thread()} or not image.ahead


def test_the_memory_is_not_given_away_before_the_last_byte_is_written(path, monkeypatch, slow_disk):
    """A snapshot that is taken beside the writing would stand in the file, with the checksums of the one before."""
    monkeypatch.setattr(encoder, "PIECE_BYTES", 65536)
    made, slowly, leases = Encoder(), files.write_at, []

    def watched(fd, data, offset):
        leases.append(made._arena.lease(10))
        slowly(fd, data, offset)
        leases.append(made._arena.lease(10))

    monkeypatch.setattr(files, "write_at", watched)
    for seed in range(2):
        image = made.encode(fields(), tensors(values(seed)), EMPTY_VIEW)
        assert image.lease is not None
        final = path()
        write_file(final, image)
        look_at(final, values(seed))
        assert len(leases) > 20 and set(leases) == {None}
        leases.clear()
        assert made._arena.lease(10) is not None


@pytest.mark.parametrize("error", [RuntimeError("can't create new thread"), KeyboardInterrupt()])
def test_where_no_thread_is_to_be_had(path, monkeypatch, slow_disk, error):
    """Python 3.12 gives none when the process ends: the last save is written all the same."""
    def refuse(thread):
        raise error

    open_before = sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    final, image = path(), Encoder().encode(fields(), tensors(values(1)), EMPTY_VIEW)
    if isinstance(error, RuntimeError):
        write_file(final, image)
        look_at(final, values(1))
    else:
        with pytest.raises(KeyboardInterrupt):
            write_file(final, image)
        assert not os.path.exists(final)
    assert sorted(os.listdir("/proc/self/fd")) == open_before


class Endless(Image):
    """A file that goes on as long as it is asked, and counts how far it is ahead of the disk."""

    size_bytes, ahead = 1 << 20, 2

    def __init__(self, written, last=None):
        self._written, self._last, self.made, self.most = written, last, 0, 0

    def pieces(self):
        while self.made < 50:
            yield 4096 * self.made, bytearray(4096)
            self.made += 1
            self.most = max(self.most, self.made - len(self._written))
        if self._last is not None:
            raise self._last


def test_no_more_is_made_ahead_than_was_said(path, slow_disk):
    image = Endless(slow_disk)
    write_file(path(), image)
    assert len(slow_disk) == 50 and image.most <= 2 + image.ahead


@pytest.mark.parametrize("ended", [OSError("the disk is full"), MemoryError(), KeyboardInterrupt(), None])
def test_what_ends_the_writing_ends_the_file(path, monkeypatch, slow_disk, ended):
    """What the source raises, what the disk says: raised here, no file is left, and no thread and no descriptor."""
    final, image = path(), Endless(slow_disk, ended)
    if ended is None:  # the disk
        ended, slowly = OSError("it is full"), files.write_at

        def full(fd, data, offset):
            if offset > 40960:
                raise ended
            slowly(fd, data, offset)

        monkeypatch.setattr(files, "write_at", full)
    open_before = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    with pytest.raises(type(ended)) as raised:
        write_file(final, image)
    assert raised.value is ended and not os.path.exists(final)
    assert not [one for one in threading.enumerate() if one.name == "keras-session-disk"]
    if open_before is not None:
        assert sorted(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize("room", [0, 1 << 20, 1 << 40])
def test_where_memory_is_short_less_is_used(path, monkeypatch, room):
    monkeypatch.setattr(arena, "free_memory_bytes", lambda: room)
    image = Encoder().encode(fields(), tensors(values(2)), EMPTY_VIEW)
    assert (image.lease is None) == (room < 1 << 40)
    final = path()
    write_file(final, image)
    look_at(final, values(2))


def test_tensors_that_stand_in_their_places_are_not_copied(path):
    """As on engines that must copy: at once to where the file has them."""
    made, first = Encoder(), path()
    names = [name for name, _, _ in VARIABLES]
    assert made.lease(names, specs(values(0))) is None, "the places are not known yet"
    write_file(first, made.encode(fields(), tensors(values(0)), EMPTY_VIEW))
    for seed, others in ((1, []), (2, [np.ones(3)]), (3, []), (4, [np.ones(3), np.zeros((90, 90))]), (5, [])):
        lease = made.lease(names, specs(values(seed)))
        for place, array in zip(lease.placed, values(seed)):
            assert place.dtype == array.dtype and place.shape == array.shape
            place[...] = array
        assert made.lease(names, specs(values(seed))) is None, "one file at a time"
        final = path()
        write_file(final, made.encode(fields(), tensors(lease.placed, others), EMPTY_VIEW, lease))
        look_at(final, values(seed), others)
    look_at(first, values(0))


def test_tensors_in_places_that_are_no_more_are_moved(path):
    """What a callback keeps may take more room than there is, and a header may grow."""
    made = Encoder()
    write_file(path(), made.encode(fields(), tensors(values(0)), EMPTY_VIEW))
    for seed, others, text in ((6, [np.arange(3_000_000, dtype=np.float64)], ""), (7, [], "h" * 9000), (8, [], "")):
        lease = made.lease([name for name, _, _ in VARIABLES], specs(values(seed)))
        for place, array in zip(lease.placed, values(seed)):
            place[...] = array
        final = path()
        given = fields(session={"history": text})
        write_file(final, made.encode(given, tensors(lease.placed, others), EMPTY_VIEW, lease))
        look_at(final, values(seed), others)


def test_an_array_is_let_go_of_when_it_is_copied():
    """An engine that updates in place would copy what someone still refers to."""
    arrays = values(1)
    seen = [weakref.ref(array) for array in arrays]
    image = Encoder().encode(fields(), tensors(arrays), EMPTY_VIEW)
    del arrays
    pieces = image.pieces()
    next(pieces)
    gc.collect()
    assert [one() for one in seen if one() is not None and one().nbytes] == []
    pieces.close()


def test_what_stands_between_the_tensors_is_written_again_where_another_file_was(path):
    """A lease that no file came of, and files of two structures in turn, in the same memory."""
    made = Encoder()
    for seed, others in ((1, []), (2, []), (3, [np.zeros(7)]), (4, [np.zeros(7)]), (5, [])):
        final = path()
        write_file(final, made.encode(fields(), tensors(values(seed), others), EMPTY_VIEW))
        look_at(final, values(seed), others)
        lease = made.lease([name for name, _, _ in VARIABLES], specs(values(seed)))
        lease.memory[...] = 255
        del lease


def test_an_arena_is_for_one_file_at_a_time():
    made = Arena()
    first = made.lease(10_000)
    assert len(first.memory) >= 10_000 and first.memory.ctypes.data % files.PAGE_BYTES == 0
    assert made.lease(10) is None
    made.give_back(first)
    second = made.lease(20_000)
    assert second is not None and made.lease(10) is None
    second.memory[:] = 1
    made.release()
    third = made.lease(20_000)
    assert third is not None and not third.memory.any() and second.memory.all(), "each has its own"
    del third
    assert made.lease(10) is not None, "what nobody has any more is back"


def test_memory_that_is_being_touched_is_given_to_a_file_at_once(monkeypatch):
    made, size = Arena(), 64 << 20
    lease = made.lease(size)
    slow = lease.memory.view(Slow)
    lease.memory = slow
    toucher = threading.Thread(target=made.touch, args=(lease, size))
    del lease
    toucher.start()
    while not slow.chunks:
        time.sleep(0.001)
    given = None
    while given is None:
        given = made.lease(size)
    toucher.join(10)
    assert not toucher.is_alive() and len(slow.chunks) < 8


class Slow(np.ndarray):
    chunks = []

    def __setitem__(self, key, value):
        self.chunks.append(key)
        time.sleep(0.02)


@pytest.mark.parametrize("refuses", ["the flag", "the first write", "nothing"])
def test_file_systems_without_direct_io(path, monkeypatch, refuses):
    """The file is the same, whether it is refused when it is asked for, at the first write, or not at all."""
    direct = []

    def is_direct(fd):
        return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT)

    set_flags, write = fcntl.fcntl, os.pwrite

    def fcntl_(fd, what, *value):
        if refuses == "the flag" and what == fcntl.F_SETFL and value[0] & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return set_flags(fd, what, *value)

    def pwrite(fd, data, offset):
        direct.append(is_direct(fd))
        if refuses == "the first write" and direct[-1]:
            raise OSError(22, "Invalid argument")
        return write(fd, data, offset)

    monkeypatch.setattr(files.fcntl, "fcntl", fcntl_)
    monkeypatch.setattr(os, "pwrite", pwrite)
    final = path()
    write_file(final, Encoder().encode(fields(), tensors(values(3)), EMPTY_VIEW))
    monkeypatch.undo()
    look_at(final, values(3))
    assert direct[0] == (refuses != "the flag") and direct[-1] is False, "the header is small"
    if refuses == "the first write":
        assert direct.count(True) == 1


def test_another_error_of_a_direct_write_is_an_error(path, monkeypatch):
    def pwrite(fd, data, offset):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", pwrite)
    final = path()
    with pytest.raises(OSError, match="Input/output error"):
        write_file(final, Encoder().encode(fields(), tensors(values(3)), EMPTY_VIEW))
    assert not os.path.exists(final)


def test_a_failed_write_gives_the_memory_back(path, monkeypatch):
    made = Encoder()
    image = made.encode(fields(), tensors(values(1)), EMPTY_VIEW)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *arguments: 0)
        with pytest.raises(OSError, match="accepted no bytes"):
            write_file(path(), image)
    assert made.encode(fields(), tensors(values(2)), EMPTY_VIEW).lease is not None


def test_a_file_behind_one_that_failed_is_whole(path, monkeypatch):
    """What stood between the tensors was that of the file that failed: those behind it were corrupt."""
    made, others = Encoder(), [np.arange(900.0)]
    write_file(path(), made.encode(fields(), tensors(values(1)), EMPTY_VIEW))
    for seed in (2, 4):
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", lambda *arguments: 0)
            with pytest.raises(OSError, match="accepted no bytes"):
                write_file(path(), made.encode(fields(), tensors(values(seed), others), EMPTY_VIEW))
        final = path()
        write_file(final, made.encode(fields(), tensors(values(seed + 1)), EMPTY_VIEW))
        look_at(final, values(seed + 1))


def test_a_forked_child_has_memory_of_its_own(path):
    made = Encoder()
    write_file(path(), made.encode(fields(), tensors(values(1)), EMPTY_VIEW))
    final = path()
    child = os.fork()
    if not child:
        try:
            write_file(final, made.encode(fields(), tensors(values(2)), EMPTY_VIEW))
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    look_at(final, values(2))
    write_file(path(), made.encode(fields(), tensors(values(3)), EMPTY_VIEW))


def test_files_end_with_a_whole_page(path):
    """So that all of them but the header can go past the page cache."""
    final = files_of_ours.write(path())
    assert os.path.getsize(final) % files.PAGE_BYTES == 0


def test_encoded_values_in_a_header():
    plain = {"a": {"x": [1, "é", None]}, "b": [{"y": 1.5}]}
    made = {"a": header.encoded(plain["a"]), "b": [header.encoded(plain["b"][0])]}
    assert header._text(made) == header._text(plain)
    with pytest.raises(TypeError, match="is no JSON"):
        header._text({"a": object()})


def test_aligned_memory_is_zero_and_whole_pages():
    memory = aligned_memory(5000)
    assert len(memory) == 8192 and not memory.any()
