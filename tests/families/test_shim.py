"""`get_session` and its kin on this member: code written for TF1 runs unchanged."""

import collections
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from harness import environment
from members import MEMBERS, current

import keras_session_ext as kse
from keras_session_ext import backend
from keras_session_ext.errors import ConfigError, UnsupportedBackend
from keras_session_ext.lifecycle import events

NAME = current()
MEMBER = MEMBERS[NAME]
GRAPH = MEMBER.family == "graph"
HERE = os.path.dirname(os.path.abspath(__file__))

X = np.random.RandomState(0).rand(7, 6).astype("float32")


only = pytest.mark.members


@pytest.fixture
def model(keras):
    return build(keras)


def build(keras):
    if MEMBER.engine == "tensorflow":
        keras.backend.clear_session()
    layers = keras.layers
    one, two = layers.Input((6,), name="one"), layers.Input((6,), name="two")
    hidden = layers.Dropout(0.5)(layers.Dense(5, activation="relu")(one))
    model = keras.models.Model([one, two], layers.Dense(3)(layers.concatenate([hidden, two])))
    model.compile("adam", "mse")
    model.train_on_batch([X, X], np.zeros((7, 3)))
    return model


@pytest.fixture
def feeds(model):
    backend.get_session()
    return {model.inputs[0]: X, model.inputs[1]: X}


def test_run(model, feeds, cell):
    session = backend.get_session(model)
    assert np.abs(session.run(model.output, feeds) - model.predict([X, X])).max() < 1e-6
    assert np.array_equal(session.run(model.weights[0]), model.get_weights()[0])
    assert np.array_equal(backend.run(model.output, feeds, model), session.run(model.output, feed_dict=feeds))
    optimizer = [leaf.variable for leaf in backend.choose(model).optimizer_variables(model)]
    values = session.run(optimizer)
    assert len(values) == len(optimizer) > 4 and int(values[0]) == 1
    Pair = collections.namedtuple("Pair", "a b")
    made = session.run({"x": [model.weights[0], (model.output,)], "y": Pair(model.layers[2].output, model.weights[1])},
                       feeds)
    assert isinstance(made["x"], list) and isinstance(made["x"][1], tuple) and isinstance(made["y"], Pair)
    assert made["y"].a.shape == (7, 5) and made["x"][1][0].shape == (7, 3)
    cell("session access", "tf.Session" if GRAPH else "our object")
    cell("run", "yes")


def test_the_rest_of_k(keras, model, feeds):
    """One changed import is one changed import."""
    from keras_session_ext import backend as K

    assert K.epsilon() == keras.backend.epsilon() and K.image_data_format() == keras.backend.image_data_format()
    outputs = K.function(model.inputs, [model.output])([X, X])
    np.testing.assert_array_equal(outputs[0], kse.backend.run(model.output, feeds))
    weight = model.weights[0]
    value = K.get_value(weight)
    np.testing.assert_array_equal(value, kse.backend.run(weight))
    assert K.get_value(3.5) == 3.5
    K.set_value(weight, value + 1)
    np.testing.assert_array_equal(K.get_value(weight), value + 1)
    K.batch_set_value([(weight, value), (model.weights[1], np.ones(model.weights[1].shape))])
    made = K.batch_get_value(model.weights[:2])
    np.testing.assert_array_equal(made[0], value)
    np.testing.assert_array_equal(made[1], 1)
    rate = model.optimizer.learning_rate if hasattr(model.optimizer, "learning_rate") else model.optimizer.lr
    K.set_value(rate, 0.25)
    assert float(K.get_value(rate)) == 0.25
    with pytest.raises(ConfigError, match="Only a variable can be given a value.*'w'"):
        K.set_value("w", 1)
    assert hasattr(K, "mean") == (MEMBER.engine == "tensorflow")  # elsewhere there is keras.ops
    if MEMBER.engine == "tensorflow":
        assert float(K.get_value(K.mean(K.constant([1.0, 3.0])))) == 2
    with pytest.raises(AttributeError, match="no attribute 'nonsense', nor has the backend module"):
        K.nonsense
    with pytest.raises(ImportError):
        from keras_session_ext.backend import nonsense  # noqa: F401


