"""What the shim for `tf.Session` asks of each family: values, sessions, devices and threads."""

import abc
import contextlib
from typing import Any, Callable, ContextManager, Dict, List, Optional, Sequence, Set

import numpy as np

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.tf1_session.scope_settings import Settings
from keras_session_ext.errors import UnsupportedBackend


class SessionState(abc.ABC):
    """What lives in a `tf.Session` that a loop runs.

    Attributes:
        elsewhere: ids of variables that are captured by others.
        reasons: why what it holds cannot be brought back, as far as known.
        is_open: says whether the loop that runs it is open.
    """

    is_open: Callable[[], bool]
    elsewhere: Set[int]
    reasons: List[str]

    @abc.abstractmethod
    def get_state(self) -> Dict[str, Any]:
        """All of it, as a plain value."""

    @abc.abstractmethod
    def set_variables(self, state: Dict[str, Any]) -> None:
        """Gives variables their values, and nothing else; the loop may yet make those that are missing."""

    @abc.abstractmethod
    def set_state(self, state: Dict[str, Any]) -> None:
        """Brings all of it to where it was; `reasons` has what could not be.

        Raises:
            ConfigError: the graph is another one.
        """


class SessionAccess(abc.ABC):
    """Values of variables and tensors, and the settings a session computes with."""

    @abc.abstractmethod
    def inside(self, model: Any) -> ContextManager[Any]:
        """Where a model's values live: what Keras does in the block it does there."""

    @abc.abstractmethod
    def accept_legacy_code(self) -> None:
        """Makes Keras take what TF1 code hands to it, such as tensors as keys of a feed_dict; once."""

    def follow_session(self, session: Any, values: Sequence[Any]) -> Optional[SessionState]:
        """Follows the session that a loop runs; None where nothing lives in sessions.

        Args:
            session: the one that the script names, or None.
            values: where it is looked for then.

        Raises:
            ConfigError: it is no session, or there are several.
            UnsupportedBackend: one is named where this Keras does not train in sessions.
        """
        if session is not None:
            raise UnsupportedBackend(
                "SessionLoop(session=…) is for graph mode, and this Keras computes without sessions. Leave it out; or, "
                "for a script of TensorFlow 1, call tf.compat.v1.disable_v2_behavior() first.")
        return None

    @abc.abstractmethod
    def clear_session(self) -> None:
        """Keras's own `clear_session`."""

    @abc.abstractmethod
    def apply(self, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
        """Sets threads, memory and device for as long as `stack` is open; returns what comes too late."""


class StandInSessionAccess(SessionAccess):
    """Where nothing lives in a session: what one is made of that stands in for it."""

    engine: Engine

    def inside(self, model: Any) -> ContextManager[Any]:
        return self.engine.inside(model)

    @abc.abstractmethod
    def to_numpy(self, value: Any) -> np.ndarray:
        """A tensor's value."""

    @abc.abstractmethod
    def as_tensor(self, array: np.ndarray, dtype: Any) -> Any:
        """A tensor of this Keras."""

    @abc.abstractmethod
    def value_of(self, leaf: Any) -> Optional[np.ndarray]:
        """The value of a variable or tensor; None for anything else."""

    @abc.abstractmethod
    def graph_of(self, model: Any) -> Any:
        """The `tf.Graph` of a model's forward pass.

        Raises:
            UnsupportedBackend: this engine has none.
        """


class GraphSessionAccess(SessionAccess):
    """Where the sessions are real."""

    @abc.abstractmethod
    def session(self, model: Any = None) -> Any:
        """The `tf.Session` a model lives in, its variables initialised; without a model Keras's own."""

    @abc.abstractmethod
    def existing_session(self) -> Any:
        """Keras's session, if it has made one, else None."""

    @abc.abstractmethod
    def new_session(self, settings: Settings) -> Any:
        """A session over the default graph."""

    @abc.abstractmethod
    def set_session(self, session: Any) -> None:
        """Makes a session Keras's; None takes the old one away."""

    @abc.abstractmethod
    def has_eager_tensors(self) -> bool:
        """Whether this process could make eager tensors at all."""

    @abc.abstractmethod
    def is_eager_tensor(self, value: Any) -> bool:
        """Whether a value is one."""
