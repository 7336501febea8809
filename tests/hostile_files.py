"""Checkpoints with valid checksums and lying content: a training is started on each.

`python hostile_files.py FOLDER SEED COUNT` prints one JSON line for each. Every one stands before an older checkpoint
that is whole: training goes on from there, or from what the file says where that is harmless, or ends with an error
that names the file.
"""

import json
import os
import random
import resource
import shutil
import sys
import time

import keras
import numpy as np

import keras_session_ext as kse

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "contract"))
from files_of_ours import header_text, with_text

X, Y = np.ones((12, 2), "float32"), np.ones((12, 1), "float32")
EXECUTED = []
NAMES = ("filepath", "target", "on_epoch_end", "__class__", "model", "new")
WRONG = [None, True, -1, 0, 1 << 60, 1e308, "", "x", [], {}, [[]], {"$array": 10 ** 9}, {"$array": "a"}, {"$scalar": 0},
         {"$Generator": {"bit_generator": "test"}}, {"$Generator": {"bit_generator": "Generator"}}, {"$bytes": "zz"},
         {"$set": [[1]]}, {"$dict": [[[], 1]]}, {"$deque": [-1, []]},
         {"$columns": [10 ** 9, ["none", 0], []]}, {"$columns": [1, ["int", 0], [0]]}, {"$columns": 3},
         {"$random": []}, {"$int": "0x" + "f" * 10000},
         {"$float": "nan"}, "/etc/outside", "../outside", {"$RandomState": {"bit_generator": "PCG64"}}]


class Holding(keras.callbacks.Callback):
    """The user's own, with a path, a number and a helper."""

    def __init__(self, folder):
        super().__init__()
        self.target, self.count = os.path.join(folder, "target"), 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1


def train(folder, epochs):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    best = keras.callbacks.ModelCheckpoint(os.path.join(folder, "best.weights.h5"), save_weights_only=True,
                                           save_best_only=True, monitor="loss")
    holding = Holding(folder)
    checkpoint = kse.SessionCheckpoint(folder, save=kse.EverySteps(2) | kse.EveryEpochs(1), keep=kse.KeepAll(),
                                       background=False, verbose=0)
    model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, validation_data=(X, Y),
              callbacks=[checkpoint, best, holding, keras.callbacks.EarlyStopping("loss", patience=9)])
    outside = [one for one in (best.filepath, holding.target) if not str(one).startswith(folder)]
    return checkpoint.resume_report, outside


def places(value, at=()):
    """Every place in nested JSON."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*at, key))


def spoil(text, draw):
    """The text of a header with one or two values replaced, removed or added; and where."""
    fields = json.loads(text)
    every, told = [at for at in places(fields) if at], []
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.choice(every)
        holder, what = fields, draw.choice(("replace", "replace", "remove", "add"))
        try:
            for key in at[:-1]:
                holder = holder[key]
            if what == "remove":
                del holder[at[-1]]
            elif what == "add" and isinstance(holder, dict):
                holder[draw.choice(NAMES)] = draw.choice(WRONG)
            else:
                holder[at[-1]] = draw.choice(WRONG)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier edit took the place away
        told.append([what, "/".join(map(str, at))])
    return json.dumps(fields).encode(), told


def main(folder, seed, count):
    np.random.test = lambda *arguments, **options: EXECUTED.append("np.random.test")
    draw, whole, run = random.Random(seed), os.path.join(folder, "whole"), os.path.join(folder, "run")
    train(whole, 2)
    for _ in range(count):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        newest = kse.list_checkpoints(run)[draw.choice((0, 1, 2))]
        for info in kse.list_checkpoints(run):
            if info.order > newest.order:
                os.remove(info.path)
        with open(newest.path, "rb") as handle:
            data = handle.read()
        text, told = spoil(header_text(data), draw)
        if 105 + len(text) > int(data[14:26]):
            continue
        with open(newest.path, "wb") as handle:
            handle.write(with_text(data, text))
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        EXECUTED.clear()
        outside = []
        try:
            report, outside = train(run, 3)
            outcome = "older" if report.rejected else "as it says"
        except kse.SessionError as error:
            outcome = "refused" if newest.path in str(error) or run in str(error) else "no path: {}".format(error)
        except BaseException as error:
            outcome = "raised {}: {}".format(type(error).__name__, error)
        print(json.dumps({
            "edits": told, "outcome": outcome, "executed": EXECUTED, "outside": outside,
            "seconds": round(time.monotonic() - began, 2),
            "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