def test_the_learning_phase(model, feeds):
    dropped = model.layers[[type(layer).__name__ for layer in model.layers].index("Dropout")].output
    session = backend.get_session(model)
    still = session.run(dropped, feeds)
    assert np.array_equal(still, session.run(dropped, feeds))
    noisy = dict(feeds)
    noisy[backend.learning_phase()] = 1
    assert not np.array_equal(session.run(dropped, noisy), still)


def test_only_needed_inputs_must_be_fed(model):
    session = backend.get_session(model)
    hidden = model.layers[[type(layer).__name__ for layer in model.layers].index("Dense")].output
    assert session.run(hidden, {model.inputs[0]: X}).shape == (7, 5)
    with pytest.raises(Exception) as error:
        session.run(model.output, {model.inputs[0]: X})
    assert "two" in str(error.value)


@only(*(name for name in MEMBERS if MEMBERS[name].family != "graph"))  # whose errors are TensorFlow's own
def test_bad_input_is_named(model, feeds):
    session = backend.get_session(model)
    with pytest.raises(ConfigError, match="Cannot fetch None"):
        session.run(None)
    with pytest.raises(ConfigError, match="Cannot fetch 3"):
        session.run([model.output, 3], feeds)
    with pytest.raises(UnsupportedBackend, match="no graph to look 'dense/kernel:0' up in"):
        session.run("dense/kernel:0")
    with pytest.raises(ConfigError, match=r"shape \(7, 5\) for 'one'"):
        session.run(model.output, {model.inputs[0]: X[:, :5], model.inputs[1]: X})
    with pytest.raises(ConfigError, match="Invalid feed_dict"):
        session.run(model.output, [X])
    with pytest.raises(ConfigError, match="Cannot feed"):
        session.run(model.output, {model.inputs[0]: [[1.0], [1.0, 2.0]], model.inputs[1]: X})
    with pytest.raises(ConfigError, match="session_scope"):
        backend.set_session(object())
    assert session.run(model.output, feeds, options=None, run_metadata=None).shape == (7, 3)
    with pytest.raises(ConfigError, match="Invalid key in feed_dict"):
        session.run(model.output, {"one": X})


def test_closing_gives_a_new_session(model, feeds):
    first = backend.get_session()
    if GRAPH:
        backend.close_session()
        with pytest.raises(RuntimeError):
            first.run(model.output, feeds)
    else:
        with first:
            first.run(model.output, feeds)
        assert first.closed
        with pytest.raises(RuntimeError, match="closed"):
            first.run(model.output, feeds)
        with pytest.raises(ConfigError):
            backend.set_session(first)
    assert backend.get_session() is not first
    backend.close_session()
    backend.close_session()  # twice is no error
    backend.clear_session()


def test_a_fed_tensor_can_be_fetched_beside_what_follows_from_it(model, feeds):
    hidden = model.layers[[type(layer).__name__ for layer in model.layers].index("Dense")].output
    more = dict(feeds)
    more[hidden] = np.ones((7, 5))
    session = backend.get_session(model)
    fed, out = session.run([hidden, model.inputs[0]], more)
    assert (fed == 1).all() and fed.dtype == out.dtype == np.float32, "as the tensors are"


@only(*(name for name in MEMBERS if MEMBERS[name].engine == "tensorflow"))
def test_code_under_a_default_graph(model, feeds):
    session = backend.get_session(model)
    with session.graph.as_default():
        assert session.run(model.output, feeds).shape == (7, 3)


