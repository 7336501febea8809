"""A later start that says something else, and a training that changes what the script has said: on this member."""

import json
import os
import subprocess
import sys

import pytest
import train
from harness import environment
from members import MEMBERS, current

import keras_session_ext as kse

pytestmark = pytest.mark.slow

NAME = current()
MEMBER = MEMBERS[NAME]
HERE = os.path.dirname(os.path.abspath(__file__))


def start(keras, folder, epochs, rate=0.25, patience=9, units=8, activation="relu"):
    """One start of a script, in this process: what it says of what has changed, and why it is not exact."""
    if MEMBER.engine == "tensorflow":
        keras.backend.clear_session()
    train.seed(1, MEMBER.engine)
    layers = keras.layers
    model = keras.models.Sequential([layers.Dense(units, activation=activation, input_shape=(64,)),
                                     layers.BatchNormalization(), layers.Dropout(rate), layers.Dense(10)])
    model.compile("sgd", "mse")
    checkpoint = kse.SessionCheckpoint(folder, verbose=0, on_error="raise")
    x, y = train._xy()
    y = (y[:64, None] == list(range(10))).astype("float32")
    model.fit(x[:64], y, epochs=epochs, verbose=0, callbacks=[
        keras.callbacks.EarlyStopping("loss", patience=patience, min_delta=0.001), checkpoint])
    report = checkpoint.resume_report
    return report.changes, [reason for reason in report.reasons if "→" in reason]


def test_arguments_that_changed_are_reasons(keras, tmp_path):
    folder = str(tmp_path / "run")
    start(keras, folder, 1)
    assert start(keras, folder, 2) == (["epochs: 1 at the checkpoint, 2 now"], [])
    changes, reasons = start(keras, folder, 3, rate=0.5, patience=4, activation="tanh")
    assert reasons == ["callback EarlyStopping: patience 9 → 4", "layer dense: activation relu → tanh",
                       "layer dropout: rate 0.25 → 0.5"]
    assert len(changes) == 4


UNFREEZES = """
import hashlib, json, os, signal, sys
import members
import numpy as np
keras = members.load()
import keras_session_ext as kse
import train

folder = sys.argv[1]
train.seed(1, members.MEMBERS[members.current()].engine)
if members.MEMBERS[members.current()].family == "keras3":
    keras.utils.set_random_seed(1)
x, y = train._xy()
body, head = keras.layers.Dense(8, activation="relu", trainable=False), keras.layers.Dense(10, activation="softmax")
inputs = keras.layers.Input((64,))
model = keras.models.Model(inputs, head(body(inputs)))


def compile(rate):
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "sparse_categorical_crossentropy")


class Unfreeze(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            body.trainable = True
            compile(0.01)
            if hasattr(model, "make_train_function"):  # without it a running fit keeps the function that it has
                model.make_train_function(**({"force": True} if FORCES else {}))


class Dies(keras.callbacks.Callback):
    batches = 0

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_batch_begin(self, batch, logs=None):
        Dies.batches += 1
        if Dies.batches == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)


FORCES = "force" in getattr(getattr(model, "make_train_function", None), "__code__", compile.__code__).co_varnames
compile(0.05)
checkpoint = kse.SessionCheckpoint(folder, save=kse.EverySteps(3), background=False, witness=False)
model.fit(x, y, batch_size=50, shuffle=False, epochs=5, verbose=0, callbacks=[Unfreeze(), Dies(), checkpoint])
report = checkpoint.resume_report
print("\\nRESULT" + json.dumps({
    "exact": report.exact, "reasons": report.reasons, "resumed": report.checkpoint, "trainable": body.trainable,
    "weights": hashlib.sha256(b"".join(np.asarray(one).tobytes() for one in model.get_weights())).hexdigest()}))
"""


def unfreezing(folder, dies=0):
    """Status, and what a run says at its end, or what it died of."""
    made = subprocess.run([sys.executable, "-c", UNFREEZES, folder, str(dies)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=dict(environment(MEMBER.engine), **MEMBER.variables), cwd=HERE)
    text = made.stdout.decode(errors="replace")
    return made.returncode, json.loads(text.rsplit("RESULT", 1)[1]) if made.returncode == 0 else text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    status, made = unfreezing(str(tmp_path_factory.mktemp("unfreezes") / "whole"))
    assert status == 0, made
    return made


# plain Keras cannot do it on JAX: the variables of a fit are told apart when it begins; nor TensorFlow 2.1, which frees
# the first optimizer under a running fit, nor tf_keras without version 2's behavior: it converts no second optimizer
@pytest.mark.members(*(name for name in MEMBERS if MEMBERS[name].engine != "jax" and name not in (
    "tf21", "tf_keras-v1")))
@pytest.mark.variant
@pytest.mark.parametrize("dies", [13, 15, 22])  # right behind it, where there are no slots yet; later; in a later epoch
def test_a_callback_that_unfreezes_and_compiles_again(dies, whole, tmp_path):
    assert unfreezing(str(tmp_path / "killed"), dies)[0] == -9
    status, again = unfreezing(str(tmp_path / "killed"))
    if status:
        assert "StateMismatch" in again and "which layers are trainable" in again, again
    else:
        assert again["trainable"] and again["resumed"]
        assert again["weights"] == whole["weights"] or (not again["exact"] and again["reasons"]), again
    assert MEMBER.family != "keras3" or (status == 0 and again["weights"] == whole["weights"])
