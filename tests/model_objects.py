"""State that the parts of a model keep outside of Keras's lists: each case trained, and resumed from its checkpoints.

`python model_objects.py FOLDER [CASE …]` runs the cases on the engine of KERAS_BACKEND and prints one JSON line each:
what the report said, and whether the resumed run was the same.
"""

import json
import os
import shutil
import sys

import keras
import numpy as np

import keras_session_ext as kse

ENGINE = keras.backend.backend()
RANDOM = np.random.RandomState(0)
X = RANDOM.rand(80, 6).astype("float32")
Y = X.sum(1, keepdims=True)
layers, Callback = keras.layers, keras.callbacks.Callback
CASES = {}
settings = {"scale": 1.0, "seen": []}


def case(*engines):
    """Registers a case: a function `make(first)` that returns a model and perhaps `callbacks`, `x`, `extra`."""
    def register(make):
        if not engines or ENGINE in engines:
            CASES[make.__name__] = make
        return make

    return register


def sequential(*parts, optimizer=None, loss="mse", shape=(6,), **compiled):
    model = keras.Sequential([keras.Input(shape), *parts, layers.Dense(4, activation="relu"), layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.SGD(0.05), loss, **compiled)
    return model


class EachEpoch(Callback):
    def __init__(self, do):
        super().__init__()
        self.do = do

    def on_epoch_end(self, epoch, logs=None):
        self.do(self.model)


# -- Keras's own


@case()
def normalization(first):
    layer = layers.Normalization()
    if first:
        layer.adapt(100 * X)
    return {"model": sequential(layer), "x": 100 * X}


@case()
def normalization_in_a_model_in_a_model(first):
    layer = layers.Normalization()
    if first:
        layer.adapt(100 * X)
    inner = keras.Sequential([keras.Input((6,)), layer, layers.Dense(6)])
    return {"model": sequential(inner), "x": 100 * X}


@case("tensorflow", "jax")
def discretization(first):
    layer = layers.Discretization(num_bins=4, output_mode="int") if not first else layers.Discretization(num_bins=4)
    if first:
        layer.adapt(X)
    else:
        layer.bin_boundaries = [0.0, 0.0, 0.0]
    return {"model": sequential(layer, layers.Embedding(8, 2), layers.Flatten())}


@case("tensorflow")
def string_lookup(first):
    layer = layers.StringLookup()
    words = np.array(["a", "b", "c", "d"])[(X * 4).astype(int)]
    if first:
        layer.adapt(words)
    inputs = keras.Input((6,), dtype="string")
    outputs = layers.Dense(1)(layers.Flatten()(layers.Embedding(10, 2)(layer(inputs))))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    return {"model": model, "x": __import__("tensorflow").constant(words)}


@case("tensorflow")
def text_vectorization(first):
    layer = layers.TextVectorization(max_tokens=20, output_sequence_length=6)
    words = np.array(["a", "bb", "ccc", "dd"])[(X * 4).astype(int)]
    lines = np.array([[" ".join(line)] for line in words])
    if first:
        layer.adapt(lines)
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.Embedding(20, 2)(layer(inputs)))))
    model.compile("sgd", "mse")
    return {"model": model, "x": __import__("tensorflow").constant(lines)}


@case("tensorflow")
def tf_idf(first):
    """Adapted at every start: Keras cannot load such a layer, https://github.com/keras-team/keras (IndexLookup)."""
    layer = layers.TextVectorization(max_tokens=8, output_mode="tf_idf", pad_to_max_tokens=True)
    words = np.array(["a", "bb", "ccc", "dd"])[(X * 4).astype(int)]
    lines = np.array([[" ".join(line)] for line in words])
    layer.adapt(lines)
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, layers.Dense(1)(layer(inputs)))
    model.compile("sgd", "mse")
    return {"model": model, "x": __import__("tensorflow").constant(lines)}


@case()
def dropout_rate(first):
    dropout = layers.Dropout(0.5, seed=1)

    def less(model):
        dropout.rate = round(dropout.rate * 0.5, 3)

    return {"model": sequential(dropout, run_eagerly=True) if ENGINE != "jax" else sequential(dropout),
            "callbacks": [EachEpoch(less)], "extra": lambda: dropout.rate}