@only(*(name for name in MEMBERS if MEMBERS[name].family == "graph"))
def test_a_session_that_was_closed_is_not_handed_out(model, feeds):
    with backend.get_session(model) as session:
        session.run(model.output, feeds)
    assert backend.get_session(model) is not session
    assert backend.get_session(model).run(model.output, feeds).shape == (7, 3), "its variables are initialised"
    backend.close_session()
    assert model.predict([X, X]).shape == (7, 3)


@only(*(name for name in MEMBERS if MEMBERS[name].family == "graph"))
def test_two_graphs_keep_their_sessions(keras, tmp_path):
    import tensorflow as tf

    def make():
        made = keras.models.Sequential([keras.layers.Dense(2, input_shape=(6,))])
        made.compile("adam", "mse")
        made.train_on_batch(X, np.ones((7, 2)))
        return made, made.get_weights()

    one_graph, two_graph = tf.Graph(), tf.Graph()
    with one_graph.as_default():
        session = tf.compat.v1.Session(graph=one_graph)
        backend.set_session(session)
        one, weights = make()
    with two_graph.as_default():
        if NAME == "keras225":  # which trains in its one session, whatever the graph
            backend.set_session(tf.compat.v1.Session(graph=two_graph))
        two, others = make()
    assert backend.get_session(one) is session
    assert np.array_equal(backend.run(one.weights[0], model=one), weights[0])
    kse.restore_session(one, kse.save_session(one, str(tmp_path / "one.h5")))
    found = []
    thread = threading.Thread(target=lambda: found.append(backend.run(one.weights[0], model=one)))
    thread.start()
    thread.join()
    assert np.array_equal(found[0], weights[0]), "a session belongs to its graph, not to a thread"
    with two_graph.as_default():
        assert np.array_equal(two.get_weights()[0], others[0]), "a getter takes no other model's session away"


def test_set_session_takes_a_session(model):
    with pytest.raises(ConfigError, match="Expected"):
        backend.set_session(3)
    backend.set_session(backend.get_session())


def test_session_scope(keras):
    with pytest.raises(ConfigError) as error, backend.session_scope({"memory_grow": True, "intra_op_threads": -1}):
        pass
    assert "did you mean 'memory_growth'" in str(error.value) and "intra_op_threads" in str(error.value)
    with pytest.raises(ConfigError, match="There is no device"), backend.session_scope({"device": "/GPU:7"}):
        pass
    before = backend.get_session()
    with backend.session_scope({"device": "/CPU:0"}) as session:
        assert backend.get_session() is session and session is not before
        model = keras.models.Sequential([keras.layers.Dense(2, input_shape=(6,))])
        assert backend.get_session(model).run(model.output, {model.input: X}).shape == (7, 2)
        if GRAPH:
            with backend.session_scope({"intra_op_threads": 1, "inter_op_threads": 2}) as inner:
                assert inner._config.inter_op_parallelism_threads == 2
            assert backend.get_session() is session
    with pytest.raises(RuntimeError):
        session.run(model.weights[0])
    assert backend.get_session() is before


def test_the_graph(model):
    session = backend.get_session(model)
    if MEMBER.engine == "tensorflow":
        assert len(session.graph.get_operations()) > 3
        if GRAPH:
            assert session.graph is model.weights[0].graph
        return
    with pytest.raises(UnsupportedBackend, match="There is no tf.Graph on " + MEMBER.engine):
        session.graph


