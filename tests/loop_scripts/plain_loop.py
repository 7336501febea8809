"""A small loop for what befalls a process: `LOOP_WRAPPED` puts tqdm around its levels, `LOOP_PACE` makes it slow."""

import json
import os
import time

import keras
import numpy as np
from common import EVERY, arrays, result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(3)
x = np.random.normal(size=(60, 4)).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.train_on_batch(x[:2], x[:2, :1])
losses = []


def passed_on(items):
    """A generator of the script's own around a level."""
    for item in items:  # noqa: UP028 (as a script does it)
        yield item


def plain(items):
    return items


wrapped = plain
if os.environ.get("LOOP_WRAPPED") == "tqdm":
    import tqdm

    wrapped = tqdm.tqdm
if os.environ.get("LOOP_WRAPPED") == "generator":
    wrapped = passed_on
save = kse.EverySteps(EVERY) | kse.EveryEpochs(1) | kse.OnSignal()
loop = kse.SessionLoop(**settings(save=save, **json.loads(os.environ.get("LOOP_SETTINGS", "{}"))))
for epoch in wrapped(loop.epochs(4)):
    order = np.random.permutation(60)
    for start in wrapped(loop.batches(range(0, 60, 10))):
        losses.append(float(model.train_on_batch(x[order[start:start + 10]], x[order[start:start + 10], :1])))
        trained()
        print("STEP", loop.progress.step, flush=True)
        time.sleep(float(os.environ.get("LOOP_PACE", "0")))
    loop.log(loss=losses[-1])
result(loop, weights=arrays(model.variables), losses=losses, history=loop.history)
