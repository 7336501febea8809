"""A session of TensorFlow 1 that is followed: its variables, what its random ops drew, where its iterators stand.

The kernels of a session hide how far their random numbers have come. It is a
function of the op's seeds and of how many numbers it has drawn: so each run is
asked for the shapes of what it draws, and a resume draws as many again.
"""

import contextlib
import importlib.util
import threading
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.contracts.session_access import SessionState
from keras_session_ext.backend.randomness import redraw_kernel_ops
from keras_session_ext.backend.tf1_session.session_programs import GET_NEXT, Draw, Program, key_of, keys, program_of
from keras_session_ext.backend.tf1_session.watch_sessions import Key, elements, fed_tensors, watch
from keras_session_ext.errors import ConfigError

_SEEDS = ("the seeds of the session's random ops are others than at the checkpoint ({}); call "
          "tf.compat.v1.set_random_seed before the graph is built, and build it in the same way")
_TOO_FAR = "the random op {} has drawn more than at the checkpoint, and cannot be turned back; start a new process"
_NOT_SO_FAR = ("the iterator {} was made anew by {} before the checkpoint, and was not on the way back; run that in "
               "front of the loop that reads it")
_READ = "the iterator {} has given more than at the checkpoint, and cannot be turned back"
_DATA = "the iterator {} reads other data than at the checkpoint"
_FAILED = ("a run failed or ended for want of data, and nobody can tell whether the random op {} had drawn by then; "
           "let its shape come from the data, or end the loop by a number of batches")
_SHAPE = ("the random op {} draws in a tf.cond for batches of unknown size from an iterator; use "
          ".batch(n, drop_remainder=True), or feed_dict")
_UNSEEN = ("a run fetched what cannot be looked into, so that its draws are not counted; fetch tensors, ops, lists or "
           "dicts")
_KEPT = ("a callable of the session that was made before the loop began was called, whose draws are not counted: one "
         "of make_callable, or that of a Keras model that had trained; make it, or train first, within the loop")
_OTHER = ("another session than the loop's trains, draws or is written to while the loop runs, and is not kept; name "
          "the one that trains, SessionLoop(…, session=…), and use one")
_HALF_READ = ("a run that asks the iterator {} failed or ended for want of data, and nobody can tell whether it was "
              "asked by then; ask one iterator in a run, and check data before")
