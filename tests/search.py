"""Searches of KerasTuner and Optuna as users write them, with our callback: `search.py keras_tuner|optuna FOLDER`.

With KILL=N the process kills itself at the N-th batch that is trained.
"""

import hashlib
import json
import os
import signal
import sys

import keras
import numpy as np

import keras_session_ext as kse

X = np.random.RandomState(0).rand(64, 6).astype("float32")
Y = X.sum(1, keepdims=True)
batches = 0


def count():
    global batches
    batches += 1
    if batches == int(os.environ.get("KILL", 0)):
        os.kill(os.getpid(), signal.SIGKILL)


class Kill(keras.callbacks.Callback):
    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_train_batch_end(self, batch, logs=None):
        count()


def build(units):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(units, activation="relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def digest(model):
    return hashlib.sha256(b"".join(np.asarray(one).tobytes() for one in model.get_weights())).hexdigest()


def keras_tuner(folder):
    import keras_tuner as kt

    tuner = kt.RandomSearch(lambda hp: build(hp.Int("units", 2, 64)), objective="loss", max_trials=3, seed=1,
                          directory=os.path.join(folder, "tuner"), project_name="search")
    tuner.search(X, Y, epochs=4, batch_size=16, verbose=0, callbacks=[
        Kill(), kse.SessionCheckpoint(os.path.join(folder, "session"), save=kse.EverySteps(3), background=False)])
    trials = tuner.oracle.trials
    return {name: [trial.hyperparameters.values["units"], float(trial.score)] for name, trial in trials.items()}


def optuna(folder):
    import optuna as search

    search.logging.set_verbosity(search.logging.ERROR)
    study = search.create_study(storage="sqlite:///" + os.path.join(folder, "study.db"), study_name="units",
                                load_if_exists=True, sampler=search.samplers.GridSampler({"units": [2, 3, 4]}, seed=1))
    results = {}

    def objective(trial):
        units = trial.suggest_int("units", 2, 4)
        model = build(units)
        history = model.fit(X, Y, epochs=4, batch_size=16, verbose=0, callbacks=[Kill(), kse.SessionCheckpoint(
            os.path.join(folder, "units-{}".format(units)), save=kse.EverySteps(3), background=False)])
        results[str(units)] = [digest(model), history.history["loss"][-1]]
        return history.history["loss"][-1]

    study.optimize(objective, n_trials=3)
    return {str(trial.params["units"]): trial.value for trial in study.trials if trial.value is not None}


if __name__ == "__main__":
    os.makedirs(sys.argv[2], exist_ok=True)
    print(json.dumps({"keras_tuner": keras_tuner, "optuna": optuna}[sys.argv[1]](sys.argv[2])))
