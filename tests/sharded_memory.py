"""How much memory of the host it takes to save and restore a model whose variables are cut in four: MODE [DIRECTORY].

Prints mebibytes: what the model and its optimizer hold, and by how much the process grew beyond that at its peak.
"""

import os
import sys
import threading
import time

os.environ.update(KERAS_BACKEND="jax", XLA_FLAGS="--xla_force_host_platform_device_count=4")
import keras
import numpy as np

import keras_session_ext as kse

MODE, DIRECTORY, WIDTH, LAYERS = sys.argv[1], sys.argv[2], 1536, 12


def resident():
    with open("/proc/self/status") as handle:
        return next(int(line.split()[1]) / 1024 for line in handle if line.startswith("VmRSS"))


def peak_of(work):
    """By how much memory grows while something is done."""
    time.sleep(0.3)
    base, highest, over = resident(), [0.0], threading.Event()

    def watch():
        while not over.is_set():
            highest[0] = max(highest[0], resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    work()
    over.set()
    watcher.join()
    return highest[0] - base


distribution = keras.distribution
layouts = distribution.LayoutMap(distribution.DeviceMesh((1, 4), ["batch", "model"], distribution.list_devices()))
layouts["dense.*kernel"] = (None, "model")
distribution.set_distribution(distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch"))
model = keras.Sequential([keras.Input((WIDTH,)), *[keras.layers.Dense(WIDTH, use_bias=False) for _ in range(LAYERS)]])
model.compile(keras.optimizers.SGD(1e-6, momentum=0.9), "mse")
x = np.zeros((8, WIDTH), "float32")


def fit(*callbacks, epochs=3):
    model.fit(x, x, verbose=0, batch_size=8, epochs=epochs, callbacks=list(callbacks))


fit()
works = {
    "nothing": fit,
    "fit": lambda: fit(kse.SessionCheckpoint(DIRECTORY, save=kse.EveryEpochs(1), verbose=0)),
    "resume": lambda: fit(kse.SessionCheckpoint(DIRECTORY, save=kse.EveryEpochs(10), verbose=0), epochs=5),
    "save_session": lambda: kse.save_session(model, DIRECTORY + ".h5"),
    "restore_session": lambda: kse.restore_session(model, DIRECTORY + ".h5"),
}
state = sum(np.prod(one.shape) * 4 for one in [*model.variables, *model.optimizer.variables]) / 2 ** 20
print("MIB {:.0f} {:.0f}".format(state, peak_of(works[MODE])))
