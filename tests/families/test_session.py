"""What a checkpoint is on this member: captured in the model's own session, opened by plain Keras."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest
import train
from harness import environment
from members import MEMBERS, current

import keras_session_ext as kse
from keras_session_ext import backend

NAME = current()
MEMBER = MEMBERS[NAME]
HERE = os.path.dirname(os.path.abspath(__file__))

graph_only = pytest.mark.members(*(name for name in MEMBERS if MEMBERS[name].family == "graph"))


@pytest.fixture
def model(keras):
    if MEMBER.engine == "tensorflow":
        keras.backend.clear_session()
    train.seed(1, MEMBER.engine)
    return train.plain(keras)


@pytest.fixture(scope="module")
def data():
    return train._xy()


def test_a_layer_that_is_adapted_at_the_first_start_only(keras, tmp_path):
    """What it derives from its variables comes back, and nothing was traced with what it had before."""
    if MEMBER.family == "graph" or not hasattr(keras.layers, "Normalization"):
        return  # graphs read the variables; before TensorFlow 2.6 there was none

    def run(folder, kill=0):
        made = subprocess.run([sys.executable, os.path.join(HERE, "adapted.py"), str(tmp_path / folder)],
                              env=dict(environment(MEMBER.engine), KILL=str(kill)), capture_output=True)
        return made.returncode, made.stdout.decode(), made.stderr.decode()

    status, whole, error = run("whole")
    assert status == 0, error
    assert run("killed", 8)[0] == -9
    status, again, error = run("killed")
    assert status == 0, error
    assert "witnessed: 2 steps" in again or "witnessed: 1 step" in again
    assert again.splitlines()[-1].split() == ["True", whole.splitlines()[-1].split()[1]]


def test_a_model_without_weights_is_refused(keras, tmp_path):
    unbuilt = train.unbuilt(keras)
    with pytest.raises(kse.UnsupportedBackend, match="no variables yet. Build it first"):
        kse.save_session(unbuilt, tmp_path / "a.h5")


def values(model):
    family = backend.choose(model)
    leaves = family.model_variables(model) + family.optimizer_variables(model)
    return [np.array(array) for array in family.read(leaves)]


def same(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other))


def test_the_family_is_the_declared_one(keras, model):
    family = backend.choose(model)
    assert (family.family, family.engine.name) == (MEMBER.family, MEMBER.engine)
    assert backend.choose().keras is family.keras
    assert backend.describe()["family"] == MEMBER.family


def test_save_and_restore_outside_fit(keras, model, data, tmp_path, cell):
    x, y = data
    model.fit(x, y, epochs=1, verbose=0)
    before, predictions = values(model), model.predict(x[:50])
    path = kse.save_session(model, str(tmp_path / "model.h5"))
    model.fit(x, y, epochs=1, verbose=0)
    assert not same(values(model), before)
    cell("capture", "yes")
    report = kse.restore_session(model, path)
    assert report.kinds["variables"] == report.kinds["optimizer"] == "restored"
    assert same(values(model), before)
    assert np.array_equal(model.predict(x[:50]), predictions)
    cell("restore", "yes")


def test_plain_keras_opens_the_file(keras, model, data, tmp_path, cell):
    """`load_model` and `load_weights` in a process where importing this package raises."""
    x, y = data
    checkpoint = kse.SessionCheckpoint(str(tmp_path / "run"), verbose=0, on_error="raise")
    model.fit(x, y, epochs=1, verbose=0, callbacks=[checkpoint])
    with_optimizer = MEMBER.family != "keras3"  # Keras 3.15 cannot reload slots from its own .h5
    path = checkpoint.checkpoints[-1].path
    np.savez(str(tmp_path / "data.npz"), x=x, p=model.predict(x), w=model.get_weights()[0],
             slots=sum(float(np.abs(a).sum()) for a in values(model)[-4:]))
    script = textwrap.dedent("""
        import sys
        sys.modules["keras_session_ext"] = None
        sys.path.insert(0, {here!r})
        import members, numpy as np
        keras = members.load()
        path, data, optimizer = {path!r}, np.load({data!r}), {optimizer!r}
        model = keras.models.load_model(path, compile=optimizer)
        assert np.array_equal(model.predict(data["x"]), data["p"])
        if optimizer:
            weights = model.optimizer.weights if not hasattr(model.optimizer, "build") else model.optimizer.variables
            weights = weights() if callable(weights) and not isinstance(weights, list) else weights
            values = [keras.backend.get_value(one) for one in weights]
            assert len(values) > 4 and max(float(np.abs(one).sum()) for one in values[1:]) > 0, values
            assert int(values[0]) == 10, values[0]
            model.fit(data["x"][:64], np.zeros(64), epochs=1, verbose=0)
        again = keras.models.clone_model(model)
        again.load_weights(path)
        assert np.array_equal(again.get_weights()[0], data["w"])
        print("opened")
        """).format(here=HERE, path=path, data=str(tmp_path / "data.npz"), optimizer=with_optimizer)
    done = subprocess.run([sys.executable, "-c", script], env=environment(NAME), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.stdout.decode().strip().endswith("opened"), done.stdout.decode()
    cell("load_model on the file", "yes" if with_optimizer else "yes, compile=False")


def test_evaluate_and_predict_hooks(keras, model, data, tmp_path, cell):
    """On their own they restore what was asked for, and nothing else."""
    x, y = data
    checkpoint = kse.SessionCheckpoint(str(tmp_path / "run"), verbose=0)
    model.fit(x, y, epochs=1, verbose=0, callbacks=[checkpoint])
    trained = model.predict(x)
    path = checkpoint.checkpoints[-1].path
    model.fit(x, y, epochs=1, verbose=0)
    later = model.predict(x)
    assert np.array_equal(model.predict(x, callbacks=[kse.SessionCheckpoint(str(tmp_path / "run"), verbose=0)]), later)
    asked = kse.SessionCheckpoint(str(tmp_path / "run"), restore=path, verbose=0)
    model.evaluate(x, y, verbose=0, callbacks=[asked])
    assert np.array_equal(model.predict(x), trained)
    cell("evaluate and predict hooks", "yes")


@graph_only
def test_the_graph_does_not_grow_over_200_saves(keras, model, data, tmp_path):
    x, y = data
    sizes = []
    graph = model.weights[0].graph

    class Sizes(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            sizes.append(len(graph.get_operations()))

    checkpoint = kse.SessionCheckpoint(str(tmp_path / "run"), save=kse.EverySteps(1), background=False, verbose=0,
                                       on_error="raise")
    model.fit(x, y, batch_size=30, epochs=21, verbose=0, callbacks=[checkpoint, Sizes()])
    assert len(checkpoint.checkpoints) >= 200
    assert sizes[-1] == sizes[9], "from {} to {} ops".format(sizes[9], sizes[-1])
    before = len(graph.get_operations())
    for _ in range(3):
        kse.restore_session(model, checkpoint.checkpoints[-1].path)
    assert len(graph.get_operations()) == before


@graph_only
def test_a_finalized_graph_is_saved_and_restored(keras, model, data, tmp_path):
    x, y = data
    model.fit(x, y, epochs=1, verbose=0, validation_data=(x[:32], y[:32]))
    model.predict(x[:4])
    graph = model.weights[0].graph
    graph.finalize()
    try:
        checkpoint = kse.SessionCheckpoint(str(tmp_path / "run"), save=kse.EverySteps(2), verbose=0, on_error="raise")
        model.fit(x, y, epochs=1, verbose=0, callbacks=[checkpoint])
        before = values(model)
        model.fit(x, y, epochs=1, verbose=0)
        kse.restore_session(model, checkpoint.checkpoints[-1].path)
        assert same(values(model), before)
    finally:
        graph._unsafe_unfinalize()


def test_stages_and_a_finished_run(keras, data, tmp_path):
    """Two fits are two stages; the finished script started again trains nothing."""
    x, y = data

    def script():
        if MEMBER.engine == "tensorflow":
            keras.backend.clear_session()
        train.seed(1, MEMBER.engine)
        model = train.plain(keras)
        checkpoint = kse.SessionCheckpoint(str(tmp_path / "run"), verbose=0, on_error="raise")
        one = model.fit(x, y, epochs=2, verbose=0, callbacks=[checkpoint])
        two = model.fit(x, y, epochs=3, verbose=0, callbacks=[checkpoint])
        return values(model), one.history, two.history, checkpoint

    first, one, two, _ = script()
    second, again_one, again_two, checkpoint = script()
    assert same(first, second)
    assert (again_one, again_two) == (one, two) and len(two["loss"]) == 3
    assert not checkpoint.checkpoints and checkpoint.resume_report.progress.stage == 1


@pytest.mark.members(*(name for name in MEMBERS if MEMBERS[name].engine == "tensorflow"
                       and MEMBERS[name].family != "graph"))
def test_a_shuffle_behind_another_is_told_or_comes_again():
    """A shuffle reads what stands before it, and so draws the orders there, with its first element."""
    import tensorflow as tf

    from keras_session_ext.backend.feeds import walk_tf_dataset

    def make():
        files = tf.data.Dataset.range(8).shuffle(8, seed=1)
        return files.interleave(lambda a: tf.data.Dataset.range(2).map(lambda b: 10 * a + b), 2).shuffle(5, seed=2)

    def order(dataset):
        return [int(one) for one in dataset]

    whole, again = make(), make()
    orders = [order(whole) for _ in range(3)]
    walk_tf_dataset.advance(again, 2)
    assert orders[0] != orders[1]
    assert order(again) == orders[2] or "shuffled twice" in "; ".join(walk_tf_dataset.why_not_exact(whole))


def _trainings_of_threads(keras, folder, count, threads):
    """Weak references to models that were trained, each in a graph of its own where there are graphs."""
    references, errors = [], []

    def train_one(number):
        made = train.plain(keras)
        x, y = train._xy()
        made.fit(x[:96], y[:96], epochs=1, verbose=0, callbacks=[
            kse.SessionCheckpoint(str(folder / str(number)), save=kse.EverySteps(2), verbose=0, on_error="raise")])
        references.append(weakref.ref(made))

    def run(number):
        try:
            if MEMBER.family == "graph":
                import tensorflow as tf

                graph = tf.Graph()
                with graph.as_default(), tf.compat.v1.Session(graph=graph).as_default():
                    train_one(number)
            else:
                train_one(number)
        except Exception as error:
            errors.append(error)

    if threads:
        running = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for one in running:
            one.start()
        for one in running:
            one.join(300)
    else:
        for number in range(count):
            run(number)
    return references, errors


# standalone Keras keeps one session for all threads, and knows no other; plain TensorFlow 2.1 fails at it, too
@pytest.mark.members(*(name for name in MEMBERS if name != "tf21" and not (MEMBERS[name].keras == "keras"
                                                                           and MEMBERS[name].family == "graph")))
def test_fits_of_several_threads(keras, tmp_path):
    references, errors = _trainings_of_threads(keras, tmp_path, 4, threads=True)
    assert not errors and len(references) == 4
    for number in range(4):
        assert kse.list_checkpoints(tmp_path / str(number))


@pytest.mark.members("tf115", "tf215", "tf210", "jax", "torch")
def test_a_model_goes_when_the_script_lets_go_of_it(keras, tmp_path):
    """None is alive behind three fits; plain Keras of these members keeps none either."""
    references, errors = _trainings_of_threads(keras, tmp_path, 3, threads=False)
    if MEMBER.engine == "tensorflow":
        keras.backend.clear_session()
    for _ in range(3):
        gc.collect()
    assert not errors and [reference() for reference in references] == [None] * 3


def test_a_foreign_object_is_refused(keras):
    from keras_session_ext.errors import UnsupportedBackend

    with pytest.raises(UnsupportedBackend, match="Expected a Keras model"):
        kse.save_session(object(), "model.h5")


@pytest.mark.parametrize("place", [0, 1, None])
def test_the_life_of_a_run(keras, model, data, tmp_path, place):
    """SessionLogger before, behind and without a SessionCheckpoint: the journal, and the same in TensorBoard's file."""
    from tensorboard.compat.proto import event_pb2

    from keras_session_ext.lifecycle.journal import read_journal
    from keras_session_ext.tensorboard.event_writer import records

    x, y = data
    callbacks = [] if place is None else [kse.SessionCheckpoint(str(tmp_path / "run"), verbose=0)]
    callbacks.insert(place or 0, kse.SessionLogger(str(tmp_path / "tb")))
    model.fit(x, y, epochs=2, verbose=0, validation_data=(x[:30], y[:30]), callbacks=callbacks)
    model.evaluate(x, y, verbose=0, callbacks=callbacks)
    model.predict(x, callbacks=callbacks)
    events = read_journal(str(tmp_path / ("tb" if place is None else "run"))).events
    told = [event.kind for event in events if event.kind.split("_")[0] in ("fit", "epoch", "evaluate", "predict")]
    epoch = ["epoch_started", "evaluate_started", "evaluate_finished", "epoch_finished"]
    assert told == ["fit_started", *epoch, *epoch, "fit_finished", "evaluate_started", "evaluate_finished",
                    "predict_started", "predict_finished"]
    assert [event.figures["step"] for event in events if event.kind == "epoch_finished"] == [10, 20]
    assert (place is None) or sum(event.kind == "checkpoint_saved" for event in events) == 2
    folder = tmp_path / "tb" / "session"
    found = [record for name in os.listdir(str(folder)) for _, record in records((folder / name).read_bytes())]
    steps = [one.step for one in map(event_pb2.Event.FromString, found) for value in one.summary.value
             if value.tag == "session/events"]
    assert steps == [event.seq for event in events]