def test_the_lifecycle(keras, tmp_path):
    """Graph built, session created, variables initialised, trained, evaluated, predicted, closed."""
    seen = []

    def broken(event):
        raise ValueError("a listener")

    backend.clear_session()
    stops = [events.listen(lambda event: seen.append(event.kind)), events.listen(broken)]
    try:
        model = build(keras)
        callback = kse.SessionCheckpoint(str(tmp_path), verbose=0)
        model.fit([X, X], np.zeros((7, 3)), verbose=0, callbacks=[callback])
        model.evaluate([X, X], np.zeros((7, 3)), verbose=0, callbacks=[callback])
        model.predict([X, X], callbacks=[callback])
        backend.get_session()
        backend.close_session()
    finally:
        for stop in stops:
            stop()
    expected = ["graph_built", "session_created", "variables_initialised", "fit_started", "fit_finished",
                "evaluate_started", "evaluate_finished", "predict_started", "predict_finished", "session_closed"]
    assert [kind for kind in seen if kind in expected] == expected
    assert {"process_started", "epoch_started", "snapshot_taken", "checkpoint_saved", "epoch_finished"} <= set(seen)


def test_the_model_of_another_keras_is_refused(keras, tmp_path):
    class Model:
        pass

    Model.__module__ = "torch.nn"
    with pytest.raises(UnsupportedBackend, match="Expected a Keras model"):
        backend.get_session(Model())


# -- the traps

@only("tf24", "tf210", "tf215", "tf_keras")
def test_no_session_over_an_empty_graph_is_handed_out(model):
    import tensorflow as tf

    if NAME != "tf_keras":  # whose TensorFlow has Keras 3 there
        empty = tf.compat.v1.keras.backend.get_session()
        assert not empty.graph.get_operations()
    assert not isinstance(backend.get_session(), tf.compat.v1.Session)


@only("keras225")
def test_keras_225_and_tf_keras_hold_different_sessions(keras, model, feeds):
    import tensorflow as tf

    assert tf.keras.backend.get_session() is not keras.backend.get_session()
    assert backend.get_session() is backend.get_session(model) is keras.backend.get_session()
    assert backend.get_session(model).run(model.output, feeds).shape == (7, 3)


@only("tf_keras-v1")
def test_tf_compat_v1_keras_is_keras_3(model, feeds):
    import tensorflow as tf

    assert not hasattr(tf.compat.v1.keras.backend, "get_session")
    assert isinstance(backend.get_session(model), tf.compat.v1.Session)
    assert backend.get_session(model).run(model.output, feeds).shape == (7, 3)


@only("tensorflow")
def test_keras_3_without_v2_behavior_is_refused_before_training(tmp_path):
    script = textwrap.dedent("""
        import sys, numpy as np, tensorflow as tf
        tf.compat.v1.disable_v2_behavior()
        import keras, keras_session_ext as kse
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        try:
            model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0, callbacks=[kse.SessionCheckpoint(sys.argv[1])])
        except kse.UnsupportedBackend as error:
            print("refused:", error)
        """)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "run")], env=environment(NAME),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert "refused: Keras 3" in done.stdout.decode() and "disable_v2_behavior" in done.stdout.decode()
    assert not (tmp_path / "run").exists()


@only("tf215", "tf_keras")
def test_an_eager_tensor_in_a_graph_session_is_named(keras):
    import tensorflow as tf

    eager = tf.constant(X)
    with tf.Graph().as_default():
        model = keras.models.Sequential([keras.layers.Dense(2, input_shape=(6,))])
        session = backend.get_session(model)
        assert isinstance(session, tf.compat.v1.Session)
        with pytest.raises(UnsupportedBackend, match="eager tensor"):
            session.run(model.output, {model.input: eager})
        assert session.run(model.output, {model.input: X}).shape == (7, 2)


def test_the_legacy_script():
    """One changed import, and a script written for TF 1.15 runs here."""
    script = os.path.join(HERE, "..", "..", "examples", "legacy_session.py")
    command = [sys.executable, script, MEMBER.keras] + ([] if MEMBER.v2_behavior else ["--graph"])
    made = dict(environment(NAME), KERAS_BACKEND=MEMBER.engine)
    done = subprocess.run(command, env=made, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = done.stdout.decode(errors="replace")
    assert done.returncode == 0, out
    assert ("tensorflow.Session" in out) == GRAPH and "NO" not in out.split("accuracy")[1]
