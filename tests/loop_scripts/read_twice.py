"""A shuffled dataset that is read by a level, and by plain loops before and behind it, which nobody follows."""

import keras
import tensorflow as tf
from common import result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(7)
dataset = tf.data.Dataset.range(24).shuffle(24, seed=3).batch(4)
loop = kse.SessionLoop(**settings())
seen = []
for epoch in loop.epochs(3):
    first = [int(one[0]) for one in dataset]
    for batch in loop.batches(dataset):
        seen.append(batch.numpy().tolist())
        trained()
    seen.append([first, [int(one[0]) for one in dataset]])
result(loop, seen=[str(one) for one in seen])
