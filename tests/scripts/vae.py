"""A variational autoencoder, in the style of keras.io's "Variational AutoEncoder"."""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(3)
x = (load_digits().data / 16.0).astype("float32")

if int(keras.__version__.split(".")[0]) >= 3:
    from keras import ops

    class Sampling(layers.Layer):
        """Uses (z_mean, z_log_var) to sample z."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.seed_generator = keras.random.SeedGenerator(1337)

        def call(self, inputs):
            mean, log_var = inputs
            noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
            self.add_loss(-0.001 * ops.mean(1 + log_var - ops.square(mean) - ops.exp(log_var)))
            return mean + ops.exp(0.5 * log_var) * noise
else:
    import tensorflow as tf

    class Sampling(layers.Layer):
        """Uses (z_mean, z_log_var) to sample z."""

        def call(self, inputs):
            mean, log_var = inputs
            noise = tf.random.normal(tf.shape(mean))
            self.add_loss(-0.001 * tf.reduce_mean(1 + log_var - tf.square(mean) - tf.exp(log_var)))
            return mean + tf.exp(0.5 * log_var) * noise

inputs = keras.Input(shape=(64,))
hidden = layers.Dense(32, activation="relu")(inputs)
z = Sampling()([layers.Dense(2)(hidden), layers.Dense(2)(hidden)])
encoder = keras.Model(inputs, z, name="encoder")

latent = keras.Input(shape=(2,))
decoder = keras.Model(latent, layers.Dense(64, activation="sigmoid")(layers.Dense(32, activation="relu")(latent)),
                      name="decoder")

vae = keras.Model(inputs, decoder(encoder(inputs)), name="vae")
vae.compile("adam", "mse")
vae.fit(x, x, batch_size=128, epochs=2, verbose=2)
print(encoder.predict(x[:2], verbose=0).shape)
