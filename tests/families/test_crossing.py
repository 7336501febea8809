"""Golden checkpoints of every member, restored on this one: weights, slots and the next step of training."""

import functools
import os

import make_golden
import numpy as np
import pytest
from members import MEMBERS, current

import keras_session_ext as kse

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden")
ORIGINS = [name for name in MEMBERS if not MEMBERS[name].devices]  # these are written on one device


def golden(member, optimizer):
    name = os.path.join(GOLDEN, "{}-{}".format(member, optimizer))
    with np.load(name + ".npz") as expected:
        return name + ".h5", expected["predictions"], expected["next_step"]


@pytest.fixture(scope="module")
def build(keras):
    """Builds one model per purpose: tracing takes most of the time, and nothing of the last file may shine through."""
    if keras.backend.backend() == "tensorflow":
        keras.backend.clear_session()
    make_golden.one_thread(keras)
    return functools.lru_cache(None)(lambda optimizer, purpose: make_golden.build(keras, optimizer))


@pytest.mark.parametrize("optimizer", make_golden.OPTIMIZERS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_golden(origin, optimizer, build, cell):
    """Predictions within 1e-6, and those after the next step of training, too."""
    path, predictions, next_step = golden(origin, optimizer)
    x, y, unseen = make_golden.data()
    model = build(optimizer, "step")
    report = kse.restore_session(model, path)
    assert np.abs(model.predict(unseen) - predictions).max() < 1e-6
    make_golden.train(model, x[48:], y[48:], 1)
    assert np.abs(next_step - predictions).max() > 1e-3  # the step does something
    if not {"keras225", "keras231" if optimizer == "adam" else ""} & {origin, current()}:  # see docs/families.md
        assert np.abs(model.predict(unseen) - next_step).max() < 1e-6, report
    here, there = MEMBERS[current()], MEMBERS[origin]
    if (here.family, here.engine) != (there.family, there.engine):
        assert not report.exact and report.kinds["random"].startswith("not restored")
    cell("restores golden files", "yes")


def test_a_gru_of_the_other_kind_is_refused(keras):
    layers = keras.layers
    path, _, _ = golden("tf115", "adam")
    from keras_session_ext.checkpoint import reader

    head, _ = reader.read_checkpoint(path)
    assert any(layer["class"] == "GRU" and layer["layout"]["reset_after"]
               for layer in head.fields["session"]["variables"]["layers"])
    inputs = layers.Input((8, 8))
    model = keras.models.Model(inputs, layers.GRU(5, reset_after=False)(inputs))
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(kse.StateMismatch):
        kse.restore_session(model, path)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_another_optimizer_begins_anew(keras):
    """Weights are carried, slots are not, and the report says so."""
    origin = "tf115" if current() != "tf115" else "tf215"
    path, predictions, _ = golden(origin, "sgd")
    model = make_golden.build(keras, "adam")
    report = kse.restore_session(model, path)
    assert np.abs(model.predict(make_golden.data()[2]) - predictions).max() < 1e-6
    assert "the optimizer was SGD, now it is Adam" in report.kinds["optimizer"] and not report.exact


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_training_goes_on_from_another_keras(origin, keras, build, tmp_path):
    """SessionCheckpoint begins the next epoch with another Keras's weights, history and what callbacks counted."""
    name = os.path.join(GOLDEN, origin + "-fit")
    x, y, unseen = make_golden.data()
    model = build("adam", "fit")
    callbacks = make_golden.peers(keras)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if not seen:
                seen.append((len(model.history.epoch), callbacks[0].wait, model.get_weights()))

    checkpoint = kse.SessionCheckpoint(str(tmp_path), restore=name + ".h5", verbose=0, on_error="raise")
    history = model.fit(x, y, batch_size=32, epochs=3, verbose=0, callbacks=[*callbacks, checkpoint, Look()])
    with np.load(name + ".npz") as expected:
        assert history.history["loss"][:2] == list(expected["loss"])
        assert len(history.history["loss"]) == 3 and history.epoch == [0, 1, 2]
        model.set_weights(seen[0][2])
        assert np.abs(model.predict(unseen) - expected["predictions"]).max() < 1e-6
    assert seen[0][1] == 1, seen[0][1]
    report = checkpoint.resume_report
    assert report.exact == (origin == current()) or (report.exact is False and "does not repeat" in report.reasons[-1])
    if origin == current():
        assert report.kinds["optimizer"] == "restored"


def test_a_file_saved_outside_fit_is_no_run(keras, tmp_path):
    path, _, _ = golden(current(), "adam")
    x, y, _ = make_golden.data()
    model = make_golden.build(keras, "adam")
    before = model.get_weights()
    with pytest.raises(kse.StateMismatch, match="restore_session"):
        model.fit(x, y, verbose=0, callbacks=[kse.SessionCheckpoint(str(tmp_path), restore=path, verbose=0)])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
