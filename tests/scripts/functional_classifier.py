"""A functional convolutional classifier, in the style of keras.io's "Simple MNIST convnet"."""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(1)
x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype("float32").reshape(-1, 8, 8, 1)

inputs = keras.Input(shape=(8, 8, 1))
hidden = layers.Conv2D(8, 3, activation="relu")(inputs)
hidden = layers.MaxPooling2D()(hidden)
hidden = layers.BatchNormalization()(hidden)
hidden = layers.Flatten()(hidden)
hidden = layers.Dropout(0.5)(hidden)
outputs = layers.Dense(10, activation="softmax")(hidden)
model = keras.Model(inputs, outputs)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, batch_size=128, epochs=3, validation_split=0.2, verbose=2, callbacks=[
    keras.callbacks.EarlyStopping(patience=2), keras.callbacks.ReduceLROnPlateau(patience=1)])
print(model.evaluate(x, y, verbose=0))
