"""One training on the member that KSE_FAMILY names, in a process of its own: started and killed by test_kill.py.

Run by harness.py like tests/child.py, with `--serve` or one task.
"""

import contextlib
import hashlib
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import child
import devices
import members
import numpy as np
from sources import BATCH, digits

import keras_session_ext as kse

EPOCHS = 3


def _xy():
    x, y = digits()
    return x[:300], y[:300]


def _validation():
    x, y = digits()
    return x[300:], y[300:]


def arrays(keras, **options):
    x, y = _xy()
    return dict(x=x, y=y, batch_size=BATCH, validation_data=_validation(), **options)


def validation_split(keras):
    x, y = _xy()
    return {"x": x, "y": y, "batch_size": BATCH, "validation_split": 0.2}


def sample_weight(keras):
    return arrays(keras, sample_weight=np.linspace(0.5, 1.5, 300).astype("float32"))


def class_weight(keras):
    return arrays(keras, class_weight={label: 1.0 + label / 10 for label in range(10)})


def dataset(keras):
    import tensorflow as tf

    made = tf.data.Dataset.from_tensor_slices(_xy()).shuffle(100, seed=7).batch(BATCH)
    return {"x": made}


def dataset_in_order(keras):
    import tensorflow as tf

    made = tf.data.Dataset.from_tensor_slices(_xy()).batch(BATCH, drop_remainder=True).repeat()
    return {"x": made, "steps_per_epoch": 7}


