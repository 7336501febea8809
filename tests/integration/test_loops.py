"""Loops of a script's own, killed by SIGKILL and started again: what comes out is what a whole run gives."""

import json
import os
import signal
import subprocess
import sys

import pytest
from harness import HERE, environment

import keras_session_ext as kse

pytestmark = pytest.mark.slow
SCRIPTS = os.path.join(HERE, "loop_scripts")


def run(script, engine, directory, kill=0, **variables):
    made = dict(environment(engine), LOOP_DIRECTORY=str(directory), LOOP_KILL=str(kill), **variables)
    return subprocess.run([sys.executable, os.path.join(SCRIPTS, script)], env=made, capture_output=True,
                          text=True)


def result(done):
    assert done.returncode == 0, done.stdout + done.stderr
    line = [one for one in done.stdout.splitlines() if one.startswith("RESULT ")][-1]
    return json.loads(line[len("RESULT "):])


def killed_and_whole(script, engine, tmp_path, kills, **variables):
    """What a run that was killed at these steps gives, and one that was not."""
    whole = result(run(script, engine, tmp_path / "whole", **variables))
    for kill in kills:
        done = run(script, engine, tmp_path / "cut", kill, **variables)
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    cut = result(run(script, engine, tmp_path / "cut", **variables))
    assert cut["steps"] < whole["steps"], "it was resumed"
    return cut, whole


def whole(*case):
    """A case of `-m matrix`: what it shows CI sees of another engine, or in another script."""
    return pytest.param(*case, marks=pytest.mark.matrix)


@pytest.mark.parametrize("script, engine, kills, variables", [
    ("tensorflow_guide.py", "tensorflow", (13, 8), {}),
    ("tensorflow_guide.py", "tensorflow", (3, 6, 16), {"EAGER": "1"}),
    ("jax_guide.py", "jax", (13, 8), {}),
    ("jax_guide.py", "jax", (4, 7, 15), {"DONATE": "1"}),
    whole("torch_guide.py", "torch", (13, 8), {}),
    ("torch_guide.py", "torch", (12, 7), {"GENERATOR": "1"}),
    ("torch_guide.py", "torch", (12, 9), {"KERAS_OPTIMIZER": "1", "WORKERS": "2"}),
    *[whole("q_learning.py", engine, (17, 8, 14), {}) for engine in ("tensorflow", "jax", "torch")],
    ("trainer_class.py", "tensorflow", (17, 8, 14), {}),
    *[whole("trainer_class.py", engine, (17, 8, 14), {}) for engine in ("jax", "torch")],
    ("two_loops.py", "tensorflow", (15, 4), {}),
    ("mesh.py", "jax", (7,), {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}),
    *[("carried.py", engine, (9, 8), {}) for engine in ("tensorflow", "jax")],
    whole("carried.py", "torch", (9, 8), {}), ("carried_torch.py", "torch", (4, 6, 7), {}),
    ("keras_calls.py", "jax", (5, 6), {}),
    *[whole("keras_calls.py", engine, (5, 6), {}) for engine in ("tensorflow", "torch")]])
def test_a_killed_loop_goes_on_as_if_nothing_had_been(script, engine, kills, variables, tmp_path):
    cut, whole = killed_and_whole(script, engine, tmp_path, kills, **variables)
    assert cut["values"] == whole["values"]
    assert cut["exact"] and whole["exact"], cut["reasons"]


@pytest.mark.parametrize("script", ["loop_dqn.py", pytest.param("loop_gan.py", marks=pytest.mark.matrix)])
def test_the_examples(script):
    path = os.path.join(os.path.dirname(HERE), "examples", script)
    done = subprocess.run([sys.executable, path], env=environment("jax"), capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("exact: yes") == 3 and done.stdout.count("same") >= 6, done.stdout


def test_what_cannot_be_captured_is_named(tmp_path):
    cut, _ = killed_and_whole("q_learning.py", "jax", tmp_path, (17,), OPAQUE="1")
    assert not cut["exact"]
    assert cut["reasons"] == ["env.handle (list_iterator) cannot be captured; keep plain values, or offer get_state "
                              "and set_state"]


@pytest.mark.parametrize("case, words", [
    ("history", "total holds the graph of what it was computed from"),
    ("replaced", "optimizer (SGD) is another than when the loop began"), ("shared", "share their memory now")])
def test_what_tensors_share_or_a_loop_replaces_is_named(case, words, tmp_path):
    cut, _ = killed_and_whole("carried_torch.py", "torch", tmp_path, (14,), CASE=case)
    assert not cut["exact"] and any(words in one for one in cut["reasons"]), cut["reasons"]


def test_a_dataset_that_plain_loops_read_too_is_named(tmp_path):
    cut, _ = killed_and_whole("read_twice.py", "tensorflow", tmp_path, (8,))
    assert not cut["exact"] and "write loop.batches around each of them" in cut["reasons"][0]


@pytest.mark.parametrize("script, engine", [("tensorflow_guide.py", "tensorflow"), ("jax_guide.py", "jax")])
def test_every_reader_opens_a_checkpoint_of_a_loop(script, engine, tmp_path):
    done = run(script, engine, tmp_path / "run")
    result(done)
    infos = kse.list_checkpoints(tmp_path / "run")
    assert len(infos) == 3 and infos[0].finished and infos[0].progress.step == 30
    assert kse.verify_checkpoint(infos[0].path).exact
    for arguments in (["ls", "run"], ["show", infos[0].path], ["verify", "run"], ["log", "run"]):
        shown = subprocess.run([sys.executable, "-m", "keras_session_ext.cli.main", *arguments], cwd=str(tmp_path),
                               env=environment(engine), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert shown.returncode == 0, shown.stdout.decode()
    code = ("import keras, numpy as np\nmodel = keras.models.load_model({!r})\n"
            "print('LOADED', float(sum(np.abs(w).sum() for w in model.get_weights())))".format(infos[0].path))
    loaded = subprocess.run([sys.executable, "-c", code], env=environment(engine), capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    weight = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("WEIGHT ")]
    assert ["LOADED " + weight[0]] == [line for line in loaded.stdout.splitlines() if line.startswith("LOADED")]
