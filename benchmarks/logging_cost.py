"""What it costs to log the life of a run, beside Keras's own TensorBoard callback in the same run.

    KERAS_BACKEND=torch python benchmarks/logging_cost.py [--batches 400] [--epochs 3] [--rounds 3]

Every batch takes 5 ms at least. "µs a batch" is the time spent in the callback's hooks, all of them, over the
number of batches; "of the run" is its share of the time of fit. Medians over rounds taken in turn. Nothing is
asserted: the machine is noisy.
"""

import argparse
import shutil
import statistics
import tempfile
import time

STEP_SECONDS = 0.005


def timed(callback):
    """Counts the seconds spent in a callback's hooks."""
    spent = [0.0]

    def counted(hook):
        def run(*args, **kwargs):
            begun = time.perf_counter()
            try:
                return hook(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - begun

        return run

    for inner in (callback, getattr(callback, "_first", None), getattr(callback, "_last", None)):
        for name in dir(type(inner)) if inner is not None else ():
            if name.startswith("on_"):
                setattr(inner, name, counted(getattr(inner, name)))
    return spent


def one_fit(make, batches, epochs):
    """(seconds in hooks, seconds of fit) of one training with the callback that `make` gives."""
    import keras
    import numpy as np

    class Pace(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            time.sleep(STEP_SECONDS)

    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((batches * 8, 16), "float32")
    folder = tempfile.mkdtemp()
    try:
        measured, others = make(folder)
        spent = timed(measured)
        begun = time.perf_counter()
        model.fit(x, x[:, :1], batch_size=8, epochs=epochs, verbose=0, callbacks=[*others, measured, Pace()])
        return spent[0], time.perf_counter() - begun
    finally:
        shutil.rmtree(folder)


def beside(folder):
    """The logger beside a checkpoint: what it does happens in the checkpoint's hooks, whose own cost counts, too."""
    import keras_session_ext as kse

    checkpoint = kse.SessionCheckpoint(folder + "/run", save=kse.EveryEpochs(1), verbose=0)
    return checkpoint, [kse.SessionLogger(folder + "/tensorboard")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    import keras

    import keras_session_ext as kse

    def checkpoint(folder):
        return kse.SessionCheckpoint(folder + "/run", save=kse.EveryEpochs(1), verbose=0), []

    made = {
        "SessionLogger alone": lambda folder: (kse.SessionLogger(folder), []),
        "SessionCheckpoint": checkpoint,
        "SessionCheckpoint + SessionLogger": beside,
        "TensorBoard": lambda folder: (keras.callbacks.TensorBoard(folder), []),
        "TensorBoard(update_freq=1)": lambda folder: (keras.callbacks.TensorBoard(folder, update_freq=1), []),
    }
    found = {name: [] for name in made}
    one_fit(made["SessionLogger alone"], 20, 1)  # imports, compilation
    for _ in range(arguments.rounds):
        for name, make in made.items():
            found[name].append(one_fit(make, arguments.batches, arguments.epochs))
    count = arguments.batches * arguments.epochs
    print("{:<36}{:>14}{:>14}{:>10}".format("Keras on " + keras.backend.backend(), "µs a batch", "of the run", "ratio"))
    ours = statistics.median(spent for spent, _ in found["SessionLogger alone"])
    for name, pairs in found.items():
        spent = statistics.median(one for one, _ in pairs)
        share = statistics.median(one / whole for one, whole in pairs)
        print("{:<36}{:>14.1f}{:>13.3f}%{:>10.1f}".format(name, spent / count * 1e6, share * 100, spent / ours))


if __name__ == "__main__":
    main()
