"""The models that the benchmarks train: `python -c "import models; print(sorted(models.KINDS))"`."""

import keras
import numpy as np

layers = keras.layers
ROWS = 2048


def _compiled(model, optimizer="adam", loss="mse"):
    options = {} if keras.backend.backend() == "jax" else {"jit_compile": False}
    model.compile(optimizer, loss, **options)
    return model


def big(mebibytes=384):
    """Few large tensors: weights and Adam's slots of so many MiB."""
    width = int((mebibytes * (1 << 20) / 4 / 3 / 4) ** 0.5)
    made = [layers.Dense(width, activation="relu") for _ in range(4)] + [layers.Dense(1)]
    x = np.random.default_rng(0).random((ROWS, width), dtype="float32")
    return _compiled(keras.Sequential([keras.Input((width,)), *made])), x, x[:, :1]


def many(mebibytes=None):
    """1,808 small tensors, 14 MiB, in 300 layers."""
    given = value = keras.Input((62,))
    for number in range(300):
        made = layers.Dense(62, activation="tanh")(value)
        value = layers.Add()([value, made]) if number % 3 == 2 else made
    x = np.random.default_rng(0).random((ROWS, 62), dtype="float32")
    return _compiled(keras.Model(given, layers.Dense(1)(value))), x, x[:, :1]


def mobilenet(mebibytes=None):
    """MobileNetV2 on small images."""
    model = keras.applications.MobileNetV2(input_shape=(32, 32, 3), weights=None, classes=10)
    x = np.random.default_rng(0).random((ROWS, 32, 32, 3), dtype="float32")
    return _compiled(model, loss="sparse_categorical_crossentropy"), x, (x[:, 0, 0, 0] * 10).astype("int32")


def transformer(mebibytes=None):
    """A transformer of 12 layers."""
    given = keras.Input((32,), dtype="int32")
    value = layers.Embedding(1000, 128)(given)
    for _ in range(12):
        value = layers.LayerNormalization()(value + layers.MultiHeadAttention(4, 32)(value, value))
        value = layers.LayerNormalization()(value + layers.Dense(128)(layers.Dense(512, activation="relu")(value)))
    x = np.random.default_rng(0).integers(0, 1000, (ROWS, 32)).astype("int32")
    model = keras.Model(given, layers.Dense(1)(layers.GlobalAveragePooling1D()(value)))
    return _compiled(model), x, (x[:, :1] / 1000).astype("float32")


def tiny(mebibytes=None):
    """A step of a millisecond."""
    x = np.random.default_rng(0).random((ROWS, 16), dtype="float32")
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8), layers.Dense(1)])
    return _compiled(model, "sgd"), x, x[:, :1]


KINDS = {made.__name__: made for made in (big, many, mobilenet, transformer, tiny)}


def state(model):
    """How many tensors a model and its optimizer have, and how many bytes."""
    variables = list(model.variables) + list(model.optimizer.variables)
    return len(variables), sum(int(np.prod(one.shape)) * np.dtype(one.dtype).itemsize for one in variables)
