"""What layers, metrics and models say of themselves by Keras's own saving protocol.

`save_own_variables` and `save_assets` are Keras's words for what is more than
a list of variables: vocabularies, tables, a state in other objects. Of Keras's
own classes those with assets are asked; of the user's all that override one of
the two. https://keras.io/guides/customizing_saving_and_serialization/
"""

import functools
from typing import Any, Callable, Dict, Optional

import numpy as np

from keras_session_ext import files

_Framework = Callable[[type], bool]


def read(subject: Any, is_framework_class: _Framework) -> Dict[str, Any]:
    """The state that an object saves by itself, as plain values; empty for most.

    Args:
        subject: a layer, metric, optimizer or model.
        is_framework_class: tells Keras's classes from the user's.

    Returns:
        Some of `variables` (name -> array), `assets` (name of a file -> bytes) and `vocabulary` (a list).
    """
    found: Dict[str, Any] = {}
    kind: Any = type(subject)
    if not _may_save(kind, is_framework_class):
        return found
    if _saves_variables(subject, is_framework_class):
        store: Dict[str, Any] = {}
        subject.save_own_variables(store)
        found["variables"] = {str(name): _array(value) for name, value in store.items()}
    if _has(subject, "save_assets", "load_assets"):
        with files.temporary_directory() as folder:
            subject.save_assets(folder)
            found["assets"] = {name: np.frombuffer(content, np.uint8) for name, content in files.read_tree(folder)}
    elif _has(subject, "get_vocabulary", "set_vocabulary"):  # as Keras 2 has it before TensorFlow 2.12
        found["vocabulary"] = _vocabulary(subject)
    return {name: value for name, value in found.items() if value}


def write(subject: Any, state: Dict[str, Any]) -> None:
    """Gives an object the state that `read` returned."""
    if "variables" in state:
        subject.load_own_variables(dict(state["variables"]))
    if "assets" in state:
        with files.temporary_directory() as folder:
            for name, content in state["assets"].items():
                files.write_below(folder, name, content.tobytes())
            subject.load_assets(folder)
    if "vocabulary" in state:
        subject.set_vocabulary(state["vocabulary"])


def finalize(subject: Any) -> None:
    """Lets a layer derive again what it derives from its variables, as Normalization does; a vocabulary is none."""
    if callable(getattr(subject, "finalize_state", None)) and not hasattr(subject, "get_vocabulary") \
            and getattr(subject, "built", False):
        subject.finalize_state()


@functools.lru_cache(maxsize=4096)
def _may_save(kind: type, is_framework_class: _Framework) -> bool:
    """Whether objects of a class may have anything to say; most layers are of a few classes that have not."""
    return not is_framework_class(kind) or any(
        name in vars(base) for base in kind.__mro__ for name in ("save_assets", "get_vocabulary"))


def _saves_variables(subject: Any, is_framework_class: _Framework) -> bool:
    if not _has(subject, "save_own_variables", "load_own_variables"):
        return False
    whose = _defined_in(type(subject), "save_own_variables")
    return whose is not None and (not is_framework_class(whose) or _has(subject, "save_assets", "load_assets"))


def _defined_in(kind: type, name: str) -> Optional[type]:
    return next((base for base in kind.__mro__ if name in vars(base)), None)


def _has(subject: Any, *names: str) -> bool:
    return all(callable(getattr(subject, name, None)) for name in names)


def _array(value: Any) -> np.ndarray:
    value = value.detach().cpu() if hasattr(value, "detach") else value
    return np.array(value.numpy() if hasattr(value, "numpy") else value)


def _vocabulary(subject: Any) -> Any:
    words = [word.decode() if isinstance(word, bytes) else word for word in subject.get_vocabulary()]
    return [word.item() if isinstance(word, np.generic) else word for word in words]
