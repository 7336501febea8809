"""Callbacks made of a config: they are the ones a script would make, and they train."""

import json
import os

import keras
import numpy as np
import pytest
from sources import digits

import keras_session_ext as kse

pytestmark = pytest.mark.slow

X, Y = digits()
X, Y = X[:128], Y[:128]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make_model():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.3),
                              keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def arguments(checkpoint):
    """What a SessionCheckpoint was made with, as its session holds it."""
    session = checkpoint._session
    return (session.directory.path, session.directory.file_mode, repr(session._policy), repr(session.saves.keep),
            session.restore_setting, session._verbose, session.saves._background, session.saves._on_error)


def test_the_defaults_are_those_of_the_callback():
    (checkpoint,) = kse.callbacks_from_config({"directory": "runs/a"})
    expected = kse.SessionCheckpoint("runs/a")
    assert type(checkpoint) is type(expected) and isinstance(checkpoint, keras.callbacks.Callback)
    assert arguments(checkpoint) == arguments(expected)


def test_every_setting_arrives():
    config = {"session": {
        "directory": "runs/b", "save": {"every_steps": 4, "every": "10m", "on_best": {"monitor": "acc", "mode": "min"},
                                        "on_signal": "SIGUSR1"},
        "keep": {"last": 2, "best": {"monitor": "acc", "n": 3, "mode": "min"}, "every_epochs": 5, "size": "1GiB"},
        "restore": "never", "background": False, "on_error": "raise", "verbose": 0, "group": True, "tensorboard": "tb"}}
    checkpoint, logger = kse.callbacks_from_config(config)
    expected = kse.SessionCheckpoint(
        "runs/b",
        kse.EverySteps(4) | kse.EverySeconds(600) | kse.OnBest("acc", "min") | kse.OnSignal("SIGUSR1"),
        kse.KeepLast(2) | kse.KeepBest(3, "acc", "min") | kse.KeepEvery(epochs=5) | kse.KeepSize(2**30),
        restore="never", background=False, on_error="raise", verbose=0, group=True)
    assert arguments(checkpoint) == arguments(expected)
    assert isinstance(logger, kse.SessionLogger) and logger._log_dir == os.path.abspath("tb")


@pytest.mark.parametrize("config, kinds", [
    ({"session": None}, []),
    ({"tensorboard": "tb"}, ["SessionLogger"]),
    ({"directory": "a", "tensorboard": {"log_dir": "tb"}}, ["SessionCheckpoint", "SessionLogger"]),
])
def test_only_what_is_configured_is_made(config, kinds):
    assert [type(callback).__name__ for callback in kse.callbacks_from_config(config)] == kinds


def test_the_session_knows_what_is_in_effect():
    (checkpoint,) = kse.callbacks_from_config({"directory": "a", "save": {"every": "1m"}}, overrides=["keep.last=9"])
    assert checkpoint._session.directory.config == {
        "directory": "a", "save": {"every": 60}, "keep": {"last": 9}, "restore": "auto", "background": True,
        "on_error": "warn", "verbose": 1, "group": False, "witness": True,
        "stop_is_final": True}


def test_a_wrong_config_makes_nothing():
    with pytest.raises(kse.ConfigError) as caught:
        kse.callbacks_from_config({"directory": "runs/a", "save": {"on_signal": "SIGKILL"}, "verbose": 3})
    assert len(caught.value.problems) == 2 and not os.path.exists("runs")


def test_a_run_from_a_file_resumes(capsys):
    with open("train.yaml", "w") as handle:
        json.dump({"trainer": {"session": {
            "directory": "runs/a", "save": {"every_epochs": 1}, "keep": {"last": 2, "size": "1TB"}, "verbose": 0,
            "tensorboard": "runs/a/tensorboard"}}}, handle)

    def fit(epochs, directory="runs/a"):
        callbacks = kse.callbacks_from_config("train.yaml", key="trainer.session", overrides=[
            "directory=" + directory, "tensorboard=" + directory + "/tensorboard"])
        model = make_model()
        history = model.fit(X, Y, epochs=epochs, batch_size=32, verbose=0, callbacks=callbacks)
        return model, history

    fit(2)
    model, history = fit(4)
    whole, _ = fit(4, "runs/b")
    assert len(history.history["loss"]) == 4
    assert all(np.array_equal(one, other) for one, other in zip(model.get_weights(), whole.get_weights()))
    assert len(kse.list_checkpoints("runs/a")) == 4, "the size is large enough for all"
    assert os.listdir("runs/a/tensorboard")
