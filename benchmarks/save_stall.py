"""What a save costs training, beside Keras's own callbacks in the same run.

    KERAS_BACKEND=tensorflow python benchmarks/save_stall.py [--mebibytes 120] [--rounds 5]

Each callback saves once per epoch. "in hooks" is the time the training thread
spends inside the callback per save, ours with the wait for the last one when
fit ends; "whole epoch" adds the slow-down of the
steps while a background write goes on (the epoch's time above that of a run
without any callback). Medians over rounds taken in turn; ratios to ours. A
first figure: the machine is noisy, and nothing here is asserted.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time


def build(mebibytes):
    import keras

    width = int((mebibytes * (1 << 20) / 12 / 3) ** 0.5)  # three square layers; Adam keeps two slots beside each
    model = keras.Sequential([keras.Input((width,))] + [keras.layers.Dense(width) for _ in range(3)])
    model.compile("adam", "mse")
    return model, width


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mebibytes", type=int, default=120, help="size of model and optimizer state")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    import keras
    import numpy as np

    import keras_session_ext as kse

    def makers(folder):
        return {
            "none": lambda: None,
            "SessionCheckpoint": lambda: kse.SessionCheckpoint(
                os.path.join(folder, "ours"), save=kse.EveryEpochs(1), restore="never", verbose=0,
                keep=kse.KeepLast(1)),
            "ModelCheckpoint .weights.h5": lambda: keras.callbacks.ModelCheckpoint(
                os.path.join(folder, "m.weights.h5"), save_weights_only=True),
            "ModelCheckpoint .keras": lambda: keras.callbacks.ModelCheckpoint(os.path.join(folder, "m.keras")),
            "BackupAndRestore": lambda: keras.callbacks.BackupAndRestore(
                os.path.join(folder, "backup"), delete_checkpoint=False),
        }

    model, width = build(arguments.mebibytes)
    x = np.random.default_rng(0).normal(size=(512, width)).astype("float32")
    epochs, hooks, walls = 3, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        made = makers(folder)
        model.fit(x, x, epochs=1, batch_size=32, verbose=0)
        for number in range(arguments.rounds):
            for name in list(made) if number % 2 else list(made)[::-1]:
                callback = made[name]()
                callbacks = [callback] if callback is not None else []
                spent = timed(callback) if callback is not None else [0.0]
                model._initial_epoch = None  # BackupAndRestore leaves it behind
                shutil.rmtree(os.path.join(folder, "backup"), ignore_errors=True)
                # the first epoch warms up: files, arena, the skeleton of the structure
                model.fit(x, x, epochs=1, batch_size=32, verbose=0, shuffle=False, callbacks=callbacks)
                spent[0] = 0.0
                model._initial_epoch = None
                begun = time.perf_counter()
                model.fit(x, x, epochs=epochs, batch_size=32, verbose=0, shuffle=False, callbacks=callbacks)
                walls.setdefault(name, []).append((time.perf_counter() - begun) / epochs)
                hooks.setdefault(name, []).append(spent[0] / epochs)
    state = sum(v.numpy().nbytes if hasattr(v, "numpy") else 0 for v in model.variables + model.optimizer.variables)
    base = statistics.median(walls["none"])
    ours = statistics.median(hooks["SessionCheckpoint"])
    print("{} · {} · {:.0f} MiB of state · {:.0f} ms an epoch of 16 steps without a callback".format(
        keras.backend.backend(), keras.__version__, state / (1 << 20), base * 1e3))
    print("{:<30} {:>12} {:>8} {:>20}".format("", "in hooks, ms", "ratio", "whole epoch, ms more"))
    for name in made:
        if name != "none":
            hook = statistics.median(hooks[name])
            print("{:<30} {:>12.1f} {:>8.1f} {:>20.0f}".format(
                name, hook * 1e3, hook / ours, (statistics.median(walls[name]) - base) * 1e3))


if __name__ == "__main__":
    main()
