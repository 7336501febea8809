"""The models of the kill tests."""

import numpy as np
from sources import BATCH, digits


def _inputs():
    x, y = digits()
    return x[:300], y[:300]


def plain(optimizer=None, **compile_options):
    import keras

    model = keras.Sequential([
        keras.Input((64,)), keras.layers.Dense(24, activation="relu"), keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3), keras.layers.Dense(10, activation="softmax")])
    model.compile(optimizer or keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy",
                  metrics=["accuracy"], **compile_options)
    return model


def sequential():
    x, y = _inputs()
    return plain(), dict(x=x, y=y, batch_size=BATCH)


def functional():
    """Two inputs, two outputs, a shared layer and a nested model."""
    import keras

    x, y = _inputs()
    inner = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8, activation="relu"),
                              keras.layers.Dropout(0.2)], name="inner")
    left, right = keras.Input((32,), name="left"), keras.Input((32,), name="right")
    shared = keras.layers.Dense(16, activation="relu")
    merged = keras.layers.concatenate([inner(shared(left)), inner(shared(right))])
    outputs = {"label": keras.layers.Dense(10, name="label")(merged), "sum": keras.layers.Dense(1, name="sum")(merged)}
    model = keras.Model([left, right], outputs)
    model.compile("adam", {"label": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "sum": "mse"},
                  metrics={"label": ["accuracy"], "sum": ["mae"]})
    return model, dict(x=[x[:, :32], x[:, 32:]], y={"label": y, "sum": x.sum(1, keepdims=True)}, batch_size=BATCH)


def subclassed():
    """Built in its first batch."""
    import keras

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(24, activation="relu")
            self.drop = keras.layers.Dropout(0.3)
            self.norm = keras.layers.BatchNormalization()
            self.head = keras.layers.Dense(10)

        def call(self, x, training=False):
            return self.head(self.norm(self.drop(self.hidden(x), training=training), training=training))

    x, y = _inputs()
    model = Net()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model, dict(x=x, y=y, batch_size=BATCH)


def own_seed():
    """A custom layer with a SeedGenerator of its own."""
    import keras

    class Noise(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator()

        def call(self, x, training=False):
            if training:
                x = x + 0.1 * keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)
            return x

    x, y = _inputs()
    model = keras.Sequential([keras.Input((64,)), Noise(), keras.layers.Dense(10, activation="softmax")])
    model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, dict(x=x, y=y, batch_size=BATCH)


def stateful_rnn():
    import keras

    x, y = _inputs()
    rows = 30 * (len(x) // 30)
    model = keras.Sequential([keras.Input((8, 8), batch_size=30), keras.layers.GRU(12, stateful=True, dropout=0.2),
                              keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, dict(x=x[:rows].reshape(-1, 8, 8), y=y[:rows], batch_size=30, shuffle=False)


def mixed_precision():
    """float16 with a dynamic loss scale."""
    import keras

    x, y = _inputs()
    model = keras.Sequential([
        keras.Input((64,)), keras.layers.Dense(24, activation="relu", dtype="mixed_float16"),
        keras.layers.Dropout(0.3, dtype="mixed_float16"), keras.layers.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), dynamic_growth_steps=4),
                  "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, dict(x=x, y=y, batch_size=BATCH)


def bfloat16():
    """Variables that NumPy has no type for."""
    import keras

    x, y = _inputs()
    model = keras.Sequential([
        keras.Input((64,)), keras.layers.Dense(24, activation="relu", dtype="bfloat16"),
        keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, dict(x=x, y=y, batch_size=BATCH)


def ema():
    import keras

    x, y = _inputs()
    return plain(keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=7)), dict(
        x=x, y=y, batch_size=BATCH)


def accumulation():
    import keras

    x, y = _inputs()
    return plain(keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=3)), dict(
        x=x, y=y, batch_size=BATCH)


def schedule():
    import keras

    x, y = _inputs()
    return plain(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.01, 25))), dict(
        x=x, y=y, batch_size=BATCH)


def jit():
    x, y = _inputs()
    return plain(jit_compile=True), dict(x=x, y=y, batch_size=BATCH)


def eagerly():
    x, y = _inputs()
    return plain(run_eagerly=True), dict(x=x, y=y, batch_size=BATCH)


def gan():
    """Two optimizers, a custom train step, and no `call`."""
    import keras

    ops = keras.ops

    def update(model, optimizer, weights, loss_of):
        if keras.backend.backend() == "torch":
            import torch

            model.zero_grad()
            loss = loss_of()
            loss.backward()
            with torch.no_grad():
                optimizer.apply([weight.value.grad for weight in weights], weights)
            return loss
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = loss_of()
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    class Gan(keras.Model):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator()
            self.generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(64)])
            self.critic = keras.Sequential([keras.Input((64,)), keras.layers.Dense(16, activation="relu"),
                                            keras.layers.Dropout(0.2), keras.layers.Dense(1)])
            self.d_loss, self.g_loss = keras.metrics.Mean(name="d_loss"), keras.metrics.Mean(name="g_loss")
            self.built = True  # torch asks for it where there is no `call`

        @property
        def metrics(self):
            return [self.d_loss, self.g_loss]

        def compile(self, d_optimizer, g_optimizer):
            super().compile()
            self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

        def train_step(self, data):
            real = data[0] if isinstance(data, tuple) else data
            count = ops.shape(real)[0]
            loss = keras.losses.BinaryCrossentropy(from_logits=True)
            noise = keras.random.normal((count, 4), seed=self.seed_generator)
            d_loss = update(self, self.d_optimizer, self.critic.trainable_weights, lambda: loss(
                ops.concatenate([ops.ones((count, 1)), ops.zeros((count, 1))]),
                ops.concatenate([self.critic(real, training=True),
                                 self.critic(self.generator(noise), training=True)])))
            g_loss = update(self, self.g_optimizer, self.generator.trainable_weights, lambda: loss(
                ops.ones((count, 1)), self.critic(self.generator(noise), training=True)))
            self.d_loss.update_state(d_loss)
            self.g_loss.update_state(g_loss)
            return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}

    x, _ = _inputs()
    model = Gan()
    model.compile(keras.optimizers.Adam(0.001), keras.optimizers.RMSprop(0.001))
    return model, dict(x=x, batch_size=BATCH)