@case()
def trainable(first):
    frozen = layers.Dense(6)

    def flip(model):
        frozen.trainable = not frozen.trainable

    model = sequential(frozen, optimizer=keras.optimizers.SGD(0.05), run_eagerly=ENGINE != "jax")
    return {"model": model, "callbacks": [EachEpoch(flip)] if ENGINE == "torch" else [],
            "extra": lambda: frozen.trainable}


# -- the user's own layers and models


class Counting(layers.Layer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x * (1.0 + 0.1 * self.calls)


@case()
def counter_in_a_layer(first):
    layer = Counting()
    return {"model": sequential(layer), "extra": lambda: layer.calls if ENGINE == "torch" else None}


class Scaled(layers.Layer):
    def __init__(self):
        super().__init__()
        self.scale = np.ones(6, "float32")
        self.history = []

    def call(self, x):
        return x * keras.ops.convert_to_tensor(self.scale)


@case()
def array_that_a_callback_changes(first):
    layer = Scaled()

    def grow(model):
        layer.scale = layer.scale + 0.25
        layer.history.append(float(layer.scale[0]))

    return {"model": sequential(layer), "callbacks": [EachEpoch(grow)], "extra": lambda: layer.history}


@case()
def eager_array_that_a_callback_changes(first):
    made = array_that_a_callback_changes(first)
    if ENGINE != "jax":
        made["model"].compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=True)
    return made


class Remembering(layers.Layer):
    """Keeps a state outside of variables, and says so by Keras's protocol."""

    def __init__(self):
        super().__init__()
        self.__dict__["hidden"] = [np.zeros(3)]

    def call(self, x):
        return x

    def save_own_variables(self, store):
        store["hidden"] = self.__dict__["hidden"][0]

    def load_own_variables(self, store):
        self.__dict__["hidden"] = [np.array(store["hidden"])]


@case()
def own_variables(first):
    layer = Remembering()

    def tick(model):
        layer.__dict__["hidden"] = [layer.__dict__["hidden"][0] + 1]
        model.optimizer.learning_rate = 0.1 / (1 + layer.__dict__["hidden"][0][0])

    return {"model": sequential(layer), "callbacks": [EachEpoch(tick)],
            "extra": lambda: layer.__dict__["hidden"][0].tolist()}


class WithAssets(layers.Layer):
    def __init__(self):
        super().__init__()
        self.__dict__["text"] = ""

    def call(self, x):
        return x

    def save_assets(self, inner_path):
        os.makedirs(os.path.join(inner_path, "deep"))
        with open(os.path.join(inner_path, "deep", "text"), "w") as handle:
            handle.write(self.__dict__["text"])

    def load_assets(self, inner_path):
        with open(os.path.join(inner_path, "deep", "text")) as handle:
            self.__dict__["text"] = handle.read()


@case()
def assets(first):
    layer = WithAssets()

    def write(model):
        layer.__dict__["text"] += "x"
        model.optimizer.learning_rate = 0.1 / len(layer.__dict__["text"])

    return {"model": sequential(layer), "callbacks": [EachEpoch(write)], "extra": lambda: layer.__dict__["text"]}


class NoisyModel(keras.Sequential):
    """Draws from a generator of its own, and counts, in a method that a callback calls."""

    def __init__(self, *args):
        super().__init__(*args)
        self.generator = np.random.default_rng(3)
        self.phase = 0

    def next_phase(self):
        self.phase += 1
        self.optimizer.learning_rate = 0.05 * self.generator.random() / self.phase


