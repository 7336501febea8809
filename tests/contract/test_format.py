"""The file format: others read it, and no altered byte is accepted."""

import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tracemalloc

import files_of_ours
import h5py
import independent_reader
import ml_dtypes
import numpy as np
import pytest
import xxhash
from files_of_ours import fields, header_text, small_tensors, with_fields, with_text, write

import keras_session_ext
from keras_session_ext import CheckpointCorrupt, CheckpointNotFound, verify_checkpoint
from keras_session_ext.checkpoint import hdf5_layout, header, reader
from keras_session_ext.checkpoint.encoder import Encoder, Tensor
from keras_session_ext.state import plain_values


def many_tensors():
    """Every dtype, and every shape that files went wrong with before."""
    made = []
    for dtype in sorted(header.DTYPES):
        kind = np.dtype(getattr(ml_dtypes, dtype) if not hasattr(np, dtype) and dtype != "bool" else dtype)
        for shape in ((), (1,), (3, 5), (0,), (2, 0, 3)):
            count = int(np.prod(shape, dtype=int))
            array = (np.arange(count) % 3 - 1).astype("float32").reshape(shape).astype(kind)
            made.append(Tensor("variables/{}/{}".format(dtype, "x".join(map(str, shape))), "variables", array))
    made.append(Tensor("optimizer/wide", "optimizer", np.random.RandomState(1).randn(300, 41)))
    made.append(Tensor("data/names with / and ä", "data", np.arange(10).reshape(2, 5).T))
    made.append(Tensor("data/big-endian", "data", np.arange(5, dtype=">i4")))
    return made


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    tensors = many_tensors()
    return write(tmp_path_factory.mktemp("many") / "many.h5", tensors), tensors


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("small") / "small.h5")
    with open(path, "rb") as handle:
        return handle.read()


@pytest.fixture
def refused(tmp_path):
    """Asserts that a file of these bytes is refused, by the listing's reader or by the whole one."""
    path = str(tmp_path / "spoiled.h5")

    def check(data, pattern=None):
        with open(path, "wb") as handle:
            handle.write(data)
        with pytest.raises(CheckpointCorrupt, match=pattern) as caught:
            verify_checkpoint(path)
        assert type(caught.value) is CheckpointCorrupt and path in str(caught.value)
        try:
            reader.read_header(path)  # the listing: it accepts or refuses, and does nothing else
        except CheckpointCorrupt:
            pass
        with open(path, "rb") as handle:
            assert handle.read() == data, "the file was left as it is"

    return check


# -- other readers


def test_an_independent_reader_gets_the_same_tensors(many):
    path, tensors = many
    made, found = independent_reader.read(path)
    assert [name for name, _ in found] == [tensor.name for tensor in tensors]
    for (_, array), tensor in zip(found, tensors):
        assert array.shape == tensor.array.shape
        assert array.tobytes() == tensor.array.astype(tensor.array.dtype.newbyteorder("<")).tobytes()
    assert made["metrics"] == {"loss": 0.25} and made["progress"]["step"] == 12


def test_the_independent_reader_imports_nothing_of_ours():
    with open(independent_reader.__file__) as handle:
        imported = [line.split()[1] for line in handle if line.lstrip().startswith(("import ", "from "))]
    assert sorted(imported) == ["hashlib", "json", "numpy", "re", "xxhash"]


def test_our_reader_gets_the_same_tensors(many):
    path, tensors = many
    head, found = reader.read_checkpoint(path)
    assert list(found) == [tensor.name for tensor in tensors]
    for tensor in tensors:
        array = found[tensor.name]
        assert array.dtype == tensor.array.dtype.newbyteorder("=") and array.shape == tensor.array.shape
        assert array.tobytes() == tensor.array.astype(array.dtype).tobytes()
        assert array.flags.writeable and array.flags.aligned
    assert head.info == verify_checkpoint(path)


def test_h5py_sees_the_same_values(many):
    path, tensors = many
    with h5py.File(path, "r") as file:
        assert file.userblock_size >= 4096
        for number, tensor in enumerate(tensors):
            dataset = file["session/{}/t{:05d}".format(tensor.kind, number)]
            assert dataset.shape == tensor.array.shape and dataset.chunks is None and dataset.compression is None
            value = np.asarray(dataset[()])
            assert value.tobytes() == tensor.array.astype(tensor.array.dtype.newbyteorder("<")).tobytes()
            if dataset.dtype == tensor.array.dtype.newbyteorder("="):
                assert np.array_equal(value, tensor.array, equal_nan=value.dtype.kind in "fc")
            else:  # HDF5 knows none of these
                assert tensor.array.dtype.name in header.DTYPES and not hasattr(np, tensor.array.dtype.name)


def as_text(value):
    """Text attributes are bytes in h5py 2 and text in h5py 3."""
    return value.decode() if isinstance(value, bytes) else value


