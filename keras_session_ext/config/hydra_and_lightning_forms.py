"""The spellings of Hydra and Lightning for our own names, translated into the canonical form.

`{_target_: keras_session_ext.EverySteps, n: 500}` and `{class_path: …, init_args:
{n: 500}}` become `{every_steps: 500}`; entries keep their places. Nothing is ever
imported or run by a name in a config.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from keras_session_ext.config.entries import Entry, Path, Place, Problem, Wrong, mapping
from keras_session_ext.config.message_text import names, shown
from keras_session_ext.config.schema_file import properties, session_schema

_CALLBACKS = ("SessionCheckpoint", "SessionLogger")
_HYDRA = ("_recursive_", "_convert_")  # how Hydra would make the object


class _Policy(NamedTuple):
    """How a policy's class is written canonically.

    Attributes:
        part: save or keep.
        arguments: where each of its arguments goes.
        without: what it means without arguments; None: it needs one.
        exactly_one: of these only one may be given.
        instead: an argument, the one value it may have, and the key that `without` then goes by.
    """

    part: str
    arguments: Dict[str, Path] = {}
    without: Optional[Tuple[str, Any]] = None
    exactly_one: Tuple[str, ...] = ()
    instead: Tuple[str, str, str] = ("", "", "")


_POLICIES = {
    "EverySteps": _Policy("save", {"n": ("every_steps",)}),
    "EveryEpochs": _Policy("save", {"n": ("every_epochs",)}, ("every_epochs", 1)),
    "EverySeconds": _Policy("save", {"s": ("every",)}),
    "Overhead": _Policy("save", {"share": ("overhead", "share"),
                                 "lose_at_most_seconds": ("overhead", "lose_at_most")}),
    "OnBest": _Policy("save", {"monitor": ("on_best", "monitor"), "mode": ("on_best", "mode")}),
    "OnSignal": _Policy("save", {"signals": ("on_signal",), "_args_": ("on_signal",), "grace_seconds": ("grace",)},
                        ("on_signal", "SIGTERM"), ("signals", "_args_"), ("then", "requeue", "requeue_on_signal")),
    "KeepLast": _Policy("keep", {"n": ("last",)}),
    "KeepBest": _Policy("keep", {"n": ("best", "n"), "monitor": ("best", "monitor"), "mode": ("best", "mode")}),
    "KeepEvery": _Policy("keep", {"steps": ("every_steps",), "epochs": ("every_epochs",), "seconds": ("every",)},
                         None, ("steps", "epochs", "seconds")),
    "KeepSize": _Policy("keep", {"size_bytes": ("size",)}),
    "KeepAll": _Policy("keep", {}, ("all", True)),
}


class _Spelled(NamedTuple):
    """An entry with `_target_` or `class_path`: what it names, where that stands, and its arguments."""

    name: Any
    place: Place
    path: Path
    arguments: Entry


def _spelled(entry: Entry, path: Path, problems: List[Problem]) -> Optional[_Spelled]:
    inside = entry.value
    if not isinstance(inside, dict):
        return None
    if "_target_" in inside:
        target, rest = inside["_target_"], {k: v for k, v in inside.items() if k != "_target_" and k not in _HYDRA}
        return _Spelled(target.value, target.place, (*path, "_target_"), mapping(entry.place, rest, entry.keys))
    if "class_path" in inside:
        target, arguments = inside["class_path"], inside.get("init_args", Entry(entry.place))
        if arguments.value is None:
            arguments = mapping(entry.place, {})
        if not isinstance(arguments.value, dict):
            problems.append(Problem(arguments.place, (*path, "init_args"), "expected a mapping; received {}".format(
                shown(arguments))))
            arguments = mapping(entry.place, {})
        problems += [Problem(entry.key_place(key), (*path, key), "unknown key; arguments belong under init_args")
                     for key in inside if key not in ("class_path", "init_args")]
        return _Spelled(target.value, target.place, (*path, "class_path"), arguments)
    return None


def _short(name: Any) -> Optional[str]:
    """Our own name of a class, in any of the forms that are taken."""
    for ours in (*_CALLBACKS, *_POLICIES):
        module = "policies." + _POLICIES[ours].part if ours in _POLICIES else "callbacks"
        if name in (ours, "keras_session_ext." + ours, "keras_session_ext.{}.{}".format(module, ours)):
            return ours
    return None


def _foreign(spelled: _Spelled, expected: Any) -> Problem:
    if isinstance(spelled.name, Wrong):
        return Problem(spelled.place, spelled.path, spelled.name.text)
    short = _short(spelled.name)
    choice = names(expected, 99)
    if short in _POLICIES:
        return Problem(spelled.place, spelled.path, "expected {}; received {}, which belongs under {}".format(
            choice, short, _POLICIES[short].part))
    if short:
        return Problem(spelled.place, spelled.path, "expected {}; received {}".format(choice, short))
    return Problem(spelled.place, spelled.path, "expected {} of keras_session_ext; received {}; nothing of other "
                   "packages is imported or run".format(choice, shown(spelled.name)))


# -- the callbacks


def holds_ours(entry: Entry) -> bool:
    """Whether it is one of our callbacks in another spelling, or holds one."""
    inside = entry.value
    ones = inside if isinstance(inside, list) else list(inside.values()) if isinstance(inside, dict) else []
    spelled = [_spelled(one, (), []) for one in [entry, *ones]]
    return any(one is not None and _short(one.name) in _CALLBACKS for one in spelled)


def canonical(entry: Entry, problems: List[Problem]) -> Entry:
    """The session's settings in canonical form.

    Args:
        entry: settings in any of the spellings; read as a whole.
        problems: where is added what cannot be translated.

    Examples:
        >>> from keras_session_ext.config.read_source import read
        >>> hydra = {"_target_": "keras_session_ext.SessionCheckpoint", "directory": "runs/a",
        ...          "save": {"_target_": "keras_session_ext.EverySteps", "n": 500}}
        >>> canonical(read(hydra), []).at(("save", "every_steps")).value
        500
    """
    if _spelled(entry, (), []) is not None:
        return _joined(entry, [((), entry)], problems)
    if isinstance(entry.value, list):
        return _joined(entry, [((index,), one) for index, one in enumerate(entry.value)], problems)
    if isinstance(entry.value, dict):
        if _is_container(entry):
            return _joined(entry, [((key,), one) for key, one in entry.value.items()], problems)
        return written_out(entry, (), problems)
    return entry


def _is_container(entry: Entry) -> bool:
    """Whether it maps names to entries of callbacks, as Hydra's templates do, and is no mapping of settings."""
    known = session_schema()["properties"]
    spelled = {key: _spelled(one, (), []) is not None for key, one in entry.value.items()}
    if any(key in known and not spelled[key] and one.value is not None for key, one in entry.value.items()):
        return False
    off = bool(spelled) and all(one.value is None for one in entry.value.values()) and not set(spelled) & set(known)
    return off or any(there and key not in known for key, there in spelled.items())


