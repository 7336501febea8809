"""Writes the golden checkpoint of the member KSE_FAMILY names: golden/<member>.h5, with what it must lead to.

A golden file is never written anew for a format that exists: it stands for the files that users have.
The data, the weights and what they predict go into the file's metrics-free neighbour golden/<member>.npz.
"""

import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import members
import numpy as np
from sources import digits
from train import seed

import keras_session_ext as kse

OPTIMIZERS = ("adam", "sgd")


def build(keras, optimizer):
    """The layers whose weights were laid out in different ways over the years; no random numbers."""
    layers = keras.layers
    inputs = layers.Input((64,))
    image = layers.Reshape((8, 8, 1))(inputs)
    image = layers.Conv2D(3, 3, activation="relu")(image)
    image = layers.SeparableConv2D(4, 3, activation="relu")(image)
    image = layers.Flatten()(image)
    # the moving variance is corrected for the batch's size in some versions: it stays as it is here
    momentum = 0.99 if members.current() == "keras225" else 1.0  # which makes NaN of 1.0
    image = layers.BatchNormalization(momentum=momentum, name="norm")(image)
    rows = layers.Reshape((8, 8))(inputs)
    rows = layers.concatenate([layers.GRU(5, reset_after=True, recurrent_activation="sigmoid")(rows),
                              layers.LSTM(5, recurrent_activation="sigmoid")(rows)])
    inner_inputs = layers.Input((10,))
    inner = keras.models.Model(inner_inputs, layers.Dense(6, activation="relu")(inner_inputs))
    merged = layers.concatenate([image, inner(rows)])
    outputs = layers.Dense(10, activation="softmax")(merged)
    model = keras.models.Model(inputs, outputs)
    optimizers = keras.optimizers
    if members.MEMBERS[members.current()].family == "graph":
        optimizers = getattr(optimizers, "legacy", optimizers)
    # epsilon is set: its default differs between the versions, and a small one turns rounding into steps
    made = optimizers.Adam(0.01, epsilon=1e-4) if optimizer == "adam" else optimizers.SGD(0.05, momentum=0.9)
    model.compile(made, "sparse_categorical_crossentropy")
    return model


def one_thread(keras):
    """Standalone Keras does not repeat a step on several."""
    member = members.MEMBERS[members.current()]
    if member.keras == "keras" and member.family == "graph":
        import tensorflow as tf

        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        keras.backend.set_session(tf.compat.v1.Session(config=config))


def data():
    x, y = digits()
    return x[:96], y[:96], x[96:128]


def train(model, x, y, steps):
    for step in range(steps):
        model.train_on_batch(x[step * 16:step * 16 + 16], y[step * 16:step * 16 + 16])


def peers(keras):
    callbacks = keras.callbacks
    return [callbacks.EarlyStopping(monitor="loss", patience=7, min_delta=10.0),
            callbacks.ReduceLROnPlateau(monitor="loss", patience=9, min_delta=10.0)]


def fit(keras, name):
    """A run's checkpoint between two epochs, with what callbacks had counted by then."""
    x, y, unseen = data()
    one_thread(keras)
    model = build(keras, "adam")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = kse.SessionCheckpoint(folder, keep=kse.KeepAll(), background=False, verbose=0)
        history = model.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=[*peers(keras), checkpoint])
        shutil.copy(checkpoint.checkpoints[-1].path, name + ".h5")
    np.savez_compressed(name + ".npz", predictions=model.predict(unseen), loss=history.history["loss"])


def main():
    keras = members.load()
    x, y, unseen = data()
    folder = os.path.join(HERE, "golden")
    os.makedirs(folder, exist_ok=True)
    for optimizer in OPTIMIZERS:
        name = os.path.join(folder, "{}-{}".format(members.current(), optimizer))
        seed(3, members.MEMBERS[members.current()].engine)
        one_thread(keras)
        model = build(keras, optimizer)
        norm = model.get_layer("norm")
        norm.set_weights([np.linspace(0.5, 1.5, one.size).astype("float32") for one in norm.get_weights()])
        train(model, x, y, 3)
        kse.save_session(model, name + ".h5")
        predictions = model.predict(unseen)
        train(model, x[48:], y[48:], 1)
        np.savez_compressed(name + ".npz", predictions=predictions, next_step=model.predict(unseen))
        print(name, os.path.getsize(name + ".h5"))
    fit(keras, os.path.join(folder, members.current() + "-fit"))


if __name__ == "__main__":
    main()
