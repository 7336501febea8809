"""Two models and two optimizers, trained in a function; the names of a Keras example."""
import keras
import tensorflow as tf
from dies import arrays, digits, result, trained

keras.utils.set_random_seed(1)
images = digits()[0][:160]
dataset = tf.data.Dataset.from_tensor_slices(images).shuffle(160).batch(32)
generator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(64)])
discriminator = keras.Sequential([keras.Input((64,)), keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.2),
                                  keras.layers.Dense(1)])
d_optimizer, g_optimizer = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(2e-3)
seeds = keras.random.SeedGenerator(5)
loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)


@tf.function
def train_step(real):
    noise = keras.random.normal((32, 8), seed=seeds)
    with tf.GradientTape() as tape:
        guesses = discriminator(tf.concat([generator(noise), real], 0), training=True)
        d_loss = loss_fn(tf.concat([tf.ones((32, 1)), tf.zeros((32, 1))], 0), guesses)
    d_optimizer.apply_gradients(zip(tape.gradient(d_loss, discriminator.trainable_weights),
                                    discriminator.trainable_weights))
    with tf.GradientTape() as tape:
        g_loss = loss_fn(tf.zeros((32, 1)), discriminator(generator(noise), training=True))
    g_optimizer.apply_gradients(zip(tape.gradient(g_loss, generator.trainable_weights), generator.trainable_weights))
    return d_loss, g_loss


seen = []
for epoch in range(3):
    for step, real in enumerate(dataset):
        d_loss, g_loss = train_step(real)
        if step % 2 == 0:
            seen.append((epoch, step, float(d_loss), float(g_loss)))
        trained()
result(weights=generator.get_weights() + discriminator.get_weights(), seen=seen,
       optimizers=arrays(d_optimizer.variables + g_optimizer.variables))
