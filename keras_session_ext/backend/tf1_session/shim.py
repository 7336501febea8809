"""`tf.Session`, in every family: the real one where it exists, and what replaces it elsewhere."""

import contextlib
import logging
import weakref
from typing import Any, Callable, Dict, Iterator, List

import numpy as np

from keras_session_ext.backend import choose
from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.contracts.session_access import GraphSessionAccess, StandInSessionAccess
from keras_session_ext.backend.layers_and_variables import weights_of
from keras_session_ext.backend.tf1_session.scope_settings import as_settings
from keras_session_ext.backend.tf1_session.symbolic_tensors import Symbols
from keras_session_ext.errors import ConfigError, UnsupportedBackend
from keras_session_ext.lifecycle.events import emit

logger = logging.getLogger("keras_session_ext")

_current: Dict[Family, "Session"] = {}
_told: Any = weakref.WeakSet()  # models and sessions whose beginning was told


class _LearningPhase:
    """Stands in a feed_dict for `K.learning_phase()`, where Keras has none."""

    def __repr__(self) -> str:
        return "learning_phase()"


_LEARNING_PHASE = _LearningPhase()


class Session:
    """What stands for a `tf.Session` in the eager families and in Keras 3.

    Args:
        family: the adapter of the Keras in use.

    Attributes:
        closed: whether `close` was called.

    Examples:
        >>> # session = get_session()
        >>> # session.run(model.output, feed_dict={model.input: x})
    """

    def __init__(self, family: Family):
        assert isinstance(family, StandInSessionAccess)  # the others have real sessions
        self._family = family
        self._access: StandInSessionAccess = family
        self._symbols = Symbols(family, family.keras)
        self._model: Callable[[], Any] = lambda: None  # the last one that was asked for, which is not kept alive
        self.closed = False

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Values of variables, tensors and symbolic outputs.

        Args:
            fetches: one of them, or lists, tuples and dicts of them, nested.
            feed_dict: values for symbolic tensors, such as `{model.input: array}`;
                `{learning_phase(): 1}` computes as in training.
            options, run_metadata: taken as `tf.Session.run` does, without effect.

        Returns:
            NumPy values in the structure of `fetches`.

        Raises:
            ConfigError: a fetch or feed cannot be used; the message names it.
            RuntimeError: the session is closed.
        """
        if self.closed:
            raise RuntimeError("Attempted to use a closed Session. get_session() gives a new one.")
        feeds, training = self._feeds(feed_dict)
        symbols: List[Any] = []
        self._map(fetches, lambda leaf: symbols.append(leaf) if self._symbols.is_symbolic(leaf) else None)
        with self._family.engine.eagerly():  # TF1 code likes to stand in `with graph.as_default()`
            values = iter(self._symbols.evaluate(symbols, feeds, training) if symbols else [])
            return self._map(fetches, lambda leaf: next(values) if self._symbols.is_symbolic(leaf)
                             else self._value(leaf))

    def _feeds(self, feed_dict: Any) -> Any:
        if feed_dict is not None and not hasattr(feed_dict, "items"):
            raise ConfigError("Invalid feed_dict. Expected a dict such as {{model.input: array}}. "
                              "Received: {!r}".format(feed_dict))
        feeds, training = {}, False
        for key, value in _items_of(feed_dict):
            if key is _LEARNING_PHASE:
                training = bool(value)
            elif self._symbols.is_symbolic(key):
                feeds[id(key)] = (key, value)
            else:
                raise ConfigError("Invalid key in feed_dict. Expected a symbolic tensor such as model.input, or "
                                  "learning_phase(). Received: {!r}".format(key))
        return feeds, training

    def _map(self, value: Any, function: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._map(item, function) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._map(item, function) for item in value))
        if isinstance(value, (list, tuple)):
            return (tuple if isinstance(value, tuple) else list)(self._map(item, function) for item in value)
        return function(value)

    def _value(self, leaf: Any) -> Any:
        if isinstance(leaf, str):
            raise UnsupportedBackend("There is no graph to look {!r} up in. Fetch the tensor itself: "
                                     "model.get_layer(name).output.".format(leaf))
        value = self._access.value_of(leaf)
        if value is None:
            raise ConfigError("Cannot fetch {!r} of type {}. Expected a variable, a tensor or a symbolic output of "
                              "this Keras ({}).".format(leaf, type(leaf).__name__, self._family.describe()["keras"]))
        return value[()] if isinstance(value, np.ndarray) and not value.ndim else value

    @property
    def graph(self) -> Any:
        """The `tf.Graph` of the model's forward pass, where there can be one."""
        return self._access.graph_of(self._model())

    def close(self) -> None:
        """Ends the session; the model's variables live on."""
        if not self.closed:
            self.closed = True
            for key, session in list(_current.items()):
                if session is self:
                    del _current[key]
            emit("session_closed", family=self._family.family)

    @contextlib.contextmanager
    def as_default(self) -> Iterator["Session"]:
        """Makes it the one that `get_session` gives, for a while."""
        before = _current.get(self._family)
        _current[self._family] = self
        try:
            yield self
        finally:
            _current.pop(self._family, None)
            if before is not None and not before.closed:
                _current[self._family] = before

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def get_session(model: Any = None) -> Any:
    """The session of the Keras in use.

    Args:
        model: the model whose session is meant; without it Keras's own.

    Returns:
        In graph mode the real `tf.Session`, its variables initialised. Elsewhere
        an object with `run(fetches, feed_dict)`, `graph`, `close()`, to be used
        like it.

    Raises:
        UnsupportedBackend: no supported Keras, or no model of one.

    Examples:
        >>> # get_session().run(model.output, feed_dict={model.input: x})
    """
    family = choose(model)
    if isinstance(family, GraphSessionAccess):
        real = family.session(model)
        _tell(family, real)
        return _checked(family, real)
    family.check_mode()
    session = _current.get(family)
    if session is None or session.closed:
        session = _current[family] = Session(family)
        _tell(family, session)
    if model is not None:
        session._model = weakref.ref(model)
    return session


