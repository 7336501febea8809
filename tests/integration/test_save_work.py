"""How much a save does, in counts: nothing here depends on how fast a machine is."""

import json
import subprocess
import sys

import pytest
from harness import environment

COUNTED = """
import collections, json, sys, threading
import keras, numpy as np
import keras_session_ext as kse
from keras_session_ext.checkpoint import encoder
from keras_session_ext.run import structure

depth, counts = int(sys.argv[1]), collections.Counter()
main = threading.main_thread()

def counted(holder, name, what=None):
    function = getattr(holder, name)
    def call(*arguments, **options):
        counts[what or name] += 1
        counts[(what or name) + " on the training thread"] += threading.current_thread() is main
        return function(*arguments, **options)
    setattr(holder, name, call)

counted(structure, "_make", "structures")
counted(structure, "_key", "looks at variables")
counted(encoder, "_make", "layouts")
counted(keras.layers.Dense, "get_config", "configs of layers")
model = keras.Sequential([keras.Input((6,))] + [keras.layers.Dense(6) for _ in range(depth)])
options = {} if keras.backend.backend() == "jax" else {"jit_compile": False}
model.compile("adam", "mse", **options)
x = np.ones((96, 6), "float32")
saves = kse.SessionCheckpoint("run", save=kse.EverySteps(3), keep=kse.KeepAll(), verbose=0)
model.fit(x, x, batch_size=8, epochs=3, verbose=0, callbacks=[saves])
counts["saves"] = len(kse.list_checkpoints("run"))
print(json.dumps(counts))
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_what_is_the_same_in_every_save_is_made_once(engine, tmp_path):
    """Names, encoded texts, the Keras view and the file's skeleton: of a thousand layers they take half a second."""
    made = subprocess.run([sys.executable, "-c", COUNTED, "12"], env=environment(engine), cwd=str(tmp_path),
                          stdout=subprocess.PIPE, check=True)
    counts = json.loads(made.stdout.decode().splitlines()[-1])
    assert counts["saves"] >= 4
    # before and behind the first step, where that makes the optimizer's variables
    assert counts["structures"] <= 2 and counts["configs of layers"] <= 24, counts
    assert counts["layouts"] <= 4, counts  # within an epoch, at its end, at the end of the fit
    assert counts["layouts on the training thread"] == 0, counts
    if engine != "tensorflow":  # JAX's trainer has the variables while a step runs: no other thread may ask for them
        assert counts["looks at variables"] == counts["looks at variables on the training thread"], counts


CHANGES = """
import json, sys
import keras, numpy as np
import keras_session_ext as kse
from keras_session_ext.checkpoint import reader

seen = {}

class Note(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        seen[self.model.loss, epoch + 1] = [np.array(value) for value in self.model.get_weights()]

def build(dtype):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, dtype=dtype, trainable=False),
                              keras.layers.BatchNormalization(dtype=dtype), keras.layers.Dense(1, dtype=dtype)])
    model.compile("sgd", "mse")
    return model

x = np.random.RandomState(0).rand(64, 6).astype("float32")
for dtype in ("mixed_bfloat16", "bfloat16"):
    run = "run-" + dtype
    model = build(dtype)
    callbacks = [Note(), kse.SessionCheckpoint(run, save=kse.EveryEpochs(1), keep=kse.KeepAll(), verbose=0)]
    model.fit(x, x[:, :1], batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
    model.layers[0].trainable = True
    model.compile("adam", "mae", metrics=["mse"])
    model.fit(x, x[:, :1], batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
    assert len(kse.list_checkpoints(run)) == 4
    for info in kse.list_checkpoints(run):
        noted = seen["mae" if info.progress.stage else "mse", info.progress.epoch]
        head, tensors = reader.read_checkpoint(info.path)
        saved = [value for name, value in tensors.items() if name.startswith("variables/model/arrays/")]
        weights = {value.tobytes() for value in saved}
        for value in noted:
            assert value.tobytes() in weights, (run, info.progress)
        plain = build(dtype)
        plain.layers[0].trainable = bool(info.progress.stage)  # Keras's files have the trainable weights first
        plain.load_weights(info.path)
        for one, other in zip(plain.get_weights(), noted):
            assert np.array_equal(np.asarray(one, "float32"), np.asarray(other, "float32")), (run, info.progress)
print("checked", len(seen))
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_each_save_is_of_its_own_moment_whatever_changes(engine, tmp_path):
    """A model that is unfrozen and compiled again between two fits, in two precisions; plain Keras reads it."""
    made = subprocess.run([sys.executable, "-c", CHANGES], env=environment(engine), cwd=str(tmp_path),
                          stdout=subprocess.PIPE, check=True)
    assert made.stdout.split()[-2:] == [b"checked", b"4"]


SETTINGS = """
import json
import h5py, keras, numpy as np
import keras_session_ext as kse
from keras_session_ext.checkpoint import reader

