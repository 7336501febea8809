"""State that frameworks hide: what is captured, and what is said where it cannot be."""

import subprocess
import sys
import textwrap

import pytest
from harness import environment

from keras_session_ext.backend.feeds import walk_tf_dataset

pytestmark = pytest.mark.slow


def script(engine, text, *arguments):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)],
                          env=environment(engine), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def test_hidden_random_ops_and_tensorflow_state(tmp_path):
    """tf.random in a layer is named; context, global generator and seed generator come back."""
    out = script("tensorflow", """
        import sys, numpy as np, tensorflow as tf, keras, keras_session_ext as kse
        from keras_session_ext import backend
        class Noise(keras.layers.Layer):
            def call(self, x, training=False):
                return x + tf.random.normal(tf.shape(x)) if training else x
        def fit(epochs):
            model = keras.Sequential([keras.Input((4,)), Noise(), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
            checkpoint = kse.SessionCheckpoint(sys.argv[1], verbose=0)
            model.fit(np.zeros((32, 4)), np.zeros((32, 1)), epochs=epochs, verbose=0, callbacks=[checkpoint])
            return checkpoint.resume_report
        fit(2)
        report = fit(3)
        assert not report.exact and "RandomStandardNormal" in "".join(report.reasons), report.reasons

        family = backend.choose()
        tf.random.set_seed(5)
        generator = tf.random.get_global_generator()
        keras.random.normal((1,))
        state = family.random_state(None)
        def draw():
            return [np.random.rand(), float(tf.random.normal(())), float(generator.normal(())),
                    float(keras.random.normal((), seed=None))]
        first = draw()
        assert draw() != first
        family.set_random_state(state, None)
        assert draw() == first
        print("ok")
        """, tmp_path)
    assert out.strip().endswith("ok")


def test_tensorboard_goes_on_counting(tmp_path):
    out = script("tensorflow", """
        import glob, os, sys, numpy as np, keras, keras_session_ext as kse
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        def fit(epochs):
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
            board = keras.callbacks.TensorBoard(sys.argv[1] + "/tb", update_freq=1)
            model.fit(np.zeros((64, 4)), np.zeros((64, 1)), batch_size=16, epochs=epochs, verbose=0, callbacks=[
                board, kse.SessionCheckpoint(sys.argv[1] + "/run", verbose=0)])
        fit(2)
        fit(4)
        steps = []
        for path in sorted(glob.glob(sys.argv[1] + "/tb/train/*")):
            events = EventAccumulator(path).Reload()
            steps += [event.step for event in events.Tensors("batch_loss")]
        print(steps)
        assert steps == list(range(1, 17)), steps
        """, tmp_path)
    assert "[1, 2, 3" in out


def test_importing_us_before_keras_and_the_numpy_engine():
    out = script("numpy", """
        import keras_session_ext as kse
        try:
            kse.SessionCheckpoint("runs/a")
        except kse.UnsupportedBackend as error:
            print(error)
        """)
    assert "'numpy'" in out and "tensorflow, jax, torch" in out


@pytest.mark.parametrize("make, text", [
    (lambda tf, d: d.shuffle(9), "without a seed"),
    (lambda tf, d: d.shuffle(9).batch(2).repeat(), "without a seed"),
    (lambda tf, d: d.shuffle(9, seed=1), None),
    (lambda tf, d: d.map(lambda x: x + tf.random.uniform((), dtype=tf.int64, maxval=3)), "RandomUniformInt"),
    (lambda tf, d: d.map(lambda x: tf.numpy_function(lambda v: v, [x], tf.int64)), "calls Python code"),
    (lambda tf, d: d.map(lambda x: x, num_parallel_calls=2, deterministic=False), "deterministic=False"),
    (lambda tf, d: d.interleave(lambda x: tf.data.Dataset.range(2).shuffle(2, seed=3)), None),
    (lambda tf, d: tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=tf.TensorSpec((), tf.int64)),
     "calls Python code"),
    (lambda tf, d: tf.data.Dataset.zip((d, d.shuffle(3))), "without a seed"),
    (lambda tf, d: d.batch(4).prefetch(2).cache().take(1).concatenate(d.batch(4)), None),
])
def test_what_a_dataset_is_made_of(make, text):
    import tensorflow as tf

    tf.random.set_seed(None)  # another test may have set it in this process
    reasons = walk_tf_dataset.why_not_exact(make(tf, tf.data.Dataset.range(10)))
    assert (reasons == []) if text is None else text in "; ".join(reasons)