def test_a_tensor_stands_in_the_file_once_and_the_keras_view_points_at_it(tmp_path):
    tensors = [Tensor("variables/0", "variables", np.arange(6, dtype=np.float32).reshape(2, 3)),
               Tensor("variables/1", "variables", np.ones(3, np.float32)),
               Tensor("keras/half", "keras", np.zeros(2, np.float32))]
    view = hdf5_layout.KerasView(
        (("keras_version", b"3.0"), ("model_config", b"{}")), (("backend", b"tensorflow"),),
        (("dense", (("dense/kernel:0", 0), ("dense/bias:0", 1))), ("empty", ()), ("dense_1", (("half", 2),)),
         ("top_level_model_weights", ())))
    path = write(tmp_path / "a.h5", tensors, view)
    with h5py.File(path, "r") as file:
        assert as_text(file.attrs["keras_version"]) == "3.0" and as_text(file.attrs["model_config"]) == "{}"
        weights = file["model_weights"]
        assert as_text(weights.attrs["backend"]) == "tensorflow"
        assert list(weights.attrs["layer_names"]) == [b"dense", b"empty", b"dense_1"]
        assert list(weights["dense"].attrs["weight_names"]) == [b"dense/kernel:0", b"dense/bias:0"]
        assert list(weights["empty"].attrs["weight_names"]) == []
        assert np.array_equal(weights["dense"]["dense/kernel:0"][()], tensors[0].array)
        for name, number in (("dense/dense/kernel:0", 0), ("dense/dense/bias:0", 1), ("dense_1/half", 2)):
            first = file["session/{}/t{:05d}".format(tensors[number].kind, number)]
            assert weights[name].id.get_offset() == first.id.get_offset() > 0
    rows = reader.read_header(path).rows
    assert len(rows) == 3


def test_names_that_are_the_beginning_of_others(tmp_path):
    layers = (("a/b/c", (("w", 0),)), ("a", (("b/w", 0),)), ("a/b", (("v", 1),)))
    path = write(tmp_path / "a.h5", None, hdf5_layout.KerasView((), (), layers))
    with h5py.File(path, "r") as file:
        assert list(file["model_weights"].attrs["layer_names"]) == [b"a/b/c", b"a", b"a/b"]
        assert file["model_weights/a/b/c/w"].shape == (2,) and file["model_weights/a/b/v"].shape == ()


def keras_names(group, name):
    """How Keras puts a list of names together (load_attributes_from_hdf5_group)."""
    if name in group.attrs:
        return [one.decode() for one in group.attrs[name]]
    made, number = [], 0
    while name + str(number) in group.attrs:
        made += [one.decode() for one in group.attrs[name + str(number)]]
        number += 1
    return made


def test_more_than_64_kib_of_layer_names(tmp_path):
    names = ["layer_with_a_rather_long_name_{:06d}".format(number) for number in range(3000)]
    view = hdf5_layout.KerasView((), (), tuple((name, ()) for name in names[:-1]) + (
        (names[-1], tuple(("w" * 60 + "{:05d}".format(number), 0) for number in range(1500))),))
    path = write(tmp_path / "a.h5", None, view)
    verify_checkpoint(path)
    with h5py.File(path, "r") as file:
        weights = file["model_weights"]
        assert keras_names(weights, "layer_names") == names and "layer_names0" in weights.attrs
        assert len(keras_names(weights[names[-1]], "weight_names")) == 1500


@pytest.mark.parametrize("size", [64000, 65536, 300_000, 3_000_000])
def test_a_model_config_of_any_size(tmp_path, size):
    config = json.dumps({"config": "x" * size}).encode()
    path = write(tmp_path / "a.h5", None, hdf5_layout.KerasView((("model_config", config),), (), ()))
    verify_checkpoint(path)
    with h5py.File(path, "r") as file:
        assert as_text(file.attrs["model_config"]) == config.decode()
    independent_reader.read(path)


def test_a_checkpoint_without_tensors(tmp_path):
    path = write(tmp_path / "a.h5", [])
    assert verify_checkpoint(path).progress.step == 12
    assert independent_reader.read(path)[1] == []
    with h5py.File(path, "r") as file:
        assert list(file["model_weights"].attrs["layer_names"]) == []


def test_thousands_of_tensors_and_a_header_of_megabytes(tmp_path):
    tensors = [Tensor("variables/{}".format(n), "variables", np.full((n % 7, 3), n, np.float32)) for n in range(3000)]
    path = write(tmp_path / "a.h5", tensors, session={"text": "ä" * 200_000})
    _, found = reader.read_checkpoint(path)
    assert all(np.array_equal(found[tensor.name], tensor.array) for tensor in tensors)
    assert len(independent_reader.read(path)[1]) == 3000
    with h5py.File(path, "r") as file:
        assert file.userblock_size >= 1 << 20 and file["session/variables/t02999"].shape == (3, 3)


def test_alignment(many):
    head = reader.read_header(many[0])
    assert head.block & (head.block - 1) == 0
    for row in head.rows:
        assert row.offset % 4096 == 0 or row.nbytes < 2048
        assert (row.offset == 0) == (row.nbytes == 0)


# -- the header


