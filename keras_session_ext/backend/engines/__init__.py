"""What Keras computes on: reading variables, and the engine's own random state."""

from keras_session_ext.backend.engines.jax import Jax
from keras_session_ext.backend.engines.tensorflow import TensorFlow
from keras_session_ext.backend.engines.torch import Torch

#: those of Keras 3, by the names it has for them; none imports its framework before it is made
ENGINES = {engine.name: engine for engine in (TensorFlow, Jax, Torch)}
