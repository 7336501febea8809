"""What a loop of the script's own leads to: its frames, its first model, the data it follows; what is not known."""

import gc
import itertools
import weakref
from types import FrameType, MethodType
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from keras_session_ext.backend.contracts.session_access import SessionState
from keras_session_ext.backend.feeds.followed_data import Data
from keras_session_ext.backend.hooks import frame_scopes
from keras_session_ext.errors import ConfigError, UnsupportedBackend
from keras_session_ext.run.loop_feed import Level, LoopFeed
from keras_session_ext.run.loop_iterator import LoopIterator
from keras_session_ext.run.session import Session
from keras_session_ext.state import (
    iteration_starts,
    loop_tensors,
    plain_values,
    shared_objects,
    unseen,
    walk_objects,
)
from keras_session_ext.state.columns import FROM, Columns
from keras_session_ext.state.live_names import Found, models_in
from keras_session_ext.state.loop_view import LoopView

_UNFOLLOWED = ("{0} draws a new order each time it is read, and is read outside of a level; write "
               "loop.batches({0})")
_OPAQUE = "{} ({}) cannot be captured; keep plain values, or offer get_state and set_state"
#: what takes items of a level beside or ahead of the loop: all of itertools but `chain`
_HIDES = frozenset(["zip", "map", "filter", *(name for name in dir(itertools) if name != "chain")])
_LARGE_BYTES = 1 << 30  # of variables: from here on it is told what a save costs
_COSTS = ("Session: each save holds {:.1f} GiB of the loop's variables, of which {} has {:.1f} GiB. Training waits "
          "while they are copied: save by time, such as save=kse.EverySeconds(900)")
_NOT_LOOKED = "variables are not looked at (watch=False), and what state= does not name begins anew"