def test_the_magic_line_byte_by_byte(small):
    assert small[:14] == b"KSESSION 0001 "
    assert small[14:26] == b"000000004096" and small[26:27] == b" "
    assert small[39:40] == b" " and small[104:105] == b"\n"
    text = header_text(small)
    assert set(small[105 + len(text) : 4096]) == {0}
    assert json.loads(text.decode())["size_bytes"] == len(small)
    assert small[4096:4104] == b"\x89HDF\r\n\x1a\n"


def test_the_checksums_are_what_the_document_says(small):
    made = json.loads(header_text(small).decode())
    rows = [row for row in made["tensors"] if row["nbytes"]]
    between, end = xxhash.xxh3_128(), 4096
    for row in sorted(rows, key=lambda row: row["offset"]):
        stored = small[row["offset"] : row["offset"] + row["nbytes"]]
        assert row["checksum"] == xxhash.xxh3_128_digest(stored).hex()
        between.update(small[end : row["offset"]])
        end = row["offset"] + row["nbytes"]
    between.update(small[end:])
    assert made["hdf5"] == between.hexdigest()


def test_the_info_says_what_was_written(tmp_path):
    metrics = header.plain_metrics(
        {"loss": np.float32(0.5), "bad": float("nan"), "up": float("inf"), "text": "x", "array": np.zeros(3)})
    path = write(
        tmp_path / "a.h5", reasons=["why"], finished=True, parent="p", branch_of="b", metrics=metrics)
    info = verify_checkpoint(path)
    assert (info.id, info.parent, info.branch_of, info.run) == ("one", "p", "b", "0123456789abcdef")
    assert info.progress == (0, 1, 2, 12, 3.5) and info.generation == 1 and info.reason == "EverySteps(12)"
    assert info.metrics["loss"] == 0.5 and np.isnan(info.metrics["bad"]) and info.metrics["up"] == float("inf")
    assert set(info.metrics) == {"loss", "bad", "up"}
    assert info.finished and not info.exact and info.reasons == ("why",)
    assert info.size_bytes == os.path.getsize(path) and info.path == path


def test_the_header_grows_beyond_the_user_block(tmp_path):
    """One encoder, one structure, a history that gets longer: the skeleton is laid out again."""
    encoder, sizes = Encoder(), []
    for number, length in enumerate((0, 100, 1500, 4000, 20_000, 19_000, 400_000, 10)):
        path = write(tmp_path / "{}.h5".format(number), None, encoder=encoder, session={"history": "h" * length})
        assert verify_checkpoint(path).metrics == {"loss": 0.25}
        made, found = independent_reader.read(path)
        assert len(made["session"]["history"]) == length and found[0][1].tolist() == [1.5, -2.5]
        with h5py.File(path, "r") as file:
            assert file["session/variables/t00000"][()].tolist() == [1.5, -2.5]
        sizes.append(reader.read_header(path).block)
    assert sizes[0] == 4096 and len(set(sizes)) >= 4 and all(size & (size - 1) == 0 for size in sizes)


def test_an_encoder_sees_that_the_structure_changed(tmp_path):
    encoder = Encoder()
    view = hdf5_layout.KerasView((), (), (("dense", (("w", 0),)),))
    for number, (shape, dtype, seen) in enumerate((
            ((2, 3), "float32", view), ((3, 2), "float32", view), ((3, 2), "int32", view),
            ((3, 2), "int32", files_of_ours.EMPTY_VIEW), ((0, 2), "int32", view), ((2, 3), "float32", view))):
        array = (np.arange(6) % max(1, np.prod(shape))).astype(dtype)[: int(np.prod(shape))].reshape(shape)
        path = write(tmp_path / "{}.h5".format(number), [Tensor("a", "variables", array)], seen, encoder)
        found = reader.read_checkpoint(path)[1]["a"]
        assert found.dtype == array.dtype and found.shape == shape and np.array_equal(found, array)
        with h5py.File(path, "r") as file:
            assert ("dense" in file["model_weights"]) == (seen is view)
            assert np.array_equal(file["session/variables/t00000"][()], array)


def test_the_same_session_makes_the_same_bytes(tmp_path):
    first, second, encoder = tmp_path / "1.h5", tmp_path / "2.h5", Encoder()
    write(first, encoder=encoder)
    write(second, encoder=encoder)
    write(tmp_path / "3.h5")
    assert first.read_bytes() == second.read_bytes() == (tmp_path / "3.h5").read_bytes()


@pytest.mark.parametrize("mode, expected", [(0o600, 0o600), (0o660, 0o660)])
def test_the_mode_of_files(tmp_path, mode, expected):
    previous = os.umask(0o077)
    try:
        path = write(tmp_path / "a.h5", mode=mode)
    finally:
        os.umask(previous)
    assert os.stat(path).st_mode & 0o777 == expected


