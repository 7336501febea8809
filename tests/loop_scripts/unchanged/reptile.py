"""Tasks in a loop, each with a loop over a small dataset that is made for it; old weights in a variable."""
import keras
import numpy as np
import tensorflow as tf
from dies import result, trained
from small import x, y

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.01)
losses = []
for meta_iter in range(5):
    cur_meta_step_size = (1 - meta_iter / 5) * 0.25
    old_vars = model.get_weights()
    chosen = np.random.choice(60, 40)
    mini_dataset = tf.data.Dataset.from_tensor_slices((x[chosen], y[chosen])).shuffle(40).batch(10)
    for images, labels in mini_dataset:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(images) - labels) ** 2)
        grads = tape.gradient(loss, model.trainable_weights)
        optimizer.apply_gradients(zip(grads, model.trainable_weights))
        losses.append(float(loss))
        trained()
    new_vars = model.get_weights()
    for var in range(len(new_vars)):
        new_vars[var] = old_vars[var] + (new_vars[var] - old_vars[var]) * cur_meta_step_size
    model.set_weights(new_vars)
result(weights=model.get_weights(), losses=losses)
