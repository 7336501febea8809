"""Random small trainings put together from a vocabulary: each trained, and resumed in the middle by objects made anew.

`python generated.py FOLDER SEED COUNT` prints one JSON line for each: the parts it was made of, what the report said,
and whether the resumed run was the same. The engine is that of KERAS_BACKEND. `python generated.py FOLDER RECIPES`
trains what is written down, as a JSON list of such parts.
"""

import json
import os
import random
import shutil
import sys

import keras
import numpy as np
from model_objects import Annealed, Best, Counting, EachEpoch, Penalty, Scaled

import keras_session_ext as kse

ENGINE = keras.backend.backend()
layers = keras.layers
RANDOM = np.random.RandomState(0)
X = RANDOM.rand(56, 6).astype("float32")
Y = X.sum(1, keepdims=True)
script = {"scale": 1.0, "seen": []}


class Seen(keras.metrics.Metric):
    def __init__(self):
        super().__init__(name="seen")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign(self.count + 1.0)

    def result(self):
        return self.count + 0.0

    def reset_state(self):
        pass


class Batches(keras.utils.PyDataset):
    def __init__(self, draws):
        super().__init__()
        self.draws, self.order = draws, np.arange(7)

    def __len__(self):
        return 7

    def __getitem__(self, index):
        rows = slice(8 * self.order[index], 8 * self.order[index] + 8)
        noise = np.random.rand(8, 6).astype("float32") * 0.01 if self.draws else 0
        return X[rows] + noise, Y[rows]

    def on_epoch_end(self):
        if self.draws:
            self.order = np.random.permutation(7)


def normalization(first):
    layer = layers.Normalization()
    if first:
        layer.adapt(X)
    return layer


def stateful_generator(first):
    class Jitter(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.generator = np.random.default_rng()

        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.01 + 0.01 * self.generator.random()

    return Jitter()


LAYERS = {
    "Dense": lambda first: layers.Dense(5, activation="relu"), "Dropout": lambda first: layers.Dropout(0.3),
    "seeded Dropout": lambda first: layers.Dropout(0.3, seed=4), "BatchNorm": lambda first: layers.BatchNormalization(),
    "LayerNorm": lambda first: layers.LayerNormalization(), "noise": lambda first: layers.GaussianNoise(0.1),
    "Normalization": normalization, "Counting": lambda first: Counting(), "Scaled": lambda first: Scaled(),
    "penalty": lambda first: layers.Dense(4, kernel_regularizer=Penalty()),
    "spectral": lambda first: layers.SpectralNormalization(layers.Dense(4)),
    "frozen": lambda first: layers.Dense(4, trainable=False),
}
LOSSES = {"mse": lambda: "mse", "Huber": lambda: keras.losses.Huber(), "Annealed": Annealed,
          "global": lambda: lambda t, p: script["scale"] * keras.ops.mean((t - p) ** 2, axis=-1)}
METRICS = {"mae": lambda: "mae", "Seen": Seen, "Best": Best}
OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.02, momentum=0.9), "Adam": lambda: keras.optimizers.Adam(0.01),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.005), "EMA": lambda: keras.optimizers.Adam(0.01, use_ema=True),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.05, 4, 0.9)),
    "accumulating": lambda: keras.optimizers.SGD(0.02, gradient_accumulation_steps=2),
}


def anneal(model):
    script["scale"] *= 0.7
    if isinstance(model.loss, Annealed):
        model.loss.weight *= 0.7


def change_layers(model):
    for layer in model.layers:
        if isinstance(layer, Scaled):
            layer.scale = layer.scale + 0.1
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.2


def collect(model):
    script["seen"].append(len(script["seen"]))
    model.optimizer.learning_rate = 0.02 / (1 + len(script["seen"]))


CALLBACKS = {
    "EarlyStopping": lambda first: keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True),
    "ReduceLROnPlateau": lambda first: keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=0.5),
    "anneal": lambda first: EachEpoch(anneal), "change layers": lambda first: EachEpoch(change_layers),
    "collect": lambda first: EachEpoch(collect), "generator": stateful_generator,
    "terminate": lambda first: keras.callbacks.TerminateOnNaN(),
}


def pipeline(*nodes):
    """A `tf.data` pipeline with these nodes, which any engine can be fed with."""
    import tensorflow as tf

    noise = tf.random.Generator.from_seed(3)
    made = tf.data.Dataset.from_tensor_slices((X, Y))
    steps = {
        "shuffle": lambda d: d.shuffle(56, seed=2), "shuffle once": lambda d: d.shuffle(
            56, seed=2, reshuffle_each_iteration=False), "unseeded": lambda d: d.shuffle(56),
        "cache": lambda d: d.cache(), "repeat": lambda d: d.repeat(2), "batch": lambda d: d.batch(8),
        "map": lambda d: d.map(lambda a, b: (a * 2.0, b)), "prefetch": lambda d: d.prefetch(2),
        "parallel": lambda d: d.map(lambda a, b: (a + 1.0, b), num_parallel_calls=2),
        "stateless": lambda d: d.enumerate().map(lambda n, ab: (
            ab[0] + tf.random.stateless_normal(tf.shape(ab[0]), [1, n]) * 0.01, ab[1])),
        "generator": lambda d: d.map(lambda a, b: (a + 0.01 * noise.normal(tf.shape(a)), b)),
        "python": lambda d: d.map(lambda a, b: (tf.ensure_shape(tf.numpy_function(
            lambda c: c * 1.5, [a], tf.float32), a.shape), b)),
        "interleave": lambda d: d.interleave(lambda a, b: tf.data.Dataset.from_tensors((a, b)), 2),
        "filter": lambda d: d.filter(lambda a, b: b[0] > 1.0),
    }
    for node in nodes:
        made = steps[node](made)
    return made


