"""How Keras's calls are reached: the frames of a running fit, and the fits of scripts that do not know us."""
