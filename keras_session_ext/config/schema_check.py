"""What is wrong with settings by the schema, in sentences with places."""

import difflib
import functools
import math
import signal
from typing import Any, Dict, Iterator, List, Sequence

from keras_session_ext import units, urls
from keras_session_ext.arguments import similar
from keras_session_ext.config.entries import Entry, Path, Problem, Wrong, dotted
from keras_session_ext.config.message_text import names, shown
from keras_session_ext.config.schema_file import properties, session_schema, within

#: what is missing where the schema's conditions between keys do not hold
_NEEDED: Dict[Path, str] = {(): "directory", ("save",): "on_signal"}
_SAYS_YES, _SAYS_NO = ("on", "yes", "y", "true"), ("off", "no", "n", "false")


def problems_of(entry: Entry, off: bool) -> List[Problem]:
    """Everything that is wrong with settings in canonical form.

    Args:
        entry: the settings, a mapping.
        off: they were switched off, so that nothing is missing.

    Examples:
        >>> from keras_session_ext.config.read_source import read
        >>> from keras_session_ext.config.entries import whole
        >>> print(*problems_of(whole(read({"directory": "a", "save": {"every_stepz": 5}}), []), False))
        config: save.every_stepz: unknown key; did you mean 'every_steps'?
    """
    problems = list(_wrong(entry, ()))
    if isinstance(entry.value, Wrong):
        return problems
    for error in _validator().iter_errors(values_of(entry)):
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            problems += _unknown(entry, path, error)
        elif error.validator == "required":
            problems += _missing(entry, path, [name for name in error.validator_value if name not in error.instance])
        elif path in _NEEDED and error.validator in ("anyOf", "dependencies") and isinstance(error.instance, dict):
            problems += [] if off else _missing(entry, path, [_NEEDED[path]])
        elif not isinstance(error.instance, Wrong):
            problems.append(unexpected(entry, path, error.instance))
    return list(dict.fromkeys(problems))


def _wrong(entry: Entry, path: Path) -> Iterator[Problem]:
    value = entry.value
    if isinstance(value, Wrong) and value.text:
        yield Problem(entry.place, path, value.text)
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from _wrong(inside, (*path, key))
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _wrong(inside, (*path, index))


@functools.lru_cache(maxsize=None)
def _validator() -> Any:
    import jsonschema

    def is_number(_: Any, value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

    def is_integer(_: Any, value: Any) -> bool:
        return is_number(_, value) and value == int(value)

    types = jsonschema.Draft7Validator.TYPE_CHECKER.redefine_many({"number": is_number, "integer": is_integer})
    validator = jsonschema.validators.extend(jsonschema.Draft7Validator, type_checker=types)
    return validator(session_schema())


def values_of(entry: Entry, path: Path = ()) -> Any:
    """Plain values, without the known keys that are switched off."""
    value = entry.value
    if isinstance(value, list):
        return [values_of(one, (*path, index)) for index, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    known = within(session_schema(), path).get("properties", {})
    return {key: values_of(one, (*path, key)) for key, one in value.items()
            if key not in known or not _is_off(one.value, known[key])}


def _is_off(value: Any, schema: Dict[str, Any]) -> bool:
    return value is None or (isinstance(value, bool) and "off" in schema and value is schema["off"])


# -- sentences


def unexpected(entry: Entry, path: Path, value: Any) -> Problem:
    """A value is not what was expected."""
    schema = within(session_schema(), path)
    text = "expected {}; received {}".format(schema.get("expected", "something else"), shown(value))
    hint = _hint(schema, value)
    return Problem(entry.at(path).place, path, text + ("; " + hint if hint else ""))


def _hint(schema: Dict[str, Any], value: Any) -> str:
    types = schema.get("type", ())
    if isinstance(value, str):
        return _hint_for_text(schema, types, value)
    if isinstance(value, bool) and "bool" not in str(types) and set(schema.get("enum", ())) & {0, 1}:
        return "write {}".format(int(value))
    if value == {} and "default" in schema:
        return "leave it out for the default"
    return ""


def _hint_for_text(schema: Dict[str, Any], types: Any, value: str) -> str:
    if urls.problem(value) is not None:
        return str(urls.problem(value))
    if schema.get("reads_as") == "seconds":
        return units.duration_hint(value)
    if schema.get("reads_as") == "bytes":
        return units.size_hint(value)
    if "boolean" in types and value.lower() in _SAYS_YES + _SAYS_NO:
        return "write true" if value.lower() in _SAYS_YES else "write false"
    if "integer" in types and value.replace("_", "").isdecimal():
        return "write {}".format(value.replace("_", ""))
    choice, cutoff = [one for one in schema.get("enum", ()) if isinstance(one, str)], 0.5
    if schema.get("pattern", "").startswith("^SIG"):
        choice = [one.name for one in signal.Signals if one.name not in schema.get("not", {}).get("enum", ())]
        cutoff = 0.8
        value = "" if value in signal.Signals.__members__ else value.upper()  # SIGKILL was not meant as SIGILL
        value = value if value.startswith("SIG") else "SIG" + value
    elif "|never|" in schema.get("pattern", ""):
        choice = ["auto", "must", "never", "best"]
    return similar(value, choice, cutoff)


def _missing(entry: Entry, path: Path, keys: List[str]) -> List[Problem]:
    place = entry.at(path).place
    known = within(session_schema(), path)["properties"]
    misspelled = [_like(key.lower(), known) for key in entry.at(path).value if key not in known]  # told with its place
    return [Problem(place, (*path, key), "missing; expected {}".format(known[key]["expected"]))
            for key in keys if key not in misspelled]


def _unknown(entry: Entry, path: Path, error: Any) -> List[Problem]:
    known = error.schema["properties"]
    return [Problem(entry.at(path).key_place(key), (*path, key), "unknown key; " + _advice(key, known))
            for key in error.instance if key not in known]


def _advice(key: str, known: Dict[str, Any]) -> str:
    """What to write in place of an unknown key."""
    name = key.lower().replace("-", "_")
    everywhere = list(properties(session_schema()))
    near = _like(name, known)
    if name in known or name in [other for one in known.values() for other in one.get("also", ())]:
        return "did you mean {!r}?".format(near)
    elsewhere = [path[:-1] for path, _ in everywhere if path[-1] == name]
    if elsewhere:
        return "it belongs {}".format(_under(elsewhere))
    if near:
        return "did you mean {!r}?".format(near)
    if name == "session":
        return "leave it out: names begin below session"
    far = _like(name, {path[-1]: schema for path, schema in everywhere})
    if far:
        return "did you mean {!r}, {}?".format(far, _under([path[:-1] for path, _ in everywhere if path[-1] == far]))
    return "expected {}".format(names(known, 16))


def _like(name: str, known: Dict[str, Any]) -> str:
    """The known key that `name` may stand for: it is spelled like it, or others call it so."""
    others = {other: key for key, schema in known.items() for other in schema.get("also", ())}
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    if near and name not in others:
        return near[0]
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.85)
    return others[near[0]] if near else ""


def _under(paths: Sequence[Path]) -> str:
    parts = [dotted(path) for path in paths]
    return "under " + " or ".join(parts) if all(parts) else "at the top, beside save"
