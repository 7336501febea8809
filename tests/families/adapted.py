"""A script whose Normalization is adapted at the first start only: `adapted.py FOLDER`; KILL=N dies at batch N."""

import hashlib
import os
import random
import signal
import sys

import members
import numpy as np

keras = members.load()
import keras_session_ext as kse

X = 100 * np.random.RandomState(0).rand(96, 6).astype("float32")
MEMBER = members.MEMBERS[members.current()]


class Kill(keras.callbacks.Callback):
    left = int(os.environ.get("KILL", 0))

    def get_state(self):
        return {}

    def set_state(self, state):
        """Nothing of an earlier process counts."""

    def on_batch_end(self, batch, logs=None):
        Kill.left -= 1
        if Kill.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


if MEMBER.family == "keras3":
    keras.utils.set_random_seed(1)
else:
    import tensorflow

    random.seed(1)
    np.random.seed(1)
    tensorflow.random.set_seed(1)
layer = keras.layers.Normalization()
if not os.path.isdir(sys.argv[1]):
    layer.adapt(X)
model = keras.Sequential([layer, keras.layers.Dense(1)])
model.build((None, 6))
model.compile("sgd", "mse")
checkpoint = kse.SessionCheckpoint(sys.argv[1], save=kse.EverySteps(3), background=False)
model.fit(X, X.sum(1, keepdims=True) / 600, batch_size=16, epochs=3, verbose=0, callbacks=[Kill(), checkpoint])
print(checkpoint.resume_report.exact, hashlib.sha256(b"".join(
    np.asarray(one).tobytes() for one in [*model.get_weights(), model.predict(X[:4], verbose=0)])).hexdigest())
