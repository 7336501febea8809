"""The sessions of a process: which there are, and which run that no loop follows."""

import contextlib
import weakref
from typing import Any, Dict, List, Sequence, Tuple

from keras_session_ext.backend.engines.graph_ops import UPDATES
from keras_session_ext.backend.randomness.redraw_kernel_ops import HIDDEN
from keras_session_ext.backend.tf1_session.session_programs import GET_NEXT, key_of, keys, ops_of_run
from keras_session_ext.errors import ConfigError


def elements(value: Any, graph: Any) -> List[Any]:
    """The tensors and ops in a nest of fetches or of keys of a feed_dict, in whatever order.

    Raises:
        KeyError, TypeError, ValueError: it holds something else.
    """
    from tensorflow.python.util import nest

    if isinstance(value, (list, tuple, dict)):
        inner = list(value.values()) if isinstance(value, dict) else value
        return [one for item in inner for one in elements(item, graph)]
    parts = nest.flatten(value, expand_composites=True)  # of a SparseTensor
    return [graph.as_graph_element(one) for one in parts if one is not None]


class Key:
    """A tensor as a key, also where TensorFlow compares tensors element by element."""

    def __init__(self, tensor: Any):
        self.tensor = tensor


def fed_tensors(feeds: Dict[Any, Any], graph: Any) -> Dict[Tuple[Any, int], Any]:
    """What a feed_dict feeds, tensor by tensor."""
    found: Dict[Any, Any] = {}
    for named, value in feeds.items():
        named = named.tensor if isinstance(named, Key) else named
        pairs = zip(named, value) if isinstance(named, (list, tuple)) else [(named, value)]
        for one, given in pairs:
            parts = elements(one, graph)
            found.update(zip(map(key_of, parts), given if len(parts) > 1 else [given]))
    return found


def keeps_state(session: Any, fetches: Any, feed_dict: Any, is_older: bool) -> bool:
    """Whether a run changes what a session keeps; of one that a body makes anew, whether it trains."""
    found: List[Any] = []
    with contextlib.suppress(Exception):  # of fetches that the session itself refuses
        found = ops_of_run([getattr(one, "op", one) for one in elements(fetches, session.graph)],
                           keys(elements(list(feed_dict or ()), session.graph)))
    return any(writes(op, is_older) or (is_older and (op.type in GET_NEXT or op.type in HIDDEN)) for op in found)


def writes(op: Any, is_older: bool) -> bool:
    """Whether an op trains; of a session that was there before the loop, whether it sets a variable at all."""
    trains = "Apply" in op.type or op.type.startswith(("AssignAdd", "AssignSub", "Scatter", "ResourceScatter"))
    return trains or (is_older and op.type in UPDATES)


def watch(session: Any) -> None:
    """Tells what is followed of the runs of other sessions, and of callables that were made before; once."""
    base: Any = next(one for one in type(session).__mro__ if "_run" in vars(one))
    _followed.add(session)
    if hasattr(base._run, "_keras_session_ext"):
        return
    run, make, call = base._run, base.__init__, base._Callable.__call__
    younger: Any = weakref.WeakSet()

    def begun(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        younger.add(self)

    def other_run(self: Any, handle: Any, fetches: Any, feed_dict: Any, *rest: Any) -> Any:
        states = [] if self in _followed else _states()
        if states and keeps_state(self, fetches, feed_dict, self not in younger):
            for state in states:
                state.other_session()
        return run(self, handle, fetches, feed_dict, *rest)

    def called(self: Any, *arguments: Any, **options: Any) -> Any:
        for state in _states():
            if state.session is self._session:
                state.called_from_before()
        return call(self, *arguments, **options)

    other_run._keras_session_ext = True  # type: ignore[attr-defined]
    base._run, base.__init__, base._Callable.__call__ = other_run, begun, called


def _states() -> List[Any]:
    """What is followed in loops that are open now."""
    found = [session._run.__self__ for session in list(_followed)]
    return [state for state in found if state.is_open()]


#: sessions that are followed
_followed: "weakref.WeakSet[Any]" = weakref.WeakSet()


def raw(session: Any, v1: Any) -> Any:
    """The session itself, of a monitored one, too.

    Raises:
        ConfigError: it is no session, or closed.
    """
    found = session._tf_sess() if hasattr(session, "_tf_sess") else session
    if not isinstance(found, (v1.Session, v1.InteractiveSession)):
        raise ConfigError("Invalid value for argument `session`. Expected a tf.compat.v1.Session. Received: "
                          "{!r}".format(session))
    if getattr(found, "_closed", False):
        raise ConfigError("The session that SessionLoop was given is closed. Begin the loop within its `with`.")
    return found


def find(values: Sequence[Any], v1: Any) -> List[Any]:
    """The sessions among values, monitored ones before those within them."""
    kinds = (v1.Session, v1.InteractiveSession)
    found: List[Any] = []
    for value in values:
        if not isinstance(value, kinds) and not hasattr(type(value), "_tf_sess"):
            continue
        session = value._tf_sess() if hasattr(value, "_tf_sess") else value
        if session is not None and not getattr(session, "_closed", False) and all(session is not one for one in found):
            found.append(session)
    return found
