"""A session of TensorFlow 1 that is followed: its variables, what its random ops drew, where its iterators stand.

The kernels of a session hide how far their random numbers have come. It is a
function of the op's seeds and of how many numbers it has drawn: so each run is
asked for the shapes of what it draws, and a resume draws as many again.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.contracts.session_access import SessionState
from keras_session_ext.backend.randomness.redraw_kernel_ops import LARGEST_RUN
from keras_session_ext.backend.tf1_session.session_programs import GET_NEXT, Draw, Program, keys, program_of
from keras_session_ext.errors import ConfigError

_SEEDS = ("the seeds of the session's random ops are others than at the checkpoint ({}); call "
          "tf.compat.v1.set_random_seed before the graph is built, and build it in the same way")
_TOO_FAR = "the random op {} has drawn more than at the checkpoint, and cannot be turned back; start a new process"
_NOT_SO_FAR = ("the iterator {} was made anew by {} before the checkpoint, and was not on the way back; run that in "
               "front of the loop that reads it")
_READ = "the iterator {} has given more than at the checkpoint, and cannot be turned back"
_DATA = "the iterator {} reads other data than at the checkpoint"
_FAILED = ("a run ended for want of data, and nobody can tell whether the random op {} had drawn by then; let its "
           "shape come from the data, or end the loop by a number of batches")
_SHAPE = ("the random op {} draws in a tf.cond for batches of unknown size from an iterator; use "
          ".batch(n, drop_remainder=True), or feed_dict")
_UNSEEN = ("a run fetched what cannot be looked into, so that its draws are not counted; fetch tensors, ops, lists or "
           "dicts")
_PARTIAL = "partial_run was used, whose draws are not counted; use run"


class _Fetched(NamedTuple):
    """A kind of run: what is fetched, and what is fed."""

    ops: Tuple[Any, ...]
    fed: frozenset


class FollowedSession(SessionState):
    """Follows the runs of a session from now on.

    Args:
        session: a `tf.compat.v1.Session`, or a monitored one.
        engine: reads and assigns in it.
        v1: `tensorflow.compat.v1`.

    Attributes:
        session: the `tf.compat.v1.Session` itself.
        elsewhere: ids of variables that are captured by others.
        reasons: why what it holds cannot be brought back, as far as known.
    """

    def __init__(self, session: Any, engine: Engine, v1: Any):
        self.session = session
        self._engine, self._v1 = engine, v1
        self.elsewhere: Set[int] = set()
        self.reasons: List[str] = []
        self._programs: Dict[_Fetched, Program] = {}
        self._sizes: Dict[Tuple[Any, ...], int] = {}
        self._drawn: Dict[str, int] = {}
        self._iterators: Dict[str, Tuple[str, int]] = {}  # handle -> what made it, and how often it was asked
        self._behind: Dict[str, Tuple[str, int]] = {}  # those that are to be brought there when they are asked
        self._data: Dict[str, str] = {}
        self._library: Dict[str, Sequence[Any]] = {}
        self._initialized: List[Any] = []
        self._run = session.run  # whatever a script has put in its place
        self._make = session._make_callable_from_options
        session.run, session.make_callable = self.run, self._make_callable
        session._make_callable_from_options = self._callable_from_options
        session.partial_run_setup = self._partial_run_setup

    # -- runs

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """As `Session.run`; counts what was drawn."""
        program = self._program_of(fetches, feed_dict)
        if program is None:
            result = self._run(fetches, feed_dict, options, run_metadata)  # or it says what is wrong
            self._because([_UNSEEN])
            return result
        self._catch_up(program)
        try:
            if not program.asked:
                result, told = self._run(fetches, feed_dict, options, run_metadata), []
            else:
                result, told = self._run([fetches, program.asked], feed_dict, options, run_metadata)
        except self._v1.errors.OutOfRangeError:
            self._because(_FAILED.format(name) for name in program.may_draw)
            raise
        self._count(program, dict(zip(map(_key_of, program.asked), told)), list((feed_dict or {}).items()))
        return result

    def _make_callable(self, fetches: Any, feed_list: Any = None, accept_options: bool = False) -> Any:
        def call(*values: Any, **options: Any) -> Any:
            return self.run(fetches, dict(zip(feed_list or (), values)), **options)

        return call

    def _callable_from_options(self, options: Any) -> Any:
        """What Keras computes a step with; it takes no further fetches."""
        graph, made = self.session.graph, self._make(options)
        fed = [graph.as_graph_element(name) for name in options.feed]
        program = self._look([*(graph.as_graph_element(name) for name in options.fetch),
                              *(graph.as_graph_element(name) for name in options.target)], fed)

        def call(*values: Any, **more: Any) -> Any:
            self._catch_up(program)
            result = made(*values, **more)
            self._count(program, {}, list(zip(fed, values)))
            return result

        return call

    def _partial_run_setup(self, *arguments: Any, **options: Any) -> Any:
        self._because([_PARTIAL])
        return type(self.session).partial_run_setup(self.session, *arguments, **options)

    def _program_of(self, fetches: Any, feed_dict: Any) -> Optional[Program]:
        try:
            return self._look(self._elements(fetches), self._elements(list(feed_dict or ())))
        except (KeyError, TypeError, ValueError):
            return None

    def _elements(self, value: Any) -> List[Any]:
        """The tensors and ops in a nest, in whatever order."""
        from tensorflow.python.util import nest

        if isinstance(value, (list, tuple, dict)):
            inner = list(value.values()) if isinstance(value, dict) else value
            return [one for item in inner for one in self._elements(item)]
        parts = nest.flatten(value, expand_composites=True)  # of a SparseTensor
        return [self.session.graph.as_graph_element(one) for one in parts if one is not None]

    def _look(self, fetches: Sequence[Any], fed: Sequence[Any]) -> Program:
        given = frozenset(keys(fed))  # what is fed is not computed, though it be fetched
        key = _Fetched(tuple(getattr(one, "op", one) for one in fetches if not hasattr(one, "value_index")
                             or _key_of(one) not in given), given)
        if key not in self._programs:
            program = self._programs[key] = program_of(key.ops, set(key.fed), self._nodes_of)
            self._data.update(program.data)
            self._because(program.reasons)
        return self._programs[key]

    def _nodes_of(self, function: str) -> Sequence[Any]:
        if function not in self._library:
            self._library = {one.signature.name: one.node_def
                             for one in self.session.graph.as_graph_def().library.function}
        return self._library.setdefault(function, [])

    def _because(self, reasons: Any) -> None:
        self.reasons += [reason for reason in dict.fromkeys(reasons) if reason not in self.reasons]

    # -- counting

    def _count(self, program: Program, told: Dict[Any, Any], feeds: List[Tuple[Any, Any]]) -> None:
        for handle, maker in program.made.items():
            self._iterators[handle] = maker, 0
        for handle in program.next:
            maker, count = self._iterators.get(handle, ("", 0))
            self._iterators[handle] = maker, count + 1
        if program.draws:
            named = [(self.session.graph.as_graph_element(one) if isinstance(one, str) else one, value)
                     for one, value in feeds]
            fed = {_key_of(one): value for one, value in named if hasattr(one, "value_index")}
            for draw in program.draws:
                self._count_draw(draw, told, fed)

    def _count_draw(self, draw: Draw, told: Dict[Any, Any], fed: Dict[Any, Any]) -> None:
        for condition, branch in draw.conditions:
            key = _key_of(condition)
            value = told[key] if key in told else fed[key] if key in fed else self._ask(condition, fed)
            if bool(value) != bool(branch):
                return
        numbers = draw.numbers
        if numbers is None and draw.shape is not None and _key_of(draw.shape) in told:
            numbers = int(np.prod(told[_key_of(draw.shape)], dtype=np.int64))
        if numbers is None:
            numbers = self._numbers(draw, fed)
        self._drawn[draw.op.name] = self._drawn.get(draw.op.name, 0) + numbers

    def _numbers(self, draw: Draw, fed: Dict[Any, Any]) -> int:
        """How many numbers an op draws for what was fed: a run of its own says it."""
        if not draw.is_fed:
            self._because([_SHAPE.format(draw.op.name)])
            return 0
        key = (draw.op.name, *sorted((op.name, index, np.shape(value)) for (op, index), value in fed.items()))
        if key not in self._sizes:
            self._sizes[key] = int(np.prod(self._ask(draw.op.inputs[0], fed, draw), dtype=np.int64))
        return self._sizes[key]

    def _ask(self, tensor: Any, fed: Dict[Any, Any], draw: Optional[Draw] = None) -> Any:
        feeds = {op.outputs[index]: value for (op, index), value in fed.items()}
        if draw is not None:
            feeds.update({condition: bool(branch) for condition, branch in draw.conditions})
        return type(self.session).run(self.session, self._fetchable(tensor), feeds)

    def _fetchable(self, element: Any) -> Any:
        """What stands in a cond can be fetched, so long as the cond is fed."""
        self.session.graph._unfetchable_ops.discard(getattr(element, "op", element))
        return element

    # -- saving and resuming

    def variables(self) -> List[Any]:
        """The graph's global and local variables that have a value."""
        wanted = self._wanted()
        known = set(map(id, self._initialized))
        self._initialized += [one for one in wanted if id(one) not in known and self._has_value(one)]
        known = set(map(id, self._initialized))
        return [one for one in wanted if id(one) in known]

    def _wanted(self) -> List[Any]:
        graph = self.session.graph
        keys_ = self._v1.GraphKeys
        listed = [*graph.get_collection(keys_.GLOBAL_VARIABLES), *graph.get_collection(keys_.LOCAL_VARIABLES)]
        return [one for number, one in enumerate(listed) if id(one) not in self.elsewhere and all(
            one is not other for other in listed[:number])]

    def _has_value(self, variable: Any) -> bool:
        try:
            type(self.session).run(self.session, variable)
        except self._v1.errors.FailedPreconditionError:
            return False
        return True

    def get_state(self) -> Dict[str, Any]:
        """All of it, as a plain value."""
        variables = self.variables()
        arrays = self._engine.read(variables) if variables else []
        seeds = {name: _seeds(self.session.graph.get_operation_by_name(name)) for name in self._drawn}
        return {"variables": {one.name: array for one, array in zip(variables, arrays)},
                "draws": {name: [*seeds[name], count] for name, count in self._drawn.items()},
                "iterators": {handle: list(state) for handle, state in {**self._iterators, **self._behind}.items()},
                "data": dict(self._data)}

    def set_variables(self, state: Dict[str, Any]) -> None:
        """Gives variables their values, and nothing else."""
        known = {one.name: one for one in self._wanted()}  # those without a value, too: the loop may give it
        missing = sorted(set(state["variables"]) - set(known))
        if missing:
            raise ConfigError("The checkpoint has variables that the session has not: {}. "
                              "Build the same graph before the loop.".format(
                                  ", ".join(missing[:5])))
        names = sorted(state["variables"])
        if names:
            self._engine.assign([known[name] for name in names], [state["variables"][name] for name in names])

    def set_state(self, state: Dict[str, Any]) -> None:
        """Brings all of it to where it was; `reasons` has what could not be."""
        self.set_variables(state)
        self._draw_again(state["draws"])
        self._read_again(state["iterators"])
        for handle, content in state["data"].items():
            if self._data.get(handle, content) != content:
                self._because([_DATA.format(handle)])

    def _op(self, name: str) -> Any:
        try:
            return self.session.graph.get_operation_by_name(name)
        except KeyError:
            return None

    def _draw_again(self, draws: Dict[str, List[Any]]) -> None:
        for name in sorted({*draws, *self._drawn}):
            now, wanted = self._drawn.get(name, 0), draws.get(name, [None, 0, 0, 0])
            op = self._op(name)
            if op is None or (name in draws and _seeds(op) != wanted[:3]):
                self._because([_SEEDS.format(name)])
            elif wanted[3] < now:
                self._because([_TOO_FAR.format(name)])
            else:
                self._draw(op, wanted[3] - now)
                self._drawn[name] = wanted[3]

    def _draw(self, op: Any, total: int) -> None:
        context = op._get_control_flow_context()
        feeds: Dict[Any, Any] = {}
        while context is not None:
            if hasattr(context, "pred"):
                feeds[context.pred] = bool(context.branch)
            context = context.outer_context
        shape = op.inputs[0]
        for bound, tensor in enumerate(op.inputs[1:]):  # of RandomUniformInt: they count for nothing here
            feeds[tensor] = np.array(2 * bound, tensor.dtype.as_numpy_dtype)
        rank = int(shape.shape[0])
        while total > 0:
            part = min(total, LARGEST_RUN) if rank else 1
            feeds[shape] = np.array(([part] + [1] * rank)[:rank], shape.dtype.as_numpy_dtype)
            type(self.session).run(self.session, self._fetchable(op), feeds)
            total -= part

    def _read_again(self, iterators: Dict[str, List[Any]]) -> None:
        """Notes where iterators stood; one that the script makes anew before it asks need not be read to there."""
        for handle, (maker, wanted) in iterators.items():
            if self._iterators.get(handle) != (maker, wanted):
                self._behind[handle] = maker, wanted

    def _catch_up(self, program: Program) -> None:
        """Brings the iterators that a run asks to where they stood."""
        for handle in program.made:
            self._behind.pop(handle, None)
        for handle in [one for one in self._behind if one in program.next]:
            maker, wanted = self._behind.pop(handle)
            made, now = self._iterators.get(handle, ("", 0))
            if (made != maker or now > wanted) and maker:
                now = 0 if self._make_anew(handle, maker) else wanted
            elif now > wanted:
                self._because([_READ.format(handle)])
            self._drop(self._op(handle), wanted - now)
            self._iterators[handle] = maker, wanted

    def _make_anew(self, handle: str, maker: str) -> bool:
        try:
            type(self.session).run(self.session, self._op(maker))
        except (TypeError, self._v1.errors.OpError):  # it is gone, or fed, with what only the script knows
            self._because([_NOT_SO_FAR.format(handle, maker)])
            return False
        return True

    def _drop(self, handle: Any, count: int) -> None:
        readers = [op for output in handle.outputs for op in output.consumers() if op.type in GET_NEXT]
        for _ in range(count if readers else 0):
            type(self.session).run(self.session, readers[0])


def _key_of(tensor: Any) -> Tuple[Any, int]:
    return tensor.op, tensor.value_index


def _seeds(op: Any) -> List[Any]:
    return [op.type, int(op.get_attr("seed")), int(op.get_attr("seed2"))]


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