_DTYPE = "the variable {} is {}, which NumPy does not know here, and is not kept; install ml_dtypes"
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
        self.is_open: Callable[[], bool] = lambda: True
        self._inside = threading.local()
        self._run, self._make = session._run, session._make_callable_from_options
        self._call = session._call_tf_sessionrun
        # below `run`, which a script may have kept: run = sess.run
        session._run, session._call_tf_sessionrun = self._followed_run, self._followed_call
        session._make_callable_from_options, session.make_callable = self._callable_from_options, self._make_callable
        watch(session)

    # -- runs

    def _followed_run(self, handle: Any, fetches: Any, feed_dict: Any, options: Any, run_metadata: Any) -> Any:
        """As `Session._run`; counts what was drawn."""
        if getattr(self._inside, "ours", False):
            return self._run(handle, fetches, feed_dict, options, run_metadata)
        with self._ours():
            program = self._program_of(fetches, feed_dict) if handle is None else None
            if program is None:
                result = self._run(handle, fetches, feed_dict, options, run_metadata)  # or it says what is wrong
                self._because([_UNSEEN if handle is None else _PARTIAL])
                return result
            self._catch_up(program)
            asked = [fetches, program.asked] if program.asked else fetches
            try:
                result = self._run(None, asked, feed_dict, options, run_metadata)
            except BaseException as error:
                self._failed(program, error)
                raise
            result, told = result if program.asked else (result, [])
            self._count(program, dict(zip(map(key_of, program.asked), told)), feed_dict or {})
            return result

    @contextlib.contextmanager
    def _ours(self) -> Iterator[None]:
        """What runs in the block is not counted, or is by whoever opens it."""
        before, self._inside.ours = getattr(self._inside, "ours", False), True
        try:
            yield
        finally:
            self._inside.ours = before

    def _followed_call(self, *arguments: Any) -> Any:
        if not getattr(self._inside, "ours", False):  # of a callable that was made before the loop began
            self._because([_KEPT])
        return self._call(*arguments)

    def _ask_session(self, fetches: Any, feeds: Any = None) -> Any:
        with self._ours():
            return type(self.session).run(self.session, fetches, feeds)

    def _make_callable(self, fetches: Any, feed_list: Any = None, accept_options: bool = False) -> Any:
        def call(*values: Any, **options: Any) -> Any:
            return self.session.run(fetches, dict(zip(feed_list or (), values)), **options)

        return call

    def _callable_from_options(self, options: Any) -> Any:
        """What Keras computes a step with; it takes no further fetches."""
        graph, made = self.session.graph, self._make(options)
        fed = [graph.as_graph_element(name) for name in options.feed]
        program = self._look([*(graph.as_graph_element(name) for name in options.fetch),
                              *(graph.as_graph_element(name) for name in options.target)], fed)

        def call(*values: Any, **more: Any) -> Any:
            self._catch_up(program)
            try:
                with self._ours():
                    result = made(*values, **more)
            except BaseException as error:
                self._failed(program, error)
                raise
            self._count(program, {}, dict(zip(map(Key, fed), values)))
            return result

        return call

    def called_from_before(self) -> None:
        """A callable of the session ran that was made before it was followed."""
        if not getattr(self._inside, "ours", False):
            self._because([_KEPT])

    def other_session(self) -> None:
        """Another session, which keeps something from one iteration to the next, has run while the loop is open."""
        self._because([_OTHER])

    def _failed(self, program: Program, error: BaseException) -> None:
        over = isinstance(error, self._v1.errors.OutOfRangeError)
        self._because(_FAILED.format(name) for name in (
            program.may_draw if over else [draw.op.name for draw in program.draws]))
        if len(program.next) > 1 or (program.next and not over):
            self._because(_HALF_READ.format(name) for name in program.next)

    def _program_of(self, fetches: Any, feed_dict: Any) -> Optional[Program]:
        graph = self.session.graph
        try:
            return self._look(elements(fetches, graph), elements(list(feed_dict or ()), graph))
        except (KeyError, TypeError, ValueError):
            return None

    def _look(self, fetches: Sequence[Any], fed: Sequence[Any]) -> Program:
        given = frozenset(keys(fed))  # what is fed is not computed, though it be fetched
        key = _Fetched(tuple(getattr(one, "op", one) for one in fetches if not hasattr(one, "value_index")
                             or key_of(one) not in given), given)
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

    def _count(self, program: Program, told: Dict[Any, Any], feeds: Dict[Any, Any]) -> None:
        for handle, maker in program.made.items():
            self._iterators[handle] = maker, 0
        for handle in program.next:
            maker, count = self._iterators.get(handle, ("", 0))
            self._iterators[handle] = maker, count + 1
        if program.draws:
            fed = fed_tensors(feeds, self.session.graph)
            for draw in program.draws:
                self._count_draw(draw, told, fed)

    def _count_draw(self, draw: Draw, told: Dict[Any, Any], fed: Dict[Any, Any]) -> None:
        for condition, branch in draw.conditions:
            key = key_of(condition)
            value = told[key] if key in told else fed[key] if key in fed else self._ask(condition, fed)
            if bool(value) != bool(branch):
                return
        numbers = draw.numbers
        if numbers is None and draw.shape is not None and key_of(draw.shape) in told:
            numbers = int(np.prod(told[key_of(draw.shape)], dtype=np.int64))
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
        return self._ask_session(self._fetchable(tensor), feeds)

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
            self._ask_session(variable)
        except self._v1.errors.FailedPreconditionError:
            return False
        return True

    def get_state(self) -> Dict[str, Any]:
        """All of it, as a plain value."""
        variables = self.variables()
        with self._ours():
            arrays = self._engine.read(variables) if variables else []
        seeds = {name: _seeds(self.session.graph.get_operation_by_name(name)) for name in self._drawn}
        self._because(_DTYPE.format(one.name, array.dtype) for one, array in zip(variables, arrays)
                      if not _is_stored(array.dtype))
        return {"variables": {one.name: array for one, array in zip(variables, arrays)
                              if array.dtype != object and _is_stored(array.dtype)},
                "texts": {one.name: [list(array.shape), array.reshape(-1).tolist()] for one, array in zip(
                    variables, map(np.asarray, arrays)) if array.dtype == object},
                "draws": {name: [*seeds[name], count] for name, count in self._drawn.items()},
                "iterators": {handle: list(state) for handle, state in {**self._iterators, **self._behind}.items()},
                "data": dict(self._data)}

    def set_variables(self, state: Dict[str, Any]) -> None:
        """Gives variables their values, and nothing else; the loop may yet make those that are missing."""
        values = dict(state["variables"])
        for name, (shape, texts) in state["texts"].items():
            values[name] = np.array(texts, object).reshape(shape)
        known = {one.name: one for one in self._wanted()}  # those without a value, too: the loop may give it
        names = sorted(set(values).intersection(known))
        if names:
            with self._ours():
                self._engine.assign([known[name] for name in names], [values[name] for name in names])

    def set_state(self, state: Dict[str, Any]) -> None:
        """Brings all of it to where it was; `reasons` has what could not be."""
        known = {one.name for one in self._wanted()}
        missing = sorted({*state["variables"], *state["texts"]} - known)
        if missing:
            raise ConfigError("The checkpoint has variables that the session has not: {}. "
                              "Build the same graph before the loop.".format(", ".join(missing[:5])))
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
        for bound, tensor in enumerate(op.inputs[1:]):  # of RandomUniformInt: they count for nothing here
            feeds[tensor] = np.array(2 * bound, tensor.dtype.as_numpy_dtype)
        redraw_kernel_ops.draw(self._fetchable(op), total, self._ask_session, feeds)

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
            self._ask_session(self._op(maker))
        except (TypeError, self._v1.errors.OpError):  # it is gone, or fed, with what only the script knows
            self._because([_NOT_SO_FAR.format(handle, maker)])
            return False
        return True

    def _drop(self, handle: Any, count: int) -> None:
        readers = [op for output in handle.outputs for op in output.consumers() if op.type in GET_NEXT]
        for _ in range(count if readers else 0):
            self._ask_session(readers[0])


def _is_stored(dtype: np.dtype) -> bool:
    """Whether a resume can make arrays of this kind here: not those that only TensorFlow 1 itself knows."""
    return dtype.isbuiltin == 1 or importlib.util.find_spec("ml_dtypes") is not None


def _seeds(op: Any) -> List[Any]:
    return [op.type, int(op.get_attr("seed")), int(op.get_attr("seed2"))]
