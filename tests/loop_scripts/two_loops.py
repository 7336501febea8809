"""Training and validation, each in a loop of its own over a dataset that is shuffled anew each time."""

import keras
import tensorflow as tf
from common import result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(5)
train = tf.data.Dataset.range(24).shuffle(24).batch(4)
validation = tf.data.Dataset.range(100, 112).shuffle(12).batch(4)
seen, checked = [], []
loop = kse.SessionLoop(**settings())
for epoch in loop.epochs(4):
    for batch in loop.batches(train):
        seen.append(batch.numpy().tolist())
        trained()
    for batch in loop.batches(validation):
        checked.append(batch.numpy().tolist())
    loop.log(batches=len(seen))
result(loop, seen=seen, checked=checked)
