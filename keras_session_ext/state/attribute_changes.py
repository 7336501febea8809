"""The plain attributes of a Python object: what changed since a moment, and how to put it back.

Used for peers' callbacks and for data sources. Nothing is pickled: numbers,
text, lists, dicts, arrays, tensors and random generators are captured; so are
the attributes of the object's own helper objects, the variables that its
functions close over, and the variables of Keras objects it holds. Values are
put back in place, so that objects that share them still do.
"""

from typing import Any, Dict, List, Tuple

import numpy as np

from keras_session_ext.state import plain_values
from keras_session_ext.state.live_run import Run
from keras_session_ext.state.walk_objects import GENERATORS, SCALARS, Places, Walk, unwrapped

_LIMIT_BYTES = 1 << 30
_SMALL_BYTES = 1 << 24


class Attributes:
    """The state of one object, by dotted names.

    Attributes:
        values: name -> plain value.
        opaque: names that hold something which cannot be captured.
    """

    def __init__(self, values: Dict[str, Any], opaque: List[str]):
        self.values = values
        self.opaque = opaque

    def fingerprints(self) -> Dict[str, str]:
        return {name: plain_values.fingerprint(value) for name, value in self.values.items()}


def look(subject: Any, skipped: set, run: Run) -> Attributes:
    """Reads the attributes of `subject`; nothing is copied.

    Args:
        subject: a callback or a data source.
        skipped: names that are no state.
        run: the fit; its model's own variables are left out.
    """
    return read(Walk(run).places(subject, skipped), run)


def read(places: Places, run: Run) -> Attributes:
    """The values in these places."""
    values: Dict[str, Any] = {}
    opaque: List[str] = []
    for name, (_, _, value) in places.items():
        if type(value) in SCALARS:
            values[name] = value
            continue
        array = run.family.as_array(value)
        value = unwrapped(value) if array is None else array
        try:
            plain_values.flatten(value)
        except (plain_values.NotPlain, RecursionError):
            opaque.append("{} ({})".format(name, type(value).__name__))
            continue
        values[name] = value
    return Attributes(values, opaque)


def baseline(found: Attributes, before: Dict[str, str]) -> Dict[str, str]:
    """Fingerprints of what is the script's to say: all but what every process makes anew.

    Small arrays, random generators and what `on_train_begin` set are left out, so
    they count as changed and are captured: without a seed they differ from
    process to process.

    Args:
        found: the attributes right after `on_train_begin`.
        before: their fingerprints right before it.
    """
    prints = found.fingerprints()
    return {name: print_ for name, print_ in prints.items()
            if before.get(name, print_) == print_ and not _is_made_anew(found.values[name])}


def is_generator(value: Any) -> bool:
    """Whether it is a random generator of Python or NumPy."""
    return isinstance(value, GENERATORS)


def _is_made_anew(value: Any) -> bool:
    if isinstance(value, GENERATORS):
        return True
    if isinstance(value, dict):
        return any(map(_is_made_anew, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_is_made_anew, value))
    return isinstance(value, (np.ndarray, np.generic)) and value.nbytes <= _SMALL_BYTES


def changed(found: Attributes, begun: Dict[str, str]) -> Tuple[Dict[str, Any], List[str]]:
    """Copies of the values that differ from the baseline, and the names that are too large."""
    copies, large = {}, []
    for name, print_ in found.fingerprints().items():
        if begun.get(name) == print_:
            continue
        if sum(array.nbytes for _, array in plain_values.flatten(found.values[name])[1]) > _LIMIT_BYTES:
            large.append(name + " (too large)")
        else:
            copies[name] = plain_values.copy(found.values[name])
    return copies, large


def lost(values: Dict[str, Any], found: Attributes) -> List[str]:
    """The names of values that were to be put back and are not there."""
    prints = found.fingerprints()
    return [name for name, value in values.items() if prints.get(name) != plain_values.fingerprint(value)]