def _joined(entry: Entry, ones: List[Tuple[Path, Entry]], problems: List[Problem]) -> Entry:
    """The settings of all callbacks in a list or mapping."""
    before = len(problems)
    found: Dict[str, Entry] = {}
    for path, one in ones:
        spelled = _callback(one, path, len(ones) > 1, problems) if one.value is not None else None
        if spelled is None:
            continue
        name = _short(spelled.name) or ""
        if name in found:
            problems.append(Problem(spelled.place, spelled.path, "a second {}; keep one".format(name)))
        elif name == "SessionLogger":
            found[name] = spelled.arguments
        else:
            found[name] = written_out(spelled.arguments, path, problems)
    if not found:  # each of them is switched off, or not ours
        return _told(entry) if len(problems) > before else Entry(entry.place)
    checkpoint = found.get("SessionCheckpoint", mapping(entry.place, {}))
    settings = dict(checkpoint.value)
    if "SessionLogger" in found:
        settings["tensorboard"] = found["SessionLogger"]
    return mapping(checkpoint.place, settings, checkpoint.keys)


def _callback(entry: Entry, path: Path, among_others: bool, problems: List[Problem]) -> Optional[_Spelled]:
    """One of our callbacks, or None where it is no such thing and that was told."""
    spelled = _spelled(entry, path, problems)
    if spelled is None:
        problems.append(Problem(entry.place, path, "expected an entry with _target_ or class_path; received "
                                "{}".format(shown(entry))))
    elif _short(spelled.name) not in _CALLBACKS:
        problems.append(_foreign_callback(spelled, among_others))
    else:
        return spelled
    return None


def _foreign_callback(spelled: _Spelled, among_others: bool) -> Problem:
    problem = _foreign(spelled, _CALLBACKS)
    if among_others and _short(spelled.name) is None and not isinstance(spelled.name, Wrong):
        return problem._replace(text=problem.text + ": move it out of here, or name the part that is ours with key=")
    return problem


# -- the policies


def written_out(entry: Entry, path: Path, problems: List[Problem]) -> Entry:
    """Settings with save, keep and tensorboard in canonical form; `path` is where they stand."""
    settings = dict(entry.value)
    for part in ("save", "keep"):
        if part in settings:
            settings[part] = _policies(settings[part], (*path, part), part, problems)
    if "tensorboard" in settings:
        spelled = _spelled(settings["tensorboard"], (*path, "tensorboard"), problems)
        if spelled is not None and _short(spelled.name) == "SessionLogger":
            settings["tensorboard"] = spelled.arguments
        elif spelled is not None:
            problems.append(_foreign(spelled, _CALLBACKS[1:]))
            settings["tensorboard"] = _told(entry)
    for long, schema in properties(session_schema()):
        if "shorthand" in schema:
            _write_out(settings, long, schema["shorthand"])
    return mapping(entry.place, settings, entry.keys)


