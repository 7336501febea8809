"""Planted: the split into training and validation is drawn anew by every start."""

import keras
import numpy as np
from sklearn.datasets import load_digits

keras.utils.set_random_seed(1)
x, y = load_digits(return_X_y=True)
x, y = (x[:512] / 16.0).astype("float32"), y[:512]
order = np.random.default_rng().permutation(len(x))
x, y = x[order], y[order]
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x, y, batch_size=32, epochs=2, verbose=2)
