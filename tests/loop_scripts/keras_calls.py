"""Keras's own calls inside a loop: fit, evaluate and train_on_batch, which are no stages of their own."""

import keras
import numpy as np
from common import digits, result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(7)
x, y = digits()
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.2),
                          keras.layers.Dense(10)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
loop = kse.SessionLoop(**settings())
losses, scores = [], []
for _round in loop.epochs(2):
    model.fit(x[:128], y[:128], batch_size=32, verbose=0)
    for start in loop.batches(range(0, 256, 32)):
        losses.append(float(np.ravel(model.train_on_batch(x[start:start + 32], y[start:start + 32]))[0]))
        trained()
    scores.append([float(one) for one in model.evaluate(x[320:], y[320:], verbose=0)])
    model.reset_metrics()
result(loop, weights=[np.array(w) for w in model.get_weights()], losses=losses, scores=scores)
