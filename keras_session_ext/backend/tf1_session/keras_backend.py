"""What TF1 code asks of `keras.backend` besides the session, where Keras 3 has it no more or only on TensorFlow."""

from typing import Any, List, Sequence, Tuple

import numpy as np

from keras_session_ext.backend import choose
from keras_session_ext.backend.tf1_session.shim import run
from keras_session_ext.errors import ConfigError


def function(inputs: Any, outputs: Any, **options: Any) -> Any:
    """`keras.backend.function`: a function that computes symbolic outputs from values of symbolic inputs.

    Args:
        inputs: symbolic tensors, and `learning_phase()` where it is to be given.
        outputs: one, or a list of them.
        **options: those of the Keras in use; Keras 3 has none.

    Returns:
        A function that takes a list of values, one for each input, and returns NumPy values as `outputs` are nested.

    Raises:
        ConfigError: an option that this Keras does not know.

    Examples:
        >>> # K.function([model.input], [model.layers[1].output])([x])
    """
    family = choose()
    if hasattr(family.keras.backend, "function"):
        return family.keras.backend.function(inputs, outputs, **options)
    if options:
        raise ConfigError("backend.function takes no {} on Keras {}.".format(
            ", ".join(sorted(options)), family.describe()["keras"]))
    feeds = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]

    def compute(values: Any) -> Any:
        given = list(values) if isinstance(inputs, (list, tuple)) else [values]
        if len(given) != len(feeds):
            raise ConfigError("Expected {} values, one for each input. Received: {}.".format(len(feeds), len(given)))
        return run(outputs, dict(zip(feeds, given)))

    return compute


def get_value(x: Any) -> Any:
    """`keras.backend.get_value`: the NumPy value of a variable; numbers and arrays are their own.

    Args:
        x: a variable or tensor of the Keras in use, a number or an array.

    Returns:
        Its value, of the variable's shape and dtype.

    Examples:
        >>> # K.get_value(model.optimizer.learning_rate)
    """
    if isinstance(x, (bool, int, float, np.generic, np.ndarray)):
        return x
    keras = choose().keras.backend
    return keras.get_value(x) if hasattr(keras, "get_value") else run(x)


def batch_get_value(tensors: Sequence[Any]) -> List[Any]:
    """`get_value` of each."""
    keras = choose().keras.backend
    return keras.batch_get_value(tensors) if hasattr(keras, "batch_get_value") else [get_value(x) for x in tensors]


def set_value(x: Any, value: Any) -> None:
    """`keras.backend.set_value`: gives a variable a value.

    Args:
        x: a variable of the Keras in use.
        value: a number or an array of its shape; it becomes of the variable's dtype.

    Raises:
        ConfigError: `x` is no variable; the message says what to do instead.

    Examples:
        >>> # K.set_value(model.optimizer.learning_rate, 1e-4)
    """
    batch_set_value([(x, value)])


def batch_set_value(tuples: Sequence[Tuple[Any, Any]]) -> None:
    """`set_value` for pairs of variable and value."""
    keras = choose().keras.backend
    for x, _ in tuples:
        if not hasattr(x, "assign"):
            raise ConfigError("Only a variable can be given a value. Received: {!r} of type {}. An attribute of an "
                              "object is set as in optimizer.learning_rate = 1e-4.".format(x, type(x).__name__))
    if hasattr(keras, "batch_set_value"):
        keras.batch_set_value(tuples)
        return
    for x, value in tuples:
        x.assign(value)
