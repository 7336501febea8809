"""A custom `train_step` with a metric of its own, in the style of keras.io's "Customizing what happens in fit()"."""

import keras
from keras import layers
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(2)
x, y = load_breast_cancer(return_X_y=True)
x = StandardScaler().fit_transform(x).astype("float32")
y = y.astype("float32").reshape(-1, 1)
engine = keras.backend.backend()

if engine == "tensorflow":
    import tensorflow as tf
elif engine == "jax":
    import jax
else:
    import torch


class CustomModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(16, activation="relu")
        self.drop = layers.Dropout(0.3)
        self.out = layers.Dense(1, activation="sigmoid")
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.mae = keras.metrics.MeanAbsoluteError(name="mae")
        self.loss_fn = keras.losses.BinaryCrossentropy()

    @property
    def metrics(self):
        return [self.loss_tracker, self.mae]

    def call(self, inputs, training=False):
        return self.out(self.drop(self.hidden(inputs), training=training))

    if engine == "tensorflow":
        def train_step(self, data):
            inputs, targets = data
            with tf.GradientTape() as tape:
                predictions = self(inputs, training=True)
                loss = self.loss_fn(targets, predictions)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
            self.loss_tracker.update_state(loss)
            self.mae.update_state(targets, predictions)
            return {metric.name: metric.result() for metric in self.metrics}
    elif engine == "jax":
        def compute(self, trainable, non_trainable, inputs, targets):
            predictions, non_trainable = self.stateless_call(trainable, non_trainable, inputs, training=True)
            return self.loss_fn(targets, predictions), (predictions, non_trainable)

        def train_step(self, state, data):
            trainable, non_trainable, slots, metrics = state
            inputs, targets = data
            compute = jax.value_and_grad(self.compute, has_aux=True)
            (loss, (predictions, non_trainable)), gradients = compute(trainable, non_trainable, inputs, targets)
            trainable, slots = self.optimizer.stateless_apply(slots, gradients, trainable)
            count = len(self.loss_tracker.variables)
            metrics = self.loss_tracker.stateless_update_state(metrics[:count], loss) + \
                self.mae.stateless_update_state(metrics[count:], targets, predictions)
            logs = {"loss": self.loss_tracker.stateless_result(metrics[:count]),
                    "mae": self.mae.stateless_result(metrics[count:])}
            return logs, (trainable, non_trainable, slots, metrics)
    else:
        def train_step(self, data):
            inputs, targets = data
            self.zero_grad()
            predictions = self(inputs, training=True)
            loss = self.loss_fn(targets, predictions)
            loss.backward()
            weights = list(self.trainable_weights)
            with torch.no_grad():
                self.optimizer.apply([weight.value.grad for weight in weights], weights)
            self.loss_tracker.update_state(loss)
            self.mae.update_state(targets, predictions)
            return {metric.name: metric.result() for metric in self.metrics}


model = CustomModel()
model(x[:1])
model.compile(optimizer=keras.optimizers.Adam(0.01))
model.fit(x, y, batch_size=32, epochs=2, verbose=2)