@case()
def generator_of_a_model(first):
    model = NoisyModel([keras.Input((6,)), layers.Dense(3), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return {"model": model, "callbacks": [EachEpoch(lambda model: model.next_phase())], "extra": lambda: model.phase}


@case("torch")
def generator_of_torch(first):
    import torch

    class Noise(layers.Layer):
        def __init__(self):
            super().__init__()
            self.generator = torch.Generator().manual_seed(3)

        def call(self, x):
            return x + 0.1 * torch.rand(x.shape, generator=self.generator)

    return {"model": sequential(Noise())}


@case("torch")
def buffer_of_a_layer(first):
    import torch

    class Counts(layers.Layer):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros(()))

        def call(self, x):
            self.steps += 1
            return x * (1 + 0.01 * self.steps)

    return {"model": sequential(Counts())}


@case("torch")
def batch_norm_of_torch(first):
    import torch

    return {"model": sequential(layers.TorchModuleWrapper(torch.nn.BatchNorm1d(6)))}


@case("torch")
def tensor_attribute(first):
    class Moving(layers.Layer):
        def __init__(self):
            super().__init__()
            self.moving = keras.ops.zeros(6)

        def call(self, x):
            if not keras.ops.is_tensor(x):  # Keras only asks for shapes
                return x
            self.moving = 0.9 * self.moving + 0.1 * keras.ops.mean(x, axis=0)
            return x - self.moving

    return {"model": sequential(Moving())}


@case("torch")
def weights_that_share_a_path(first):
    """Keras's trainer zeroes the gradients of one of them."""
    class Twins(layers.Layer):
        def build(self, shape):
            self.one = self.add_weight(name="w", shape=(6, 6))
            self.other = self.add_weight(name="w", shape=(6, 6))

        def call(self, x):
            return keras.ops.matmul(keras.ops.matmul(x, self.one), self.other)

    return {"model": sequential(Twins(), optimizer=keras.optimizers.Adam(0.01))}


# -- losses, metrics, optimizers


class Annealed(keras.losses.Loss):
    def __init__(self):
        super().__init__()
        self.weight = 1.0

    def call(self, true, predicted):
        return self.weight * keras.ops.mean((true - predicted) ** 2, axis=-1)


@case()
def annealed_loss(first):
    loss = Annealed()

    def anneal(model):
        loss.weight *= 0.5

    return {"model": sequential(loss=loss), "callbacks": [EachEpoch(anneal)], "extra": lambda: loss.weight}


@case()
def loss_that_reads_a_global(first):
    settings.update(scale=1.0, seen=[])

    def loss(true, predicted):
        return settings["scale"] * keras.ops.mean((true - predicted) ** 2, axis=-1)

    def anneal(model):
        settings["scale"] *= 0.5

    return {"model": sequential(loss=loss), "callbacks": [EachEpoch(anneal)], "extra": lambda: settings["scale"]}


@case("tensorflow")
def variable_that_a_loss_reads(first):
    """A traced step reads it every time: it is not to have the value of the trace."""
    import tensorflow as tf

    weight = tf.Variable(0.0)

    def anneal(model):
        weight.assign_add(0.25)

    return {"model": sequential(loss=lambda t, p: tf.reduce_mean((t - p) ** 2) + weight * tf.reduce_mean(p ** 2)),
            "callbacks": [EachEpoch(anneal)], "extra": lambda: float(weight)}


class Best(keras.metrics.MeanSquaredError):
    """Keeps its best result over the epochs in an attribute."""

    def __init__(self):
        super().__init__(name="best")
        self.results = []

    def reset_state(self):
        super().reset_state()
        self.results.append(len(self.results))


@case()
def list_in_a_metric(first):
    metric = Best()
    return {"model": sequential(metrics=[metric]), "extra": lambda: list(metric.results)}


class Warm(keras.optimizers.SGD):
    def __init__(self):
        super().__init__(0.05)
        self.warmth = 1


@case()
def attribute_of_an_optimizer(first):
    optimizer = Warm()

    def warm(model):
        optimizer.warmth += 1
        optimizer.learning_rate = 0.05 / optimizer.warmth

    return {"model": sequential(optimizer=optimizer), "callbacks": [EachEpoch(warm)], "extra": lambda: optimizer.warmth}


class Penalty(keras.regularizers.Regularizer):
    def __init__(self):
        self.strength = 0.1

    def __call__(self, x):
        return self.strength * keras.ops.sum(x ** 2)


@case()
def strength_of_a_regularizer(first):
    penalty = Penalty()

    def more(model):
        penalty.strength += 0.1

    return {"model": sequential(layers.Dense(6, kernel_regularizer=penalty)), "callbacks": [EachEpoch(more)],
            "extra": lambda: penalty.strength}


class Collects(Callback):
    """Changes a list of the script's from a method."""

    def on_epoch_end(self, epoch, logs=None):
        settings["seen"].append(epoch)
        self.model.optimizer.learning_rate = 0.1 / (1 + len(settings["seen"]))


@case()
def global_list_of_a_method(first):
    settings.update(scale=1.0, seen=[])
    return {"model": sequential(), "callbacks": [Collects()], "extra": lambda: list(settings["seen"])}


# -- batches of unknown length, for which the model is built before the first of them is there


def padded():
    import tensorflow as tf

    lengths = np.random.RandomState(0).randint(8, 20, 80)
    made = tf.data.Dataset.from_generator(
        lambda: ((np.ones((length, 1), "float32") * length, [float(length)]) for length in lengths),
        output_signature=(tf.TensorSpec((None, 1)), tf.TensorSpec((1,))))
    return made.cache().padded_batch(20)


def convolutional(**compiled):
    inputs = keras.Input((None, 1))
    outputs = layers.Dense(1)(layers.GlobalMaxPooling1D()(layers.Conv1D(4, 5)(inputs)))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(), "mse", **compiled)
    return model


