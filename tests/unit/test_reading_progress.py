"""What is told while a large checkpoint is read."""

import os
import shutil

import pytest

from keras_session_ext.run import reading_progress
from keras_session_ext.run.lineage import Lineage
from keras_session_ext.run.reading_progress import ReadingProgress
from keras_session_ext.store.find_checkpoints import list_checkpoints, verify_checkpoint
from keras_session_ext.store.run_directory import RunDirectory

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "families", "golden", "jax-fit.h5")


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(reading_progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def run(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(GOLDEN, "{}/checkpoints/{}.h5".format(tmp_path, verify_checkpoint(GOLDEN).id))
    return tmp_path


def test_lines_come_now_and_then(run, clock):
    info, lines = list_checkpoints(str(run))[0]._replace(size_bytes=2 ** 30), []
    told = ReadingProgress(info, lines.append)
    for _ in range(100):
        clock[0] += 0.25
        told(2 ** 30 // 100)
    assert len(lines) == 3 and lines[0] == (
        "Session: reading {}: 12 % of 1.0 GiB, 41 MiB/s".format(info.id)), lines
    told(2 ** 30)
    assert len(lines) == 3, "it is read"


def test_a_quick_one_tells_nothing(run, clock):
    lines = []
    assert Lineage(RunDirectory(str(run)), "auto", lines.append).origin is not None and lines == []


@pytest.mark.parametrize("restore", ["auto", "best:loss", verify_checkpoint(GOLDEN).id])
def test_every_way_to_a_checkpoint_tells(run, monkeypatch, restore):
    """The clock stands still; what is slow is so at once."""
    monkeypatch.setattr(reading_progress, "FIRST_SECONDS", -1.0)
    lines = []
    assert Lineage(RunDirectory(str(run)), restore, lines.append).origin is not None
    assert lines and lines[0].startswith("Session: reading {}: ".format(verify_checkpoint(GOLDEN).id)), lines
