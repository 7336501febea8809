"""A script as it was written for TensorFlow 1.15; one import is changed, and it runs on every Keras.

    python examples/legacy_session.py [KERAS]

KERAS is the module to use: keras (Keras 3, or standalone Keras 2), tf_keras or
tensorflow.keras; default: the first that is installed. With `--graph` TensorFlow 2 is told to
behave like TensorFlow 1 first. Scikit-learn's digits are learnt; exit status 1 if anything disagrees.
"""

import importlib
import os
import sys
import tempfile

import numpy as np
from sklearn.datasets import load_digits

NAME = next((one for one in sys.argv[1:] if not one.startswith("-")), None)
if "--graph" in sys.argv:
    import tensorflow as tf

    tf.compat.v1.disable_v2_behavior()
keras = importlib.import_module("keras" if NAME is None else NAME)

# was: from keras import backend as K
from keras_session_ext import backend as K  # noqa: E402, I001

import keras_session_ext as kse  # noqa: E402


def main():
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    model = keras.models.Sequential([
        keras.layers.Dense(32, activation="relu", input_shape=(64,)), keras.layers.Dropout(0.3),
        keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:1500], y[:1500], epochs=12, batch_size=50, verbose=0)

    # -- from here on this is TF1 code
    sess = K.get_session()
    probabilities = sess.run(model.output, feed_dict={model.input: x[1500:]})
    hidden, again = sess.run([model.layers[0].output, {"p": model.output}], feed_dict={model.input: x[1500:]})
    dropped = sess.run(model.layers[1].output, feed_dict={model.input: x[1500:], K.learning_phase(): 1})
    weights = sess.run(model.weights)

    checks = {
        "sess.run(model.output) is model.predict": np.abs(probabilities - model.predict(x[1500:])).max() < 1e-6,
        "nested fetches": hidden.shape == (297, 32) and np.abs(again["p"] - probabilities).max() < 1e-6,
        "K.learning_phase()": (dropped == 0).mean() > (hidden == 0).mean() + 0.05,
        "sess.run(model.weights)": all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights())),
    }
    # save and restore without tf.train.Saver
    with tempfile.TemporaryDirectory() as folder:
        path = kse.save_session(model, os.path.join(folder, "model.h5"))
        model.set_weights([np.zeros_like(one) for one in weights])
        kse.restore_session(model, path)
        back = K.get_session().run(model.output, feed_dict={model.input: x[1500:]})
    checks["save and restore"] = np.array_equal(back, probabilities)

    versions = K.describe()
    print("{family}: Keras {keras} on {engine}; session: {session}".format(
        session=type(sess).__module__.split(".")[0] + "." + type(sess).__name__, **versions))
    print("accuracy on digits not seen: {:.3f}".format((probabilities.argmax(1) == y[1500:]).mean()))
    for name, passed in checks.items():
        print("{:<42} {}".format(name, "yes" if passed else "NO"))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