def _write_out(settings: Dict[str, Entry], path: Tuple[str, ...], shorthand: str) -> None:
    """`on_best: val_loss` becomes `on_best: {monitor: val_loss}`, and `on_signal: SIGTERM` a list."""
    for key in path[:-1]:
        inside = settings[key].value if key in settings else None
        if not isinstance(inside, dict):
            return
        settings = inside
    entry = settings.get(path[-1])
    if entry is not None and isinstance(entry.value, str):
        long = mapping(entry.place, {shorthand: entry}) if shorthand else Entry(entry.place, [entry])
        settings[path[-1]] = long


def _policies(entry: Entry, path: Path, part: str, problems: List[Problem]) -> Entry:
    """One policy, a list of them, or the canonical mapping."""
    if isinstance(entry.value, list):
        ones = [((*path, index), one) for index, one in enumerate(entry.value)]
    elif _spelled(entry, path, []) is not None:
        ones = [(path, entry)]
    else:
        return entry
    settings: Dict[str, Entry] = {}
    keys: Dict[str, Place] = {}
    before = len(problems)
    for at, one in ones:
        if one.value is not None:
            translated = _policy(one, at, part, problems)
            for key in set(translated.value) & set(settings):
                problems.append(Problem(one.place, at, "{} is given twice; keep one".format(key)))
            settings.update(translated.value)
            keys.update(translated.keys)
    return _told(entry) if len(problems) > before and not settings else mapping(entry.place, settings, keys)


def _told(entry: Entry) -> Entry:
    """In place of what nothing is left of, and about which all is said."""
    return Entry(entry.place, Wrong(""))


def _policy(entry: Entry, path: Path, part: str, problems: List[Problem]) -> Entry:
    choice = [name for name, policy in _POLICIES.items() if policy.part == part]
    spelled = _spelled(entry, path, problems)
    if spelled is None:
        problems.append(Problem(entry.place, path, "expected an entry with _target_ or class_path, for {}; received "
                                "{}".format(names(choice), shown(entry))))
        return mapping(entry.place, {})
    name = _short(spelled.name)
    if name not in choice:
        problems.append(_foreign(spelled, choice))
        return mapping(entry.place, {})
    return _arguments(_POLICIES[name], name, spelled, entry, path, problems)


def _arguments(policy: _Policy, name: str, spelled: _Spelled, entry: Entry, path: Path,
               problems: List[Problem]) -> Entry:
    result = mapping(entry.place, {})
    arguments = spelled.arguments
    for key, value in arguments.value.items():
        if key in policy.arguments:
            _put(result, policy.arguments[key], value, arguments.key_place(key))
        elif key != policy.instead[0]:
            known = [*policy.arguments, *filter(None, policy.instead[:1])]
            problems.append(Problem(arguments.key_place(key), (*path, key), "{} has no such argument{}".format(
                name, "; expected " + names(known) if known else "")))
    if len(set(policy.exactly_one) & set(arguments.value)) > 1:
        problems.append(Problem(entry.place, path, "{} takes exactly one of {}".format(name, names(
            policy.exactly_one))))
    if policy.without and policy.without[0] not in result.value:
        _put(result, policy.without[:1], Entry(entry.place, policy.without[1]), entry.place)
    elif not arguments.value and not policy.without:
        problems.append(Problem(entry.place, path, "{} needs {}".format(name, names(policy.arguments))))
    _put_instead(policy, result, arguments, path, problems)
    return result


def _put_instead(policy: _Policy, result: Entry, arguments: Entry, path: Path, problems: List[Problem]) -> None:
    """`{signals: SIGUSR1, then: requeue}` becomes `{requeue_on_signal: SIGUSR1}`."""
    argument, expected, key = policy.instead
    given = arguments.value.get(argument)
    if given is None or given.value is None or not policy.without:
        return
    if given.value != expected:
        problems.append(Problem(given.place, (*path, argument), "expected {}; received {}".format(
            expected, shown(given))))
        return
    usual = policy.without[0]
    result.value[key], result.keys[key] = result.value.pop(usual), result.keys.pop(usual)


def _put(result: Entry, path: Path, value: Entry, place: Place) -> None:
    for key in path[:-1]:
        if key not in result.value:
            result.value[key] = mapping(result.place, {})
            result.keys[str(key)] = result.place
        result = result.value[key]
    result.value[path[-1]] = value
    result.keys[str(path[-1])] = place