def _tell(family: Family, session: Any) -> None:
    if session not in _told:
        _told.add(session)
        emit("session_created", family=family.family, engine=family.engine.name)


def observe(model: Any) -> None:
    """Tells the beginnings of a model's life, once it is built: graph built, session created, variables initialised."""
    if model in _told or not weights_of(model):
        return
    _told.add(model)
    family = choose(model)
    emit("graph_built", model=model.name, variables=len(weights_of(model)))
    get_session(model)
    emit("variables_initialised", model=model.name, family=family.family)


def set_session(session: Any) -> None:
    """Makes a session the one of the Keras in use.

    Args:
        session: in graph mode a `tf.Session`; elsewhere what `get_session` gave.

    Raises:
        ConfigError: it is no session of this family, or closed.
    """
    family = choose()
    if isinstance(family, GraphSessionAccess):
        if not hasattr(session, "run") or not hasattr(session, "graph") or isinstance(session, Session):
            raise ConfigError("Expected a tf.compat.v1.Session. Received: {!r}".format(session))
        family.set_session(session)
        _tell(family, session)
        return
    if not isinstance(session, Session) or session.closed:
        raise ConfigError("There is no tf.Session in Keras {} ({}). Expected an open session of get_session(); for "
                          "threads, memory and devices use session_scope(config). Received: {!r}".format(
                              family.describe()["keras"], family.family, session))
    _current[family] = session


def clear_session() -> None:
    """Drops the models, names and sessions that Keras keeps, as `keras.backend.clear_session` does."""
    family = choose()
    if family in _current:
        _current[family].close()
    family.clear_session()


def close_session() -> None:
    """Closes the current session; `get_session` then gives a new one, with variables that are not trained."""
    family = choose()
    if not isinstance(family, GraphSessionAccess):
        if family in _current:
            _current[family].close()
        return
    session = family.existing_session()
    if session is not None:
        session.close()
        family.set_session(None)
        emit("session_closed", family="graph")


@contextlib.contextmanager
def session_scope(config: Any = None) -> Iterator[Any]:
    """A session with settings of its own, for as long as the block lasts.

    Args:
        config: a mapping with any of `memory_growth` (bool), `intra_op_threads`,
            `inter_op_threads` (ints), `device` ("/CPU:0"), or a `ConfigProto`.
            What the engine can no longer change is told in a warning.

    Yields:
        The session: models built in the block live in it.

    Raises:
        ConfigError: every wrong setting, in one message.

    Examples:
        >>> # with session_scope({"intra_op_threads": 1, "inter_op_threads": 1}) as session:
        >>> #     model = build(); model.fit(x, y)
    """
    settings = as_settings(config)
    family = choose()
    with contextlib.ExitStack() as stack:
        for problem in family.apply(settings, stack):
            logger.warning("session_scope: %s", problem)
        if isinstance(family, GraphSessionAccess):
            before, real = family.existing_session(), family.new_session(settings)
            family.set_session(real)
            _tell(family, real)
            stack.callback(_end, family, real, before)
            yield _checked(family, real)
        else:
            session = Session(family)
            _tell(family, session)
            with session.as_default():
                stack.callback(session.close)
                yield session


def _end(family: GraphSessionAccess, session: Any, before: Any) -> None:
    session.close()
    family.set_session(before)
    emit("session_closed", family="graph")


def run(fetches: Any, feed_dict: Any = None, model: Any = None) -> Any:
    """`get_session(model).run(fetches, feed_dict)`."""
    return get_session(model).run(fetches, feed_dict)


def learning_phase() -> Any:
    """The key of a feed_dict that says whether layers compute as in training: 1, or 0."""
    family = choose()
    return family.keras.backend.learning_phase() if isinstance(family, GraphSessionAccess) else _LEARNING_PHASE


def _checked(access: GraphSessionAccess, session: Any) -> Any:
    """The session itself; where there can be eager tensors its `run` says what they are doing there.

    TF1 code hands them to a real session by mistake, which ends in riddles.
    """
    if getattr(session, "_keras_session_ext", False) or not access.has_eager_tensors():
        return session
    run = session.run

    def checked_run(fetches: Any, feed_dict: Any = None, *arguments: Any, **options: Any) -> Any:
        for value in list(_leaves(fetches)) + [one for pair in _items_of(feed_dict) for one in pair]:
            if access.is_eager_tensor(value):
                raise UnsupportedBackend(
                    "A session of a graph was handed an eager tensor: {!r}. Hand it an array: "
                    "tensor.numpy().".format(value))
        return run(fetches, feed_dict, *arguments, **options)

    session.run = checked_run
    session._keras_session_ext = True
    return session


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _items_of(feed_dict: Any) -> Any:
    return feed_dict.items() if feed_dict is not None else ()
