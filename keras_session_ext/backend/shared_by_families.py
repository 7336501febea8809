"""What all families have in common: how a running fit is found, and how other callbacks are looked at."""

import abc
import operator
import weakref
from types import FrameType
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Sequence, Set

import numpy as np

from keras_session_ext.backend.constructor_arguments import callback_settings
from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.hooks.fit_frames import calling_list, frame_of_fit, frames
from keras_session_ext.backend.kept_values import OfModel
from keras_session_ext.backend.layers_and_variables import Leaf
from keras_session_ext.errors import UnsupportedBackend

#: attributes of Keras's own callbacks that Keras derives again by itself, or that are the script's to say
NOT_STATE: Dict[str, Optional[FrozenSet[str]]] = {
    "BackupAndRestore": None,  # None: all of them
    "CSVLogger": frozenset(["csv_file", "writer", "keys", "append", "append_header", "_open_args", "file_flags"]),
    "EarlyStopping": frozenset(["min_delta", "monitor_op"]),
    "History": frozenset(["history", "epoch"]),
    "MonitorCallback": frozenset(["min_delta", "monitor_op"]),  # min_delta changes its sign with monitor_op
    "ModelCheckpoint": frozenset(["filepath", "_write_filepath"]),  # made anew for every file
    "ProgbarLogger": None,
    "ReduceLROnPlateau": frozenset(["monitor_op"]),
    "TunerCallback": None,  # of KerasTuner, which keeps the state of a search itself
    "TensorBoard": frozenset([
        "_batch_start_time", "_epoch_start_time", "_previous_epoch_iterations", "_should_write_train_graph",
        "_prev_summary_state", "_prev_summary_writer", "_prev_summary_recording", "_prev_summary_step", "writer",
        "_train_dir", "_val_dir", "_writers", "_train_writer", "_val_writer"]),
}


class SharedFamily(Family):
    """The part of an adapter that is the same in every Keras.

    Attributes:
        own_packages: where Keras's own callbacks come from.
        framework_packages: where objects come from that are no state of a callback.
        callback_attributes: what every callback has, and is no state.
    """

    own_packages: FrozenSet[str]
    framework_packages: FrozenSet[str]
    callback_attributes: FrozenSet[str]

    def check_fit(self, model: Any) -> None:
        self.check_model(model)
        why = self.engine.why_no_fit(model)
        if why:
            raise UnsupportedBackend(why)

    def check_whole(self, model: Any) -> None:
        leaves = self.model_variables(model) + self.optimizer_variables(model)
        why = self.engine.why_not_whole([leaf.variable for leaf in leaves])
        if why:
            raise UnsupportedBackend(why)

    def _distribution(self) -> Any:
        """What Keras was told of several devices, if anything."""
        return None

    def _layout(self, model: Any) -> Dict[str, str]:
        """How the model lies on several devices, for `script`; nothing where it lies on one, as older files have it."""
        leaves = self.model_variables(model) + self.optimizer_variables(model)
        found = self.engine.layout(model, [leaf.variable for leaf in leaves], self._distribution())
        return {"layout": found} if found else {}

    # -- finding what calls us

    @abc.abstractmethod
    def _is_fit(self, frame: FrameType) -> bool:
        """Whether a frame is that of a training loop which has its data."""

    @property
    @abc.abstractmethod
    def _callback_list_class(self) -> Any:
        """Keras's list of callbacks."""

    def fit_frame(self, model: Any) -> Optional[FrameType]:
        return frame_of_fit(model, self._is_fit)

    def fit_running(self, code_frame: Optional[FrameType]) -> bool:
        return code_frame is not None and any(map(self._is_fit, frames(code_frame)))

    def callback_list(self, callback: Any) -> Any:
        return calling_list(callback, self._callback_list_class)

    # -- variables

    def _leaves_of(self, model: Any, which: str, variables: Sequence[Any],
                   make: Callable[[Sequence[Any]], List[Leaf]]) -> List[Leaf]:
        """The leaves of variables: the same list as before where the variables are the same, for it takes a while."""
        known, leaves = (_leaves.get(model) or {}).get(which, ((), []))
        if len(known) != len(variables) or not all(map(operator.is_, known, variables)):
            leaves = make(variables)
            _leaves.set(model, dict(_leaves.get(model) or {}, **{which: (variables, leaves)}))
        made: List[Leaf] = leaves
        return made

    def hold(self, leaves: Sequence[Leaf], places: Optional[Sequence[np.ndarray]] = None) -> List[Any]:
        return self.engine.hold([leaf.variable for leaf in leaves], places) if leaves else []

    def read(self, leaves: Sequence[Leaf]) -> List[np.ndarray]:
        return self.engine.read([leaf.variable for leaf in leaves]) if leaves else []

    def assign(self, leaves: Sequence[Leaf], arrays: Sequence[np.ndarray]) -> None:
        if leaves:
            self.engine.assign([leaf.variable for leaf in leaves], arrays)

    @abc.abstractmethod
    def _variables_within(self, value: Any) -> Optional[List[Any]]:
        """The variables of an object of the framework's, or the object itself, if it is one; None for others."""

    def held_variables(self, value: Any, own: Set[int]) -> Optional[List[Any]]:
        found = self._variables_within(value)
        return None if found is None else [variable for variable in found if id(variable) not in own]

    # -- other callbacks

    def owns(self, peer: Any) -> bool:
        return _package(type(peer)) in self.own_packages

    def is_peer(self, peer: Any, name: str) -> bool:
        kind = getattr(self.keras.callbacks, name, None)
        return kind is not None and isinstance(peer, kind)

    def skipped_attributes(self, peer: Any) -> Optional[set]:
        skipped = set(self.callback_attributes)
        for base in type(peer).__mro__:
            known = _package(base) in self.own_packages or _package(base) == "keras_tuner"
            names = NOT_STATE.get(base.__name__, frozenset()) if known else ()
            if names is None:
                return None
            skipped.update(names)
        return skipped

    def callback_settings(self, peer: Any) -> Dict[str, Any]:
        return callback_settings(peer, lambda kind: _package(kind) in self.own_packages)

    def is_framework_class(self, kind: Any) -> bool:
        return _package(kind) in self.framework_packages

    def is_framework_object(self, value: Any) -> bool:
        known = _of_framework.get(type(value))
        if known is None:
            known = _of_framework[type(value)] = any(map(self.is_framework_class, type(value).__mro__))
        return known

    def has_hidden_state(self, value: Any) -> bool:
        return hasattr(type(value), "__next__") or str(getattr(value, "dtype", "")).startswith("key<") or any(
            base.__name__ in _HIDDEN for base in type(value).__mro__)


_leaves = OfModel("_session_leaves")
#: class -> whether it, or one that it is derived from, comes with a framework
_of_framework: "weakref.WeakKeyDictionary[type, bool]" = weakref.WeakKeyDictionary()
#: framework's objects whose state can neither be read nor derived
_HIDDEN = ("MutableHashTable", "DenseHashTable", "QueueBase", "TensorArray")


def _package(kind: Any) -> str:
    return str(kind.__module__).split(".")[0]
