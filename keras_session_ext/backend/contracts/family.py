"""What a family offers: a kind of Keras."""

import abc
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.contracts.fit_access import FitAccess
from keras_session_ext.backend.contracts.session_access import SessionAccess
from keras_session_ext.backend.layers_and_variables import Leaf


class KerasParts(NamedTuple):
    """What plain Keras reads.

    Attributes:
        attributes: of the file's root.
        layers: (layer, [(weight name, variable)]) in the model's order.
        lacks: what could not be had.
        optimizer: the optimizer's (weight name, variable), where this Keras can load them again.
    """

    attributes: Dict[str, bytes]
    layers: List[Tuple[str, List[Tuple[str, Any]]]]
    lacks: List[str]
    optimizer: List[Tuple[str, Any]] = []


class Family(FitAccess, SessionAccess):
    """One kind of Keras: the only way to it. What only `fit` needs, and what only the shim does, stands in its bases.

    Attributes:
        family: "graph", "eager" or "keras3".
        keras: the public module.
        engine: what it computes on.
        any_thread: whether another thread may look at a model and its variables while a step runs.
    """

    family: str
    keras: Any
    engine: Engine
    any_thread = False

    @abc.abstractmethod
    def describe(self) -> Dict[str, str]:
        """Names and versions, for headers and reports; at least `family`, `keras` and `engine`."""

    @abc.abstractmethod
    def check_mode(self) -> None:
        """Refuses a mode of the framework in which this Keras cannot train.

        Raises:
            UnsupportedBackend: it names the mode, and the way out.
        """

    @abc.abstractmethod
    def check_model(self, model: Any) -> None:
        """Refuses what would be wrong in silence: a model of another Keras.

        Raises:
            UnsupportedBackend: it says why, and what to do.
        """

    @abc.abstractmethod
    def check_whole(self, model: Any) -> None:
        """Refuses a model of which this process holds only a part: outside of fit any other can be saved.

        Raises:
            UnsupportedBackend: it says which process this is, and what to do.
        """

    @abc.abstractmethod
    def print_message(self, text: str) -> None:
        """Prints the way Keras does, in notebooks and under its interactive-logging switch."""

    # -- variables

    def no_model(self) -> Any:
        """A model without layers, for a loop that has none."""
        return self.keras.Sequential()

    @abc.abstractmethod
    def model_variables(self, model: Any) -> List[Leaf]:
        """Weights, seed generators and states of recurrent layers; their keys are the same in every process."""

    @abc.abstractmethod
    def metric_variables(self, model: Any) -> List[Leaf]:
        """Those of the losses and metrics that the model was compiled with."""

    @abc.abstractmethod
    def optimizer_variables(self, model: Any) -> List[Leaf]:
        """Slots, counters and hyperparameters of all optimizers, one after the other."""

    def view_settings(self, model: Any) -> Any:
        """What of `keras_view` may change while the variables are the same, beside attributes; as plain values."""
        return None

    def backend_modules(self) -> List[Any]:
        """Where this Keras keeps what TF1 code calls `keras.backend`, first the public one."""
        return [self.keras.backend]

    @abc.abstractmethod
    def optimizers(self, model: Any) -> List[Any]:
        """The compiled optimizer, and those that are attributes of the model (GANs)."""

    @abc.abstractmethod
    def slots(self, optimizer: Any) -> List[Any]:
        """The variables that Keras itself saves for an optimizer."""

    @abc.abstractmethod
    def build_optimizers(self, model: Any, tables: Sequence[Dict[str, Any]] = ()) -> None:
        """Makes the slots of the compiled optimizer, and of those of which tables say which weights they train."""

    @abc.abstractmethod
    def read(self, leaves: Sequence[Leaf]) -> List[np.ndarray]:
        """Values at this moment; see `Engine.read`."""

    @abc.abstractmethod
    def hold(self, leaves: Sequence[Leaf], places: Optional[Sequence[np.ndarray]] = None) -> List[Any]:
        """Values at this moment; see `Engine.hold`."""

    @abc.abstractmethod
    def assign(self, leaves: Sequence[Leaf], arrays: Sequence[np.ndarray]) -> None:
        """New values; see `Engine.assign`."""

    # -- random state

    @abc.abstractmethod
    def random_state(self, model: Any) -> Dict[str, Any]:
        """All random state outside the variables, as plain values; the host's under `host`."""

    @abc.abstractmethod
    def set_random_state(self, state: Dict[str, Any], model: Any) -> List[str]:
        """Puts it back; returns what could not be, as reasons."""

    @abc.abstractmethod
    def why_not_exact(self, model: Any, functions: Sequence[Any] = (), known: Sequence[Any] = ()) -> List[str]:
        """Reasons why the model's random numbers or hidden state cannot be repeated; asked after the first step.

        Args:
            model: the model.
            functions: of the script's own, that the framework has made graphs of.
            known: variables that are captured beside the model's.
        """

    # -- other callbacks, and Python objects they hold

    @abc.abstractmethod
    def owns(self, peer: Any) -> bool:
        """Whether a peer's class is one of Keras's own."""

    @abc.abstractmethod
    def is_peer(self, peer: Any, name: str) -> bool:
        """Whether `peer` is the Keras callback class called `name`, or one made from it."""

    @abc.abstractmethod
    def skipped_attributes(self, peer: Any) -> Optional[set]:
        """Attributes of a peer that are no state; None if none of them is."""

    @abc.abstractmethod
    def callback_settings(self, peer: Any) -> Dict[str, Any]:
        """What the script made a peer with, as far as it may change the training: argument -> plain value."""

    @abc.abstractmethod
    def is_framework_class(self, kind: Any) -> bool:
        """Whether a class or function comes with Keras or the engine, not what is derived from it."""

    @abc.abstractmethod
    def is_framework_object(self, value: Any) -> bool:
        """Models, layers, losses, datasets…: not a peer's own state."""

    @abc.abstractmethod
    def as_array(self, value: Any) -> Optional[np.ndarray]:
        """A framework's tensor as an array; None for variables and anything else."""

    @abc.abstractmethod
    def to_tensor(self, array: np.ndarray) -> Any:
        """A tensor with this value, to take the place of one that `as_array` has read."""

    @abc.abstractmethod
    def own_variables(self, model: Any) -> Set[int]:
        """The ids of all variables that are captured with the model: its own, its metrics' and its optimizers'."""

    @abc.abstractmethod
    def held_variables(self, value: Any, own: Set[int]) -> Optional[List[Any]]:
        """Variables of a framework's object, such as one that a peer holds; None for other objects.

        Args:
            value: anything.
            own: ids of those to leave out, of `own_variables`.
        """

    @abc.abstractmethod
    def has_hidden_state(self, value: Any) -> bool:
        """Whether a framework's object has a state that can neither be read nor derived, such as an iterator."""

    # -- what a model is made of

    @abc.abstractmethod
    def model_objects(self, model: Any) -> List[Any]:
        """The model, its layers at all depths, parents first, and what it was compiled with; each once.

        That is losses, metrics, optimizers and their schedules, functions among them.
        """

    @abc.abstractmethod
    def traces(self, model: Any) -> Optional[int]:
        """How many times the train and test functions were traced; None where each step runs their Python code."""

    # -- the script, and the file

    @abc.abstractmethod
    def script(self, model: Any) -> Dict[str, Any]:
        """Settings of the script that a resume compares, as text."""

    @abc.abstractmethod
    def keras_view(self, model: Any) -> KerasParts:
        """What plain Keras needs to open the file."""
