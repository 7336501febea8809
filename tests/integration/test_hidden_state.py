"""State in places where no one looks: resumed from every kind of checkpoint, it is the same, or the report says no.

In this process, on JAX; every start makes all its objects anew and seeds nothing.
"""

import collections
import dataclasses
import functools
import itertools
import os
import queue
import random
import shutil
import types

import keras
import numpy as np
import pytest
import shared_counter
from sources import digits

import keras_session_ext as kse

pytestmark = pytest.mark.slow

X, Y = digits()
X, Y = X[:96], Y[:96]
Callback = keras.callbacks.Callback


def start(directory, script):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(6, activation="relu"), keras.layers.Dropout(0.2),
                              keras.layers.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    callbacks, arguments, extra, *compiled = script()
    if compiled:
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", **compiled[0])
    checkpoint = kse.SessionCheckpoint(directory, save=kse.EverySteps(2) | kse.EveryEpochs(1), keep=kse.KeepAll(),
                                       background=False, verbose=0)
    history = model.fit(**dict({"x": X, "y": Y, "batch_size": 32, "epochs": 3, "verbose": 0}, **arguments),
                        callbacks=[*callbacks, checkpoint])
    return [np.asarray(w).tobytes() for w in model.get_weights()], repr(history.history), repr(extra()), checkpoint


def resumed_everywhere(tmp_path, script):
    """The uninterrupted run, and the resumes from its checkpoints in the middle."""
    whole = start(tmp_path / "whole", script)
    infos = kse.list_checkpoints(tmp_path / "whole")
    for info in infos[1::2]:
        copy = tmp_path / info.id
        shutil.copytree(tmp_path / "whole", copy)
        for other in kse.list_checkpoints(copy):
            if other.id != info.id:
                os.remove(other.path)
        yield whole, start(copy, script)


def attribute(make, use):
    """A callback with one attribute, which every epoch's end uses."""
    def script():
        class Peer(Callback):
            def __init__(self):
                super().__init__()
                self.held = make()

            def on_epoch_end(self, epoch, logs=None):
                use(self, epoch)

        peer = Peer()
        return [peer], {}, lambda: [np.asarray(item).tolist() for item in keras.tree.flatten(plain(peer.held))]

    return script


def plain(held):
    if isinstance(held, (keras.random.SeedGenerator,)):
        return held.state.numpy()
    if isinstance(held, keras.metrics.Metric):
        return held.result()
    if isinstance(held, (Frozen, queue.Queue)):
        return held.count if isinstance(held, Frozen) else list(held.queue)
    if isinstance(held, (random.Random, np.random.Generator)):
        return held.random()
    return list(held.items()) if isinstance(held, dict) else list(held) if isinstance(held, collections.deque) else held


def append(self, epoch):
    self.held.append(epoch)


def in_closure_of_object():
    tracker = types.SimpleNamespace(seen=[], count=0)

    def seen(epoch, logs):
        tracker.seen.append(epoch)
        tracker.count += 1

    return [keras.callbacks.LambdaCallback(on_epoch_end=seen)], {}, lambda: tracker


def in_bound_method():
    class Tracker:
        def __init__(self):
            self.count = 0

        def update(self, epoch, logs):
            self.count += 1

    tracker = Tracker()
    return [keras.callbacks.LambdaCallback(on_epoch_end=tracker.update)], {}, lambda: tracker.count


def in_partial():
    seen = []
    return [keras.callbacks.LambdaCallback(on_epoch_end=functools.partial(
        lambda into, epoch, logs: into.append(epoch), seen))], {}, lambda: seen


class Counter:
    """As a script has it whose classes stand in it: their module is `__main__`."""

    __module__ = "__main__"

    def __init__(self):
        self.count = 0


counter, number, calls = Counter(), 0, 0


def count_a_call():
    global calls
    calls += 1


def in_an_object_of_the_script():
    global counter
    counter = Counter()

    def seen(epoch, logs):
        counter.count += 1

    return [keras.callbacks.LambdaCallback(on_epoch_end=seen)], {}, lambda: counter.count


def in_global_numbers():
    """Rebound by a callback's function, by its method, and by a function that its function calls."""
    global number, calls
    number = calls = 0

    class Counts(Callback):
        def on_epoch_end(self, epoch, logs=None):
            global number
            number += 1 + len(str(number))

    return [Counts(), keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: count_a_call())], {}, (
        lambda: (number, calls))


