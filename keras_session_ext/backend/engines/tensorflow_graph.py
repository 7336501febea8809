"""TensorFlow in graph mode: reads are runs of a session; the random state is that of the session's random ops."""

import weakref
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from keras_session_ext.backend import several_processes
from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.engines.tf_components import strategy_of


class TensorFlowGraph(Engine):
    """Reads and assigns in the session that holds a graph's variables.

    Args:
        session_of: gives the session of a graph.
    """

    name = "tensorflow"

    def __init__(self, session_of: Callable[[Any], Any]):
        self._session_of = session_of
        self._fetches: Any = weakref.WeakKeyDictionary()  # session -> [(variables, callable)]

    def hold(self, variables: Sequence[Any], places: Optional[Sequence[np.ndarray]] = None) -> List[Any]:
        """In one run of the session, which adds nothing to the graph."""
        variables = list(variables)
        session = self._session_of(variables[0].graph)
        known = self._fetches.setdefault(session, [])
        for others, fetch in known:
            if len(others) == len(variables) and all(a is b for a, b in zip(others, variables)):
                return list(fetch())
        fetch = session.make_callable(variables)
        self._fetches[session] = known[-7:] + [(variables, fetch)]
        return list(fetch())

    def value(self, variable: Any) -> np.ndarray:
        return np.array(self._session_of(variable.graph).run(variable))

    def assign(self, variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
        """Runs the variables' own initialisers, fed with the values: no op is added, a finalised graph will do."""
        session = self._session_of(variables[0].graph)
        # variables may share an initial value, which can be fed with one thing at a time
        rounds: List[Tuple[List[Any], Dict[Any, Any]]] = []
        times: Dict[int, int] = {}  # id of an initial value -> how often it was fed
        for variable, array in zip(variables, arrays):
            initializer = variable.initializer
            value = initializer.inputs[1]
            number = times[id(value)] = times.get(id(value), -1) + 1
            if number == len(rounds):
                rounds.append(([], {}))
            rounds[number][0].append(initializer)
            rounds[number][1][value] = array
        for ops, feeds in rounds:
            session.run(ops, feeds)

    def release(self) -> None:
        self._fetches = weakref.WeakKeyDictionary()

    def random_state(self) -> Dict[str, Any]:
        return {}

    def set_random_state(self, state: Dict[str, Any]) -> None:
        """There is none."""

    def why_no_fit(self, model: Any) -> str:
        return "" if strategy_of(model) is None else several_processes.graph_strategy(
            type(strategy_of(model)).__name__)