def test_an_encoder_never_overwrites(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write(path)
    os.symlink(str(tmp_path / "target"), str(tmp_path / "link.h5"))
    with pytest.raises(FileExistsError):
        write(tmp_path / "link.h5")
    assert path.read_bytes() == b"mine" and not (tmp_path / "target").exists()


PLAIN = {
    "NumPy keys": {np.int64(1): "a", np.int64(2): "b"}, "NumPy members": {np.float32(1.5), np.float32(2.5)},
    "slashes": {"a/b": np.zeros(1), "a": {"b": np.ones(2)}}, "lists": [np.zeros(1), [np.ones(1)], (np.float16(2),)],
    "int and text": {"0": np.zeros(1), 0: np.ones(1)}, "zero bytes": [np.zeros(0), np.zeros((0, 3)), np.ones(0, bool)],
}


@pytest.mark.parametrize("name", PLAIN)
def test_arrays_of_any_plain_value_survive_the_file(tmp_path, name):
    encoded, arrays = plain_values.flatten(PLAIN[name], "callbacks")
    tensors = [Tensor(path, "callbacks", np.asarray(array)) for path, array in arrays]
    path = write(tmp_path / "a.h5", tensors, session={"callbacks": encoded})
    head, found = reader.read_checkpoint(path)
    stored = list(found.values())
    back = plain_values.decode(head.fields["session"]["callbacks"], stored.__getitem__)
    assert plain_values.fingerprint(back) == plain_values.fingerprint(PLAIN[name])


UNREADABLE = [np.zeros(3, np.longdouble)] if np.dtype(np.longdouble).itemsize > 8 else []
UNREADABLE += [np.zeros(2, "V8"), np.zeros(3, ml_dtypes.float8_e8m0fnu), np.zeros(2, "M8[s]"), np.array(["a"])]


@pytest.mark.parametrize("array", UNREADABLE, ids=lambda array: array.dtype.name)
def test_no_file_is_written_that_cannot_be_read_back(tmp_path, array):
    """Refused at the save, or stored well; never a checkpoint that is found corrupt when it is needed."""
    path = tmp_path / "a.h5"
    try:
        write(path, [Tensor("a", "callbacks", array)])
    except (TypeError, ValueError):
        assert list(tmp_path.iterdir()) == []
    else:
        assert reader.read_checkpoint(str(path))[1]["a"].tobytes() == array.tobytes()


@pytest.mark.parametrize("spoiled", [{"metrics": {"loss": float("nan")}}, {"session": {"a": float("inf")}},
                                     {"session": object()}, {"session": {"a": b"bytes"}}])
def test_a_header_that_is_no_strict_json_is_never_written(tmp_path, spoiled):
    with pytest.raises((TypeError, ValueError)):
        write(tmp_path / "a.h5", **spoiled)
    assert list(tmp_path.iterdir()) == []


# -- every altered byte


def _flip_bits(arguments):
    """Flips each bit of a range in a real file; returns those that were not refused."""
    path, start, end = arguments
    with open(path, "rb") as handle:
        data = handle.read()
    own = "{}.{}".format(path, start)
    with open(own, "wb") as handle:
        handle.write(data)
    accepted = []
    fd = os.open(own, os.O_RDWR)
    for offset in range(start, min(end, len(data))):
        for bit in range(8):
            os.pwrite(fd, bytes([data[offset] ^ (1 << bit)]), offset)
            try:
                verify_checkpoint(own)
                accepted.append((offset, bit, "accepted"))
            except CheckpointCorrupt:
                pass
            except BaseException as error:
                accepted.append((offset, bit, repr(error)))
        os.pwrite(fd, data[offset : offset + 1], offset)
    os.close(fd)
    verify_checkpoint(own)
    return accepted


def test_every_single_bit_flip_is_refused(tmp_path):
    path = write(tmp_path / "small.h5", [
        Tensor("variables/0", "variables", np.array([1.5, -2.5], np.float32)),
        Tensor("random/1", "random", np.array(7, np.int64)), Tensor("data/2", "data", np.zeros(0, np.float32))])
    head, size = reader.read_header(path), os.path.getsize(path)
    assert head.block == 4096 and 4096 < size < 16384
    ranges = [(path, start, start + 512) for start in range(0, size, 512)]
    with multiprocessing.get_context("spawn").Pool(min(4, os.cpu_count() or 1)) as pool:
        accepted = [one for found in pool.imap_unordered(_flip_bits, ranges) for one in found]
    assert accepted == []


def test_every_byte_is_covered_by_exactly_one_checksum(many):
    head, size = reader.read_header(many[0]), os.path.getsize(many[0])
    covered = np.zeros(size, np.uint8)
    covered[: head.block] += 1  # the line is compared in full, the rest by SHA-256
    for row in head.rows:
        covered[row.offset : row.offset + row.nbytes] += 1
    for offset, nbytes in header.gaps(head.rows, head.block, size):
        covered[offset : offset + nbytes] += 1
    assert covered.min() == covered.max() == 1


def test_random_damage_to_a_large_file_is_refused(many, tmp_path):
    with open(many[0], "rb") as handle:
        data = handle.read()
    path, source = str(tmp_path / "a.h5"), random.Random(3)
    for _ in range(300):
        spoiled = bytearray(data)
        at, length = source.randrange(len(data)), source.choice((1, 2, 16, 512, 4096))
        piece = source.choice((bytes(length), os.urandom(length), data[:length], b"\xff" * length))
        spoiled[at : at + length] = piece[: len(data) - at]
        if spoiled == data:
            continue
        with open(path, "wb") as handle:
            handle.write(spoiled)
        with pytest.raises(CheckpointCorrupt):
            verify_checkpoint(path)


def test_every_truncation_is_refused(small, tmp_path):
    path = str(tmp_path / "a.h5")
    with open(path, "wb") as handle:
        handle.write(small)
    verify_checkpoint(path)
    for length in range(len(small) - 1, -1, -1):
        os.truncate(path, length)
        with pytest.raises(CheckpointCorrupt):
            verify_checkpoint(path)


@pytest.mark.parametrize("more", [b"\0", b"x", bytes(511), bytes(4096), b"\xff" * 100_000])
def test_appended_bytes_are_refused(small, refused, more):
    refused(small + more, "bytes, its header says")


def test_two_checkpoints_in_one_file_are_refused(small, refused):
    refused(small + small)
    refused(small[:4096] + small)


def test_swapped_tensors_are_refused(tmp_path, refused):
    tensors = [Tensor(name, "v", np.full(1024, value, np.float32)) for name, value in (("a", 1), ("b", 2))]
    path = write(tmp_path / "a.h5", tensors)
    with open(path, "rb") as handle:
        data = bytearray(handle.read())
    a, b = [(row.offset, row.offset + row.nbytes) for row in reader.read_header(path).rows]
    data[a[0] : a[1]], data[b[0] : b[1]] = data[b[0] : b[1]], data[a[0] : a[1]]
    refused(bytes(data), "tensor 'a' was altered")


# -- foreign files


def foreign_hdf5(path, userblock=0):
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file["model_weights/a"] = np.zeros(10_000)


def test_foreign_files_are_refused(tmp_path, refused):
    path = str(tmp_path / "foreign.h5")
    for userblock in (0, 4096):
        foreign_hdf5(path, userblock)
        with open(path, "rb") as handle:
            refused(handle.read(), "not a checkpoint of keras_session_ext")
    for data in (b"x" * 9000, bytes(9000), os.urandom(9000), b"PK\x03\x04" + bytes(9000), b"KSESSION" + bytes(9000),
                 b"KSESSION 0001 " + b" " * 9000, "KSESSION ٠٠٠١ ".encode() + b"0" * 9000):
        refused(data, "not a checkpoint of keras_session_ext")


def test_an_empty_and_a_short_file(refused):
    refused(b"", "empty")
    for length in (1, 104, 105, 4095):
        refused(b"KSESSION 0001 000000004096 000000000010 ".ljust(length, b"0")[:length], "cut off")


def test_no_file(tmp_path):
    for path in (tmp_path / "none.h5", tmp_path / "no" / "folder.h5"):
        with pytest.raises(CheckpointNotFound, match="There is no checkpoint"):
            verify_checkpoint(path)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, small):
    (tmp_path / "real.h5").write_bytes(small)
    os.mkdir(str(tmp_path / "directory.h5"))
    os.mkfifo(str(tmp_path / "pipe.h5"))
    os.symlink("real.h5", str(tmp_path / "link.h5"))
    os.symlink("link2.h5", str(tmp_path / "link2.h5"))
    os.symlink("nothing", str(tmp_path / "dangling.h5"))
    for name in ("directory", "pipe", "link", "link2", "dangling"):
        path = str(tmp_path / (name + ".h5"))
        for read in (verify_checkpoint, reader.read_header):
            with pytest.raises(CheckpointCorrupt) as caught:
                read(path)
            assert path in str(caught.value)
    for path in ("/dev/null", "/dev/zero", "/proc/self/status", "/proc/self/mem"):
        if os.path.exists(path):
            with pytest.raises(CheckpointCorrupt):
                verify_checkpoint(path)