def shared_generator():
    shared = random.Random()

    class Draws(Callback):
        def __init__(self):
            super().__init__()
            self.rng, self.drawn = shared, []

        def on_epoch_end(self, epoch, logs=None):
            self.drawn.append(self.rng.random())

    peers = [Draws(), Draws()]
    return peers, {}, lambda: [peer.drawn for peer in peers]


def alias():
    class Alias(Callback):
        def __init__(self):
            super().__init__()
            self.losses = []
            self.by_name = {"loss": self.losses}

        def on_epoch_end(self, epoch, logs=None):
            self.losses.append(epoch)

    peer = Alias()
    return [peer], {}, lambda: (peer.losses, peer.by_name)


def initial_weights():
    class TowardsInitial(Callback):
        def on_train_begin(self, logs=None):
            self.initial = self.model.get_weights()

        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([(a + b) / 2 for a, b in zip(self.model.get_weights(), self.initial)])

    return [TowardsInitial()], {}, lambda: None


def stops_within_an_epoch():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations.numpy() >= 4 and batch == 0:
                self.model.stop_training = True

    return [Stop()], {"validation_data": (X, Y)}, lambda: None


def vector_log():
    class Vector(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["vector"] = np.arange(3.0) * epoch

    return [Vector()], {}, lambda: None


def validation_source():
    class Batches(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng()

        def __len__(self):
            return 2

        def __getitem__(self, index):
            rows = self.rng.integers(0, 96, 8)
            return X[rows], Y[rows]

    return [], {"validation_data": Batches()}, lambda: None


class Seen(keras.metrics.Metric):
    """Counts over the whole training."""

    def __init__(self):
        super().__init__(name="seen")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign(self.count + 1.0)

    def result(self):
        return self.count + 0.0

    def reset_state(self):
        pass


def metric_over_epochs():
    return [], {}, lambda: None, {"metrics": [Seen(), "accuracy"]}


class Shared:
    """All its objects count in the class."""

    count = 0


def in_a_class():
    Shared.count = 0

    class Counts(Callback):
        made = 0

        def on_epoch_end(self, epoch, logs=None):
            Shared.count += 1
            type(self).made += 1

    peer = Counts()
    return [peer], {}, lambda: (Shared.count, peer.made)


def in_a_default():
    def seen(epoch, logs, memory=[]):
        memory.append(epoch)

    return [keras.callbacks.LambdaCallback(on_epoch_end=seen)], {}, lambda: seen.__defaults__


def in_a_function():
    def seen(epoch, logs):
        seen.count = getattr(seen, "count", 0) + 1

    return [keras.callbacks.LambdaCallback(on_epoch_end=seen)], {}, lambda: seen.count


def in_another_module():
    shared_counter.count, shared_counter.seen = 0, []

    class Counts(Callback):
        def on_epoch_end(self, epoch, logs=None):
            shared_counter.tick()
            shared_counter.seen.append(epoch)

    return [Counts()], {}, lambda: (shared_counter.count, shared_counter.seen)


@dataclasses.dataclass(frozen=True)
class Frozen:
    count: int = 0


def in_a_frozen_dataclass():
    return attribute(Frozen, lambda self, epoch: setattr(self, "held", Frozen(self.held.count + 1)))


EXACT = {
    "a class": in_a_class, "a default": in_a_default, "a function's attribute": in_a_function,
    "another module": in_another_module, "a frozen dataclass": in_a_frozen_dataclass(),
    "a queue": attribute(queue.Queue, lambda self, epoch: self.held.put(epoch)),
    "a deque": attribute(lambda: collections.deque(maxlen=2), append),
    "a defaultdict": attribute(lambda: collections.defaultdict(list), lambda self, epoch: self.held[epoch].append(1)),
    "an unseeded generator, used late": attribute(
        np.random.default_rng, lambda self, epoch: epoch == 2 and self.held.random()),
    "a tensor": attribute(lambda: keras.ops.zeros(3), lambda self, epoch: setattr(self, "held", self.held + epoch + 1)),
    "a SeedGenerator": attribute(keras.random.SeedGenerator, lambda self, epoch: self.held.next()),
    "a metric": attribute(keras.metrics.Mean, lambda self, epoch: self.held.update_state(epoch)),
    "an object in a closure": in_closure_of_object, "a bound method": in_bound_method, "a partial": in_partial,
    "an object of the script": in_an_object_of_the_script, "global numbers": in_global_numbers,
    "a metric over all epochs": metric_over_epochs, "a shared generator": shared_generator,
    "one list in two places": alias, "what on_train_begin saw": initial_weights,
    "stopped within an epoch": stops_within_an_epoch, "a vector in the logs": vector_log,
    "validation PyDataset with a state": validation_source,
}


@pytest.mark.parametrize("name", EXACT)
def test_it_comes_back(name, tmp_path):
    for whole, resumed in resumed_everywhere(tmp_path, EXACT[name]):
        assert resumed[3].resume_report.exact, resumed[3].resume_report.reasons
        assert resumed[:3] == whole[:3]


def iterator():
    return attribute(lambda: itertools.cycle([1, 2, 3]), lambda self, epoch: next(self.held))()[:2] + (lambda: None,)


Pair = collections.namedtuple("Pair", "first second")


def namedtuple_made_anew():
    def use(self, epoch):
        self.held = Pair(epoch + 1, object)

    def script():
        peers, arguments, _ = attribute(lambda: Pair(0, object), use)()
        peers[0].on_train_batch_begin = lambda batch, logs=None: use(peers[0], 9)
        return peers, arguments, lambda: None

    return script()


def endless():
    while True:
        yield 1


steps = endless()


class Slots:
    __slots__ = ("count",)


slots = Slots()


def global_generator():
    class Draws(Callback):
        def on_epoch_end(self, epoch, logs=None):
            next(steps)

    return [Draws()], {}, lambda: None


def global_slots():
    class Counts(Callback):
        def on_epoch_end(self, epoch, logs=None):
            slots.count = epoch

    return [Counts()], {}, lambda: None


def unseeded_split():
    rows = np.random.permutation(96)
    return [], {"x": X[rows[:64]], "y": Y[rows[:64]], "validation_data": (X[rows[64:]], Y[rows[64:]])}, lambda: None


def one_shuffle_for_two():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(96, seed=1)
    return [], {"x": dataset.take(64).batch(16), "y": None, "batch_size": None,
                "validation_data": dataset.skip(64).batch(16)}, lambda: None


@pytest.mark.parametrize("script, text", [
    (iterator, "Peer.held (cycle) cannot be captured"),
    (namedtuple_made_anew, "Peer.held.0 could not be put back"),
    (global_generator, "Draws.on_epoch_end.steps (generator) cannot be captured"),
    (global_slots, "Counts.on_epoch_end.slots (Slots) cannot be captured"),
    (unseeded_split, "arrays given to fit for training are not those"),
    (one_shuffle_for_two, "one shuffled tf.data.Dataset"),
])
def test_what_cannot_come_back_is_not_claimed(script, text, tmp_path):
    for _, resumed in resumed_everywhere(tmp_path, script):
        report = resumed[3].resume_report
        assert not report.exact and text in "; ".join(report.reasons)


def test_a_stage_with_nothing_to_train(tmp_path):
    def stages(stop):
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
        model.compile("sgd", "mse")
        checkpoint = kse.SessionCheckpoint(tmp_path, verbose=0, background=False)
        for epochs in (0, stop):
            model.fit(X, np.zeros((96, 10)), epochs=epochs, verbose=0, callbacks=[checkpoint])
        return checkpoint

    stages(1)
    report = stages(2).resume_report
    assert report.checkpoint and report.progress.stage == 1 and report.exact


def test_a_failing_get_state_obeys_on_error(tmp_path, caplog):
    class Bad(Callback):
        def get_state(self):
            return {"q": object()}

        def set_state(self, state):
            pass

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    model.compile("sgd", "mse")
    arguments = dict(x=X, y=np.zeros((96, 10)), verbose=0)
    model.fit(**arguments, callbacks=[Bad(), kse.SessionCheckpoint(tmp_path / "warn", verbose=0)])
    assert "Bad.get_state() returned something that cannot be stored: q (object)" in caplog.text
    with pytest.raises(kse.ConfigError, match=r"Bad.get_state\(\)"):
        model.fit(**arguments, callbacks=[Bad(), kse.SessionCheckpoint(tmp_path / "raise", on_error="raise")])
