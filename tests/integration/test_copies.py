"""Callbacks that are copied and pickled, as searches and other processes do it; and what is said after a resume."""

import copy
import json
import os
import pickle
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from harness import HERE, environment

import keras_session_ext as kse

X = np.random.RandomState(0).rand(32, 4).astype("float32")
pytestmark = pytest.mark.slow


def fit(*callbacks, epochs=1, model=None):
    if model is None:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    model.fit(X, X[:, :1], batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


def test_a_copy_trains_below_the_directory_it_was_made_for(tmp_path):
    original = kse.SessionCheckpoint(tmp_path / "a", save=kse.EverySteps(3), keep=kse.KeepLast(2), verbose=0,
                                     background=False)
    logger = kse.SessionLogger(tmp_path / "a" / "tb")
    for _ in range(2):
        fit(*copy.deepcopy([original, logger]))
    assert sorted(name for name in os.listdir(tmp_path / "a")) == ["copy-0", "copy-1", "tb"]
    for name in ("copy-0", "copy-1"):
        infos = kse.list_checkpoints(tmp_path / "a" / name)
        assert [info.progress.step for info in infos] == [4, 3] and infos[0].finished
    assert sorted(os.listdir(tmp_path / "a" / "tb")) == ["copy-0", "copy-1"]
    fit(original)  # is none, and trains where it was to
    assert kse.list_checkpoints(tmp_path / "a")[0].finished


def test_a_pickled_callback_is_the_same_elsewhere(tmp_path):
    original = kse.SessionCheckpoint(tmp_path / "a", save=kse.EverySteps(3) | kse.OnSignal(), verbose=0, witness=False,
                                     background=False)
    again = pickle.loads(pickle.dumps([original, kse.SessionLogger(tmp_path / "tb")]))
    fit(*again)
    assert [info.progress.step for info in kse.list_checkpoints(tmp_path / "a")] == [4, 3]
    assert not [name for name in os.listdir(tmp_path / "a") if name.startswith("witness")]


@pytest.mark.parametrize("what, text", [(copy.deepcopy, "cannot be copied"), (pickle.dumps, "cannot be pickled")])
def test_once_a_fit_has_begun_both_say_no(what, text, tmp_path):
    checkpoint = kse.SessionCheckpoint(tmp_path, verbose=0)
    fit(checkpoint)
    with pytest.raises(kse.ConfigError, match=text + ": a fit with it has begun"):
        what(checkpoint)


@pytest.mark.parametrize("name", ["keras_tuner", "optuna"])
def test_a_search_is_killed_and_goes_on(name, tmp_path):
    """In the middle of the second of three trials; each trial of four epochs has 16 batches."""
    def run(folder, kill=0):
        return subprocess.run([sys.executable, os.path.join(HERE, "search.py"), name, str(tmp_path / folder)],
                              env=dict(environment("jax"), KILL=str(kill)), capture_output=True)

    whole = run("whole")
    assert whole.returncode == 0, whole.stderr.decode()
    assert run("killed", 16 + 8).returncode == -signal.SIGKILL
    again = run("killed")
    assert again.returncode == 0, again.stderr.decode()
    assert "resumed from" in again.stdout.decode() and "exact: no" not in again.stdout.decode()
    results = [json.loads(one.stdout.decode().splitlines()[-1]) for one in (whole, again)]
    assert len(results[0]) == 3 and results[0] == results[1]


UNRELATED = """
import sys, numpy as np, keras, keras_session_ext as kse
class Fails(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if len(sys.argv) > 2 and batch == int(sys.argv[2]):
            raise RuntimeError("Table not initialized")
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((32, 4)), np.ones((32, 1)), batch_size=8, epochs=2 + len(sys.argv), verbose=0, callbacks=[
    kse.SessionCheckpoint(sys.argv[1], background=False), Fails()])
"""


def test_an_exception_before_the_first_step_says_that_it_came_after_a_resume(tmp_path):
    def run(*arguments):
        made = subprocess.run([sys.executable, "-c", UNRELATED, str(tmp_path / "a"), *arguments],
                              env=environment("jax"), capture_output=True)
        return made.stderr.decode()

    assert "this came right after" not in run("0")  # nothing was resumed
    run()
    told = run("0")
    assert "Table not initialized" in told and "Session: this came right after a resume from " in told
    assert "restore='never'" in told and str(tmp_path / "a") in told
    assert "this came right after" not in run("2")  # two steps later it is no business of the resume


def test_layers_that_training_unfroze_stay_so(tmp_path):
    """A callback unfreezes a layer and compiles again; every later start said StateMismatch."""
    script = """
import os, signal, sys, hashlib, numpy as np, keras, keras_session_ext as kse
X = np.random.RandomState(0).rand(32, 4).astype("float32")
keras.utils.set_random_seed(1)
frozen = keras.layers.Dense(4, trainable=False)
model = keras.Sequential([keras.Input((4,)), frozen, keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
class Unfreeze(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            frozen.trainable = True
            self.model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
            self.model.make_train_function(force=True)
        if epoch == 2 and len(sys.argv) > 2:
            os.kill(os.getpid(), signal.SIGKILL)
checkpoint = kse.SessionCheckpoint(sys.argv[1], background=False)
model.fit(X, X[:, :1], batch_size=8, epochs=5, verbose=0, callbacks=[Unfreeze(), checkpoint])
print(frozen.trainable, checkpoint.resume_report.exact,
      hashlib.sha256(b"".join(np.asarray(w).tobytes() for w in model.get_weights())).hexdigest())
"""

    def run(folder, *arguments):
        return subprocess.run([sys.executable, "-c", script, str(tmp_path / folder), *arguments],
                              env=environment("tensorflow"), capture_output=True)

    whole = run("whole").stdout.decode().splitlines()[-1].split()
    assert run("killed", "kill").returncode == -signal.SIGKILL
    again = run("killed")
    assert again.returncode == 0, again.stderr.decode()
    trainable, exact, digest = again.stdout.decode().splitlines()[-1].split()
    assert trainable == "True" and (digest == whole[2] or exact == "False")
