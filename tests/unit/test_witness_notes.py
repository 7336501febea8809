"""The notes of steps: what was written is read, whatever a crash, another program or another run made of the file."""

import os
import stat
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_session_ext.run.witness_notes import StepNotes, figures, read_notes


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "notes")


def write(path, numbers, run="run", **logs):
    notes = StepNotes(path, 0o600, run)
    for number in numbers:
        notes.write(number, dict({"loss": number / 3}, **logs))
    notes.close()


def test_what_was_noted_is_read(path):
    write(path, range(1, 8))
    names, notes = read_notes(path, "run")
    assert names == ("loss",) and {number: figures(note) for number, note in notes.items()} == {
        number: (number / 3,) for number in range(1, 8)}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_second_process_goes_on_in_the_same_file(path):
    write(path, range(1, 8))
    write(path, [3])
    assert sorted(read_notes(path, "run")[1]) == list(range(1, 8))


@pytest.mark.parametrize("run, logs", [("another", {}), ("run", {"accuracy": 1.0})])
def test_of_another_run_or_other_logs_it_is_begun_anew(path, run, logs):
    write(path, range(1, 8))
    write(path, [9], run, **logs)
    assert sorted(read_notes(path, run)[1]) == [9]
    assert read_notes(path, "run")[1].keys() - {9} == set()


def test_there_is_nothing_in_a_file_that_is_missing_empty_or_foreign(path, tmp_path):
    assert read_notes(path, "run") == ((), {})
    for content in (b"", b"KSENOTE1", b"x" * 10000, b"KSENOTE1" + struct.pack("<I", 1 << 31) + b"{}"):
        with open(path, "wb") as handle:
            handle.write(content)
        assert read_notes(path, "run") == ((), {})
    assert read_notes(str(tmp_path), "run") == ((), {})


def test_the_file_is_bounded_and_keeps_the_newest(path):
    write(path, range(1, 100000))
    assert os.path.getsize(path) <= 1 << 20
    numbers = sorted(read_notes(path, "run")[1])
    assert numbers[-1] == 99999 and numbers == list(range(numbers[0], 100000)) and len(numbers) > 10000


@given(cut=st.integers(0, 4400), flip=st.integers(0, 4399))
def test_a_torn_file_gives_no_false_note(cut, flip, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("torn") / "notes")
    write(path, range(1, 13))
    with open(path, "r+b") as handle:
        content = bytearray(handle.read())
        if flip < len(content):
            content[flip] ^= 255
        handle.seek(0)
        handle.write(content)
        handle.truncate(cut)
    for number, note in read_notes(path, "run")[1].items():
        assert figures(note) == (number / 3,)


def test_bits_are_compared_not_numbers(path):
    notes = StepNotes(path, 0o600, "run")
    one, other = (notes.write(1, {"loss": value}) for value in (float("nan"), float("nan")))
    assert one == other
    assert notes.write(2, {"loss": 0.0}) != notes.write(2, {"loss": -0.0})
    assert notes.write(3, {"loss": np.float32(0.1)}) == notes.write(3, {"loss": float(np.float32(0.1))})
    assert notes.write(4, {"loss": np.arange(3)}) != notes.write(4, {"loss": np.arange(3) + 1})
    assert notes.write(5, {"loss": np.ones(3)}) == notes.write(5, {"loss": np.ones(3)})
    notes.close()


def test_no_link_is_followed_and_no_pipe_is_written_to(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    os.symlink(str(victim), path)
    with pytest.raises(OSError):
        StepNotes(path, 0o600, "run").write(1, {"loss": 1.0})
    assert victim.read_bytes() == b"precious"
    os.remove(path)
    os.mkfifo(path)
    with pytest.raises(OSError, match="no ordinary file"):
        StepNotes(path, 0o600, "run").write(1, {"loss": 1.0})


def test_too_many_names_are_an_error_and_no_corruption(path):
    with pytest.raises(OSError, match="too many names"):
        StepNotes(path, 0o600, "run").write(1, {"a metric with a long name {}".format(n): 0.0 for n in range(500)})
