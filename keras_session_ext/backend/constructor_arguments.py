"""What a script says of its layers, losses, metrics and callbacks when it makes them: `Dropout(0.2)`, `patience=3`.

Two ways lead to it: Keras's `get_config`, and attributes that are called as the
arguments of a constructor. What cannot be read that way is not compared.
"""

import inspect
import re
import warnings
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Optional, Tuple

from keras_session_ext.backend.optimizers import as_text

_SCALARS = (bool, int, float, str)
#: names: another one makes no other training. Seeds: random state is looked at by itself. Initializers: the variables
#: come from the checkpoint. Axis and shapes: a layer says them differently once it is built.
_PASSED_OVER = re.compile(r"name|seed|.*initializer|axis|(?!target|noise).*_shape|fn|function.*|module|verbose")
#: callbacks of Keras's that write and show, and leave training as it is
_WRITERS = frozenset(["BaseLogger", "Callback", "CSVLogger", "ModelCheckpoint", "ProgbarLogger", "RemoteMonitor",
                      "TensorBoard"])


def object_settings(objects: List[Any], layer: type, is_framework_class: Callable[[Any], bool]) -> Dict[str, Any]:
    """The settings of a model's layers, losses and metrics.

    Args:
        objects: of `Family.model_objects`.
        layer: Keras's class of layers.
        is_framework_class: tells Keras's classes from the user's.

    Returns:
        "layer dropout.rate" -> 0.2, and the like, without what is None. Names are counted anew: a process counts all
        that it ever made.
    """
    made: Dict[str, Any] = {}
    seen: Dict[str, int] = {}
    for subject in objects:
        word = _word(subject, layer)
        if not word:
            continue
        what = "{} {}".format(word, re.sub(r"_\d+$", "", str(getattr(subject, "name", type(subject).__name__))))
        number = seen[what] = seen.get(what, -1) + 1
        settings = {} if hasattr(subject, "layers") or hasattr(subject, "adapt") else _said(subject)
        if not is_framework_class(type(subject)):
            settings.update(arguments(subject, _nothing))
        what += " {}".format(number) if number else ""
        made.update({"{}.{}".format(what, name): value for name, value in settings.items() if value is not None})
    return made


def is_object_setting(name: str) -> bool:
    """Whether a setting is one of `object_settings`."""
    return name.startswith(("layer ", "loss ", "metric "))


def is_told_late(name: str) -> bool:
    """Whether a layer may say a setting only once it is built."""
    return name.endswith(".dtype")


def callback_settings(peer: Any, is_own: Callable[[Any], bool]) -> Dict[str, Any]:
    """What a callback was made with, as far as it may change the training.

    Args:
        peer: the callback.
        is_own: tells Keras's classes from others.
    """
    made = arguments(peer, lambda base: base.__name__ in _WRITERS and is_own(base))
    if "min_delta" in made:  # whose sign Keras turns once it knows whether less is better
        made["min_delta"] = abs(made["min_delta"] or 0)
    # other texts are names and paths, which are often made of the time
    return {name: value for name, value in made.items() if not isinstance(value, str) or name in ("monitor", "mode")}


def arguments(subject: Any, passed_over: Callable[[type], bool]) -> Dict[str, Any]:
    """The attributes of an object that are called as arguments of its constructor, as far as they are plain."""
    made = {}
    for name in _parameters(type(subject), passed_over):
        for attribute in (name, "_" + name):
            value = getattr(subject, "__dict__", {}).get(attribute, subject)
            if not _PASSED_OVER.fullmatch(name) and (value is None or isinstance(value, _SCALARS)):
                made[name] = value
                break
    return made


def _nothing(base: type) -> bool:
    return False


def _parameters(kind: type, passed_over: Callable[[type], bool]) -> FrozenSet[str]:
    found: set = set()
    for base in kind.__mro__[:-1]:
        if "__init__" in vars(base) and not passed_over(base):
            try:
                found.update(inspect.signature(vars(base)["__init__"]).parameters)
            except (TypeError, ValueError):  # written in C, or hidden by a decorator
                continue
    return frozenset(found)


def _word(subject: Any, layer: type) -> str:
    if hasattr(subject, "update_state"):
        return "metric"
    if isinstance(subject, layer):
        return "layer" if type(subject).__name__ != "InputLayer" else ""
    return "loss" if hasattr(subject, "call") and hasattr(subject, "get_config") else ""


def _said(subject: Any) -> Dict[str, Any]:
    try:
        with warnings.catch_warnings():  # of lambdas, which nobody is about to load
            warnings.simplefilter("ignore")
            config = dict(subject.get_config())
    except Exception:  # the user's may raise anything; what cannot be read is not compared
        return {}
    return dict(_plain(config))


def _plain(config: Dict[str, Any]) -> Iterator[Tuple[str, Any]]:
    for name, value in config.items():
        if _PASSED_OVER.fullmatch(name):
            continue
        value = _scalar(value)
        if value is None or isinstance(value, _SCALARS):
            yield name, value
            continue
        text = _text(value)
        if text is not None:
            yield name, text


def _scalar(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _text(value: Any) -> Optional[str]:
    """A nested setting as text, such as a regularizer; None for what cannot be compared, or is told by itself."""
    if isinstance(value, (list, tuple)):
        items = [_scalar(one) for one in value]
        return as_text(items) if all(one is None or isinstance(one, _SCALARS) for one in items) else None
    if not isinstance(value, dict):
        return None
    inner = value.get("config", value)
    if not isinstance(inner, dict) or "trainable" in inner:
        return None  # layers within a layer are listed themselves
    known = dict(_plain(inner))
    if str(value.get("class_name")).endswith("Policy"):  # of dtypes, which is known by its name
        known["name"] = inner.get("name")
    if inner is value and len(known) < len(value):
        return None
    return "{}({})".format(value.get("class_name", "") if inner is not value else "", ", ".join(
        "{}={}".format(name, known[name]) for name in sorted(known)))
