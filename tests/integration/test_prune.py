"""keras-session beside real trainings: while one runs, after it was killed, and before it goes on."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from harness import assert_same, environment, finish, kill
from test_signals import start, wait_until_ready

import keras_session_ext as kse
from keras_session_ext.lifecycle.journal import read_journal
from keras_session_ext.lifecycle.timeline import timeline

pytestmark = pytest.mark.slow


def call(*arguments):
    """Runs a command; returns its exit status, and what it said as JSON."""
    done = subprocess.run([sys.executable, "-c", "from keras_session_ext.cli.main import main; main()",
                           *map(str, arguments), "--json"], capture_output=True, env=environment("jax"))
    assert done.stderr == b"", done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def test_a_pruned_run_goes_on_as_if_it_had_not_been(tmp_path):
    task = {"every": 2, "seed": 7, "background": False, "result": str(tmp_path / "result.json")}
    reference = finish("jax", dict(task, directory=str(tmp_path / "whole")))
    run = str(tmp_path / "killed")
    killed = dict(task, directory=run)
    for moment in ("batch:13", "batch:5"):
        kill("jax", killed, moment)
        before = kse.list_checkpoints(run)
        assert len(before) > 2
        status, dry = call("prune", run, "--keep-last", 2, "--dry-run")
        assert status == 0 and [info.id for info in kse.list_checkpoints(run)] == [info.id for info in before]
        status, done = call("prune", run, "--keep-last", 2, "--yes")
        assert status == 0 and done["removed"] == [one["id"] for one in dry["remove"]]
        assert [info.id for info in kse.list_checkpoints(run)] == [info.id for info in before[:2]]
        assert call("verify", run, "--all")[1]["damaged"] == 0
    resumed = finish("jax", killed)
    assert_same(reference, resumed)
    assert resumed["exact"] and {info.generation for info in kse.list_checkpoints(run)} >= {3}, "the third start"
    made = timeline(read_journal(run).events)
    assert made["headline"]["resumes"] == 2 and made["headline"]["exact"]
    assert [one["ending"] for one in made["processes"]] == [
        "interrupted", "finished", "interrupted", "finished", "finished"], "each prune is a process, too"
    assert made["headline"]["lost_steps"] < 8, "what the killed processes noted last survived the pruning"
    assert call("diff", tmp_path / "whole", run)[1]["tensors"] == []


def test_prune_leaves_a_training_alone_and_ls_sees_it(tmp_path):
    process = start(tmp_path / "run", "train", "SIGUSR1")
    try:
        wait_until_ready(process)
        for how in ("--yes", "--dry-run"):
            status, told = call("prune", tmp_path / "run", "--keep-last", 1, how)
            assert status == 4 and told["error"]["type"] == "DirectoryBusy"
            assert str(process.pid) in told["error"]["message"]
        assert call("ls", tmp_path)[1]["runs"][0]["status"] == "running (pid {})".format(process.pid)
    finally:
        process.kill()
        process.communicate()
    assert call("ls", tmp_path)[1]["runs"][0]["status"] != "running (pid {})".format(process.pid)


def trained(directory):
    x = np.random.default_rng(0).normal(size=(32, 4))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.BatchNormalization(),
                              keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(x, x[:, :2], epochs=2, verbose=0, callbacks=[kse.SessionCheckpoint(directory, verbose=0)])
    return model, x


def test_plain_keras_reads_what_is_exported(tmp_path):
    model, x = trained(str(tmp_path / "run"))
    expected = model.predict(x, verbose=0)
    assert call("export", tmp_path / "run", tmp_path / "model.h5")[0] == 0
    loaded = keras.models.load_model(str(tmp_path / "model.h5"), compile=False)
    assert np.array_equal(loaded.predict(x, verbose=0), expected)
    assert call("export", tmp_path / "run", tmp_path / "weights.h5", "--format", "weights")[0] == 0
    other = keras.models.clone_model(model)
    other.load_weights(str(tmp_path / "weights.h5"))
    assert np.array_equal(other.predict(x, verbose=0), expected)
    assert call("export", tmp_path / "run", tmp_path / "model.safetensors")[0] == 0
    from safetensors.numpy import load_file

    found = load_file(str(tmp_path / "model.safetensors"))
    assert all(np.array_equal(found[variable.path], variable.numpy()) for variable in model.variables)


def test_doctor_imports_what_is_installed(monkeypatch):
    from keras_session_ext.backend import installed
    from keras_session_ext.cli import doctor_checks

    there = installed.versions()
    assert {"keras", "tensorflow", "jax", "torch"} <= set(there)
    monkeypatch.setattr(installed, "versions", lambda: {"keras": there["keras"], "jax": there["jax"]})
    found, = doctor_checks.imports()
    assert found.state == doctor_checks.OK and "family=keras3" in found.value and "engine=jax" in found.value
    monkeypatch.setattr(installed, "kerases", lambda found: [installed.Installed("no_such_keras", "x", "eager", "")])
    found, = doctor_checks.imports()
    assert found.state == doctor_checks.PROBLEM and "No module named 'no_such_keras'" in found.value
