"""A training that a callback stops, and what the next starts of the script make of it.

`python stopped.py FOLDER` prints one JSON line for each way, on the engine of KERAS_BACKEND.
"""

import json
import os
import sys

import keras
import numpy as np

import keras_session_ext as kse

X = np.random.RandomState(0).rand(24, 4).astype("float32")
Y = X.sum(1, keepdims=True)


class TimeLimit(keras.callbacks.Callback):
    """Stops every process behind its first epoch, or in the middle of it."""

    stops = within = False

    def on_train_batch_end(self, batch, logs=None):
        if self.stops and self.within and batch == 1:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if self.stops and not self.within:
            self.model.stop_training = True


def train(folder, epochs=4, stops=True, within=False, **settings):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    limit = TimeLimit()
    limit.stops, limit.within = stops, within
    checkpoint = kse.SessionCheckpoint(folder, verbose=0, **settings)
    history = model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, validation_data=(X, Y),
                        callbacks=[limit, checkpoint])
    return {"epochs": history.epoch, "weights": [one.tolist() for one in model.get_weights()],
            "history": history.history}, checkpoint.resume_report


def main(folder):
    whole, _ = train(os.path.join(folder, "whole"), stops=False)
    for name, starts in {
        "goes on at every start": [dict(stop_is_final=False)] * 4 + [dict(stop_is_final=False, stops=False)],
        "final": [{}, {}, {"stops": False}],
        "more epochs": [dict(epochs=2), dict(epochs=2), dict(epochs=4, stops=False)],
        "within an epoch": [dict(stop_is_final=False, within=True), dict(stop_is_final=False, stops=False)],
    }.items():
        for settings in starts:
            made, report = train(os.path.join(folder, name), **settings)
        print(json.dumps({"name": name, "epochs": made["epochs"], "same": made == whole, "exact": report.exact,
                          "reasons": report.reasons, "changes": report.changes}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
