"""The optimizers of a model, and their settings."""

import re
from typing import Any, Callable, Dict, List


def optimizers_of(model: Any, is_optimizer: Callable[[Any], bool]) -> List[Any]:
    """The compiled optimizer, and those that are attributes of the model (GANs)."""
    found: List[Any] = []

    def visit(value: Any, depth: int) -> None:
        if is_optimizer(value):
            if not any(value is one for one in found):
                found.append(value)
        elif depth and isinstance(value, (list, tuple)):
            for item in value:
                visit(item, depth - 1)
        elif depth and isinstance(value, dict):
            for key in sorted(value, key=str):
                visit(value[key], depth - 1)

    visit(getattr(model, "optimizer", None), 1)
    visit({name: value for name, value in vars(model).items() if not name.startswith("_")}, 3)
    return found


def trained_variables(optimizer: Any) -> List[Any]:
    """The variables that an optimizer was built for, where it knows them; of anything else, none."""
    return list(getattr(optimizer, "_trainable_variables", None) or ()) if hasattr(optimizer, "learning_rate") else []


def optimizer_settings(optimizers: List[Any]) -> Dict[str, str]:
    """The settings of a script's optimizers, as text."""
    made: Dict[str, str] = {}
    for number, optimizer in enumerate(optimizers):
        whose = "optimizer {}".format(number) if number else "optimizer"
        made[whose] = type(optimizer).__name__
        try:
            config = dict(optimizer.get_config())
        except Exception:  # a user's get_config; it only serves the list of changes
            config = {}
        made.update({"{}.{}".format(whose, name): as_text(value) for name, value in config.items() if name != "name"})
    return made


def as_text(value: Any) -> str:
    """A setting as text that is the same in every process."""
    value = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return text if len(text) <= 400 else text[:400] + "…"
