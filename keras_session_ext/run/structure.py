"""What is the same in every snapshot of the same variables: names, encoded texts, and what plain Keras is to find."""

import json
import operator
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, cast

import numpy as np

from keras_session_ext import state
from keras_session_ext.backend.contracts.family import KerasParts
from keras_session_ext.backend.layers_and_variables import Leaf
from keras_session_ext.checkpoint import hdf5_layout, header
from keras_session_ext.checkpoint.encoder import Tensor
from keras_session_ext.state import plain_values

#: the kinds that consist of variables, in the order of their tensors
KINDS = (state.variables, state.optimizer)
_MODE = "training"  # of modules of torch: no configuration has it


class Structure(NamedTuple):
    """Made once for the variables of a model, of their shapes; their values are not looked at.

    Attributes:
        key: what it was made for.
        leaves: the variables, in the order of their tensors.
        tensors: their names and kinds, with arrays that hold no values.
        session: these kinds, encoded.
        view: what plain Keras is to find.
        lacks: what could not be given to it.
        small_floats: numbers of the tensors that it needs in float32, too.
        settings: what else the view depends on, as text.
    """

    key: Any
    leaves: List[Leaf]
    tensors: List[Tensor]
    session: Dict[str, header.Encoded]
    view: hdf5_layout.KerasView
    lacks: List[str]
    small_floats: List[int]
    settings: str

    @property
    def names(self) -> List[str]:
        """Of the variables' tensors."""
        return [tensor.name for tensor in self.tensors]

    @property
    def specs(self) -> List[hdf5_layout.TensorSpec]:
        """Of the variables' tensors."""
        return [hdf5_layout.TensorSpec(tensor.kind, tensor.array.dtype.name, tensor.array.shape, tensor.array.nbytes)
                for tensor in self.tensors]

    def filled(self, values: Sequence[Any]) -> List[Tensor]:
        """The tensors with values, and behind them the copies in float32."""
        made = [tensor._replace(array=value) for tensor, value in zip(self.tensors, values)]
        return made + [Tensor("keras/" + made[number].name, "keras", AsFloat32(values[number]))
                       for number in self.small_floats]


class AsFloat32:
    """A value in float32, made where it is written.

    Args:
        value: what `np.asarray` makes an array.
    """

    def __init__(self, value: Any):
        self._value = value

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self._value).astype(np.float32)


def structure_of(run: state.Run) -> Structure:
    """The structure of a run's variables: the one from before, where they are the same."""
    leaves = [leaf for kind in KINDS for leaf in kind.leaves_of(run)]
    key, known = _key(leaves, run), run.structure
    if _is_of(known, key):
        return cast(Structure, known)
    made = _make(run, key, leaves)
    if run.structure is known:  # or another thread has made one meanwhile
        run.structure = made
    return made


def with_settings(run: state.Run, known: Structure, session: Dict[str, Any]) -> Structure:
    """The structure with a view that is of now, where a setting of a layer or optimizer has changed.

    Args:
        run: the live run.
        known: of its variables.
        session: the other kinds, encoded.
    """
    values = session.get(state.model_objects.NAME, {}).get("values", {})
    plain = {key: {name: value for name, value in found.items()
                   if type(value) in (bool, int, float, str) and name != _MODE}
             for key, found in values.items() if isinstance(found, dict)}
    changed = [{key: found for key, found in plain.items() if found}, run.family.view_settings(run.model)]
    settings = json.dumps(changed, sort_keys=True, default=repr)
    if settings == known.settings:
        return known
    parts, small_floats = run.family.keras_view(run.model), list(known.small_floats)
    numbers = {id(leaf.variable): number for number, leaf in enumerate(known.leaves)}
    view = _keras_view(parts, numbers, known.tensors, small_floats)
    made = known._replace(view=view, lacks=parts.lacks, settings=settings)
    if run.structure is known:
        run.structure = made
    return made


def is_current(run: state.Run) -> bool:
    """Whether there is a structure, and the variables are still those that it was made for."""
    return _is_of(run.structure, _key([leaf for kind in KINDS for leaf in kind.leaves_of(run)], run))


def _key(leaves: List[Leaf], run: state.Run) -> List[Any]:
    # Keras's own order of weights depends on what is trainable
    return [*leaves, *(getattr(leaf.variable, "trainable", None) for leaf in leaves),
            *(getattr(one, "built", True) for one in run.family.optimizers(run.model))]


def _is_of(known: Optional[Structure], key: List[Any]) -> bool:
    return known is not None and len(known.key) == len(key) and all(map(operator.is_, known.key, key))


def _make(run: state.Run, key: Any, leaves: List[Leaf]) -> Structure:
    tensors: List[Tensor] = []
    session: Dict[str, header.Encoded] = {}
    left = leaves
    for kind in KINDS:
        def put(array: np.ndarray, path: str, name: str = kind.NAME) -> int:
            tensors.append(Tensor("{}/{}".format(name, path), name, array))
            return len(tensors) - 1

        empty = [np.broadcast_to(np.zeros((), header.numpy_dtype(leaf.dtype)), leaf.shape) for leaf in left]
        # each kind takes as many as it has
        session[kind.NAME] = header.encoded(plain_values.encode(kind.arrange(empty, run), put))
        left = leaves[len(tensors):]
    parts = run.family.keras_view(run.model)
    numbers = {id(leaf.variable): number for number, leaf in enumerate(leaves)}
    small_floats: List[int] = []
    view = _keras_view(parts, numbers, tensors, small_floats)
    # all is as the script says, or else the first snapshot makes the view again
    return Structure(key, leaves, tensors, session, view, parts.lacks, small_floats, json.dumps([{}, None]))


def _keras_view(parts: KerasParts, numbers: Dict[int, int], tensors: List[Tensor],
                small_floats: List[int]) -> hdf5_layout.KerasView:
    """The view with weights as numbers of tensors; the small floats get a copy in float32, behind all tensors."""
    def numbered(weights: Sequence[Tuple[str, Any]]) -> Tuple[Tuple[str, int], ...]:
        entries = []
        for name, variable in weights:
            number = numbers.get(id(variable))
            if number is None:
                parts.lacks.append("{}: not among the model's variables".format(name))
                continue
            if tensors[number].array.dtype.name.startswith(("bfloat16", "float8")):
                if number not in small_floats:
                    small_floats.append(number)
                number = len(tensors) + small_floats.index(number)
            entries.append((name, number))
        return tuple(entries)

    named = tuple((layer, numbered(weights)) for layer, weights in parts.layers)
    everything = tuple(sorted(parts.attributes.items()))
    group = tuple((name, value) for name, value in everything if name in ("keras_version", "backend"))
    return hdf5_layout.KerasView(everything, group, named, numbered(parts.optimizer))
