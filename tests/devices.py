"""Several devices in one process, by the name of a layout: logical devices of the CPU, made before a framework starts.

    mirrored2, mirrored4    replicas of tf.distribute.MirroredStrategy
    data4, data2            keras.distribution.DataParallel over so many devices of JAX
    model2x2                keras.distribution.ModelParallel: kernels and biases cut in two
    ""                      one device
"""

import contextlib
import hashlib
import re

import numpy as np

LOGICAL = 4
_used = {}


def use(layout, keras):
    """Makes the devices, and lays out everything that is made from now on; called before anything is computed."""
    _used.clear()
    if layout.startswith("mirrored"):
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < LOGICAL:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * LOGICAL)
        _used["strategy"] = tf.distribute.MirroredStrategy(
            ["CPU:{}".format(number) for number in range(int(layout[len("mirrored"):]))])
    elif layout:
        keras.distribution.set_distribution(_distribution(layout, keras.distribution))


def _distribution(layout, distribution):
    devices = distribution.list_devices()
    kind, *sizes = re.findall(r"[a-z]{2,}|\d+", layout)
    if kind == "data":
        return distribution.DataParallel(devices=devices[:int(sizes[0])])
    rows, columns = map(int, sizes)
    mesh = distribution.DeviceMesh((rows, columns), ["batch", "model"], devices[:rows * columns])
    layouts = distribution.LayoutMap(mesh)
    layouts["dense.*kernel"], layouts["dense.*bias"] = (None, "model"), ("model",)
    return distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")


def scope():
    """Where models are made."""
    return _used["strategy"].scope() if "strategy" in _used else contextlib.ExitStack()


def in_scope(make):
    """A function that makes models, where they are to be made."""
    def made(*arguments, **options):
        with scope():
            return make(*arguments, **options)

    return made


def parts_of(variable):
    """What every replica has of a variable, or every device's shard of it, asked of the frameworks themselves."""
    raw = variable if hasattr(variable, "numpy") and not hasattr(variable, "path") else variable.value
    raw = variable if callable(raw) else raw
    if hasattr(raw, "addressable_shards"):
        return [np.asarray(shard.data) for shard in raw.addressable_shards]
    if "strategy" in _used:
        return [np.asarray(one) for one in _used["strategy"].experimental_local_results(raw)]
    return [np.asarray(raw)]


def sha256(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update("{} {}".format(array.dtype, array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
