"""Every file-system call of a training fails, one after the other, until the training comes through.

`python fault_loop.py FOLDER SEED COUNT` trains COUNT times, each time with another call that fails: with which error,
once or for good, before it is done or behind it, and in which training is drawn by the seed. It prints one JSON line
for each. The files are real; the calls of `files.py` and `file_locks.py`, where all of them stand, go through a switch.

As SQLite tests itself: https://www.sqlite.org/testing.html, "I/O Error Testing".
"""

import errno
import faulthandler
import json
import logging
import os
import random
import shutil
import sys
import time
import traceback
import types

import keras
import numpy as np

import keras_session_ext as kse
from keras_session_ext import file_locks, files
from keras_session_ext.lifecycle import events

ERRORS = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.ETIMEDOUT,
          errno.ESTALE, errno.ENOLCK]
SECONDS = 60  # no case takes longer, whatever the machine
#: name -> what is done before: how many epochs, and what stands in the directory
TRAININGS = ("fresh", "resumed", "resumed in an epoch", "in the background", "leftovers")
#: calls that look at names and open files; the rest of `os` is not counted
CALLS = ("open", "close", "read", "write", "pwrite", "pread", "preadv", "fsync", "fstat", "stat", "lstat", "link",
         "unlink", "rename", "replace", "listdir", "mkdir", "chmod", "fchmod", "ftruncate", "posix_fallocate", "fcntl",
         "flock", "lockf")


class Switch:
    """Counts calls, and lets one of them, or all from it on, fail."""

    def __init__(self):
        self.count, self.at, self.number, self.for_good, self.behind = 0, None, 0, False, False
        self.failed = ""

    def set(self, at=None, number=0, for_good=False, behind=False):
        self.count, self.at, self.number, self.for_good, self.behind, self.failed = 0, at, number, for_good, behind, ""

    def call(self, name, function, *arguments, **options):
        self.count += 1
        fails = self.at is not None and (self.count == self.at or (self.for_good and self.count > self.at))
        if not fails:
            return function(*arguments, **options)
        self.failed = self.failed or name
        if self.behind or name == "close":  # a descriptor is closed, whatever close says
            made = function(*arguments, **options)
            if name == "open":
                os.close(made)
        raise OSError(self.number, os.strerror(self.number), arguments[0] if isinstance(arguments[0], str) else None)


SWITCH = Switch()


def through(module):
    """A module whose calls go through the switch."""
    made = types.ModuleType(module.__name__)
    made.__dict__.update(vars(module))
    for name in CALLS:
        if hasattr(module, name):
            function = getattr(module, name)
            setattr(made, name, lambda *arguments, name=name, function=function, **options: SWITCH.call(
                name, function, *arguments, **options))
    return made


class Told(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


TOLD = Told()
X, Y = np.ones((12, 2), "float32"), np.ones((12, 1), "float32")


def train(folder, epochs, background=False, stops=None):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    checkpoint = kse.SessionCheckpoint(folder, save=kse.EverySteps(2) | kse.EveryEpochs(1), keep=kse.KeepLast(2),
                                       background=background, verbose=0)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if stops == batch:
                raise KeyboardInterrupt

    try:
        model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0,
                  callbacks=[checkpoint, kse.SessionLogger(os.path.join(folder, "logs")), Stop()])
    except KeyboardInterrupt:
        pass
    return checkpoint, [one.tolist() for one in model.get_weights()]


def prepare(folder, training):
    """What stands there before the training that meets the fault."""
    if training == "resumed":
        train(folder, 1)
    elif training == "resumed in an epoch":
        train(folder, 3, stops=2)
    elif training == "leftovers":
        train(folder, 1)
        inner = os.path.join(folder, "checkpoints")
        name = os.listdir(inner)[0]
        for kind in ("tmp", "del"):
            with open(os.path.join(inner, ".{}-01234567-g000001-s0000000002-01234567.h5".format(kind)), "w") as handle:
                handle.write(name)
        with open(os.path.join(folder, "journal.jsonl.tmp-01234567"), "w") as handle:
            handle.write("{")


def attempt(folder, case):
    """One training that meets a fault, and one behind it that meets none."""
    shutil.rmtree(folder, ignore_errors=True)
    prepare(folder, case["training"])
    before = [info.id for info in kse.list_checkpoints(folder)]
    TOLD.lines.clear()
    acknowledged = list(before)
    stop = events.listen(lambda event: acknowledged.append(event.figures["id"])
                        if event.kind == "checkpoint_saved" else None)
    SWITCH.set(case["at"], case["errno"], case["for_good"], case["behind"])
    began = time.monotonic()
    try:
        checkpoint, weights = train(folder, 3, case["training"] == "in the background")
        outcome = "warned" if TOLD.lines else "through"
    except kse.SessionError as error:
        outcome = "refused" if folder in str(error) else "no path: {}".format(error)
        weights = None
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        outcome = "raised {}: {} by {}".format(type(error).__name__, error, " < ".join(
            "{}:{}".format(os.path.basename(frame.filename), frame.lineno) for frame in frames[:-6:-1]))
        weights = None
    took, calls, failed = time.monotonic() - began, SWITCH.count, SWITCH.failed
    SWITCH.set()
    stop()
    found = kse.list_checkpoints(folder)
    newest = max((id.split("-")[1] for id in acknowledged), default="")
    lost = bool(newest) and not any(info.id.split("-")[1] >= newest for info in found)
    broken = []
    for info in found:
        try:
            kse.verify_checkpoint(info.path)
        except kse.SessionError as error:
            broken.append(str(error))
    after, end = train(folder, 4)
    return dict(case, outcome=outcome, call=failed, seconds=round(took, 2), lost=lost, broken=broken, calls=calls,
                told=TOLD.lines[:3], same=weights is None or weights == WHOLE[3], end=end == WHOLE[4],
                leftovers=[name for name in os.listdir(folder) if "tmp-" in name])


WHOLE = {}


def main(folder, seed, count):
    logging.getLogger("keras_session_ext").addHandler(TOLD)
    for epochs in (3, 4):
        WHOLE[epochs] = train(os.path.join(folder, "whole-{}".format(epochs)), epochs)[1]
    files.os, files.fcntl = through(os), through(files.fcntl)
    file_locks.os, file_locks.fcntl = files.os, through(file_locks.fcntl)
    calls = {}
    for training in TRAININGS:
        made = attempt(os.path.join(folder, "run"), {"training": training, "at": None, "errno": 0, "for_good": False,
                                                     "behind": False})
        assert made["outcome"] == "through" and made["end"], made
        calls[training] = made["calls"]
    draw = random.Random(seed)
    cases = [{"training": training, "at": at, "errno": number, "for_good": for_good, "behind": behind}
             for training in TRAININGS for at in range(1, calls[training] + 1) for number in ERRORS
             for for_good in (False, True) for behind in (False, True)]
    draw.shuffle(cases)
    print(json.dumps({"cases": len(cases), "calls": calls}), flush=True)
    for case in cases[:count]:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        print(json.dumps(attempt(os.path.join(folder, "run"), case)), flush=True)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