class LoopWatch:
    """Looks at the variables of one `SessionLoop`.

    Args:
        session: of the run.
        model: whose weights plain Keras is to find; None: the first one that is found.
        named: what the script names itself.
        watch: whether variables are looked at.
        stateless: on JAX the variable that holds the state of the model; None: it is found by its shapes.
        given: the session of TensorFlow 1 that the script names, or None.

    Attributes:
        model: as given.
        iterators: of `loop.iterator`, by name.
        known: id of what is iterated over -> its data.
        checked: places of loops that were looked at.
    """

    def __init__(self, session: Session, model: Any, named: Dict[str, Any], watch: bool, stateless: Optional[str],
                 given: Any):
        self._session = session
        self._given = given
        self._session_state: Optional[SessionState] = None
        self.model = model
        self._named, self._watch, self._stateless = named, watch, stateless
        self._feed: Optional[LoopFeed] = None
        self.iterators: Dict[str, LoopIterator] = {}
        self._begun: Optional[unseen.Begun] = None
        self._script: Dict[str, Any] = {}
        self.known: Dict[int, Data] = {}
        self.checked: set = set()
        self._has_told_size = False

    def data_of(self, source: Any) -> Data:
        """What is followed of an object: the same for the same object."""
        if id(source) not in self.known:
            self.known[id(source)] = Data(source)
        return self.known[id(source)]

    def begin(self, feed: LoopFeed) -> LoopView:
        """A stage begins: what its variables lead to, as the state kinds see it."""
        self._feed = feed
        feed.told = self.why_not_exact
        view = LoopView(self._session.run, self.scopes, self._named, self._ours)
        view.session = self._session_state
        return view

    def follow_session(self, found: List[FrameType]) -> None:
        """Follows the session of TensorFlow 1 that the loop runs, where there is one."""
        values = [value for scope in self._scopes_of(found) for value in scope.values.values()]
        values += [one for value in values if walk_objects.is_helper(value) for one in vars(value).values()]
        self._session_state = self._session.family.follow_session(self._given, values)
        if self._session_state is not None:
            self._session_state.is_open = lambda: self._feed is not None and bool(self._feed.levels)

    def remember(self, found: Found) -> None:
        """A loop begins: how the script has made its variables, beside their values; the first one tells."""
        if self._begun is None:
            self._begun = unseen.begin(self._now(found, self._session.run.loop.walk()))
        self._session.run.loop.things = self._begun.things
        self._script = self._plain()

    def _now(self, found: Found, walked: shared_objects.Walked) -> unseen.Now:
        return unseen.Now(found, self.scopes(), walked, self._session.family.engine, self._trainers(found),
                          self._is_remade)

    def _trainers(self, found: Found) -> Dict[Any, Any]:
        """What models were compiled with, by the model and what it is: (its name now, it)."""
        run = self._session.run
        made: Dict[Any, Any] = {}
        for name, model in [*((name, run.model) for name in found.first[:1]), *found.models.items()]:
            made[id(model), "loss"] = name + ".loss", getattr(model, "loss", None)
            for number, one in enumerate(run.family.optimizers(model)):
                made[id(model), number] = name + ".optimizer", one
        return made

    def bound(self) -> Dict[str, Any]:
        """What variables lead to now, as far as it matters who has made it: name -> a reference."""
        return {scope.prefix + name: _reference(value) for scope in self.scopes() for name, value in
                scope.values.items() if shared_objects.is_thing(value) or hasattr(type(value), "dtype")}

    def _is_remade(self, path: str, value: Any) -> bool:
        """Whether the body in front of an inner loop has made it in this iteration: it will again on the way back."""
        levels = self._feed.levels if self._feed is not None else []
        if len(levels) < 2 or levels[0].begun is None or levels[-1].bound is None:
            return False
        now, then = levels[-1].bound, levels[0].begun
        roots = [path.rsplit(".", count)[0] for count in range(path.count(".") + 1)]
        root = next((one for one in roots if one in now), None)
        if root is None:
            return False
        made = now[root]()
        is_it = root != path or shared_objects.is_same(made, value)
        return is_it and not (root in then and shared_objects.is_same(then[root](), made))

    def first_model(self, found: List[FrameType]) -> Any:
        """The model that plain Keras is to find in the file; one without layers where there is none."""
        if self.model is not None:
            self._check(self.model)
            return self.model
        family = self._session.family
        models = models_in(family, self._scopes_of(found), self._named)
        for one in models:
            self._check(one)
        return models[0] if models else family.no_model()

    def _check(self, model: Any) -> None:
        family = self._session.family
        family.check_fit(model)
        if family.engine.replicas(model) > 1:
            raise UnsupportedBackend(
                "SessionLoop does not follow several replicas of a strategy yet: what each of them has for itself "
                "would begin anew. Train by fit with a SessionCheckpoint, or on one device.")

    def scopes(self) -> List[Any]:
        """The live variables of now."""
        levels = self._feed.levels if self._feed is not None else []
        if not levels:
            return []
        found = frame_scopes.frames_between(levels[0].frames[-1], levels[-1].frame)
        return self._scopes_of(found + [frame for level in levels for frame in reversed(level.frames)])

    def _scopes_of(self, found: List[FrameType]) -> List[Any]:
        if not self._watch:
            return []
        return frame_scopes.scopes([one for number, one in enumerate(found) if one not in found[:number]])

    def begun_with(self) -> Dict[str, Any]:
        """What an iteration begins with, for `begin_again`."""
        values, same = iteration_starts.changed(self._plain(), self._script)
        return {"own": plain_values.copy(iteration_starts.generators(self.scopes())), "values": values, "script": same}

    def _plain(self) -> Dict[str, Any]:
        return iteration_starts.take(self.scopes(), self._named, self._session.family)

    def begin_again(self, begun: Dict[str, Any]) -> None:
        """Gives variables what the iteration began with: the body in front of its inner loop runs once more."""
        script = {name: self._script[name] for name in begun["script"] if name in self._script}
        iteration_starts.put({**script, **begun["values"]}, self.scopes(), self._named, self._session.family)
        iteration_starts.set_generators(begun["own"], self.scopes())

    def is_bound_outside(self, source: Any) -> bool:
        """Whether a variable holds it that was bound before the innermost level: it goes on there."""
        outer = self._feed.levels[:-1] if self._feed is not None else []
        return any(value is source for scope in self._scopes_of([frame for level in outer for frame in level.frames])
                   for value in scope.values.values()) if outer else False

    def is_held(self, level: Level) -> bool:
        """Whether anything of the script's holds what a level reads: it may have been read before."""
        source = level.data.source
        variables = [value for frame in level.frames for value in [*frame.f_locals.values(), *frame.f_globals.values()]]
        return any(value is source for value in variables) or any(
            one is not variables and not _is_ours(one) for one in gc.get_referrers(source))

    def check_wrapped(self, iterator: Any, level: Level) -> None:
        """Refuses what counts or cuts the items of a level behind its back; looked for once at each place.

        Raises:
            ConfigError: it says what to write.
        """
        place = (level.frame.f_code, level.frame.f_lasti)
        if place not in self.checked:
            self.checked.add(place)
            check_wrapped(iterator, level)

    def _ours(self) -> List[Any]:
        """Objects that are followed, and so are no state of the script's."""
        assert self._feed is not None
        followed = [level.data for level in self._feed.levels] + list(self._feed.read.values())
        return [data.source for data in followed if data.is_iterator] + [self._session]

    def why_not_exact(self) -> List[str]:
        """What is known against a resume from here; asked at a save, before anything is captured."""
        run, feed = self._session.run, self._feed
        assert feed is not None
        found = run.loop.look(keep=True)
        followed = {id(one.data.source) for one in self.iterators.values()} | {
            id(data.source) for data in feed.read.values()}
        self._tell_size(found)
        if run.progress.step:
            self.sync()
        reasons = [_OPAQUE.format(*one) for one in found.opaque] + ([] if self._watch else [_NOT_LOOKED])
        if self._begun is not None:
            reasons += unseen.why_not_exact(self._begun, self._now(found, run.loop.walk(keep=True)))
        reasons += loop_tensors.why_not_exact(found, run)
        reasons += [] if self._session_state is None else self._session_state.reasons
        for name, value in found.iterated.items():
            if id(value) not in followed and name not in found.owns and self.data_of(value).hidden_order():
                reasons.append(_UNFOLLOWED.format(name))
        return reasons

    def _tell_size(self, found: Found) -> None:
        """Says once what a save costs, where that is much."""
        if not self._has_told_size:
            sizes = {name: size_bytes(held.packed.value) for name, held in found.values.items()}
            if sum(sizes.values()) >= _LARGE_BYTES:
                self._has_told_size = True
                largest = max(sizes, key=lambda name: sizes[name])
                self._session.tell(_COSTS.format(sum(sizes.values()) / 2 ** 30, largest, sizes[largest] / 2 ** 30))

    # -- JAX's stateless loops

    def sync(self) -> None:
        """Gives the model the weights that the loop has in a variable of its own."""
        run = self._session.run
        if run.family.engine.name != "jax" or not run.model.variables:
            return
        held = self._stateless_value(run.loop.look(keep=True))
        if held is None:
            return
        parts = [(run.model.trainable_variables, held[0]), (run.model.non_trainable_variables, held[1])]
        for variables, values in parts:
            run.family.engine.assign(list(variables), [np.array(value) for value in values])

    def _stateless_value(self, found: Found) -> Any:
        if self._stateless is not None:
            names = [name for name in found.values if name.split(".")[-1] == self._stateless]
            if not names:
                raise ConfigError("SessionLoop(stateless={!r}): the loop reads no variable of this name.".format(
                    self._stateless))
            return found.values[names[0]].live
        for held in found.values.values():
            if self._fits(held.live):
                return held.live
        return None

    def _fits(self, value: Any) -> bool:
        model = self._session.run.model
        return isinstance(value, (tuple, list)) and len(value) >= 2 and all(
            isinstance(part, (tuple, list)) and list(map(np.shape, part)) == [tuple(one.shape) for one in variables]
            for part, variables in zip(value, (model.trainable_variables, model.non_trainable_variables)))


