"""Which `tf.data` pipelines keep a state in their functions: named, however deep they are nested."""

import json
import subprocess
import sys

import pytest
from harness import environment

SCRIPT = """
import json, numpy as np, keras, tensorflow as tf
from keras_session_ext.backend.feeds import tf_dataset

generator, scale = tf.random.Generator.from_seed(3), tf.Variable(2)
flip = keras.layers.RandomFlip(seed=1)
numbers = tf.data.Dataset.range(8)
images = tf.data.Dataset.from_tensor_slices(np.zeros((8, 4, 4, 1), "float32"))
noise = lambda a: a + tf.cast(generator.normal(()), tf.int64)
scaled = lambda a: a * tf.cast(scale, tf.int64)
inner = lambda function: (lambda a: tf.data.Dataset.range(3).map(function))
datasets = {
    "map": numbers.map(noise), "a random layer": images.map(lambda a: flip(a, training=True)),
    "filter": numbers.filter(lambda a: generator.normal(()) > 0), "flat_map": numbers.flat_map(inner(noise)),
    "interleave": numbers.interleave(inner(noise)), "scan": numbers.scan(np.int64(0), lambda s, a: (s + 1, noise(a))),
    "zip": tf.data.Dataset.zip((numbers, numbers.map(noise))),
    "choose_from_datasets": tf.data.Dataset.choose_from_datasets([numbers, numbers.map(noise)], numbers),
    "interleave in interleave": numbers.interleave(lambda a: tf.data.Dataset.range(2).interleave(inner(noise))),
    "a counter": numbers.map(lambda a: a + tf.cast(scale.assign_add(1), tf.int64)),
    # and those that repeat
    "read only": numbers.map(scaled), "read only, nested": numbers.interleave(inner(scaled)),
    "a layer without state": images.map(keras.layers.Rescaling(2.0)),
    "seeded shuffle": numbers.shuffle(8, seed=1).batch(2).prefetch(1),
    "stateless noise": numbers.map(lambda a: a + tf.cast(tf.random.stateless_normal((), [1, a]), tf.int64)),
    "group_by_window": numbers.group_by_window(lambda a: a % 2, lambda key, part: part.batch(2), 2),
}
print(json.dumps({name: tf_dataset.why_not_exact(dataset) for name, dataset in datasets.items()}))
"""
REPEAT = ("read only", "read only, nested", "a layer without state", "seeded shuffle", "stateless noise",
          "group_by_window")


@pytest.mark.slow
def test_functions_that_write_to_variables_are_named():
    made = subprocess.run([sys.executable, "-c", SCRIPT], env=environment("tensorflow"), stdout=subprocess.PIPE,
                          check=True)
    reasons = json.loads(made.stdout.decode().splitlines()[-1])
    for name, found in reasons.items():
        if name in REPEAT:
            assert found == [], name
        else:
            assert len(found) == 1 and "a function of the dataset writes to " in found[0], (name, found)
    assert "seed_generator_state" in reasons["a random layer"][0] and "StateVar" in reasons["map"][0]