def test_no_descriptor_is_left_open(tmp_path, small):
    path = tmp_path / "a.h5"
    path.write_bytes(small[:-1])
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    before = len(os.listdir(folder))
    for _ in range(20):
        for spoiled in (str(path), str(tmp_path)):
            with pytest.raises(CheckpointCorrupt):
                verify_checkpoint(spoiled)
    assert len(os.listdir(folder)) == before


@pytest.mark.parametrize("version", ["0002", "0017", "9999", "0000"])
def test_another_format_version_is_named(small, refused, version):
    refused(small[:9] + version.encode() + small[13:], "format version {}, this package reads version 1".format(
        int(version)))


@pytest.mark.parametrize("block, length", [
    (0, 10), (1, 10), (2048, 10), (4097, 10), (8191, 10), (1 << 29, 10), (1 << 39, 10), (4096, 4096), (4096, 3992),
    (4096, 10**11), (999999999999, 999999999999), (8192, 10), (1 << 20, 10)])
def test_other_sizes_in_the_first_line(small, refused, block, length):
    refused("KSESSION 0001 {:012d} {:012d} ".format(block, length).encode() + small[40:])


# -- hostile headers: the checksum fits, the content does not


def test_the_helper_makes_valid_files(small, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(with_fields(small, lambda made: None))
    verify_checkpoint(path)


def change_row(**changes):
    def edit(made):
        made["tensors"][0].update(changes)
        if changes.get("nbytes") == 0:
            made["tensors"][0]["checksum"] = xxhash.xxh3_128_hexdigest(b"")
    return edit


VALUES = [None, True, False, -1, -(10**30), 10**30, 2**63, 2**64, 1.5, 8.0, 1e300, "", "8", "x", [], [1], {}, {"a": 1}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("key", ["offset", "nbytes", "shape", "dtype", "checksum"])
def test_a_row_with_a_wrong_value(small, refused, key, value):
    refused(with_fields(small, change_row(**{key: value})))


@pytest.mark.parametrize("shape", [
    [-2], [2.0], ["2"], [True, 2], [None], [[2]], [2, 10**20], [2**62, 2], [2**64], [-1, -2], [1] * 100 + [2],
    [2, 1, 0]])
def test_a_row_with_a_wrong_shape(small, refused, shape):
    refused(with_fields(small, change_row(shape=shape)))


@pytest.mark.parametrize("changes", [
    {"dtype": "bogus", "shape": [8], "nbytes": -8}, {"dtype": "bogus", "shape": [0], "nbytes": 0},
    {"dtype": "object", "shape": [1], "nbytes": 8}, {"dtype": "O", "shape": [1], "nbytes": 8},
    {"dtype": "V8", "shape": [1], "nbytes": 8}, {"dtype": "<f4"}, {"dtype": "float32,float32", "shape": [1]},
    {"dtype": "str"}, {"dtype": "S8", "shape": [1]}, {"dtype": "datetime64"}, {"dtype": ["float32"]},
    {"dtype": "finfo", "shape": [0], "nbytes": 0}, {"dtype": "__doc__", "shape": [0], "nbytes": 0},
    {"shape": [0, 2**70], "nbytes": 0}, {"shape": [0] * 100, "nbytes": 0}, {"shape": [0, -1], "nbytes": 0},
    {"shape": [2**40, 0, 2**40], "nbytes": 0}, {"nbytes": 7}, {"nbytes": 9}, {"nbytes": 4}, {"shape": [1]},
    {"shape": [3]}, {"dtype": "float64"}, {"dtype": "int32", "shape": []}, {"offset": 0}, {"offset": 105},
    {"offset": 4095}, {"offset": 10**6}, {"shape": [10**11], "nbytes": 4 * 10**11},
    {"shape": [10**6], "nbytes": 4 * 10**6},
    {"checksum": "0" * 32}, {"checksum": ""},
], ids=repr)
def test_a_row_that_does_not_fit(small, refused, changes):
    refused(with_fields(small, change_row(**changes)))


def test_overlapping_rows(small, refused):
    rows = json.loads(header_text(small).decode())["tensors"]
    first, second = rows[0], rows[1]
    for shift in range(-7, 8):
        refused(with_fields(small, change_row(offset=second["offset"] + shift)))
    refused(with_fields(small, lambda made: made["tensors"].append(dict(first, name="again"))))
    refused(with_fields(small, lambda made: made["tensors"].append(dict(first, name="again", offset=first["offset"] + 4,
                                                                        nbytes=4, shape=[1]))))


def test_a_tensor_that_stands_twice(small, refused):
    empty = {"name": "variables/0", "kind": "k", "dtype": "int8", "shape": [0], "offset": 0, "nbytes": 0,
             "checksum": xxhash.xxh3_128_hexdigest(b"")}
    refused(with_fields(small, lambda made: made["tensors"].append(empty)), "twice")


def test_missing_and_additional_rows(small, refused):
    refused(with_fields(small, lambda made: made.update(tensors=[])))
    refused(with_fields(small, lambda made: made["tensors"].pop()))
    refused(with_fields(small, lambda made: made["tensors"].reverse() or made["tensors"].pop()))


@pytest.mark.parametrize("key", ["name", "kind", "dtype", "shape", "offset", "nbytes", "checksum"])
def test_a_row_that_lacks_a_field(small, refused, key):
    refused(with_fields(small, lambda made: made["tensors"][0].pop(key) and None))


@pytest.mark.parametrize("rows", [None, 1, "abc", {"a": 1}, [None], [1], ["abc"], [[]], [{}], [[["name", "a"]]], True],
                         ids=repr)
def test_a_table_that_is_none(small, refused, rows):
    refused(with_fields(small, lambda made: made.update(tensors=rows)))


REQUIRED = ["id", "progress", "generation", "created", "size_bytes", "metrics", "reason", "reasons", "run", "parent",
            "branch_of", "finished", "tensors", "hdf5"]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_header_that_lacks_a_field(small, refused, key):
    refused(with_fields(small, lambda made: made.pop(key) and None))


@pytest.mark.parametrize("key", ["stage", "epoch", "batch", "step", "elapsed_seconds"])
def test_a_progress_that_lacks_a_field(small, refused, key):
    refused(with_fields(small, lambda made: made["progress"].pop(key) and None))


WRONG = [("progress", value) for value in (None, [], [0, 1, 2, 3, 4.0], "x", 1, {})]
WRONG += [("metrics", value) for value in (None, [], [["loss", 1]], "x", 1)]
WRONG += [("reasons", value) for value in (None, "because", 1, {"a": 1}, True)]
WRONG += [("generation", value) for value in (None, [], {}, "x", "")]
WRONG += [("created", value) for value in (None, [], {}, "x")]
WRONG += [("size_bytes", value) for value in (None, [], "x", 0, -1)]
WRONG += [("hdf5", value) for value in (None, [], "", 0, "0" * 32)]


@pytest.mark.parametrize("key, value", WRONG, ids=repr)
def test_a_header_field_of_the_wrong_type(small, refused, key, value):
    refused(with_fields(small, lambda made: made.update({key: value})))


@pytest.mark.parametrize("key", ["stage", "epoch", "batch", "step", "elapsed_seconds"])
@pytest.mark.parametrize("value", [None, [], {}, "x"], ids=repr)
def test_a_progress_of_the_wrong_type(small, refused, key, value):
    refused(with_fields(small, lambda made: made["progress"].update({key: value})))


@pytest.mark.parametrize("old, new", [
    (b'"generation": 1', b'"generation": 1e999'), (b'"step": 12', b'"step": 1e999'), (b'"step": 12', b'"step": -1e999'),
    (b'"created": 1500000000.0', b'"created": ' + b"9" * 2900),  # a whole number that no float can hold
    (b'"elapsed_seconds": 3.5', b'"elapsed_seconds": NaN'), (b'"elapsed_seconds": 3.5', b'"elapsed_seconds": 1e999'),
    (b'"loss": 0.25', b'"loss": NaN'), (b'"loss": 0.25', b'"loss": Infinity'), (b'"loss": 0.25', b'"loss": -Infinity'),
    (b'"id": "one"', b'"id": "one", "id": "one"'), (b'"epoch": 1', b'"epoch": 1, "epoch": 2'),
    (b'"nbytes": 8', b'"nbytes": 8, "nbytes": 8'), (b'"offset": ', b'"offset": 1e999, "x": '),
    (b'"finished"', b"finished"),
    (b'"nbytes": 8', b'"nbytes": 1e999'), (b'"size_bytes": ', b'"size_bytes": 1e999, "x": '),
], ids=repr)
def test_numbers_and_keys_that_json_can_say_but_we_never_do(small, refused, old, new):
    text = json.dumps(json.loads(header_text(small).decode())).encode()
    assert old in text
    refused(with_text(small, text.replace(old, new, 1)))


@pytest.mark.parametrize("text", [
    b"", b"null", b"1", b"[]", b'"x"', b"{", b"{}", b"{}{}", b"\xff\xfe{}", b'{"a":1,}', b"{'a': 1}", b"NaN",
    b"[" * 3000, b'{"a":' * 700, b"[" * 1400 + b"]" * 1400, b'{"a":"\x01"}', b'{"\\ud800": 1}', b"1" * 3900,
    "{\"a\": \"ä\"}".encode("latin-1"), b'{"tensors": []}', b"\0\0", b" ", b"-", b"tru",
], ids=lambda text: repr(text[:12]))
def test_a_header_that_is_no_header(small, refused, text):
    refused(with_text(small, text))


def test_deep_nesting_of_a_megabyte(tmp_path, refused):
    path = write(tmp_path / "a.h5", session={"text": "x" * 1_000_000})
    with open(path, "rb") as handle:
        data = handle.read()
    for text in (b"[" * 1_000_000, b"[" * 500_000 + b"]" * 500_000, b'{"a":' * 200_000,
                 b'{"tensors":' + b"[" * 400_000 + b"]" * 400_000 + b"}", b'{"a":' + b"1" * 900_000 + b"}"):
        refused(with_text(data, text))


def test_random_edits_of_the_header_never_raise_anything_else(small, tmp_path):
    """A few thousand headers with a valid checksum and one value replaced somewhere."""
    source, path = random.Random(11), str(tmp_path / "a.h5")
    original = json.loads(header_text(small).decode())

    def places(value, at=()):
        yield at
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in inside:
            yield from places(item, at + (key,))

    every = [at for at in places(original) if at]
    for _ in range(4000):
        made = json.loads(json.dumps(original))
        for _ in range(source.choice((1, 1, 2, 3))):
            at = source.choice(every)
            holder = made
            try:
                for key in at[:-1]:
                    holder = holder[key]
                holder[at[-1]] = source.choice(VALUES)
            except (KeyError, IndexError, TypeError):
                pass  # an earlier edit took the place away
        with open(path, "wb") as handle:
            handle.write(with_text(small, json.dumps(made).encode()))
        try:
            verify_checkpoint(path)
        except CheckpointCorrupt:
            pass


@pytest.mark.parametrize("edit", [
    change_row(shape=[10**12], nbytes=4 * 10**12), change_row(shape=[2**40, 2**20], nbytes=2**62),
    change_row(shape=[10**9], nbytes=4 * 10**9), change_row(dtype="bogus", shape=[10**12], nbytes=-(10**12)),
])
def test_a_hostile_header_takes_no_memory(small, tmp_path, edit):
    path = tmp_path / "a.h5"
    path.write_bytes(with_fields(small, edit))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointCorrupt):
            verify_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_no_framework_and_no_libhdf5_is_needed_to_read(tmp_path, small):
    (tmp_path / "a.h5").write_bytes(small)
    script = ("import sys; sys.modules['h5py'] = None\n"
              "from keras_session_ext.checkpoint.reader import read_checkpoint\n"
              "head, tensors = read_checkpoint(sys.argv[1])\n"
              "assert tensors['variables/0'].tolist() == [1.5, -2.5]\n"
              "assert not {'tensorflow', 'keras', 'jax', 'torch', 'pickle5', 'yaml'} & set(sys.modules)\n")
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(keras_session_ext.__file__)))
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.h5")], check=True, env=environment, timeout=60)


