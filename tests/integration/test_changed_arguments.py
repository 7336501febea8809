"""What a script made its layers, losses, metrics and callbacks with, and says otherwise at the next start."""

import time

import keras
import numpy as np
import pytest

import keras_session_ext as kse

pytestmark = pytest.mark.slow

X = np.random.RandomState(0).rand(48, 6).astype("float32")
layers, callbacks = keras.layers, keras.callbacks


class Scaled(layers.Layer):
    """Says nothing of itself by `get_config`, where Keras cannot know how to."""

    def __init__(self, scale, of=None):
        super().__init__()
        self.scale, self.of = scale, of

    def call(self, x):
        return x * self.scale


class Anneal(callbacks.Callback):
    def __init__(self, rate, path="", started=0.0):
        super().__init__()
        self.rate, self.path, self.began = rate, path, started

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = self.rate ** epoch


class Thin(callbacks.Callback):
    """Changes what the script has made the layer with."""

    def on_epoch_end(self, epoch, logs=None):
        for layer in self.model.layers:
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.1


def start(folder, epochs, *parts, loss="mse", metrics=(), peers=()):
    keras.utils.set_random_seed(1)
    made = [part() for part in parts]
    model = keras.Sequential([keras.Input((6,)), *made, layers.Dense(1)])
    model.compile("sgd", loss, metrics=list(metrics))
    checkpoint = kse.SessionCheckpoint(folder, background=False, verbose=0)
    model.fit(X, X[:, :1], batch_size=16, epochs=epochs, verbose=0, callbacks=[*peers, checkpoint])
    return checkpoint.resume_report


def layer(kind, **options):
    return lambda value: ([lambda: kind(**{name: value if one is None else one for name, one in options.items()})], {})


def peer(make):
    return lambda value: ([], {"peers": [make(value)]})


