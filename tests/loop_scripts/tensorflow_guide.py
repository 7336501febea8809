"""A loop as in Keras's guide for TensorFlow: metrics, a validation and an optimizer of its own, running sums."""

import os

import keras
import numpy as np
import tensorflow as tf
from common import arrays, digits, result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(7)
x, y = digits()
train_dataset = tf.data.Dataset.from_tensor_slices((x[:320], y[:320])).shuffle(320, seed=3).batch(32)
val_dataset = tf.data.Dataset.from_tensor_slices((x[320:], y[320:])).batch(64)
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(24, activation="relu"), keras.layers.Dropout(0.3),
                          keras.layers.Dense(10)])
optimizer = keras.optimizers.Adam(1e-2)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
train_metric = keras.metrics.SparseCategoricalAccuracy()
val_metric = keras.metrics.SparseCategoricalAccuracy()


def train_step(x, y):
    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        loss = loss_fn(y, logits)
    gradients = tape.gradient(loss, model.trainable_weights)
    optimizer.apply(gradients, model.trainable_weights)
    train_metric.update_state(y, logits)
    return loss


if not os.environ.get("EAGER"):
    train_step = tf.function(train_step)

loop = kse.SessionLoop(**settings())
losses, accuracies, seen = [], [], 0
for epoch in loop.epochs(3):
    running = 0.0
    for step, (x_batch, y_batch) in loop.enumerate(train_dataset):
        loss = train_step(x_batch, y_batch)
        running += float(loss)
        seen += len(x_batch)
        if step % 4 == 0:
            losses.append((epoch, step, float(loss)))
        trained()
    accuracy = float(train_metric.result())
    train_metric.reset_state()
    for x_batch, y_batch in val_dataset:
        val_metric.update_state(y_batch, model(x_batch, training=False))
    accuracies.append((accuracy, float(val_metric.result()), running))
    loop.log(accuracy=accuracy, val_accuracy=val_metric.result())
    val_metric.reset_state()
print("WEIGHT", float(sum(np.abs(w).sum() for w in model.get_weights())))
result(loop, weights=model.get_weights(), optimizer=arrays(optimizer.variables), losses=losses, accuracies=accuracies,
       seen=seen, history=loop.history)
