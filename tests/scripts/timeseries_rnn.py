"""A recurrent forecaster, in the style of keras.io's "Timeseries forecasting": two fits, head first."""

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_diabetes

keras.utils.set_random_seed(4)
data = load_diabetes()
series = np.column_stack([data.data, data.target / 350.0]).astype("float32")
past, step = 6, 1
x = np.stack([series[start:start + past] for start in range(len(series) - past)])
y = series[past:, -1:]
split = int(len(x) * 0.8)

inputs = keras.Input(shape=x.shape[1:])
hidden = layers.GRU(16, dropout=0.1, name="recurrent")(inputs)
outputs = layers.Dense(1, name="head")(hidden)
model = keras.Model(inputs, outputs)

model.get_layer("recurrent").trainable = False
model.compile(keras.optimizers.RMSprop(0.01), "mse")
model.fit(x[:split], y[:split], batch_size=32, epochs=1, verbose=2)

model.get_layer("recurrent").trainable = True
model.compile(keras.optimizers.Adam(0.001), "mse")
history = model.fit(x[:split], y[:split], batch_size=32, epochs=2, verbose=2,
                    validation_data=(x[split:], y[split:]))
print(min(history.history["val_loss"]), model.predict(x[split:], verbose=0)[:3, 0])