def deep():
    """150 layers: what walks over a model must not do so once for every part of it."""
    import keras

    x, y = _inputs()
    model = keras.Sequential([keras.Input((64,))] + [keras.layers.Dense(6, activation="tanh") for _ in range(150)] + [
        keras.layers.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", jit_compile=False)
    return model, dict(x=x, y=y, batch_size=BATCH)


def _value(array):
    import keras

    return lambda shape, dtype=None: keras.ops.convert_to_tensor(array)


def wide():
    """2,000 tensors: 1,000 weights, each with its momentum."""
    import keras

    values = np.random.default_rng(3).normal(size=(1000, 10)).astype("float32")

    class Rows(keras.layers.Layer):
        def build(self, shape):
            # each with a name of its own: torch's trainer zeroes only the gradients that it finds by their names
            self.rows = [self.add_weight(shape=(10,), name="row_{}".format(number), initializer=_value(values[number]))
                         for number in range(1000)]

        def call(self, x):
            rows = keras.ops.stack([row.value for row in self.rows])
            rows = keras.ops.mean(keras.ops.reshape(rows, (125, 8, 10)), axis=0)
            return keras.ops.softmax(keras.ops.matmul(x[:, 20:28], rows))

    x, y = _inputs()
    model = keras.Sequential([keras.Input((64,)), Rows()])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", jit_compile=False)
    return model, dict(x=x, y=y, batch_size=BATCH)


MODELS = {
    "sequential": sequential, "functional": functional, "subclassed": subclassed, "own seed": own_seed,
    "stateful RNN": stateful_rnn, "mixed precision": mixed_precision, "bfloat16": bfloat16, "EMA": ema,
    "gradient accumulation": accumulation, "schedule": schedule, "jit_compile": jit, "run_eagerly": eagerly,
    "GAN": gan, "deep": deep, "wide": wide,
}

#: JAX's own fit knows of one optimizer; on torch plain Keras changes the states of a layer before it goes backward
ONLY = {"GAN": ("tensorflow", "torch"), "stateful RNN": ("tensorflow", "jax")}
#: what the report must say where a resume is not exact
NOT_EXACT = {("torch", "jit_compile"): "torch.compile (jit_compile=True) makes other kernels"}


def tensors_of(model):
    """Every variable that training determines, as (name, array)."""
    import keras

    found, seen = [], set()
    named = [getattr(model, name, None) for name in ("optimizer", "d_optimizer", "g_optimizer")]
    optimizers = [value for value in named if value is not None]
    for variable in list(model.variables) + [v for optimizer in optimizers for v in optimizer.variables]:
        if id(variable) not in seen:
            seen.add(id(variable))
            found.append((variable.path, np.asarray(keras.ops.convert_to_numpy(variable.value))))
    return found
