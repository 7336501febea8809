"""An image is trained, not a model: 20 steps on one tf.Variable, with a schedule; then a dream on it."""
import keras
import numpy as np
import tensorflow as tf
from dies import arrays, result, trained

keras.utils.set_random_seed(2)
extractor = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, activation="relu")])
target = extractor(np.random.normal(size=(1, 8, 8, 1)).astype("float32"))
optimizer = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(100.0, 10, 0.9))
image = tf.Variable(np.random.normal(size=(1, 8, 8, 1)).astype("float32"))


def compute_loss_and_grads(image):
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = tf.reduce_mean((extractor(image) - target) ** 2)
    return loss, tape.gradient(loss, image)


losses = []
for i in range(1, 21):
    loss, grads = compute_loss_and_grads(image)
    optimizer.apply_gradients([(grads, image)])
    losses.append(float(loss))
    trained()


def gradient_ascent(img, iterations, rate):
    for i in range(iterations):
        loss, grads = compute_loss_and_grads(img)
        img += rate * grads / (tf.reduce_mean(tf.abs(grads)) + 1e-6)
        losses.append(float(loss))
        trained()
    return img


img = tf.constant(np.random.normal(size=(1, 8, 8, 1)).astype("float32"))
for octave in range(2):
    img = gradient_ascent(img, 6, 0.1)
    img = img + np.random.normal(size=img.shape).astype("float32")
result(image=image.numpy(), img=img.numpy(), losses=losses, optimizer=arrays(optimizer.variables))
