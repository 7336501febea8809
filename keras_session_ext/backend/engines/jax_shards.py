"""Arrays of JAX that lie on several devices: read and written shard by shard, never whole on one device."""

import zlib
from typing import Any, Dict, Sequence

import numpy as np


def is_spread(value: Any) -> bool:
    """Whether an array lies on more than one device."""
    return len(value.sharding.device_set) > 1


def gather(value: Any, place: np.ndarray) -> None:
    """Copies the shards of an array to where they belong in one of the host's memory; each part once."""
    if value.is_fully_replicated:  # of which each device, and each process, has the whole
        place[...] = np.asarray(value)
        return
    copied = set()
    for shard in value.addressable_shards:
        where = _text_of(shard.index)
        if where not in copied:
            copied.add(where)
            place[shard.index] = np.asarray(shard.data)


def spread(jax: Any, array: np.ndarray, like: Any) -> Any:
    """An array with the layout of another, of which each device is sent only its own shard.

    `variable.assign` of a host's array makes the whole of it on the first device:
    https://github.com/keras-team/keras/pull/21712

    Args:
        jax: the module.
        array: the value, in the host's memory.
        like: the array with the layout.
    """
    return jax.make_array_from_callback(like.shape, like.sharding, lambda index: array[index])


def layout_of(variables: Sequence[Any], distribution: Any) -> str:
    """The layout in words: class, mesh, how many variables are cut, and a checksum over how each is laid out.

    Args:
        variables: of Keras, in an order that is the same in every process.
        distribution: what `keras.distribution` was told, if anything.

    Returns:
        An empty text where everything lies on one device.
    """
    values = [variable.value for variable in variables]
    if not any(map(is_spread, values)):
        return ""
    mesh = next((value.sharding.mesh for value in values if hasattr(value.sharding, "mesh")), None)
    name = "layouts by hand" if distribution is None else type(distribution).__name__
    axes = "" if mesh is None else " on a mesh " + ", ".join("{}={}".format(axis, size) for axis, size in zip(
        mesh.axis_names, mesh.devices.shape))
    axes += ", batches over {}".format(distribution.batch_dim_name) if hasattr(distribution, "batch_dim_name") else ""
    devices = sorted({str(device.platform) for value in values for device in value.sharding.device_set})
    cut: Dict[str, int] = {}
    for value in values:
        if not value.is_fully_replicated:
            cut[_spec(value)] = cut.get(_spec(value), 0) + 1
    said = "{}{} of {} devices; {}".format(name, axes, "/".join(devices), ", ".join(
        "{} variables by {}".format(count, spec) for spec, count in sorted(cut.items())) or "all variables replicated")
    rules = dict(getattr(distribution, "_layout_map", None) or {})
    everything = repr([getattr(distribution, "batch_dim_name", None), sorted(
        (str(name), str(getattr(layout, "axes", layout))) for name, layout in rules.items())] + [
            (_spec(value), value.sharding.shard_shape(value.shape), [device.id for device in _devices(value)])
            for value in values])
    return "{} (layout {:08x})".format(said, zlib.crc32(everything.encode()))


def _spec(value: Any) -> str:
    spec = getattr(value.sharding, "spec", None)
    return str(value.sharding) if spec is None else "({})".format(", ".join(str(axis) for axis in spec))


def _devices(value: Any) -> Sequence[Any]:
    """In the order of the mesh, by which sums over devices may round."""
    mesh = getattr(value.sharding, "mesh", None)
    return sorted(value.sharding.device_set, key=lambda device: device.id) if mesh is None else list(mesh.devices.flat)


def _text_of(index: Any) -> str:
    return ",".join("{}:{}".format(one.start, one.stop) for one in index)
