"""A loop as in Keras's guide for JAX: stateless, its state in a tuple that each step replaces."""

import os

import jax
import keras
import numpy as np
from common import digits, result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(7)
x, y = digits()
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(24, activation="relu"),
                          keras.layers.BatchNormalization(), keras.layers.Dropout(0.3), keras.layers.Dense(10)])
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam(1e-2)
metric = keras.metrics.SparseCategoricalAccuracy()


def compute_loss(trainable, non_trainable, metric_variables, x, y):
    logits, non_trainable = model.stateless_call(trainable, non_trainable, x, training=True)
    metric_variables = metric.stateless_update_state(metric_variables, y, logits)
    return loss_fn(y, logits), (non_trainable, metric_variables)


def train_step(state, x, y):
    trainable, non_trainable, optimizer_variables, metric_variables = state
    (loss, (non_trainable, metric_variables)), gradients = jax.value_and_grad(compute_loss, has_aux=True)(
        trainable, non_trainable, metric_variables, x, y)
    trainable, optimizer_variables = optimizer.stateless_apply(optimizer_variables, gradients, trainable)
    return loss, (trainable, non_trainable, optimizer_variables, metric_variables)


donate = bool(os.environ.get("DONATE"))
train_step = jax.jit(train_step, donate_argnums=(0,) if donate else ())
optimizer.build(model.trainable_variables)
state = ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables],
         [v.value for v in optimizer.variables], [v.value for v in metric.variables])
if donate:
    state = jax.tree_util.tree_map(lambda value: value + 0, state)

loop = kse.SessionLoop(**settings())
accuracies = []
for epoch in loop.epochs(3):
    order = np.random.permutation(320)
    running = 0.0
    for start in loop.batches(range(0, 320, 32)):
        batch = order[start:start + 32]
        loss, state = train_step(state, x[batch], y[batch])
        running += float(loss)
        trained()
    accuracies.append((float(metric.stateless_result(state[3])), running))
    state = state[:3] + ([value * 0 for value in state[3]],)
weights = dict(zip([v.path for v in model.trainable_variables], state[0]))
weights.update(zip([v.path for v in model.non_trainable_variables], state[1]))
print("WEIGHT", float(sum(np.abs(np.asarray(weights[v.path])).sum() for v in model.weights)))
result(loop, state=[[np.asarray(value) for value in part] for part in state], accuracies=accuracies)
