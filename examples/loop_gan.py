"""Kills the training of a GAN, a loop without fit, three times with SIGKILL, and shows that nothing was lost.

    python examples/loop_gan.py

Two models and two optimizers learn to draw scikit-learn's handwritten digits on TensorFlow, once without interruption
and once killed and started again. At the end what the two runs hold is compared. Exit status 1 if anything differs.

`--train DIRECTORY` is the training itself: an ordinary loop with four lines changed.
"""

import hashlib
import os
import signal
import sys

import killed_and_whole

EPOCHS, BATCH, NOISE = 4, 64, 16
KILLS = (9, 17, 12)  # steps that each process makes before it dies


def train(directory, dies_at):
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import layers
    from sklearn.datasets import load_digits

    import keras_session_ext as kse

    keras.utils.set_random_seed(0)  # only so that two runs begin alike; a resume needs no seed
    images = (load_digits().data[:1280] / 8 - 1).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices(images).shuffle(1280, seed=1).batch(BATCH, drop_remainder=True)
    generator = keras.Sequential([keras.Input((NOISE,)), layers.Dense(64, activation="relu"),
                                  layers.BatchNormalization(), layers.Dense(64, activation="tanh")])
    discriminator = keras.Sequential([keras.Input((64,)), layers.Dense(64, activation="leaky_relu"),
                                      layers.Dropout(0.3), layers.Dense(1)])
    g_optimizer, d_optimizer = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(5e-4)
    loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)
    seeds = keras.random.SeedGenerator(2)

    @tf.function
    def train_step(real):
        noise = keras.random.normal((BATCH, NOISE), seed=seeds)
        with tf.GradientTape(persistent=True) as tape:
            fake = generator(noise, training=True)
            on_fake, on_real = discriminator(fake, training=True), discriminator(real, training=True)
            d_loss = loss_fn(tf.ones_like(on_real), on_real) + loss_fn(tf.zeros_like(on_fake), on_fake)
            g_loss = loss_fn(tf.ones_like(on_fake), on_fake)
        d_optimizer.apply(tape.gradient(d_loss, discriminator.trainable_variables), discriminator.trainable_variables)
        g_optimizer.apply(tape.gradient(g_loss, generator.trainable_variables), generator.trainable_variables)
        return d_loss, g_loss

    curve = []
    loop = kse.SessionLoop(directory, save=kse.EverySteps(4) | kse.EveryEpochs(1), model=generator)  # new
    for _epoch in loop.epochs(EPOCHS):  # was: range(EPOCHS)
        for real in loop.batches(dataset):  # was: dataset
            d_loss, g_loss = train_step(real)
            curve.append((float(d_loss), float(g_loss)))
            if dies_at and len(curve) - resumed_behind(loop) == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
        loop.log(d_loss=d_loss, g_loss=g_loss)  # new
    for name, value in (("generator", generator.get_weights()), ("discriminator", discriminator.get_weights()),
                        ("generator's optimizer", [v.numpy() for v in g_optimizer.variables]),
                        ("discriminator's optimizer", [v.numpy() for v in d_optimizer.variables]),
                        ("seeds", [seeds.state.numpy()]), ("curve", [np.array(curve)])):
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in value)).hexdigest()
        print("{}\t{}".format(name, digest))


def resumed_behind(loop):
    """How many steps were made before this process."""
    return loop.resume_report.progress.step


if __name__ == "__main__":
    sys.exit(killed_and_whole.main(train, KILLS, __file__, __doc__.splitlines()[0]))
