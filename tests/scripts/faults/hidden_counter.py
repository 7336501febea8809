"""Planted: a layer counts its calls in a Python attribute, and what it computes depends on it."""

import keras
from sklearn.datasets import load_digits

keras.utils.set_random_seed(1)
x, y = load_digits(return_X_y=True)
x, y = (x[:512] / 16.0).astype("float32"), y[:512]


class Warming(keras.layers.Layer):
    """Multiplies by a factor that grows with every step."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs * min(1.0, self.calls / 40.0)


model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32), Warming(),
                          keras.layers.Dense(10, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
model.fit(x, y, batch_size=32, epochs=2, verbose=2)
