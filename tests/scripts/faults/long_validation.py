"""Planted: nearly all of its time is validation, so that it is killed there."""

import keras
import numpy as np

keras.utils.set_random_seed(1)
x = np.random.RandomState(0).rand(64, 4).astype("float32")
y = x.sum(1, keepdims=True)
many = np.repeat(x, 40, 0), np.repeat(y, 40, 0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, y, batch_size=32, epochs=6, verbose=0, validation_data=many, validation_batch_size=4)