def sequence(keras):
    class Batches(keras.utils.Sequence):
        def __init__(self):
            self.x, self.y = _xy()
            self.order = np.arange(len(self.x))
            self.epochs_done = 0

        def __len__(self):
            return -(-len(self.x) // BATCH)

        def __getitem__(self, index):
            rows = self.order[index * BATCH:(index + 1) * BATCH]
            return self.x[rows], self.y[rows]

        def on_epoch_end(self):
            self.epochs_done += 1

    return {"x": Batches(), "shuffle": False, "validation_data": _validation()}


def generator(keras):
    rng, (x, y) = np.random.RandomState(5), _xy()

    def endless():
        while True:
            rows = rng.randint(0, len(x), BATCH)
            yield x[rows], y[rows]

    return {"x": endless(), "steps_per_epoch": 8}


def generator_of_global_numpy(keras):
    """Draws from the state that everything else draws from, too."""
    x, y = _xy()

    def endless():
        while True:
            rows = np.random.randint(0, len(x), BATCH)
            yield x[rows], y[rows]

    return {"x": endless(), "steps_per_epoch": 8}


def two_targets(keras):
    x, y = _xy()
    return {"x": x, "y": [y, y % 2], "batch_size": BATCH, "validation_data": (x[:60], [y[:60], y[:60] % 2])}


def whole_batches(keras):
    x, y = _xy()
    count = len(x) // BATCH * BATCH
    return {"x": x[:count], "y": y[:count], "batch_size": BATCH, "shuffle": False}


def dataset_of_unknown_length(keras):
    import tensorflow as tf

    made = tf.data.Dataset.from_tensor_slices(_xy()).filter(lambda x, y: y > 0).batch(BATCH)
    return {"x": made}


def dataset_shuffled_twice(keras):
    """Files, then what is in them, as most do it; the validation, too."""
    import tensorflow as tf

    def shuffled(data):
        return tf.data.Dataset.from_tensor_slices(data).shuffle(200, seed=7).shuffle(50, seed=3).batch(BATCH)

    return {"x": shuffled(_xy()), "validation_data": shuffled(_validation())}


SOURCES = {
    "tf.data, shuffled twice": dataset_shuffled_twice,
    "two targets": two_targets, "whole batches": whole_batches, "tf.data of unknown length": dataset_of_unknown_length,
    "arrays": arrays, "validation_split": validation_split, "sample_weight": sample_weight,
    "class_weight": class_weight, "tf.data": dataset,
    "tf.data in order": dataset_in_order, "Sequence": sequence, "generator": generator,
    "generator, global NumPy": generator_of_global_numpy,
}


@devices.in_scope
def plain(keras, **options):
    layers = keras.layers
    model = keras.models.Sequential([
        layers.Dense(24, activation="relu", input_shape=(64,)), layers.BatchNormalization(), layers.Dropout(0.3),
        layers.Dense(10, activation="softmax")])
    model.compile(options.pop("optimizer", "adam"), "sparse_categorical_crossentropy", metrics=["accuracy"],
                  **options)
    return model


@devices.in_scope
def dense(keras):
    """Nothing in it draws random numbers."""
    layers = keras.layers
    model = keras.models.Sequential([
        layers.Dense(24, activation="relu", input_shape=(64,)), layers.BatchNormalization(),
        layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def convolution(keras):
    """Dropout on feature maps, noise, and a learning rate that decays."""
    layers = keras.layers
    model = keras.models.Sequential([
        layers.Reshape((8, 8, 1), input_shape=(64,)), layers.Conv2D(6, 3, activation="relu"),
        layers.SpatialDropout2D(0.2), layers.Dropout(0.2), layers.Flatten(), layers.GaussianNoise(0.1),
        layers.Dense(10, activation="softmax")])
    optimizers = keras.optimizers
    if members.MEMBERS[members.current()].family == "graph":  # whose newer versions take the older optimizers only
        optimizers = getattr(optimizers, "legacy", optimizers)
    model.compile(optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def recurrent(keras):
    layers = keras.layers
    model = keras.models.Sequential([
        layers.Reshape((8, 8), input_shape=(64,)), layers.LSTM(12, dropout=0.2),
        layers.Dense(10, activation="softmax")])
    model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def functional(keras):
    layers = keras.layers
    inputs = layers.Input((64,))
    hidden = layers.Dropout(0.3)(layers.Dense(16, activation="relu")(inputs))
    outputs = layers.Dense(10, activation="softmax")(layers.concatenate([hidden, inputs]))
    model = keras.models.Model(inputs, outputs)
    model.compile("nadam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def counting(keras):
    """A layer counts its calls, in a number that its `build` makes, and an optimizer, too, in some Kerases."""
    class Counting(keras.layers.Layer):
        def build(self, shape):
            self.calls = 0
            super().build(shape)

        def call(self, x):
            self.calls += 1
            return x * (1.0 + 0.1 * self.calls)

        def compute_output_shape(self, shape):
            return shape

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(24, activation="relu")
            self.counting = Counting()
            self.head = keras.layers.Dense(10, activation="softmax")

        def call(self, x):
            return self.head(self.counting(self.hidden(x)))

    model = Net()
    model.compile("nadam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def nadam_eagerly(keras):
    """Nadam of tf.keras 2.11 to 2.15 counts in Python."""
    return plain(keras, run_eagerly=True, optimizer="nadam")


def stateful(keras):
    """A recurrent layer that carries its state from batch to batch."""
    layers = keras.layers
    inputs = layers.Input(batch_shape=(BATCH, 64))
    hidden = layers.LSTM(8, stateful=True)(layers.Reshape((8, 8))(inputs))
    model = keras.models.Model(inputs, layers.Dense(10, activation="softmax")(hidden))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def two_outputs(keras):
    layers = keras.layers
    inputs = layers.Input((64,))
    hidden = layers.Dropout(0.3)(layers.Dense(16, activation="relu")(inputs))
    outputs = [layers.Dense(10, activation="softmax", name="digit")(hidden),
               layers.Dense(2, activation="softmax", name="odd")(hidden)]
    model = keras.models.Model(inputs, outputs)
    model.compile("adam", ["sparse_categorical_crossentropy"] * 2)
    return model


def unbuilt(keras):
    """A Sequential whose weights fit makes."""
    layers = keras.layers
    model = keras.models.Sequential([layers.Dense(16, activation="relu"), layers.Dropout(0.3),
                                     layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def deep(keras):
    """150 layers."""
    layers = keras.layers
    model = keras.models.Sequential(
        [layers.Dense(6, activation="tanh", input_shape=(64,))]
        + [layers.Dense(6, activation="tanh") for _ in range(149)] + [layers.Dense(10, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def wide(keras):
    """2,000 tensors: 1,000 weights, each with its momentum."""
    import tensorflow as tf

    class Rows(keras.layers.Layer):
        def build(self, shape):
            self.rows = [self.add_weight(name="row_{}".format(number), shape=(10,), initializer="random_uniform")
                         for number in range(1000)]
            super().build(shape)

        def call(self, x):
            rows = tf.reshape(tf.stack([tf.convert_to_tensor(row) for row in self.rows]), (125, 8, 10))
            return tf.nn.softmax(tf.matmul(x[:, 20:28], tf.reduce_mean(rows, axis=0)))

    inputs = keras.layers.Input((64,))
    model = keras.models.Model(inputs, Rows()(inputs))
    optimizers = keras.optimizers
    if members.MEMBERS[members.current()].family == "graph":
        optimizers = getattr(optimizers, "legacy", optimizers)
    model.compile(optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def compiled(keras):
    return plain(keras, jit_compile=True)


def untracked(keras):
    """A layer that counts in a variable no one lists."""
    import tensorflow as tf

    count = tf.Variable(0.0, trainable=False)

    class Counting(keras.layers.Layer):
        def call(self, x):
            count.assign_add(1.0)
            return x * (1.0 + 0.01 * tf.sin(count))

    layers = keras.layers
    inputs = layers.Input((64,))
    model = keras.models.Model(inputs, layers.Dense(10, activation="softmax")(Counting()(inputs)))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def eagerly(keras):
    return plain(keras, run_eagerly=True)


def loss_scale(keras):
    """A dynamic loss scale that changes within the run."""
    inner = keras.optimizers.SGD(0.05, momentum=0.9)
    mixed = keras.mixed_precision
    kind = getattr(keras.optimizers, "LossScaleOptimizer", None) or getattr(
        mixed, "LossScaleOptimizer", None) or mixed.experimental.LossScaleOptimizer
    try:
        optimizer = kind(inner, dynamic_growth_steps=4)
    except TypeError:  # TensorFlow 2.1: the scale is an object of its own
        from tensorflow.python.training.experimental.loss_scale import DynamicLossScale

        optimizer = kind(inner, DynamicLossScale(increment_period=4))
    return plain(keras, optimizer=optimizer)


def legacy_optimizer(keras):
    return plain(keras, optimizer=keras.optimizers.legacy.Adam(0.01))


def old_loop(keras):
    """TensorFlow 2.1's way back to the loop of 1.15."""
    return plain(keras, experimental_run_tf_function=False)


def subclassed(keras):
    """Built in its first batch."""
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(24, activation="relu")
            self.drop = keras.layers.Dropout(0.3)
            self.head = keras.layers.Dense(10, activation="softmax")

        def call(self, x, training=None):
            return self.head(self.drop(self.hidden(x), training=training))

    model = Net()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def stateful_generators(keras):
    """Keras's own way out of hidden random ops: tf.random.Generator."""
    keras.backend.experimental.enable_tf_random_generator()
    return plain(keras)


def several_steps(keras):
    return plain(keras, steps_per_execution=2)


MODELS = {
    "steps_per_execution": several_steps,
    "plain": plain, "dense": dense, "convolution": convolution, "recurrent": recurrent, "functional": functional,
    "counts in build": counting, "nadam run_eagerly": nadam_eagerly,
    "deep": deep, "wide": wide, "unbuilt": unbuilt, "stateful": stateful, "two outputs": two_outputs,
    "jit_compile": compiled,
    "untracked variable": untracked, "subclassed": subclassed, "run_eagerly": eagerly, "LossScaleOptimizer": loss_scale,
    "optimizers.legacy": legacy_optimizer, "experimental_run_tf_function=False": old_loop,
    "enable_tf_random_generator": stateful_generators,
}


def holder(keras, engine):
    """A callback with a layer of its own, a variable by hand, which others hold, too, and a tensor."""
    class Holder(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(2)
            self.layer.build((None, 2))
            self.variable = self.tensor = None
            eager = engine == "tensorflow" and members.MEMBERS[members.current()].family != "graph"
            if eager:
                import tensorflow as tf

                self.variable = tf.Variable(0.0)
            if engine == "torch":
                import torch

                self.tensor = torch.zeros(3)

        def on_epoch_end(self, epoch, logs=None):
            self.layer.set_weights([weight + epoch + 1 for weight in self.layer.get_weights()])
            if self.variable is not None:
                self.variable.assign_add(0.25)
            if self.tensor is not None:
                self.tensor += epoch + 1

    made = Holder()
    variable = made.variable

    def held():
        """What is held; of the variable as those see it that hold it, too."""
        values = made.layer.get_weights() + [0.0 if one is None else one.numpy() for one in (variable, made.tensor)]
        return [np.asarray(value).tolist() for value in values]

    return made, held


def seed(number, engine):
    """All seeds; None as most scripts have it, also in a forked process."""
    random.seed(number)
    np.random.seed(number)
    if number is not None and engine == "tensorflow":
        import tensorflow as tf

        tf.compat.v1.set_random_seed(number)


def state_of(model):
    """SHA-256 over every variable of model and optimizer; on several devices of what each has, and of predictions."""
    family = kse.backend.choose(model)
    leaves = family.model_variables(model) + family.optimizer_variables(model)
    if members.MEMBERS[members.current()].devices:
        leaves += family.metric_variables(model)
        parts = [part for leaf in leaves for part in devices.parts_of(leaf.variable)]
        return devices.sha256(parts + flat(model.predict(_xy()[0][:2 * BATCH], batch_size=BATCH, verbose=0)))
    digest = hashlib.sha256()
    for leaf, array in zip(leaves, family.read(leaves)):
        digest.update("{} {}".format(array.dtype, array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def first_step(keras, noted):
    """A callback that notes what the trained weights are when the first batch of this process begins."""
    class First(keras.callbacks.Callback):
        def get_state(self):
            return {}

        def set_state(self, state):
            """Nothing of an earlier process counts."""

        def on_train_batch_begin(self, batch, logs=None):
            if not noted:
                family = kse.backend.choose(self.model)
                trained = {id(one) for one in self.model.trainable_weights}
                leaves = [leaf for leaf in family.model_variables(self.model) if id(leaf.variable) in trained]
                noted.append(devices.sha256(family.read(leaves)))

    return First()


def flat(value):
    return value if isinstance(value, list) else [value]


def main(task):
    keras = members.load()
    child.write_behind(task.get("piece_bytes"))
    member = members.MEMBERS[members.current()]
    devices.use(task.get("devices", member.devices), keras)
    seed(task.get("seed", 1), member.engine)
    if member.family == "keras3" and task.get("seed", 1) is not None:
        keras.utils.set_random_seed(task.get("seed", 1))
    standalone = member.keras == "keras" and member.family == "graph"
    if standalone and task.get("threads", 1) == 1:  # with more it does not repeat a run by itself
        import tensorflow as tf

        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        keras.backend.set_session(tf.compat.v1.Session(config=config))
    model = devices.in_scope(MODELS[task.get("model", "plain")])(keras)
    arguments = SOURCES[task.get("source", "arrays")](keras)
    callbacks = child.peers(keras, task)
    held = None
    if task.get("holds"):
        holding, held = holder(keras, member.engine)
        callbacks.append(holding)
    checkpoint = None
    if not task.get("without"):
        checkpoint = kse.SessionCheckpoint(
            task["directory"], save=kse.EveryEpochs(1) | kse.EverySteps(task.get("every", 3)), keep=kse.KeepAll(),
            restore=task.get("restore", "auto"), on_error="raise", background=task.get("background", True))
        place = task.get("place", 1)
        callbacks[place:place] = [checkpoint, child.make_killer(keras, task.get("kill"))]
    noted = []
    if task.get("first"):
        callbacks.append(first_step(keras, noted))
    fit = model.fit
    if standalone and "y" not in arguments:
        fit = model.fit_generator
        arguments["generator"] = arguments.pop("x")
    with devices.scope() if task.get("fit in scope") else contextlib.ExitStack():
        history = fit(epochs=task.get("epochs", EPOCHS), callbacks=callbacks, verbose=0, **arguments)
    report = checkpoint.resume_report if checkpoint is not None else kse.ResumeReport()
    with open(task["result"], "w") as handle:
        json.dump({
            "sha256": state_of(model), "epochs": history.epoch, "held": held() if held is not None else None,
            "history": {name: [float(value).hex() for value in values] for name, values in history.history.items()},
            "peers": [child.summary(peer) for peer in callbacks], "exact": report.exact, "reasons": report.reasons,
            "kinds": report.kinds, "checkpoint": report.checkpoint, "changes": report.changes,
            "begins": noted, "witnessed": report.witnessed, "diverged_at": report.diverged_at,
        }, handle)


if __name__ == "__main__":
    child.run(main, lambda: members.load() and __import__("sklearn.datasets"))
