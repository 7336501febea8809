"""The witness: steps that a resume trains again are compared with what they gave before the process died."""

import json
import os
import subprocess
import sys

import pytest
from harness import HERE, environment, finish, kill

import keras_session_ext as kse
from keras_session_ext.lifecycle.journal import read_journal

pytestmark = pytest.mark.slow
ENGINES = pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])


@ENGINES
def test_after_a_real_kill_the_steps_behind_the_checkpoint_are_witnessed(engine, tmp_path):
    """Saved after every epoch, killed by SIGKILL in the next: what lies between is trained again."""
    task = {"directory": str(tmp_path / "run"), "result": str(tmp_path / "result.json"), "every": 50,
            "background": False, "pace": 0.1}  # so that Keras's threads come to tell of steps
    kill(engine, task, "batch:19")  # before its step, so 18 steps were made
    made = finish(engine, task)
    assert made["exact"] and made["diverged_at"] is None
    step = next(info.progress.step for info in kse.list_checkpoints(task["directory"])
                if info.id == made["checkpoint"])
    steps = made["witnessed"]
    assert 1 <= steps <= 18 - step  # Keras tells of a step's end on other threads, which may not have come to the last
    events, _ = read_journal(task["directory"])
    assert [event.figures["steps"] for event in events if event.kind == "witnessed"] == [steps]
    with open(task["result"] + ".txt") as handle:
        assert "Session: witnessed: {} step".format(steps) in handle.read()


@ENGINES
def test_planted_faults_are_found_without_a_list(engine, tmp_path):
    made = subprocess.run([sys.executable, os.path.join(HERE, "witness_faults.py"), str(tmp_path)],
                          env=environment(engine), capture_output=True, check=True)
    lines = [json.loads(line) for line in made.stdout.decode().splitlines()]
    whole, faults = lines[0], lines[1:]
    assert whole["exact"] and whole["witnessed"] == whole["to"] - whole["from"], whole
    assert len(faults) == 10
    for line in faults:
        assert not line["exact"] and not line["saved"], line
        assert line["from"] < line["diverged_at"] <= line["to"], line
        assert len(line["reasons"]) == 1 and "trained again, gave " in line["reasons"][0], line
    assert made.stderr.decode().count("is not the one that was interrupted") == len(faults)  # loudly, once


def test_a_run_without_a_witness_and_one_on_a_full_disk(tmp_path, caplog):
    import keras
    import numpy as np

    def train(folder, **settings):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.ones((32, 4)), np.ones((32, 1)), batch_size=4, epochs=2, verbose=0,
                  callbacks=[kse.SessionCheckpoint(folder, verbose=0, **settings)])

    train(tmp_path / "none", witness=False)
    assert not [name for name in os.listdir(tmp_path / "none") if name.startswith("witness")]
    os.makedirs(tmp_path / "bad")
    os.mkdir(tmp_path / "bad" / "witness-steps")  # in the place of the file
    train(tmp_path / "bad")
    assert caplog.text.count("are no longer witnessed") == 1
    assert kse.list_checkpoints(tmp_path / "bad")[0].finished
