"""Which part of a source holds the session's settings."""

import difflib
from collections import deque
from typing import Any, List, Optional

from keras_session_ext.config import hydra_and_lightning_forms
from keras_session_ext.config.entries import Entry, Path, Problem, Unreadable, Wrong, dotted
from keras_session_ext.config.message_text import names, shown
from keras_session_ext.config.schema_file import session_schema

_LOOKS = 500  # at so many keys, for a hint


def select(root: Entry, key: Optional[str], problems: List[Problem]) -> Entry:
    """The entry that `key` names; without one `session`, or else the root itself.

    Args:
        root: the whole source.
        key: names with dots between them.
        problems: where faults on the way there are added.

    Raises:
        Unreadable: there is no such entry, or nothing of this package in it.

    Examples:
        >>> from keras_session_ext.config.read_source import read
        >>> select(read({"trainer": {"session": {"verbose": 0}}}), "trainer.session", []).at(("verbose",)).value
        0
    """
    if key is not None:
        return _descend(root, key, problems)
    if root.value is None or root.value == {} or root.value == []:
        raise Unreadable(Problem(root.place, (), "there is nothing in it; expected {}".format(
            session_schema()["expected"])))
    if isinstance(root.value, dict):
        if "session" in root.value:
            return _step(root, "session", (), problems)
        if not _has_ours(root):
            raise Unreadable(_nothing(root))
    return root


def _descend(root: Entry, key: Any, problems: List[Problem]) -> Entry:
    if not isinstance(key, str):
        raise Unreadable(Problem(root.place, (), "expected text such as 'trainer.session' as key=; received {}".format(
            shown(key))))
    entry, path = root, ()  # type: Entry, Path
    for name in key.split("."):
        entry, path = _step(entry, name, path, problems), (*path, name)
    return entry


def _step(entry: Entry, name: str, path: Path, problems: List[Problem]) -> Entry:
    inside, _, faults = entry.content
    if isinstance(inside, Wrong):
        raise Unreadable(Problem(entry.place, path, inside.text))
    if not isinstance(inside, dict):
        raise Unreadable(Problem(entry.place, path, "expected a mapping that has {!r}; received {}".format(
            name, shown(inside))))
    problems.extend(fault._replace(path=path + fault.path) for fault in faults if fault.path == (name,))
    if name not in inside:
        near = difflib.get_close_matches(name, inside, n=1)
        raise Unreadable(Problem(entry.place, (*path, name), "no such key; {}".format(
            "did you mean {!r}?".format(near[0]) if near else "there is {}".format(names(inside) or "none"))))
    return inside[name]


def _has_ours(root: Entry) -> bool:
    known = {"_target_", "class_path", *session_schema()["properties"]}
    return bool(known & set(root.value)) or hydra_and_lightning_forms.holds_ours(root)


def _nothing(root: Entry) -> Problem:
    known = ["session", *session_schema()["properties"]]
    near = [(name, match) for name in list(root.value)[:_LOOKS]
            for match in difflib.get_close_matches(name, known, n=1)]
    found = _search(root)
    if found is not None:
        advice = "pass key={!r}".format(dotted(found))
    elif near:
        return Problem(root.key_place(near[0][0]), (near[0][0],), "unknown key; did you mean {!r}?".format(near[0][1]))
    else:
        advice = "name the key that holds them, as in key='trainer.session'"
    return Problem(root.place, (), "found no setting of this package among the keys {}; {}".format(
        names(root.value), advice))


def _search(root: Entry) -> Optional[Path]:
    """Where a `session`, or an entry of ours, stands deeper down."""
    rows = deque([(root, ())])  # type: Any
    for _ in range(_LOOKS):
        if not rows:
            break
        entry, path = rows.popleft()
        inside = entry.value
        if path and (path[-1] == "session" or hydra_and_lightning_forms.holds_ours(entry)):
            return path
        if isinstance(inside, dict):
            rows.extend((one, (*path, name)) for name, one in inside.items())
    return None