@case("tensorflow")
def unknown_length(first):
    return {"model": convolutional(), "x": padded()}


@case("tensorflow")
def unknown_length_run_eagerly(first):
    return {"model": convolutional(run_eagerly=True), "x": padded()}


class TwoOptimizers(keras.Model):
    """Not built before its first batch; each half has an optimizer of its own."""

    def __init__(self):
        super().__init__()
        self.body, self.pool, self.head = layers.Conv1D(4, 5), layers.GlobalMaxPooling1D(), layers.Dense(1)
        self.second = keras.optimizers.SGD(0.001)

    def call(self, x):
        return self.head(self.pool(self.body(x)))

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        first, second = self.body.trainable_variables, self.head.trainable_variables
        gradients = tape.gradient(loss, first + second)
        self.optimizer.apply(gradients[:len(first)], first)
        self.second.apply(gradients[len(first):], second)
        return {"loss": loss}


@case("tensorflow")
def unknown_length_and_two_optimizers(first):
    model = TwoOptimizers()
    model.compile(keras.optimizers.Adam(), "mse")
    return {"model": model, "x": padded()}


# -- running them


def train(folder, make, first):
    keras.utils.set_random_seed(7)
    made = make(first)
    model, x = made["model"], made.get("x", X)
    checkpoint = kse.SessionCheckpoint(folder, save=kse.EverySteps(3) | kse.EveryEpochs(1), keep=kse.KeepAll(),
                                       background=False, verbose=0)
    data = {"x": x, "y": Y, "batch_size": 20, "validation_data": (x[:20], Y[:20])} if hasattr(x, "shape") else {"x": x}
    history = model.fit(epochs=4, verbose=0, callbacks=[*made.get("callbacks", []), checkpoint], **data)
    result = {"weights": [np.asarray(one).tobytes().hex() for one in model.get_weights()],
              "history": repr(history.history), "extra": repr(made.get("extra", lambda: None)()),
              "prediction": np.asarray(model.predict(x[:4] if hasattr(x, "shape") else x, verbose=0)).tobytes().hex()}
    return result, checkpoint, model, x


#: cases in which a prediction depends on nothing that belongs to fit
WITHOUT_FIT = ("normalization", "normalization_in_a_model_in_a_model", "string_lookup", "text_vectorization",
               "batch_norm_of_torch", "own_variables", "assets")


def outside_fit(folder, name, model, x):
    """The same by save_session and restore_session."""
    path = os.path.join(folder, name + ".h5")
    kse.save_session(model, path)
    other = CASES[name](False)["model"]
    if name == "batch_norm_of_torch":  # its layers are built by a call
        other.predict(x[:1], verbose=0)
    report = kse.restore_session(other, path)
    predictions = [np.asarray(one.predict(x[:4], verbose=0)).tolist() for one in (model, other)]
    return {"case": name, "at": "save_session", "exact": report.kinds["objects"] == "restored", "reasons": [],
            "differs": ["prediction"] if predictions[0] != predictions[1] else []}


def compare(folder, name):
    whole, _, model, x = train(os.path.join(folder, name), CASES[name], True)
    if name in WITHOUT_FIT:
        yield outside_fit(folder, name, model, x)
    infos = [info for info in kse.list_checkpoints(os.path.join(folder, name)) if not info.finished]
    for info in infos[::3]:
        copy = os.path.join(folder, name + "-" + info.id)
        shutil.copytree(os.path.join(folder, name), copy)
        for other in kse.list_checkpoints(copy):
            if other.id != info.id:
                os.remove(other.path)
        again, checkpoint, _, _ = train(copy, CASES[name], False)
        yield {"case": name, "at": str(info.progress), "exact": checkpoint.resume_report.exact,
               "reasons": checkpoint.resume_report.reasons,
               "differs": sorted(key for key in whole if whole[key] != again[key])}


if __name__ == "__main__":
    for one in sys.argv[2:] or sorted(CASES):
        for line in compare(sys.argv[1], one):
            print(json.dumps(line), flush=True)
