"""Planted: three fits and no seed; what was finished before the killed run began is not compared step by step."""

import keras
import numpy as np

x = np.random.RandomState(0).rand(64, 4).astype("float32")
y = x.sum(1, keepdims=True)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
model.compile("adam", "mse")
for _ in range(3):
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
