"""Two runs of a script, step by step: where they part first, and what that says. Pure: values in, values out."""

import json
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

#: the kinds in the order in which a difference explains what follows it
CAUSES = ("data", "random", "objects", "callbacks", "variables", "optimizer", "loop", "history", "returned")


class Note(NamedTuple):
    """Every state at one moment of one process.

    Attributes:
        at: "begin" (before the first batch), "step" (between batches) or "end" (fit has returned).
        place: stage, epoch, batch; a batch may be "validation".
        step: batches finished since the run began.
        states: path -> checksum or plain value.
    """

    at: str
    place: Tuple[Any, ...]
    step: int
    states: Dict[str, str]


class Difference(NamedTuple):
    """Where two runs part first.

    Attributes:
        note: the moment, in the second run.
        paths: kind -> the states that differ, in order.
        expected: path -> what the first run had.
    """

    note: Note
    paths: Dict[str, List[str]]
    expected: Dict[str, str]

    @property
    def kind(self) -> str:
        """The kind of state that explains the others best."""
        return min(self.paths, key=lambda kind: CAUSES.index(kind) if kind in CAUSES else len(CAUSES))

    @property
    def first(self) -> str:
        """The state that explains the others best."""
        return self.paths[self.kind][0]

    def __str__(self) -> str:
        path = self.first
        return "{} at step {}: {} in the uninterrupted run, {} in the other".format(
            path, self.note.step, self.expected.get(path, "not there"), self.note.states.get(path, "not there"))


def read(lines: Iterable[bytes]) -> List[Note]:
    """Notes of one process; a line that a kill cut off is passed over."""
    notes = []
    for line in lines:
        try:
            one = json.loads(line.decode())
            notes.append(Note(one["at"], tuple(one["place"]), one["step"], one["states"]))
        except (ValueError, KeyError, TypeError):
            continue
    return notes


def first_difference(whole: List[Note], other: List[Note]) -> Optional[Difference]:
    """The first moment at which `other` is not what `whole` was there.

    Args:
        whole: the uninterrupted run.
        other: one process of the killed one.

    Examples:
        >>> a = [Note("step", (0, 0, 1), 1, {"variables/w": "1"})]
        >>> str(first_difference(a, [a[0]._replace(states={"variables/w": "2"})]))
        'variables/w at step 1: 1 in the uninterrupted run, 2 in the other'
    """
    known = {(note.at, note.place): note for note in whole}
    for note in other:
        expected = known.get((note.at, note.place))
        if expected is None:
            continue  # such as a begin in the middle
        paths: Dict[str, List[str]] = {}
        for path in list(expected.states) + [path for path in note.states if path not in expected.states]:
            if expected.states.get(path) != note.states.get(path):
                paths.setdefault(path.split("/")[0], []).append(path)
        if paths:
            return Difference(note, paths, expected.states)
    return None


#: kind -> what to change, where nothing more is known
_ADVICE = {
    "data": "make what the batches come from depend on nothing but seeds that the script sets",
    "random": "something draws random numbers that the session does not know of; let it have a generator of its own, "
              "seeded, as an attribute of a callback or of the data source",
    "objects": "keep {path!r} in a weight (self.add_weight(trainable=False)), which a step reads and writes each time, "
               "also where it is traced",
    "callbacks": "keep what the callback needs in plain attributes, or offer get_state and set_state; a clock reading "
                 "may differ: pass --ignore {path!r}",
    "loop": "keep what the loop needs in plain values, or offer get_state and set_state in its class; a clock reading "
            "may differ: pass --ignore {path!r}",
    "variables": "a non-deterministic op, or state that Python code keeps to itself; set "
                 "tf.config.experimental.enable_op_determinism() or torch.use_deterministic_algorithms(True), and keep "
                 "state in weights or in callbacks",
}
_SEED = "the script sets no seed: call keras.utils.set_random_seed(1) before it makes the model and the data"
_OPS = ("two resumes from one checkpoint differ from each other, too: an op is not deterministic, or something draws "
        "without a seed; set tf.config.experimental.enable_op_determinism() or "
        "torch.use_deterministic_algorithms(True)")


def explain(difference: Difference, reasons: List[str], repeats: Optional[bool] = None) -> List[str]:
    """What a difference behind a resume comes from, and what to change; the likeliest first.

    Args:
        difference: where the resumed run parts from the other.
        reasons: what the resume reports gave as reasons.
        repeats: whether a second resume from the same checkpoint does what the first did; None: not tried.
    """
    found = list(reasons)
    if repeats is False:
        found.append(_OPS)
    if not found:
        found.append(_ADVICE.get(difference.kind, _ADVICE["variables"]).format(path=difference.first))
    return found


def explain_fresh(difference: Difference) -> str:
    """Why two fresh starts of a script differ."""
    if difference.note.at == "begin":
        return _SEED
    if any(path.startswith(("data/content", "data/feed/chain")) for path in difference.paths.get("data", ())):
        return "its data are others: " + _ADVICE["data"]
    if "random" in difference.paths or difference.note.step <= 1:
        return _SEED
    return _ADVICE["variables"]


def ignoring(notes: List[Note], patterns: Iterable[str]) -> List[Note]:
    """The notes without the states that the user does not mind."""
    patterns = list(patterns)
    return [note._replace(states={path: value for path, value in note.states.items()
                                  if not any(pattern in path for pattern in patterns)}) for note in notes]


def final(notes: List[Note]) -> Dict[str, str]:
    """The states at the very end of every stage, the last one of each path."""
    states: Dict[str, str] = {}
    for note in notes:
        states.update({"stage {}/{}".format(note.place[0], path): value for path, value in note.states.items()})
    return states
