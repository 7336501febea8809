"""A snapshot: the session at one step, captured in memory."""

from types import ModuleType
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from keras_session_ext import __version__, state
from keras_session_ext.backend.contracts.family import KerasParts
from keras_session_ext.checkpoint import hdf5_layout
from keras_session_ext.checkpoint.encoder import Tensor
from keras_session_ext.state import attributes_when_traced, plain_values


class Snapshot(NamedTuple):
    """The session at one step, in memory, immutable.

    Attributes:
        fields: the header's, as JSON.
        tensors: every array.
        view: what plain Keras is to find in the file.
    """

    fields: Dict[str, Any]
    tensors: List[Tensor]
    view: hdf5_layout.KerasView


def take_snapshot(run: state.Run, kinds: Sequence[ModuleType], fields: Dict[str, Any]) -> Snapshot:
    """Captures the state kinds of a run."""
    tensors: List[Tensor] = []
    session: Dict[str, Any] = {}
    for kind in kinds:
        def put(array: np.ndarray, path: str, name: str = kind.NAME) -> int:
            tensors.append(Tensor("{}/{}".format(name, path), name, array))
            return len(tensors) - 1

        session[kind.NAME] = plain_values.encode(kind.capture(run), put)
    parts = run.family.keras_view(run.model)
    view = _keras_view(parts, _numbers(run, tensors), tensors)
    fields = dict(fields, session=session, keras_view={"lacks": parts.lacks}, versions=run.family.describe(),
                  package=__version__)
    return Snapshot(fields, tensors, view)


def why_not_exact(run: state.Run) -> List[str]:
    """All that is known against a resume from here, each reason once."""
    reasons = list(run.report.reasons) + state.data.why_not_exact(run) + attributes_when_traced.why_not_exact(run)
    if run.progress.step:
        reasons += run.family.why_not_exact(run.model)
    return list(dict.fromkeys(reasons))


def _numbers(run: state.Run, tensors: List[Tensor]) -> Dict[int, int]:
    """The number of the tensor that holds each variable, by the variable's id."""
    places = {tensor.name: number for number, tensor in enumerate(tensors)}
    found = {}
    for prefix, leaves in (("variables/model/arrays/", run.family.model_variables(run.model)),
                           ("optimizer/arrays/", run.family.optimizer_variables(run.model))):
        for leaf in leaves:
            if prefix + leaf.key in places:
                found[id(leaf.variable)] = places[prefix + leaf.key]
    return found


def _keras_view(parts: KerasParts, numbers: Dict[int, int], tensors: List[Tensor]) -> hdf5_layout.KerasView:
    """The view with weights as numbers of tensors; the small floats get a float32 copy."""
    def numbered(weights: Sequence[Tuple[str, Any]]) -> Tuple[Tuple[str, int], ...]:
        entries = []
        for name, variable in weights:
            number = numbers.get(id(variable))
            if number is None:
                parts.lacks.append("{}: not among the model's variables".format(name))
                continue
            array = tensors[number].array
            if array.dtype.name.startswith(("bfloat16", "float8")):
                tensors.append(Tensor("keras/" + name, "keras", array.astype("float32")))
                number = len(tensors) - 1
            entries.append((name, number))
        return tuple(entries)

    named = tuple((layer, numbered(weights)) for layer, weights in parts.layers)
    everything = tuple(sorted(parts.attributes.items()))
    group = tuple((name, value) for name, value in everything if name in ("keras_version", "backend"))
    return hdf5_layout.KerasView(everything, group, named, numbered(parts.optimizer))
