"""`tf.Session` in every family: the real one where it exists, and what replaces it elsewhere."""