SOURCES = {"arrays": None, "arrays in order": None, "PyDataset": lambda: Batches(False),
           "PyDataset that draws": lambda: Batches(True), "tf.data": pipeline}
NODES = ("shuffle", "shuffle once", "unseeded", "cache", "repeat", "map", "parallel", "stateless", "generator",
         "python", "interleave", "filter")


def recipe(seed):
    """The parts of one training."""
    draw = random.Random(seed)
    source = draw.choice(sorted(SOURCES))
    optimizer = draw.choice(sorted(OPTIMIZERS))
    callbacks = draw.sample(sorted(CALLBACKS), draw.randint(0, 3))
    if optimizer == "schedule":  # whose rate cannot be set
        callbacks = [name for name in callbacks if name not in ("collect", "generator", "ReduceLROnPlateau")]
    parts = [draw.choice(sorted(LAYERS)) for _ in range(draw.randint(1, 3))]
    parts.sort(key=lambda name: name not in ("Normalization", "Scaled"))  # which take the data as they are
    return {
        "layers": parts,
        "loss": draw.choice(sorted(LOSSES)), "metrics": draw.sample(sorted(METRICS), draw.randint(0, 2)),
        "optimizer": optimizer, "callbacks": callbacks,
        "source": source, "nodes": draw.sample(NODES, draw.randint(0, 3)) if source == "tf.data" else [],
        "validates": draw.random() < 0.5, "eagerly": ENGINE == "tensorflow" and draw.random() < 0.2,
        "every": draw.choice([2, 3, 5]), "which": draw.random(), "seed": seed,
    }


def train(folder, made, first):
    keras.utils.set_random_seed(made["seed"])
    script.update(scale=1.0, seen=[])
    model = keras.Sequential([keras.Input((6,)), *[LAYERS[name](first) for name in made["layers"]], layers.Dense(1)])
    model.compile(OPTIMIZERS[made["optimizer"]](), LOSSES[made["loss"]](),
                  metrics=[METRICS[name]() for name in made["metrics"]], run_eagerly=made["eagerly"])
    checkpoint = kse.SessionCheckpoint(folder, save=kse.EverySteps(made["every"]) | kse.EveryEpochs(1),
                                       keep=kse.KeepAll(), background=False, verbose=0)
    arguments = {"epochs": 3, "verbose": 0, "callbacks": [CALLBACKS[name](first) for name in made["callbacks"]] + [
        checkpoint]}
    if made["source"].startswith("arrays"):
        arguments.update(x=X, y=Y, batch_size=10, shuffle=made["source"] == "arrays")
    elif made["source"] == "tf.data":
        arguments.update(x=pipeline(*made["nodes"], "batch", "prefetch"))
    else:
        arguments.update(x=SOURCES[made["source"]]())
    if made["validates"]:
        arguments.update(validation_data=(X[:16], Y[:16]))
    history = model.fit(**arguments)
    return {"weights": [np.asarray(one).tobytes().hex() for one in model.get_weights()],
            "history": repr(history.history), "script": repr(script),
            "prediction": np.asarray(model.predict(X[:4], verbose=0)).tobytes().hex()}, checkpoint


def compare(folder, made):
    whole = os.path.join(folder, str(made["seed"]))
    result, _ = train(whole, made, True)
    infos = [info for info in kse.list_checkpoints(whole) if not info.finished]
    info = infos[int(made["which"] * len(infos))]
    copy = whole + "-copy"
    shutil.copytree(whole, copy)
    for other in kse.list_checkpoints(copy):
        if other.id != info.id:
            os.remove(other.path)
    for name in ("witness-steps", "witness-epochs"):  # what is known beforehand is looked at, not what is found later
        os.remove(os.path.join(copy, name))
    again, checkpoint = train(copy, made, False)
    shutil.rmtree(copy)
    shutil.rmtree(whole)
    report = checkpoint.resume_report
    return {"recipe": made, "at": str(info.progress), "exact": report.exact, "reasons": report.reasons,
            "differs": sorted(name for name in result if result[name] != again[name])}


if __name__ == "__main__":
    if sys.argv[2].startswith("["):
        recipes = json.loads(sys.argv[2])
    else:
        recipes = map(recipe, range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])))
    for one in recipes:
        print(json.dumps(compare(sys.argv[1], one)), flush=True)
