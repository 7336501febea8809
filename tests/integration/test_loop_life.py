"""What befalls the process of a loop: signals, disks that vanish, wrappers around its levels; and what is told."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import stores
from harness import environment
from test_loops import SCRIPTS, result, run

import keras_session_ext as kse
from keras_session_ext.lifecycle.journal import read_journal

pytestmark = pytest.mark.slow
SCRIPT = "plain_loop.py"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return result(run(SCRIPT, "jax", tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture(scope="module")
def place():
    with stores.place("s3") as made:
        yield made


def kinds(path):
    return [event.kind for event in read_journal(str(path)).events]


def test_sigterm_saves_where_the_loop_asks_next_and_ends(whole, tmp_path):
    variables = dict(environment("jax"), LOOP_DIRECTORY=str(tmp_path / "run"), LOOP_PACE="0.3", LOOP_EVERY="100")
    process = subprocess.Popen([sys.executable, os.path.join(SCRIPTS, SCRIPT)], env=variables, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    said = ""
    while "STEP 8" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGTERM)
    said += process.communicate(timeout=120)[0]
    assert process.returncode == -signal.SIGTERM and "Session: saved at" in said, said
    step = kse.list_checkpoints(tmp_path / "run")[0].progress.step
    assert step in (8, 9, 10), said
    assert "signal_received" in kinds(tmp_path / "run" / "journal.jsonl")
    again = result(run(SCRIPT, "jax", tmp_path / "run"))
    assert again["values"] == whole["values"] and again["exact"] and again["steps"] <= 24 - step


@pytest.mark.parametrize("wrapped", ["tqdm", "generator"])
def test_what_passes_items_on_may_stand_around_a_level(wrapped, whole, tmp_path):
    for kill in (9, 4):
        done = run(SCRIPT, "jax", tmp_path / "run", kill, LOOP_WRAPPED=wrapped)
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    cut = result(run(SCRIPT, "jax", tmp_path / "run", LOOP_WRAPPED=wrapped))
    assert cut["values"] == whole["values"] and cut["exact"] and cut["steps"] < 24, cut


def test_in_a_store_and_mirrored_on_disks_that_vanish(place, whole, tmp_path):
    for kind, url in (("store", place.url()), ("mirror", place.url())):
        machine = tmp_path / kind
        options = {"background": False} if kind == "store" else {"background": False, "mirror": url}
        directory = url if kind == "store" else str(machine / "run")
        variables = dict(place.variables, TMPDIR=str(machine), LOOP_SETTINGS=json.dumps(options))
        for kill in (14, 0):
            machine.mkdir()
            done = run(SCRIPT, "jax", directory, kill, **dict(variables, LOOP_PACE="0.2" if kill else "0"))
            assert done.returncode == (-signal.SIGKILL if kill else 0), done.stdout + done.stderr
            shutil.rmtree(str(machine))
        again = result(done)
        assert again["values"] == whole["values"] and again["exact"] and again["resumed"] and again["steps"] < 24, kind
        assert kse.list_checkpoints(url)[0].finished


def test_tensorboard_is_told(tmp_path):
    options = json.dumps({"log_dir": str(tmp_path / "board"), "verbose": 1})
    result(run(SCRIPT, "jax", tmp_path / "run", LOOP_SETTINGS=options))
    assert [name for _, _, names in os.walk(str(tmp_path / "board")) for name in names if "tfevents" in name]
    told = kinds(tmp_path / "run" / "journal.jsonl")
    assert told.count("epoch_finished") == 4 and "checkpoint_saved" in told and "fit_finished" in told
    page = kse.report(str(tmp_path / "run"), str(tmp_path / "page.html"))
    assert os.path.getsize(str(page)) > 10_000