#: the reason, the value before, the value now, and what is made with it
CHANGED = {
    "Dropout": ("layer dropout: rate 0.2 → 0.5", 0.2, 0.5, layer(layers.Dropout, rate=None)),
    "activation": ("layer dense: activation relu → tanh", "relu", "tanh", layer(
        layers.Dense, units=4, activation=None)),
    "regularizer": ("layer dense: kernel_regularizer L2(l2=0.5) → L2(l2=0.25)", 0.5, 0.25, lambda value: (
        [lambda: layers.Dense(4, kernel_regularizer=keras.regularizers.L2(value))], {})),
    "constraint": ("layer dense: kernel_constraint None → NonNeg()", None, "NonNeg", layer(
        layers.Dense, units=4, kernel_constraint=None)),
    "wrapped": ("layer dense: activation relu → tanh", "relu", "tanh", lambda value: (
        [lambda: layers.SpectralNormalization(layers.Dense(4, activation=value))], {})),
    "momentum": ("layer batch_normalization: momentum 0.9 → 0.99", 0.9, 0.99, layer(
        layers.BatchNormalization, momentum=None)),
    "trainable": ("layer dense: trainable False → True", False, True, layer(layers.Dense, units=4, trainable=None)),
    "user's": ("layer scaled: scale 0.5 → 2", 0.5, 2, layer(Scaled, scale=None)),
    "user's, no config": ("layer scaled: scale 0.5 → 2", 0.5, 2, layer(Scaled, scale=None, of=len)),
    "loss": ("Huber", 0.5, 2.0, lambda value: ([], {"loss": keras.losses.Huber(value)})),
    "metric": ("metric accuracy: threshold 0.25 → 0.5", 0.25, 0.5, lambda value: (
        [], {"metrics": [keras.metrics.BinaryAccuracy("accuracy", threshold=value)]})),
    "patience": ("callback EarlyStopping: patience 30 → 4", 30, 4, peer(
        lambda value: callbacks.EarlyStopping("loss", patience=value))),
    "min_delta": ("callback EarlyStopping: min_delta 0 → 0.25", 0, 0.25, peer(
        lambda value: callbacks.EarlyStopping("loss", min_delta=value, patience=9))),
    "baseline": ("callback EarlyStopping: baseline None → 9", None, 9, peer(
        lambda value: callbacks.EarlyStopping("loss", patience=9, baseline=value))),
    "monitor": ("callback ReduceLROnPlateau: monitor loss → learning_rate", "loss", "learning_rate", peer(
        lambda value: callbacks.ReduceLROnPlateau(value, mode="min"))),
    "user's callback": ("callback Anneal: rate 0.5 → 0.25", 0.5, 0.25, peer(lambda value: Anneal(value))),
    "the second one": ("callback Anneal 1: rate 0.5 → 0.25", 0.5, 0.25, lambda value: (
        [], {"peers": [Anneal(0.5), Anneal(value)]})),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_argument_is_a_reason(what, tmp_path):
    reason, before, now, make = CHANGED[what]
    start(tmp_path, 1, *make(before)[0], **make(before)[1])
    same = start(tmp_path, 2, *make(before)[0], **make(before)[1])
    assert same.exact and same.changes == ["epochs: 1 at the checkpoint, 2 now"], (same.reasons, same.changes)
    report = start(tmp_path, 3, *make(now)[0], **make(now)[1])
    assert not report.exact
    if what == "loss":  # was compared before: by what it says of itself
        assert any("0.5" in one and "2.0" in one for one in report.reasons), report.reasons
    else:
        assert report.reasons == [reason]
        assert len(report.changes) == 2


UNCHANGED = {
    "seed": layer(layers.Dropout, rate=0.2, seed=None),
    "name": layer(layers.Dropout, rate=0.2, name=None),
    "verbose": peer(lambda value: callbacks.EarlyStopping("loss", patience=9, verbose=len(value) - 1)),
    "path of Keras's": peer(lambda value: callbacks.CSVLogger("/tmp/{}.csv".format(value))),
    "user's path": peer(lambda value: Anneal(0.5, path=value)),
    "user's time": peer(lambda value: Anneal(0.5, started=time.time())),
    "how often it is written": peer(lambda value: callbacks.ModelCheckpoint(
        "/tmp/{epoch}.keras", monitor="loss", save_freq=10 ** 6 + len(value))),
    "initializer": lambda value: ([lambda: layers.Dense(4, kernel_initializer={
        "a": "zeros", "bb": "ones"}[value])], {}),
    "lambda": lambda value: ([lambda: layers.Lambda(lambda x: x + len(value), output_shape=(6,))], {}),
}


@pytest.mark.parametrize("what", UNCHANGED)
def test_what_makes_no_other_training_is_no_reason(what, tmp_path):
    values = {"seed": (1, 2)}.get(what, ("a", "bb"))
    for number, value in enumerate(values):
        parts, options = UNCHANGED[what](value)
        report = start(tmp_path, number + 1, *parts, **options)
    assert report.checkpoint and not [one for one in report.reasons if "→" in one], report.reasons


def test_what_is_adapted_at_the_first_start_only_has_not_changed(tmp_path):
    for epochs in (1, 2):
        layer = layers.Normalization()
        if epochs == 1:
            layer.adapt(X)
        report = start(tmp_path, epochs, lambda layer=layer: layer)
    assert report.exact and len(report.changes) == 1, (report.reasons, report.changes)


def test_what_training_changed_is_the_checkpoints(tmp_path):
    """As with the learning rate: what the script says otherwise does not count, and is told."""
    def dropout(rate):
        return lambda: layers.Dropout(rate)

    start(tmp_path, 1, dropout(0.3), peers=[Thin()])
    report = start(tmp_path, 2, dropout(0.3), peers=[Thin()])
    assert report.exact and len(report.changes) == 1, (report.reasons, report.changes)
    for epochs in (3, 4):  # at each start
        report = start(tmp_path, epochs, dropout(0.5), peers=[Thin()])
        assert report.exact, report.reasons
        assert [one.split(". ")[0] for one in report.changes if "dropout" in one] == [
            "layer dropout.rate: the script says 0.5; what is used is the checkpoint's 0.1"]


def test_two_stages_that_unfreeze(tmp_path):
    """What the script changes between its fits has not changed since the last start."""
    def script(last):
        keras.utils.set_random_seed(1)
        frozen = layers.Dense(4, trainable=False)
        model = keras.Sequential([keras.Input((6,)), frozen, layers.Dropout(0.2), layers.Dense(1)])
        checkpoint = kse.SessionCheckpoint(tmp_path, background=False, verbose=0)
        stopping = callbacks.EarlyStopping("loss", patience=9, min_delta=0.25)  # Keras turns its sign in the first fit
        for epochs, trainable in ((1, False), (last, True)):
            frozen.trainable = trainable
            model.compile("sgd", "mse")
            model.fit(X, X[:, :1], batch_size=16, epochs=epochs, verbose=0, callbacks=[
                Thin(), stopping, checkpoint])
        return checkpoint.resume_report

    script(1)
    report = script(2)
    assert report.exact and report.changes == ["epochs: 1 at the checkpoint, 2 now"], (report.reasons, report.changes)