class Counts(keras.layers.Layer):
    def build(self, shape):
        self.wide = self.add_weight(shape=(), dtype="int64", trainable=False, initializer="zeros", name="wide")
        self.narrow = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros", name="narrow")
    def call(self, x):
        return x

class Rate(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.layers[0].rate = 0.1 * (epoch + 1)

model = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.5), Counts(), keras.layers.Dense(1)])
model.compile("sgd", "mse", **({} if keras.backend.backend() == "jax" else {"jit_compile": False}))
x = np.ones((32, 6), "float32")
def fit(epochs):
    return model.fit(x, x[:, :1], batch_size=8, epochs=epochs, verbose=0, callbacks=[
        Rate(), kse.SessionCheckpoint("run", save=kse.EveryEpochs(1) | kse.EverySteps(3), keep=kse.KeepAll(),
                                      background=False, verbose=0)])
fit(3)
rates, dtypes = {}, set()
for info in kse.list_checkpoints("run"):
    with h5py.File(info.path, "r") as file:
        config = file.attrs["model_config"]
    layers = json.loads(config)["config"]["layers"]
    rate, = (one["config"]["rate"] for one in layers if one["class_name"] == "Dropout")
    rates[info.progress.step] = round(rate, 3)
    dtypes.add(str(sorted((name.split("/")[-1], str(array.dtype)) for name, array in reader.read_checkpoint(
        info.path)[1].items() if name.endswith(("wide", "narrow")))))
fit(4)
print(json.dumps([rates, len(dtypes)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_the_configuration_in_a_file_is_that_of_its_moment(engine, tmp_path):
    """A rate that a callback changes; and variables of which the engine makes others than they say, always the same."""
    made = subprocess.run([sys.executable, "-c", SETTINGS], env=environment(engine), cwd=str(tmp_path),
                          stdout=subprocess.PIPE, check=True)
    rates, dtypes = json.loads(made.stdout.decode().splitlines()[-1])
    assert {int(step): rate for step, rate in rates.items()} == {3: 0.1, 4: 0.1, 6: 0.2, 8: 0.2, 9: 0.3, 12: 0.3}
    assert dtypes == 1


ASKED_TWICE = """
import json
import keras, numpy as np
import keras_session_ext as kse

asked = []

class InValidation(kse.SavePolicy):
    inside = 0
    def __call__(self, progress, logs):
        return bool(type(self).inside)

class Ask(keras.callbacks.Callback):
    def on_test_batch_begin(self, batch, logs=None):
        InValidation.inside = self.model.optimizer.iterations.numpy() > 8 if batch in (1, 2) else 0
    def on_test_end(self, logs=None):
        InValidation.inside = 0

keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), keras.layers.Dense(1)])
model.compile("sgd", "mse")
x = np.random.RandomState(0).rand(64, 6).astype("float32")
model.fit(x, x[:, :1], batch_size=8, epochs=3, verbose=0, validation_data=(x, x[:, :1]), validation_batch_size=8,
          callbacks=[Ask(), kse.SessionCheckpoint("run", save=InValidation(), keep=kse.KeepAll(), verbose=0)])
print(json.dumps([[info.progress.epoch, info.progress.batch] for info in reversed(kse.list_checkpoints("run"))]))
"""


@pytest.mark.slow
def test_a_snapshot_that_waits_for_a_reason_is_saved_once(tmp_path):
    """Asked for twice within a validation, the state is that of one moment, and one file says so."""
    made = subprocess.run([sys.executable, "-c", ASKED_TWICE], env=environment("tensorflow"), cwd=str(tmp_path),
                          stdout=subprocess.PIPE, check=True)
    assert json.loads(made.stdout.decode().splitlines()[-1]) == [[1, 8], [2, 8], [3, 0]]
