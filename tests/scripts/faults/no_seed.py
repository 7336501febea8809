"""Planted: no seed at all; a resume is exact all the same."""

import keras
from sklearn.datasets import load_digits

x, y = load_digits(return_X_y=True)
x, y = (x[:512] / 16.0).astype("float32"), y[:512]
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32), keras.layers.Dropout(0.5),
                          keras.layers.Dense(10, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x, y, batch_size=32, epochs=2, verbose=2)
