"""Keras 2 under its three names: standalone Keras, tf.keras, tf_keras; in graph mode and in eager mode."""
