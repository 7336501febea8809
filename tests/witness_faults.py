"""Faults that no list knows of, planted in a resumed run: the witness has to find each of them.

`python witness_faults.py FOLDER` trains once on the engine of KERAS_BACKEND, then resumes copies of the run, one per
fault, and prints one JSON line each.
"""

import json
import os
import shutil
import sys

import keras
import numpy as np

import keras_session_ext as kse

ENGINE = keras.backend.backend()
RANDOM = np.random.RandomState(0)
X = RANDOM.rand(64, 6).astype("float32")
Y = X.sum(1, keepdims=True)
EPOCHS = 3


class Batches(keras.utils.PyDataset):
    """Its later batches may be others than before."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        rows, fault = slice(8 * index, 8 * index + 8), os.environ.get("FAULT")
        x = X[rows]
        if fault == "other data" and index == 6:
            x = x + np.float32(0.01)
        if fault == "noise of the system" and index >= 6:
            x = x + np.frombuffer(os.urandom(x.size), np.uint8).reshape(x.shape).astype("float32") / 1000
        return x, Y[rows]


class Planted(keras.callbacks.Callback):
    """Does something that nobody captured, right before the first step of a process."""

    def get_state(self):
        return {}

    def set_state(self, state):
        self.done = False

    def on_train_batch_begin(self, batch, logs=None):
        if not getattr(self, "done", False):
            self.done = True
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            FAULTS[os.environ.get("FAULT")](self.model)

    def on_epoch_end(self, epoch, logs=None):
        os.environ["HIDDEN"] = str(int(os.environ.get("HIDDEN", 0)) + 1)  # where no one looks
        self.model.optimizer.learning_rate = 0.05 / int(os.environ["HIDDEN"])


def nothing(model):
    pass


def tamper(model):
    kernel = model.layers[0].kernel
    kernel.assign(np.asarray(keras.ops.convert_to_numpy(kernel)) * 1.001)


def other_seed(model):
    generator = model.get_layer("dropout").seed_generator
    generator.state.assign([7, 7])


def lost_slot(model):
    slot = model.optimizer.variables[2]
    slot.assign(np.zeros(slot.shape))


def wrong_rate(model):
    model.optimizer.learning_rate = 0.049


def lost_average(model):
    """Training does not look at it: it shows in the validation."""
    average = model.get_layer("norm").moving_mean
    average.assign(np.zeros(average.shape))


def lost_metric(model):
    model.reset_metrics()


def lost_bias(model):
    model.layers[-1].bias.assign([0.5])


def hidden_counter(model):
    os.environ["HIDDEN"] = "0"


FAULTS = {None: nothing, "other data": nothing, "noise of the system": nothing, "a weight": tamper,
          "a dropout seed": other_seed, "a lost slot": lost_slot, "a wrong learning rate": wrong_rate,
          "a lost average": lost_average, "a lost metric": lost_metric, "a lost bias": lost_bias,
          "a hidden counter": hidden_counter}


def start(folder, fault=None):
    os.environ.pop("FAULT", None)
    if fault:
        os.environ["FAULT"] = fault
    keras.utils.set_random_seed(3)
    model = keras.Sequential([
        keras.Input((6,)), keras.layers.Dense(8, activation="relu"), keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dropout(0.3, seed=5, name="dropout"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    checkpoint = kse.SessionCheckpoint(folder, save=kse.EverySteps(4), keep=kse.KeepAll(), background=False, verbose=0)
    model.fit(Batches(), epochs=EPOCHS, verbose=0, validation_data=(X[:16], Y[:16]), shuffle=False,
              callbacks=[Planted(), checkpoint])
    return checkpoint


if __name__ == "__main__":
    whole = os.path.join(sys.argv[1], "whole")
    os.environ["HIDDEN"] = "0"
    start(whole)
    infos = [info for info in kse.list_checkpoints(whole) if info.progress.epoch == 1 and info.progress.batch]
    middle = infos[-1]
    for number, fault in enumerate(FAULTS):
        copy = os.path.join(sys.argv[1], "copy-{}".format(number))
        shutil.copytree(whole, copy)
        for other in kse.list_checkpoints(copy):
            if other.id != middle.id:
                os.remove(other.path)
        os.environ["HIDDEN"] = "1"  # one epoch was over
        report = start(copy, fault).resume_report
        print(json.dumps({
            "fault": fault, "from": middle.progress.step, "to": EPOCHS * 8, "exact": report.exact,
            "witnessed": report.witnessed, "diverged_at": report.diverged_at, "reasons": report.reasons,
            "saved": next(info.exact for info in kse.list_checkpoints(copy))}), flush=True)
