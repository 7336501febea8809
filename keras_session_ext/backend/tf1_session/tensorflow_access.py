"""TensorFlow for the shim: devices and threads, and a model's graph."""

import contextlib
from typing import Any, List

from keras_session_ext.backend.tf1_session.scope_settings import Settings
from keras_session_ext.errors import ConfigError, UnsupportedBackend


def apply_settings(tensorflow: Any, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
    """Sets threads, memory and device of an eager TensorFlow; returns what comes too late."""
    config, late = tensorflow.config, []
    for name, set_threads in (("intra_op_threads", config.threading.set_intra_op_parallelism_threads),
                              ("inter_op_threads", config.threading.set_inter_op_parallelism_threads)):
        count = getattr(settings, name)
        if count is not None:
            try:
                set_threads(count)
            except RuntimeError:  # the runtime has started
                late.append("{}: TensorFlow has started already; open the scope before the first model".format(name))
    if settings.memory_growth is not None:
        for device in config.experimental.list_physical_devices("GPU"):
            try:
                config.experimental.set_memory_growth(device, settings.memory_growth)
            except (RuntimeError, ValueError) as error:
                late.append("memory_growth of {}: {}".format(device.name, error))
    if settings.device is not None:
        enter_device(tensorflow, settings.device, stack)
    return late


def enter_device(tensorflow: Any, device: str, stack: contextlib.ExitStack) -> None:
    """Computes on a device for as long as `stack` is open.

    Raises:
        ConfigError: it is not there; TensorFlow itself finds out when the first op is placed.
    """
    found = tensorflow.config.experimental.list_physical_devices()
    devices = ["/" + one.name.split("/physical_device:")[-1] for one in found]
    short = "/" + device.upper().replace("/DEVICE:", "/").split("/")[-1]
    if not any(short in (one, one.rsplit(":", 1)[0]) for one in devices):
        raise ConfigError("There is no device {!r} here. Expected one of: {}.".format(device, ", ".join(devices)))
    try:
        stack.enter_context(tensorflow.device(device))
    except (ValueError, RuntimeError) as error:
        raise ConfigError("There is no device {!r}: {}".format(device, error))


def traced_graph(tensorflow: Any, model: Any) -> Any:
    """The graph of a model's forward pass."""
    if model is None or not getattr(model, "inputs", None):
        raise UnsupportedBackend("There is no tf.Graph without a model that has inputs. Write "
                                 "get_session(model).graph, or trace a function: tf.function(f).get_concrete_function.")
    specs = [tensorflow.TensorSpec(tuple(one.shape), one.dtype) for one in model.inputs]
    function = tensorflow.function(lambda *inputs: model(list(inputs) if len(inputs) > 1 else inputs[0],
                                                         training=False))
    concrete = function.get_concrete_function(*specs)
    concrete.graph.keras_session_ext_function = concrete  # older TensorFlows take the graph apart with its function
    return concrete.graph
