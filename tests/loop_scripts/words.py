"""What bad input gets: each case prints the error, or what came out."""

import itertools
import sys
import tempfile

import keras
import numpy as np

import keras_session_ext as kse

if sys.argv[1] == "under_a_strategy":  # before anything lies on a device
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")


def made(folder=None, **more):
    return kse.SessionLoop(folder or tempfile.mkdtemp(), verbose=0, background=False, **more)


def large_variables():
    from keras_session_ext.run import loop_watch

    loop_watch._LARGE_BYTES = 1 << 20
    replay = []
    loop = kse.SessionLoop(tempfile.mkdtemp(), verbose=1, save=kse.EverySteps(100), background=False)
    for number in loop.batches(400):
        replay.append((np.full(1000, number, "float32"), number))
    print("OUT", replay[-1][1])


def bare_enumerate():
    for _ in enumerate(made().epochs(2)):
        pass


def enumerate_within():
    loop = made()
    for _ in loop.epochs(2):
        for _ in loop.batches(enumerate([1, 2])):
            pass


def bare_zip():
    for _ in zip(made().epochs(2), range(2)):
        pass


def bare_islice():
    for _ in itertools.islice(made().epochs(), 2):
        pass


def opened_twice():
    loop = made()
    level = loop.epochs(2)
    for _ in level:
        pass
    for _ in level:
        pass


def read_by_next():
    next(iter(made().epochs(2)))


def nothing_to_iterate():
    made().batches(object())


def a_fraction_of_an_epoch():
    made().epochs(np.array(2.5))


def a_text_in_the_log():
    made().log(loss="low")


def numbers_of_numpy():
    loop, value, made_of = made(), np.array(3), []
    for epoch in loop.epochs(np.array(2)):
        for number in loop.batches(np.int64(2)):
            value += number
            made_of.append((epoch, number))
    print("OUT", len(made_of), value)


def hostile_attributes():
    class Hostile:
        def __getattr__(self, name):
            raise RuntimeError(name)

    hostile, loop = Hostile(), made()
    for _ in loop.epochs(1):
        hostile.value = 1
    print("OUT", loop.checkpoints[0].reasons[0].split(",")[0])


def unknown_argument():
    made(objects={})


def within_a_fit():
    class Loops(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            for _ in made().epochs(1):
                pass

    model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0, callbacks=[Loops()])


def another_loop():
    folder = tempfile.mkdtemp()

    def first():
        loop = made(folder, save=kse.EverySteps(1))
        for _ in loop.epochs(2):
            for number in loop.batches(range(3)):
                if number == 2:
                    raise KeyError

    def second():
        loop = made(folder, save=kse.EverySteps(1))
        for _ in loop.epochs(2):
            for _ in loop.enumerate(range(3)):
                pass

    try:
        first()
    except KeyError:
        second()


def a_fit_in_the_place_of_a_loop():
    folder = tempfile.mkdtemp()
    for _ in made(folder).epochs(1):
        pass
    model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0, callbacks=[kse.SessionCheckpoint(folder, verbose=0)])


def a_smaller_source():
    folder = tempfile.mkdtemp()

    def train(count, stop):
        loop = made(folder, save=kse.EverySteps(1))
        for _ in loop.epochs(1):
            for number in loop.batches(range(count)):
                if number == stop:
                    raise KeyError

    try:
        train(6, 5)
    except KeyError:
        train(3, -1)


def without_looking():
    folder, kept = tempfile.mkdtemp(), {"count": 0}

    def train(stop):
        loop = made(folder, save=kse.EverySteps(1), watch=False, state=kept)
        unseen = 0
        for _ in loop.epochs(1):
            for number in loop.batches(range(6)):
                kept["count"] += 1
                unseen += 1
                if number == stop:
                    raise KeyError
        return unseen

    try:
        train(3)
    except KeyError:
        kept["count"] = 0
    print("OUT", train(-1), kept["count"])


def a_break_and_its_stages():
    folder = tempfile.mkdtemp()

    def train(stop):
        loop = made(folder, save=kse.EverySteps(1))
        seen, tried = [], 0
        for epoch in loop.epochs():
            tried += 1
            for number in loop.batches(range(4)):
                seen.append((epoch, number))
                if len(seen) == stop:
                    raise KeyError
            if epoch == 1:
                break
        for number in loop.batches(range(3)):
            seen.append(number)
            if len(seen) == stop:
                raise KeyError
        with loop:
            for _ in loop.epochs():
                seen.append("last")
                if len(seen) >= 13:
                    break
        return seen, tried

    whole = train(0)
    for stop in (3, 7, 10, 0):
        try:
            out = train(stop)
        except KeyError:
            continue
    print("OUT", out == whole, len(out[0]))


def a_bounded_loop_that_was_finished():
    """It is over, whatever its number of epochs; the loop behind it is trained whole."""
    folder, seen = tempfile.mkdtemp(), []
    for _ in range(2):
        loop = made(folder)
        for epoch in loop.epochs(10):
            seen.append(epoch)
            if epoch == 2:
                break
        loop.finish()
        for epoch in loop.epochs(3):
            seen.append(epoch)
    print("OUT", seen)


def a_view_of_an_array():
    """It is one again: what is written to one of them later stands in the other, too."""
    folder = tempfile.mkdtemp()

    def train(stop):
        loop = made(folder, save=kse.EverySteps(1))
        buffer = np.zeros(4)
        head, count = buffer[:2], 0
        for epoch in loop.epochs(2):
            for _ in loop.batches(range(3)):
                count += 1
                if count == stop:
                    raise KeyError
                head[0] += epoch
                buffer[1] += 2
        return buffer.tolist(), head.tolist(), loop.resume_report.exact

    try:
        train(3)
    except KeyError:
        print("OUT", train(0))


def a_counted_iterator():
    folder = tempfile.mkdtemp()

    def train(stop):
        loop = made(folder, save=kse.EverySteps(1))
        random = np.random.default_rng(1)
        extra, seen = loop.iterator(iter(lambda: int(random.integers(100)), -1)), []
        for _ in loop.epochs(2):
            for number in loop.batches(range(3)):
                seen.append((number, next(extra)))
                if len(seen) == stop:
                    raise KeyError
        return seen

    try:
        train(4)
    except KeyError:
        out = train(0)
    folder = tempfile.mkdtemp()
    whole = train(0)
    print("OUT", out == whole)


def under_a_strategy():
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        replicated = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for _ in made().epochs(2):
        replicated.reset_metrics()


def a_save_that_was_asked_for():
    loop = made(save=kse.EveryEpochs(10))
    for _ in loop.epochs(2):
        for number in loop.batches(range(3)):
            if number == 1:
                loop.save()
    print("OUT", [info.reason for info in loop.checkpoints])


try:
    globals()[sys.argv[1]]()
except (kse.SessionError, TypeError) as error:
    print("ERROR {}: {}".format(type(error).__name__, error))
