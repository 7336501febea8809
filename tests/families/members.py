"""The members of the families: every Keras this package is tested on, and the environment of each.

A test process is told which member it runs in by the environment variable
`KSE_FAMILY`; what is declared and cannot be had is a failure, never a skip.
"""

import importlib
import os
from typing import Any, Dict, List, NamedTuple


class Member(NamedTuple):
    """One Keras in one environment.

    Attributes:
        python: the interpreter's version.
        requirements: what pip installs, next to the test tools.
        keras: the module of the Keras.
        family: "graph", "eager" or "keras3".
        engine: what it computes on.
        v2_behavior: whether TensorFlow's v2 behaviour stays on.
        variables: more environment variables.
        devices: the layout of tests/devices.py that its models are trained on; one device if empty.
    """

    python: str
    requirements: List[str]
    keras: str
    family: str
    engine: str = "tensorflow"
    v2_behavior: bool = True
    variables: Dict[str, str] = {}
    devices: str = ""


_TF115 = ["tensorflow==1.15.5", "protobuf<3.21", "h5py<3", "numpy<1.19"]
_TF221 = ["tensorflow-cpu==2.21.0", "keras", "tf_keras==2.21.0"]

MEMBERS = {
    "tf115": Member("3.7", _TF115, "tensorflow.keras", "graph"),
    "keras231": Member("3.7", _TF115 + ["keras==2.3.1"], "keras", "graph"),
    "keras225": Member("3.7", _TF115 + ["keras==2.2.5"], "keras", "graph"),
    "tf215-v1": Member("3.11", ["tensorflow-cpu==2.15.1"], "tensorflow.keras", "graph", v2_behavior=False),
    "tf_keras-v1": Member("3.11", _TF221, "tf_keras", "graph", v2_behavior=False),
    "tf21": Member("3.7", ["tensorflow==2.1.4", "protobuf<3.21", "h5py<3"], "tensorflow.keras", "eager"),
    "tf24": Member("3.8", ["tensorflow-cpu==2.4.4", "protobuf<3.21"], "tensorflow.keras", "eager"),
    "tf26": Member("3.8", ["tensorflow-cpu==2.6.5", "protobuf<3.21"], "tensorflow.keras", "eager"),
    "tf210": Member("3.10", ["tensorflow-cpu==2.10.1", "numpy<2"], "tensorflow.keras", "eager"),
    "tf213": Member("3.11", ["tensorflow-cpu==2.13.1"], "tensorflow.keras", "eager"),
    "tf215": Member("3.11", ["tensorflow-cpu==2.15.1"], "tensorflow.keras", "eager"),
    "tf_keras": Member("3.11", _TF221, "tf_keras", "eager"),
    "tensorflow": Member("3.11", _TF221, "keras", "keras3"),
    "jax": Member("3.11", ["keras", "jax"], "keras", "keras3", "jax"),
    "torch": Member("3.11", ["keras", "torch==2.13.0"], "keras", "keras3", "torch"),
    "mirrored": Member("3.11", _TF221, "keras", "keras3", devices="mirrored2"),
    "mirrored-tf_keras": Member("3.11", _TF221, "tf_keras", "eager", devices="mirrored2"),
    "jax-mesh": Member("3.11", ["keras", "jax", "tensorflow-cpu==2.21.0"], "keras", "keras3", "jax", devices="model2x2",
                       variables={"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}),
}


def current() -> str:
    """The member this process was declared to be."""
    name = os.environ.get("KSE_FAMILY", "")
    if name not in MEMBERS:
        raise RuntimeError("Set KSE_FAMILY to the member that this environment is. Received: {!r}. Expected one of: "
                           "{}.".format(name, ", ".join(MEMBERS)))
    return name


def prepare() -> None:
    """Sets what has to be set before a framework is imported."""
    member = MEMBERS[current()]
    os.environ["KERAS_BACKEND"] = member.engine
    os.environ.update(member.variables)


def load() -> Any:
    """Imports the member's Keras as its user would."""
    member = MEMBERS[current()]
    prepare()
    if not member.v2_behavior:
        importlib.import_module("tensorflow").compat.v1.disable_v2_behavior()
    if member.keras == "tensorflow.keras":
        return importlib.import_module("tensorflow").keras
    return importlib.import_module(member.keras)