def test_fields_and_tensors_are_left_as_they_were(tmp_path):
    given, tensors = fields(), small_tensors()
    Encoder().encode(given, tensors, files_of_ours.EMPTY_VIEW)
    assert given == fields() and [t.array.tolist() for t in tensors] == [[1.5, -2.5], 7]


# -- plain Keras's part never fails a save


@pytest.mark.parametrize("layers", [
    (("dense", (("w", 0), ("w", 1))),),  # two weights of one name
    (("dense", (("w", 0),)), ("dense", (("w", 1),))),  # two layers of one name
    (("a", (("b", 0),)), ("a/b", (("w", 1),))),  # a layer below another's weight
    (("a\0b", (("w", 0),)),), (("a", (("w\0", 0),)),), (("", (("w", 0),)),), (("a", (("", 0),)),),
    ((".", ((".", 0),)),), (("/", (("/", 0),)),), (("a", (("/b", 0), ("/b", 1))),),
], ids=repr)
def test_names_that_hdf5_cannot_take_do_not_fail_the_save(tmp_path, layers):
    path = write(tmp_path / "a.h5", None, hdf5_layout.KerasView((), (), layers))
    assert verify_checkpoint(path).progress.step == 12
    with h5py.File(path, "r") as file:
        assert file["session/variables/t00000"][()].tolist() == [1.5, -2.5]


