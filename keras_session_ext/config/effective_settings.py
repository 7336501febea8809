"""The settings that are in effect: read, laid over each other, checked, and complete."""

import os
from typing import Any, Dict, Iterable, List, Optional

from keras_session_ext import units
from keras_session_ext.config import policy_makers
from keras_session_ext.config.entries import Entry, Path, Problem, Unreadable, Wrong, whole
from keras_session_ext.config.find_section import select
from keras_session_ext.config.hydra_and_lightning_forms import canonical, written_out
from keras_session_ext.config.overrides import environment, laid_over, overridden
from keras_session_ext.config.read_source import read
from keras_session_ext.config.schema_check import problems_of, unexpected, values_of
from keras_session_ext.config.schema_file import session_schema, within
from keras_session_ext.errors import ConfigError


def effective_config(config: Any, key: Optional[str] = None, overrides: Iterable[str] = (),
                     env: bool = True) -> Dict[str, Any]:
    """The settings that are in effect, with all defaults; `{}` where the session is switched off.

    Imports no framework, and not NumPy.

    Args:
        config, key, overrides, env: as of `callbacks_from_config`.

    Returns:
        Plain values in canonical form, which are themselves a config.

    Raises:
        ConfigError: everything that is wrong, in one message.

    Examples:
        >>> effective_config({"directory": "runs/a"}, overrides=["save.every=10m", "keep.last=5"], env=False)["save"]
        {'every': 600}
    """
    return effective_of(lambda: read(config), key, overrides, os.environ if env else {})


def effective_of(source: Any, key: Optional[str], overrides: Any, variables: Any) -> Dict[str, Any]:
    """`effective_config` for a function that returns an entry, and for variables of an environment."""
    problems: List[Problem] = []
    layers = environment(variables, problems) + overridden(overrides, problems)
    try:
        base = canonical(whole(select(source(), key, problems), problems), problems)
    except Unreadable as error:
        raise _error([*problems, error.problem])
    settings, off = _laid(base, layers, problems)
    problems += problems_of(settings, off)
    problems += _refused(settings, problems)
    if problems:
        raise _error(problems)
    return {} if off else complete(values_of(settings), session_schema())


def _laid(base: Entry, layers: List[Entry], problems: List[Problem]) -> Any:
    """The settings with all layers; and whether they are switched off.

    What is switched off stays so, unless a layer says where the run is to live.
    """
    if base.value is not None and not isinstance(base.value, dict):
        return base, False
    settings = base if base.value is not None else Entry(base.place, {})
    for layer in layers:
        settings = laid_over(settings, written_out(layer, (), problems))
    inside = settings.value if isinstance(settings.value, dict) else {}
    named = any(key in inside and inside[key].value is not None for key in ("directory", "tensorboard"))
    return settings, base.value is None and not named


def _refused(settings: Entry, problems: List[Problem]) -> List[Problem]:
    """What the policies' classes refuse, beyond the schema."""
    bad = [problem.path for problem in problems]
    values = values_of(settings)
    refused: List[Problem] = []
    for path, make in policy_makers.MAKERS.items():
        value = _at(values, path)
        if value is None or any(one[:len(path)] == path for one in bad):
            continue
        value = complete(value, within(session_schema(), path))
        for at, one in policy_makers.parts(path, value):
            try:
                make(one)
            except ConfigError:
                refused.append(unexpected(settings, at, _at(values, at)))
    return refused


def _at(values: Any, path: Path) -> Any:
    for key in path:
        if isinstance(values, dict):
            values = values.get(key)
        elif isinstance(values, list) and isinstance(key, int):
            values = values[key]
        else:
            return None
    return None if isinstance(values, Wrong) else values


def _error(problems: List[Problem]) -> ConfigError:
    lines = [str(one) for one in sorted(dict.fromkeys(problems), key=lambda one: one.place.order)]
    count = "1 problem" if len(lines) == 1 else "{} problems".format(len(lines))
    return ConfigError("The session's config has {}:".format(count), lines)


def complete(value: Any, schema: Dict[str, Any]) -> Any:
    """Values that fit the schema, in its order, with its defaults, and in plain units."""
    if isinstance(value, dict):
        known = schema["properties"]
        # without a directory there is no SessionCheckpoint whose settings could have defaults
        defaults = "directory" not in known or "directory" in value
        return {key: complete(value.get(key, inside.get("default")), inside) for key, inside in known.items()
                if key in value or (defaults and "default" in inside)}
    if schema.get("reads_as") == "seconds":
        return units.seconds(value)
    if schema.get("reads_as") == "bytes":
        return units.size_bytes(value)
    if isinstance(value, float) and "number" not in schema["type"]:
        return int(value)
    return value
