"""The most memory that a training takes whose variables are cut in four: plain, saving, resumed.

    python tests/sharded_memory.py nothing|fit|resume|save_session|restore_session PATH

Prints mebibytes: what the model and its optimizer hold, and the most that the process held at a time.
"""

import os
import resource
import sys

os.environ.update(KERAS_BACKEND="jax", XLA_FLAGS="--xla_force_host_platform_device_count=4")
import keras
import numpy as np

import keras_session_ext as kse

MODE, DIRECTORY, WIDTH, LAYERS = sys.argv[1], sys.argv[2], 2048, 24


distribution = keras.distribution
layouts = distribution.LayoutMap(distribution.DeviceMesh((1, 4), ["batch", "model"], distribution.list_devices()))
layouts["dense.*kernel"] = (None, "model")
distribution.set_distribution(distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch"))
model = keras.Sequential([keras.Input((WIDTH,)), *[keras.layers.Dense(WIDTH, use_bias=False) for _ in range(LAYERS)]])
model.compile(keras.optimizers.SGD(1e-6, momentum=0.9), "mse")
x = np.zeros((8, WIDTH), "float32")


def fit(*callbacks, epochs=3):
    model.fit(x, x, verbose=0, batch_size=8, epochs=epochs, callbacks=list(callbacks))


works = {
    "nothing": fit,
    "fit": lambda: fit(kse.SessionCheckpoint(DIRECTORY, save=kse.EveryEpochs(1), verbose=0)),
    "resume": lambda: fit(kse.SessionCheckpoint(DIRECTORY, save=kse.EveryEpochs(1), verbose=0), epochs=5),
    "save_session": lambda: (fit(), kse.save_session(model, DIRECTORY + ".h5")),
    "restore_session": lambda: (fit(), kse.restore_session(model, DIRECTORY + ".h5")),
}
works[MODE]()
state = sum(np.prod(one.shape) * 4 for one in [*model.variables, *model.optimizer.variables]) / 2 ** 20
print("MIB {:.0f} {:.0f}".format(state, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