# -- docs/format.md


@pytest.fixture(scope="module")
def document():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "format.md")
    with open(path, encoding="utf-8") as handle:
        return handle.read()


def test_the_dump_in_the_document_is_a_valid_file(document):
    data = bytearray(12288)
    for block in re.findall("```hexdump\n(.*?)```", document, re.DOTALL):
        for line in block.splitlines():
            if line != "*":
                stored = bytes.fromhex(line[8:58])
                data[int(line[:8], 16) : int(line[:8], 16) + len(stored)] = stored
    block, length, expected = header.parse_line(bytes(data[:105]))
    rest = bytes(data[105:block])
    made = header.unpack(rest[:length], [memoryview(rest)[length:]], expected)
    assert made["size_bytes"] == len(data) and made["hdf5"] in document
    first, second = header.rows(made, block, len(data))
    for row, value in ((first, [1.5, -2.5]), (second, 7)):
        stored = bytes(data[row.offset : row.offset + row.nbytes])
        assert xxhash.xxh3_128_hexdigest(stored) == row.checksum and row.checksum in document
        assert np.frombuffer(stored, row.dtype).reshape(row.shape).tolist() == value
    for offset, nbytes in header.gaps([first, second], block, len(data)):
        assert "{:,} to {:,}".format(offset, offset + nbytes) in document


def test_the_program_in_the_document_writes_such_a_file(document, tmp_path):
    (program,) = re.findall("```python\n(.*?)```", document, re.DOTALL)
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(keras_session_ext.__file__)))
    subprocess.run([sys.executable, "-c", program], cwd=str(tmp_path), env=environment, check=True, timeout=60)
    made, tensors = independent_reader.read(str(tmp_path / "example.h5"))
    found = [(name, array.tolist()) for name, array in tensors]
    assert found == [("variables/model/0", [1.5, -2.5]), ("random/seed", 7)]
    restored = plain_values.decode(made["session"], [array for _, array in tensors].__getitem__)
    assert restored["random"] == {"seed": 7, "limit": float("inf")}
    with h5py.File(str(tmp_path / "example.h5"), "r") as file:
        assert file["model_weights/dense/bias"][()].tolist() == [1.5, -2.5]


def test_the_document_names_every_dtype_and_every_tag(document):
    for name in list(header.DTYPES) + list(plain_values._DECODERS):
        assert "`{}`".format(name) in document or '"{}"'.format(name) in document, name
