"""Which `tf.data` pipelines repeat: each that is said to is iterated as a resume does it, and all others are named."""

import json
import subprocess
import sys

import pytest
from harness import environment

SCRIPT = """
import json, os, sys, tempfile, numpy as np, keras, tensorflow as tf
from keras_session_ext.backend.feeds import walk_tf_dataset

D = tf.data.Dataset
folder = tempfile.mkdtemp()
lines = os.path.join(folder, "lines")
with open(lines, "w") as handle:
    handle.write("".join("%d\\n" % n for n in range(8)))
with tf.io.TFRecordWriter(os.path.join(folder, "records")) as writer:
    for n in range(8):
        writer.write(str(n).encode())

def pipelines():
    keras.utils.set_random_seed(3)
    generator, scale, held = tf.random.Generator.from_seed(3), tf.Variable(2), [0]
    flip = keras.layers.RandomFlip(seed=1)
    numbers = D.range(8)
    images = D.from_tensor_slices(np.zeros((8, 4, 4, 1), "float32"))
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(
        tf.range(8, dtype=tf.int64), tf.range(8, dtype=tf.int64) * 3), -1)
    mutable = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)
    noise = lambda a: a + tf.cast(generator.normal(()), tf.int64)
    scaled = lambda a: a * tf.cast(scale, tf.int64)
    inner = lambda function: (lambda a: D.range(3).map(function))
    shuffled, ordered = D.range(4).shuffle(4, seed=2), D.range(4)
    python = lambda a: tf.numpy_function(lambda b: b + 1, [a], tf.int64)
    stateless = lambda a: a + tf.cast(10 * tf.random.stateless_normal((), [1, a]), tf.int64)
    def insert(a):
        mutable.insert(a, a)
        return a
    return {
        # named: name -> (dataset, a word of the reason)
        "map": (numbers.map(noise), "writes to"), "layer": (images.map(lambda a: flip(a, training=True)), "writes to"),
        "filter": (numbers.filter(lambda a: generator.normal(()) > 0), "writes to"),
        "flat_map": (numbers.flat_map(inner(noise)), "writes to"),
        "interleave": (numbers.interleave(inner(noise)), "writes to"),
        "scan": (numbers.scan(np.int64(0), lambda s, a: (s + 1, noise(a))), "writes to"),
        "zip": (D.zip((numbers, numbers.map(noise))), "writes to"),
        "choose": (D.choose_from_datasets([numbers, numbers.map(noise)], D.range(2).repeat(2)),
                   "writes to"),
        "deep": (numbers.interleave(lambda a: D.range(2).interleave(inner(noise))), "writes to"),
        "counter": (numbers.map(lambda a: a + tf.cast(scale.assign_add(1), tf.int64)), "writes to"),
        "random op": (numbers.map(lambda a: a + tf.random.uniform((), 0, 9, tf.int64)), "random op"),
        "random op, deep": (numbers.interleave(inner(lambda a: a + tf.random.uniform((), 0, 9, tf.int64))),
                            "random op"),
        "numpy_function": (numbers.map(python), "Python code"),
        "numpy_function, deep": (numbers.flat_map(inner(python)), "Python code"),
        "from_generator": (D.from_generator(lambda: iter(range(8)), tf.int64), "Python code"),
        "mutable table": (numbers.map(insert), "is not known to repeat"),
        "timestamp": (numbers.map(lambda a: a + tf.cast(tf.timestamp(), tf.int64)), "Timestamp"),
        "cache to a file": (numbers.cache(os.path.join(folder, "cache")), "caches to a file"),
        "shuffle, cache": (numbers.shuffle(8, seed=1).cache(), "caches the order"),
        "shuffle, repeat twice": (numbers.shuffle(8, seed=1).repeat(2), "repeated a number of times"),
        "concatenate, shuffled": (numbers.concatenate(D.range(4).shuffle(4, seed=2)), "draws its order late"),
        "concatenate twice": (numbers.shuffle(8, seed=2).concatenate(numbers.shuffle(8, seed=2)), "order late"),
        "rerandomized": (D.random(seed=1, rerandomize_each_iteration=True).take(8), "drawn anew"),
        "snapshot": (numbers.snapshot(os.path.join(folder, "snapshot")), "SnapshotDataset"),
        "not deterministic": (numbers.map(scaled, num_parallel_calls=2, deterministic=False), "deterministic=False"),
        "not deterministic, deep": (numbers.flat_map(lambda a: D.range(3).map(
            scaled, num_parallel_calls=2, deterministic=False)), "deterministic=False"),
        "a dataset from outside": (numbers.flat_map(lambda a: shuffled), "draws a new order"),
        "rejection_resample": (numbers.rejection_resample(lambda a: tf.cast(a % 2, tf.int32), [0.5, 0.5]), ""),
        "ignore_errors": (numbers.apply(tf.data.experimental.ignore_errors()), "IgnoreErrorsDataset"),
        # known to repeat
        "read only": (numbers.map(scaled), None), "read only, deep": (numbers.interleave(inner(scaled)), None),
        "a layer": (images.map(keras.layers.Rescaling(2.0)), None),
        "shuffle": (numbers.shuffle(8, seed=1).batch(2).prefetch(1), None),
        "shuffle by the global seed": (numbers.shuffle(8), None),
        "shuffle once": (numbers.shuffle(8, seed=1, reshuffle_each_iteration=False).repeat(2).cache(), None),
        "repeat, shuffle": (numbers.repeat(2).shuffle(8, seed=1), None),
        "cache, shuffle": (numbers.cache().shuffle(8, seed=1), None),
        "two shuffles": (D.zip((numbers.shuffle(8, seed=1), numbers.shuffle(8, seed=2))), None),
        "shuffle twice": (numbers.shuffle(8, seed=1).shuffle(8, seed=2), None),
        "shuffle thrice": (numbers.shuffle(8, seed=1).map(scaled).shuffle(3, seed=2).batch(2).shuffle(9), None),
        "shuffle, zip, shuffle": (D.zip((numbers.shuffle(8, seed=1), numbers)).shuffle(8, seed=2), None),
        "shuffle, interleave, shuffle": (numbers.shuffle(8, seed=1).interleave(
            lambda a: D.range(2).map(lambda b: 10 * a + b), 2).shuffle(8, seed=2).prefetch(2), None),
        "files, interleave, shuffle": (D.list_files(os.path.join(folder, "l*"), seed=1).interleave(
            tf.data.TextLineDataset).shuffle(9, seed=3), None),
        "shuffle, parallel, shuffle": (numbers.shuffle(8, seed=1).map(scaled, num_parallel_calls=2).shuffle(4), None),
        "shuffle, buckets, shuffle": (numbers.shuffle(8, seed=1).map(lambda a: tf.range(a)).bucket_by_sequence_length(
            lambda a: tf.shape(a)[0], [3, 6], [2, 2, 2]).shuffle(3, seed=4), None),
        "shuffle, windows, shuffle": (numbers.shuffle(8, seed=1).window(2).flat_map(lambda part: part.batch(2)).shuffle(
            3, seed=4), None),
        "shuffle, scan, shuffle": (numbers.shuffle(8, seed=1).scan(np.int64(0), lambda s, a: (s + a, s * a)).shuffle(
            8, seed=4), None),
        "shuffle, unbatch, shuffle": (numbers.shuffle(8, seed=1).batch(2).unbatch().shuffle(8, seed=4), None),
        "shuffle, filter, take, shuffle": (numbers.shuffle(8, seed=1).filter(lambda a: a > 1).skip(1).take(4).shuffle(
            8, seed=4), None),
        "shuffle, rebatch, shuffle": (numbers.shuffle(8, seed=1).batch(3).rebatch(2).shuffle(8, seed=4), None),
        "choose among shuffled": (D.choose_from_datasets([numbers.shuffle(8, seed=1), ordered], D.range(2).repeat(4)),
                                  None),
        "sample of shuffled": (D.sample_from_datasets(
            [numbers.shuffle(8, seed=1), ordered], [0.5, 0.5], seed=3).shuffle(4, seed=5), None),
        "shuffle, unique, shuffle": (numbers.shuffle(8, seed=1).unique().shuffle(8, seed=4), None),
        "shuffle, cache in front, shuffle": (numbers.cache().shuffle(8, seed=1).shuffle(8, seed=4), None),
        "shuffle, deep": (numbers.flat_map(lambda a: D.range(4).shuffle(4, seed=5)), None),
        "shuffle in interleave": (numbers.interleave(lambda a: D.range(4).shuffle(4, seed=5), 2), None),
        "stateless": (numbers.map(stateless), None), "random": (D.random(seed=4).take(8), None),
        "sample": (D.sample_from_datasets([numbers, numbers.map(stateless)], [0.5, 0.5], seed=3), None),
        "choose, known": (D.choose_from_datasets([numbers, ordered], D.range(2).repeat(4)), None),
        "groups": (numbers.group_by_window(lambda a: a % 2, lambda key, part: part.batch(2), 2), None),
        "buckets": (numbers.map(lambda a: tf.range(a)).bucket_by_sequence_length(
            lambda a: tf.shape(a)[0], [3, 6], [2, 2, 2]), None),
        "windows": (numbers.window(2).flat_map(lambda part: part.batch(2)), None),
        "padded": (numbers.map(lambda a: tf.range(a)).padded_batch(2), None),
        "unbatch": (numbers.batch(2).unbatch(), None), "unique": ((numbers.repeat(2)).unique(), None),
        "take_while": (numbers.take_while(lambda a: a < 5), None),
        "scan, known": (numbers.scan(np.int64(0), lambda s, a: (s + a, s * a)), None),
        "concatenate": (numbers.concatenate(ordered).skip(1).shard(2, 0).enumerate(), None),
        "parallel": (numbers.map(scaled, num_parallel_calls=2).interleave(
            inner(scaled), 2, num_parallel_calls=2), None),
        "text": (D.from_tensors(lines).interleave(tf.data.TextLineDataset), None),
        "records": (tf.data.TFRecordDataset(os.path.join(folder, "records")), None),
        "files": (D.list_files(os.path.join(folder, "l*"), seed=1), None),
        "a table": (numbers.map(table.lookup), None),
        "from outside, known": (numbers.flat_map(lambda a: ordered), None),
        "ragged": (numbers.map(lambda a: tf.range(a)).ragged_batch(2), None),
        "rebatch": (numbers.batch(3).rebatch(2), None), "counter, known": (D.counter().take(8), None),
        "concatenate, first": (numbers.shuffle(8, seed=2).concatenate(ordered), None),
        "options": (numbers.with_options(tf.data.Options()).apply(tf.data.experimental.assert_cardinality(8)), None),
    }

def elements(dataset):
    return [repr(tf.nest.map_structure(lambda a: (a.to_list() if hasattr(a, "to_list") else a.numpy()).__repr__(), one))
            for one in dataset]

made, again = pipelines(), pipelines()
found = {}
for name, (dataset, word) in made.items():
    reasons = walk_tf_dataset.why_not_exact(dataset)
    line = found[name] = {"reasons": reasons, "word": word, "repeats": None}
    if not reasons:
        epochs = [elements(dataset) for _ in range(3)]
        other = again[name][0]
        walk_tf_dataset.advance(other, 2)
        line["repeats"] = elements(other) == epochs[2]
        line["content"] = walk_tf_dataset.content(dataset) == walk_tf_dataset.content(other)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_what_is_known_to_repeat_repeats_and_all_else_is_named():
    made = subprocess.run([sys.executable, "-c", SCRIPT], env=environment("tensorflow"), stdout=subprocess.PIPE,
                          check=True)
    found = json.loads(made.stdout.decode().splitlines()[-1])
    assert len(found) > 55
    for name, line in found.items():
        if line["word"] is None:
            assert not line["reasons"] and line["repeats"] and line["content"], (name, line)
        elif line["word"]:
            assert line["word"] in "; ".join(line["reasons"]), (name, line)
        else:
            assert line["reasons"] or line["repeats"], (name, line)
    assert "seed_generator_state" in found["layer"]["reasons"][0] and "StateVar" in found["map"]["reasons"][0]
