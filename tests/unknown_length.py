"""An epoch whose length nobody knows beforehand, resumed from each of its checkpoints.

`python unknown_length.py FOLDER` prints one JSON line for each, on the engine of KERAS_BACKEND.
"""

import json
import os
import shutil
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_session_ext as kse

X = np.random.RandomState(0).rand(36, 6).astype("float32")
Y = X.sum(1, keepdims=True)


class Told(keras.callbacks.Callback):
    """What the other callbacks are told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def on_epoch_begin(self, epoch, logs=None):
        self.told.append("epoch {}".format(epoch))

    def on_train_batch_end(self, batch, logs=None):
        self.told.append("batch {} {!r}".format(batch, float(logs["loss"])))

    def on_test_end(self, logs=None):
        self.told.append("validated {!r}".format(float(logs["loss"])))

    def on_epoch_end(self, epoch, logs=None):
        self.told.append("end {!r}".format(sorted((name, float(value)) for name, value in logs.items())))


def train(folder, validates, per_execution):
    keras.utils.set_random_seed(1)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda a, b: a[0] > -1).batch(8)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"], steps_per_execution=per_execution)
    told = Told()
    checkpoint = kse.SessionCheckpoint(folder, save=kse.EverySteps(1), keep=kse.KeepAll(), background=False, verbose=0)
    history = model.fit(data, epochs=3, verbose=0, callbacks=[told, checkpoint],
                        validation_data=(X, Y) if validates else None)
    return {"history": repr(history.history), "told": told.told,
            "weights": [one.tolist() for one in model.get_weights()]}, checkpoint.resume_report


def main(folder):
    for validates in (True, False):
        for per_execution in (1, 2) if keras.backend.backend() != "torch" else (1,):
            whole = os.path.join(folder, "{}-{}".format(validates, per_execution))
            result, _ = train(whole, validates, per_execution)
            for info in kse.list_checkpoints(whole):
                copy = whole + "-copy"
                shutil.copytree(whole, copy)
                for other in kse.list_checkpoints(copy):
                    if other.id != info.id:
                        os.remove(other.path)
                again, report = train(copy, validates, per_execution)
                shutil.rmtree(copy)
                print(json.dumps({"validates": validates, "per_execution": per_execution, "at": str(info.progress),
                                  "exact": report.exact, "reasons": report.reasons,
                                  "differs": sorted(name for name in result if result[name] != again[name])}),
                      flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
