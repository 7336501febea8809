"""`keras-session run` tells at the first update outside of fit that nothing of it is saved; once, and of no other."""

import textwrap

import pytest
from commands import finish

pytestmark = pytest.mark.slow
HEAD = """
    import keras, numpy as np
    x = np.zeros((8, 4), "float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    """
FIT = 'model.compile("sgd", "mse")\nmodel.fit(x, x[:, :1], epochs=2, verbose=0)\n'
UPDATES = {
    "keras": ("optimizer.apply", """
        optimizer = keras.optimizers.SGD(0.1)
        for _ in range(3):
            optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
        """),
    "stateless": ("optimizer.apply", """
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)
        values = [v.value for v in model.trainable_variables]
        for _ in range(3):
            values, state = optimizer.stateless_apply([v.value for v in optimizer.variables], values, values)
        """),
    "gradients": ("optimizer.apply", """
        import tensorflow as tf
        optimizer = keras.optimizers.SGD(0.1)
        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(x))
            optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        for _ in range(3):
            step()
        """),
    "batch": ("train_on_batch", """
        for _ in range(3):
            model.train_on_batch(x, x[:, :1])
        """),
    "torch": ("optimizer.step", """
        import torch
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()
        """),
    "v1": ("optimizer.apply_gradients", """
        import tensorflow.compat.v1 as tf
        with tf.Graph().as_default():
            w = tf.get_variable("w", (), initializer=tf.zeros_initializer())
            train = tf.train.AdamOptimizer().minimize((w - 1.0) ** 2)
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                for _ in range(3):
                    session.run(train)
        """),
}


@pytest.mark.parametrize("kind, engine", [
    ("keras", "jax"), ("keras", "tensorflow"), ("keras", "torch"), ("stateless", "jax"), ("gradients", "tensorflow"),
    ("batch", "jax"), ("batch", "tensorflow"), ("batch", "torch"), ("torch", "torch"), ("v1", "tensorflow")])
def test_the_first_update_outside_of_fit_is_told_once(kind, engine, tmp_path):
    what, text = UPDATES[kind]
    (tmp_path / "train.py").write_text(textwrap.dedent(HEAD) + FIT + textwrap.dedent(text))
    status, _, err = finish(["run", "-d", "runs/here", "train.py"], tmp_path, engine)
    assert status == 0, err
    told = [line for line in err.splitlines() if "outside of fit" in line]
    assert len(told) == 1 and ": {} outside of fit: nothing of what it trains is saved".format(what) in told[0], err
    line = int(told[0].split("line ")[1].split(":")[0])
    assert line > 7 and "run --loops" in err and "runs/here" in err and "loop.epochs(…)" in err, err


@pytest.mark.parametrize("engine", ["jax", "tensorflow", "torch"])
def test_of_a_fit_or_a_session_loop_nothing_is_told(engine, tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(HEAD) + FIT + textwrap.dedent("""
        import keras_session_ext as kse
        for _ in kse.SessionLoop("runs/loop").epochs(2):
            model.train_on_batch(x, x[:, :1])
        """))
    status, _, err = finish(["run", "-d", "runs/fits", "train.py"], tmp_path, engine)
    assert status == 0 and "outside of fit" not in err, err
    text = (tmp_path / "train.py").read_text().replace("model.fit(", "(lambda *a, **k: 0)(")
    (tmp_path / "alone.py").write_text(text)
    status, _, err = finish(["run", "--json", "alone.py"], tmp_path, engine)
    assert status == 0 and "never called fit" not in err, err


def test_under_loops_an_update_outside_of_them_is_told(tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(HEAD) + 'model.compile("sgd", "mse")\n' + textwrap.dedent("""
        model.train_on_batch(x, x[:, :1])
        for _ in range(3):
            model.train_on_batch(x, x[:, :1])
        """))
    status, out, err = finish(["run", "--loops", "train.py"], tmp_path)
    assert status == 0 and "train.py, line 7: train_on_batch outside of the loops that are wrapped" in err, err
    assert err.count("outside of") == 1 and "Session: a fresh start" in out, out
