"""Which Kerases are installed, by the metadata of their packages: nothing of them is imported."""

from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from keras_session_ext.backend.choose import numbers as numbers_of

_TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos",
                "tf-nightly", "tf-nightly-cpu")
#: what a framework's packages may be called
_PACKAGES = {"tensorflow": _TENSORFLOWS, "keras": ("keras", "keras-nightly"), "tf_keras": ("tf_keras", "tf-keras"),
             "jax": ("jax",), "torch": ("torch",)}
ENGINES = ("tensorflow", "jax", "torch")


class Installed(NamedTuple):
    """A Keras that a script could import.

    Attributes:
        module: what to import.
        keras: its name for people.
        family: "graph", "eager" or "keras3"; empty where it is not supported.
        engine: what it computes on.
        problem: why it cannot be used.
        limits: why a run on it is not exact, or what it takes.
    """

    module: str
    keras: str
    family: str
    engine: str
    problem: str = ""
    limits: str = ""


def version_of(*packages: str) -> Optional[str]:
    """The version of the first of these packages that is installed."""
    metadata = _metadata()
    for package in packages:
        try:
            found = metadata.version(package)
            if found:
                return str(found)
        except metadata.PackageNotFoundError:
            continue
    return None


def _metadata() -> Any:
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7
        import importlib_metadata as metadata  # type: ignore[no-redef] # comes with click there
    return metadata


def versions() -> Dict[str, str]:
    """The frameworks that are installed, each with its version."""
    found = {name: version_of(*packages) for name, packages in _PACKAGES.items()}
    return {name: version for name, version in found.items() if version is not None}


def kerases(found: Dict[str, str]) -> List[Installed]:
    """Every Keras that these frameworks make, those that are not supported included.

    Args:
        found: names and versions, as of `versions`.

    Examples:
        >>> [(one.family, one.engine) for one in kerases({"keras": "3.15.1", "jax": "0.10.2"})]
        [('keras3', 'jax')]
    """
    tensorflow = numbers(found.get("tensorflow"))
    made = list(_standalone(found, tensorflow))
    if (0,) < tensorflow < (2, 16):
        made.append(_tensorflow_keras(found["tensorflow"], tensorflow))
    if "tf_keras" in found:
        problem = "" if tensorflow >= (2, 13) else "it needs TensorFlow"
        made.append(Installed("tf_keras", "tf_keras " + found["tf_keras"], "eager", "tensorflow", problem))
    return made


def _standalone(found: Dict[str, str], tensorflow: Tuple[int, ...]) -> Iterator[Installed]:
    version = numbers(found.get("keras"))
    name = "Keras " + found.get("keras", "")
    if version >= (3,):
        engines = [engine for engine in ENGINES if engine in found]
        for engine in engines:
            old = engine == "tensorflow" and tensorflow < (2, 16)
            yield Installed("keras", name, "keras3", engine, "it needs TensorFlow 2.16 or later; found {}".format(
                found["tensorflow"]) if old else "")
        if not engines:
            yield Installed("keras", name, "keras3", "", "it needs one of tensorflow, jax, torch")
    elif (0,) < version < (2, 4):  # from then on the package is the implementation of tf.keras
        limits = ("it differs from run to run, whatever is seeded" if version < (2, 3)
                  else "exact with a session of one thread")
        problem = "Kerases before 2.2.5 are not supported" if version < (2, 2, 5) else "" if (
            (1, 15) <= tensorflow < (2,)) else "it needs TensorFlow 1.15; use tf.keras"
        yield Installed("keras", name, "graph", "tensorflow", problem, limits)


def _tensorflow_keras(version: str, numbers: Tuple[int, ...]) -> Installed:
    name = "tf.keras of TensorFlow " + version
    if numbers < (1, 15):
        return Installed("tensorflow", name, "", "tensorflow", "TensorFlows before 1.15 are not supported")
    return Installed("tensorflow", name, "graph" if numbers < (2,) else "eager", "tensorflow")


def numbers(version: Optional[str]) -> Tuple[int, ...]:
    return numbers_of(version) if version else (0,)
