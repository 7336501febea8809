"""A loop in methods of a class of the script's own, on any engine: two models, helpers, a generator of NumPy."""

import keras
import numpy as np
from common import arrays, digits, result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(3)


class Noise:
    """A walk that remembers where it is."""

    def __init__(self, seed):
        self.random, self.value = np.random.default_rng(seed), 0.0

    def __call__(self):
        self.value = 0.5 * self.value + float(self.random.normal())
        return self.value


class Trainer:
    """Trains a linear model towards a second one that follows it."""

    def __init__(self, loop):
        self.loop = loop
        self.model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, name="one")])
        self.average = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, name="two")])
        self.optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
        self.metric = keras.metrics.Mean()
        self.noise = Noise(5)
        self.seen, self.best, self.log = 0, None, []

    def step(self, x, y):
        given = keras.ops.convert_to_numpy(self.model(x))
        error = (given - np.eye(10, dtype="float32")[y]) / len(x)
        gradients = [x.T @ error, error.sum(axis=0) + np.float32(0.01 * self.noise())]
        self.optimizer.apply([keras.ops.convert_to_tensor(one) for one in gradients], self.model.trainable_variables)
        self.metric.update_state(float((error ** 2).sum()))
        self.seen += len(x)
        self.average.set_weights([0.9 * a + 0.1 * b for a, b in zip(
            self.average.get_weights(), self.model.get_weights())])

    def epoch(self, x, y, order):
        total, count = 0.0, 0
        for start in self.loop.batches(range(0, len(order), 32)):
            batch = order[start:start + 32]
            self.step(x[batch], y[batch])
            count += 1
            total += self.noise.value
            trained()
        return total / count

    def train(self, x, y, epochs):
        random, drift = np.random.default_rng(11), []
        for epoch in self.loop.epochs(epochs):
            drift.append(self.epoch(x, y, random.permutation(len(x))))
            value = float(self.metric.result())
            self.metric.reset_state()
            if self.best is None or value < self.best[1]:
                self.best = epoch, value
            self.log.append({"epoch": epoch, "value": value})
        return drift


def main():
    loop = kse.SessionLoop(**settings())
    trainer = Trainer(loop)
    x, y = digits()
    drift = trainer.train(x[:320], y[:320], 3)
    drift += trainer.train(x[:160], y[:160], 2)  # a second stage
    result(loop, weights=trainer.model.get_weights(), average=trainer.average.get_weights(), drift=drift,
           optimizer=arrays(trainer.optimizer.variables), seen=trainer.seen, best=trainer.best, log=trainer.log,
           noise=[trainer.noise.value, trainer.noise.random.random()])


main()
