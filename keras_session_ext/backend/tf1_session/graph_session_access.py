"""What the shim asks of Keras 2 in graph mode."""

import contextlib
import weakref
from typing import Any, Iterator, List, Optional, Sequence

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.contracts.session_access import GraphSessionAccess, SessionState
from keras_session_ext.backend.kept_values import OfModel
from keras_session_ext.backend.layers_and_variables import weights_of
from keras_session_ext.backend.tf1_session import followed_session, watch_sessions
from keras_session_ext.backend.tf1_session.scope_settings import Settings, enter_device
from keras_session_ext.errors import ConfigError

_followed = OfModel("_session_followed")


class GraphAccess(GraphSessionAccess):
    """Keras 2 in graph mode."""

    keras: Any
    K: Any
    tensorflow: Any
    v1: Any
    engine: Engine
    _seen: Any  # graph -> the session last seen on it, held weakly
    _given: Any  # graph -> the session that a script runs on it itself, held weakly

    def clear_session(self) -> None:
        self.keras.backend.clear_session()

    def accept_legacy_code(self) -> None:
        """Nothing to do: tensors of a graph are keys already."""

    def is_eager_tensor(self, value: Any) -> bool:
        return isinstance(value, self.tensorflow.Tensor) and type(value).__name__ == "EagerTensor"

    def has_eager_tensors(self) -> bool:
        from tensorflow.python.eager import context

        return bool(context.default_execution_mode == context.EAGER_MODE)

    def session(self, model: Any = None) -> Any:
        """The session the model lives in, its variables initialised; without a model Keras's own."""
        if model is None or not weights_of(model):
            return self._keras_session(self.v1.get_default_graph())
        return self._session_of(weights_of(model)[0].graph)

    def _session_of(self, graph: Any) -> Any:
        """The session that holds a graph's variables.

        Keras keeps one session for each thread, and makes a fresh one, untrained
        weights and all, when it is asked under another graph.
        """
        current = self.existing_session()
        if graph in self._given or (current is not None and current.graph is graph):
            return self._keras_session(graph)
        default = self.v1.get_default_session()
        seen = self._seen[graph]() if graph in self._seen else None
        for one in (default, seen):
            if one is not None and one.graph is graph and not is_closed(one):
                return self.remember(one)
        made = self._keras_session(graph)
        if current is not None:
            self.K.set_session(current)  # a getter takes no other model's session away
        return made

    def _keras_session(self, graph: Any) -> Any:
        given = self._given[graph]() if graph in self._given else None
        if given is not None and not is_closed(given):
            return given
        current = self.existing_session()
        if current is not None:
            self.remember(current)
            if is_closed(current):
                self.K.set_session(None)
        with graph.as_default():
            session = self.K.get_session()
            if session.graph is not graph:  # standalone Keras hands out its one session, whatever the graph
                self.K.set_session(None)
                session = self.K.get_session()
            if session is not current:
                self.look_again(graph)
                session = self.K.get_session()
        return self.remember(session)

    def look_again(self, graph: Any) -> None:
        """Lets Keras look which variables are initialised: it believes that what one session did holds in all."""
        for variable in [] if graph.finalized else graph.get_collection(self.v1.GraphKeys.GLOBAL_VARIABLES):
            if getattr(variable, "_keras_initialized", False):
                variable._keras_initialized = False

    @contextlib.contextmanager
    def inside(self, model: Any) -> Iterator[None]:
        """Whatever Keras does in the block, it does in the model's session, and takes no other away."""
        if not weights_of(model):
            yield
            return
        session = self.session(model)
        with session.graph.as_default(), session.as_default():
            yield

    def follow_session(self, session: Any, values: Sequence[Any]) -> SessionState:
        """The one that is named; else the one among the values, the default one, or Keras's."""
        found = [watch_sessions.raw(session, self.v1)] if session is not None else watch_sessions.find(
            [*values, self.v1.get_default_session()], self.v1)
        if len(found) > 1:
            raise ConfigError("The loop reads {} sessions. Name the one that trains: SessionLoop(…, session=…).".format(
                len(found)))
        one = found[0] if found else self._keras_session(self.v1.get_default_graph())
        self._given[one.graph] = weakref.ref(one)
        followed: Optional[SessionState] = _followed.get(one)
        if followed is None:
            followed = followed_session.FollowedSession(one, self.engine, self.v1)
            _followed.set(one, followed)
        return followed

    def set_session(self, session: Any) -> None:
        """Makes it Keras's; None takes the old one away."""
        self.K.set_session(session)
        if session is not None:
            self.remember(session)
        self.look_again(self.v1.get_default_graph() if session is None else session.graph)

    def remember(self, session: Any) -> Any:
        """Notes which graph a session is on, as long as both live; returns the session."""
        self._seen[session.graph] = weakref.ref(session)
        return session

    def existing_session(self) -> Any:
        """Keras's session, if it has made one; asking Keras would make one."""
        backend = getattr(self.K, "tf_keras_backend", self.K)  # Keras 2.3.1 hands its session to tf.keras
        held = getattr(backend, "_SESSION", None)
        return getattr(held, "session", None) if not hasattr(held, "run") else held

    def new_session(self, settings: Settings) -> Any:
        proto = settings.proto
        if proto is None:
            proto = self.v1.ConfigProto(allow_soft_placement=True)
            if settings.intra_op_threads is not None:
                proto.intra_op_parallelism_threads = settings.intra_op_threads
            if settings.inter_op_threads is not None:
                proto.inter_op_parallelism_threads = settings.inter_op_threads
            if settings.memory_growth is not None:
                proto.gpu_options.allow_growth = settings.memory_growth
        return self.v1.Session(config=proto, graph=self.v1.get_default_graph())

    def apply(self, settings: Settings, stack: contextlib.ExitStack) -> List[str]:
        """Enters the device; the rest is the new session's."""
        if settings.device is not None:
            enter_device(self.tensorflow, settings.device, stack)
        return []


def is_closed(session: Any) -> bool:
    return bool(getattr(session, "_closed", False))