def size_bytes(value: Any) -> int:
    """The size of the arrays in a packed value, as far as it is seen at a glance.

    Examples:
        >>> size_bytes({"a": [np.zeros(4), 1]})
        32
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return int(value.nbytes)
    if isinstance(value, Columns):
        return sum(array.nbytes for array in value.arrays)
    if isinstance(value, (list, tuple, dict)) and len(value) < FROM:
        return sum(map(size_bytes, value.values() if isinstance(value, dict) else value))
    return 0


def _reference(value: Any) -> Callable[[], Any]:
    """A weak one, where there is such: arrays are large."""
    try:
        return weakref.ref(value) if not isinstance(value, MethodType) else lambda: value
    except TypeError:
        return lambda: value


def _is_ours(holder: Any) -> bool:
    """Whether it is a running function, or what this package follows data by: an object of it, or its dictionary."""
    within = holder.values() if isinstance(holder, dict) else [holder]
    return isinstance(holder, FrameType) or any(
        type(one).__module__.startswith(__package__.split(".")[0]) for one in within)


def check_wrapped(iterator: Any, level: Level) -> None:
    """Refuses what counts or cuts the items of a level behind its back.

    Raises:
        ConfigError: it says what to write.
    """
    holders = [type(one).__name__ for one in gc.get_referrers(iterator)]
    around = [one for held in gc.get_referrers(iterator) if type(held) is tuple for one in gc.get_referrers(held)]
    for name in holders + [type(one).__name__ for one in around]:
        if name == "enumerate":
            raise ConfigError("enumerate(loop.{0}(…)) begins to count anew after a resume. Write loop.enumerate(…) "
                              "instead.".format(level.word))
        if name in _HIDES:
            raise ConfigError("{0}(loop.{1}(…)) hides where the loop stands. Write the loop around loop.{1}(…) itself, "
                              "and leave it by `break`.".format(name, level.word))
    if not frame_scopes.is_followed(level.frame):
        raise ConfigError("loop.{}(…) stands in the body of a class, or in code that was executed with variables of "
                          "its own, which cannot be followed. Write it in a module or a function.".format(level.word))
    if not frame_scopes.is_loop(level.frame):
        raise ConfigError("loop.{0}(…) is read by no `for` of the script. Write `for item in loop.{0}(…)`, or "
                          "loop.iterator(…) for next().".format(level.word))
