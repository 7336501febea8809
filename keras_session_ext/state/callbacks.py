"""The peers: the state of every other callback in the same list.

A peer that offers `get_state/set_state` (or `state_dict/load_state_dict`) is
asked. Of any other what changed since `on_train_begin` is captured, so that
constructor arguments stay the script's to say.
"""

import os
from typing import Any, Callable, Dict, Iterator, List, Tuple

from keras_session_ext import files
from keras_session_ext.errors import ConfigError
from keras_session_ext.state import attribute_changes, plain_values, set_attributes, walk_objects
from keras_session_ext.state.live_run import Run

NAME = "callbacks"


def _looks(run: Run) -> Iterator[Tuple[str, Any]]:
    for key, peer in walk_objects.keyed(run.peers):
        skipped = run.family.skipped_attributes(peer)
        if skipped is not None and walk_objects.own_state(peer) is None:
            yield key, attribute_changes.look(peer, skipped, run)


def before_begin(run: Run) -> None:
    """Remembers what every peer looks like right before its `on_train_begin`."""
    run.before = {key: found.fingerprints() for key, found in _looks(run)}


def begin(run: Run) -> None:
    """Remembers what every peer looks like right after its `on_train_begin`."""
    run.baseline = {key: attribute_changes.baseline(found, run.before.get(key, {})) for key, found in _looks(run)}


def values(run: Run) -> Dict[str, Any]:
    """Copies of all that can be captured, for a second start in one process."""
    return {key: {"values": plain_values.copy(found.values)} for key, found in _looks(run)}


def capture(run: Run) -> Dict[str, Any]:
    captured = ((key, _capture(key, peer, run)) for key, peer in walk_objects.keyed(run.peers))
    return {key: state for key, state in captured if state}


def _capture(key: str, peer: Any, run: Run) -> Dict[str, Any]:
    skipped = run.family.skipped_attributes(peer)
    if skipped is None or run.family.is_peer(peer, "History"):
        return {}
    own = walk_objects.own_state(peer)
    if own is not None:
        return {"own": _own_state(peer, own[0])}
    found = attribute_changes.look(peer, skipped, run)
    begun = run.baseline.get(key, {})
    changed, large = attribute_changes.changed(found, begun)
    state: Dict[str, Any] = {"values": changed, "missing": found.opaque + large if _is_users(peer, run) else large}
    if _is_users(peer, run):
        state["baseline"] = {name: print_ for name, print_ in begun.items() if name not in changed}
    if run.family.is_peer(peer, "CSVLogger"):
        state["csv_bytes"] = _csv_bytes(peer)
    return state


def _own_state(peer: Any, get: Callable[[], Any]) -> Any:
    try:
        return plain_values.copy(get())
    except plain_values.NotPlain as error:
        raise ConfigError(
            "{}.get_state() returned something that cannot be stored: {}. Return numbers, text, lists, dicts, arrays "
            "or random generators.".format(type(peer).__name__, error))


def _is_users(peer: Any, run: Run) -> bool:
    return not run.family.owns(peer)


def _csv_bytes(peer: Any) -> int:
    if peer.csv_file is not None and not getattr(peer.csv_file, "closed", False):  # a GFile does not say
        peer.csv_file.flush()
    return os.path.getsize(peer.filename) if os.path.exists(peer.filename) else 0


def by_class(state: Dict[str, Any], run: Run) -> Dict[str, Any]:
    """The state of another Keras's peers under the names that their classes have here."""
    def short(key: str) -> str:
        return key.rsplit(" ", 1)[0].rsplit(".", 1)[-1] + " " + key.rsplit(" ", 1)[-1]

    here = {short(key): (key, peer) for key, peer in walk_objects.keyed(run.peers)}
    made = {}
    for key, saved in state.items():
        live, peer = here.get(short(key), (key, None))
        if peer is None and short(key) == "BaseLogger 0":
            continue  # Keras 2's own
        if "values" in saved and peer is not None and run.family.owns(peer):
            values = {name: value for name, value in saved["values"].items() if name in vars(peer)}
            saved = dict(saved, values=values)
        made[live] = saved
    return made


def missing(state: Dict[str, Any]) -> List[str]:
    """What could not be captured, as "Class.attribute (type)"."""
    return ["{}.{}".format(key.split(" ")[0].rsplit(".", 1)[-1], name)
            for key, saved in state.items() for name in saved.get("missing", ())]


def before_train_begin(state: Dict[str, Any], run: Run) -> None:
    """CSVLogger truncates its file in `on_train_begin`: it is made to append behind the rows that count."""
    for key, peer in walk_objects.keyed(run.peers):
        if run.family.is_peer(peer, "CSVLogger") and state.get(key, {}).get("csv_bytes"):
            size = state[key]["csv_bytes"]
            had = files.truncate_text(peer.filename, size) if os.path.exists(peer.filename) else 0
            if had < size:
                run.report.because("rows are missing in {} ({} bytes, {} at the checkpoint); put the file back".format(
                    peer.filename, had, size))
            peer.append = True


def check(state: Dict[str, Any], run: Run) -> List[str]:
    return []


def changes(state: Dict[str, Any], run: Run) -> List[str]:
    """Peers that came or went since the checkpoint."""
    live = {key for key, peer in walk_objects.keyed(run.peers) if run.family.skipped_attributes(peer) is not None}
    names = {key: key.split(" ")[0].rsplit(".", 1)[-1] for key in live | set(state)}
    gone = ["callback {}: no longer in the list".format(names[key]) for key in state if key not in live]
    for key in sorted(live & set(state)):
        for name, print_ in state[key].get("baseline", {}).items():
            if run.baseline.get(key, {}).get(name, print_) != print_:
                number = key.rsplit(" ", 1)[-1]
                gone.append("{}{}.{}: another value than at the checkpoint".format(
                    names[key], " " + number if number != "0" else "", name))
    return gone + ["callback {}: new in the list".format(names[key]) for key in sorted(live)
                   if key not in state and names[key] != "History"]


def restore(state: Dict[str, Any], run: Run) -> None:
    for key, peer in walk_objects.keyed(run.peers):
        saved = state.get(key)
        if not saved:
            continue
        if "own" in saved:
            own = walk_objects.own_state(peer)
            if own is not None:
                own[1](plain_values.copy(saved["own"]))
            continue
        skipped = run.family.skipped_attributes(peer) or set()
        for name in set_attributes.put_back(peer, saved["values"], skipped, run):
            run.report.because(type(peer).__name__ + "." + set_attributes.why_lost(name, saved["values"][name]))
