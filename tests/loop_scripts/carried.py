"""What no value says: who leads to what, and of which class it is; and a body that consumes what it reads."""

import collections
import functools

import keras
import numpy as np
from common import arrays, result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(7)
x, y = np.random.rand(24, 3).astype("float32"), np.random.rand(24, 1).astype("float32")


def compiled():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def closed_over():
    hidden = compiled()

    def step(batch):
        return float(hidden.train_on_batch(x[batch], y[batch]))

    return step


def with_a_model(hidden, batch):
    return float(hidden.train_on_batch(x[batch], y[batch]))


class Row(list):
    """The script's own list, with an attribute."""


Pair = collections.namedtuple("Pair", "epoch start")
first, second = compiled(), compiled()
models = [first, second]
step, bound = closed_over(), functools.partial(with_a_model, compiled())
todo, names = ["a", "b", "c", "d"], []
current, best, kept, latest = [0.0], None, [0.0], None
weights = np.zeros(3)
lowest = weights  # one object, until the loop makes two of it
counts, groups, pairs, row = None, {}, [], Row()
row.total = 0

loop = kse.SessionLoop(**settings())
for epoch in loop.epochs(4):
    name = todo.pop(0)
    for start in loop.batches(range(0, 24, 4)):
        batch = slice(start, start + 4)
        current.append(float(first.train_on_batch(x[batch], y[batch])))
        kept.append(step(batch) + bound(batch))
        names.append(name)
        pairs.append(Pair(epoch, start))
        counts = collections.Counter() if counts is None else counts
        counts[start] += 1
        groups.setdefault(epoch, collections.OrderedDict())[start] = epoch
        row.append(start)
        row.total += start
        weights = weights + 1
        if start == 8:
            lowest = weights * epoch
        trained()
    latest = pairs[-1]
    if epoch == 0:
        best = current  # one object from here on
    if epoch == 1:
        first, second = second, first
result(loop, current=current, best=best, one=best is current, kept=kept, names=names, lowest=lowest, weights=weights,
       counts=counts.most_common(), groups=[list(one) for one in groups.values()], pairs=pairs, epochs=latest.epoch,
       row=row, total=row.total, first=arrays(first.weights), second=arrays(second.weights),
       swapped=models[0] is second and models[1] is first)
