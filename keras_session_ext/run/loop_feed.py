"""Where a loop of the script's own stands: its open levels, and the data that they iterate over.

A *level* is one `for` around `loop.epochs`, `loop.batches` or `loop.enumerate`.
"""

from types import FrameType
from typing import Any, Dict, List, Optional, Set

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.contracts.feed import Feed
from keras_session_ext.backend.feeds.followed_data import Data, Pass
from keras_session_ext.backend.hooks import frame_scopes
from keras_session_ext.errors import ConfigError

NO_ITERATION = "an inner loop began for the first time in a later iteration of {}; let it begin in the first one"


PASSED = ("loops that are over are not made again, and what they have read of datasets and iterators stands at its "
          "beginning; give each loop data of its own")
ITERATOR_WITHIN = ("loop.iterator(…) is called within a loop: which one goes on where cannot be told. Make it before "
                   "the loop, or write a loop over the data.")
#: what gives the same items to everyone who reads it
_CONSTANT = ("range", "list", "tuple", "ndarray", "count", "str")


def check_logs(metrics: Dict[str, Any]) -> None:
    """Refuses what no view can show.

    Raises:
        ConfigError: it is no number.
    """
    for name, value in metrics.items():
        if isinstance(value, (str, bytes, dict, set)) or callable(value):
            raise ConfigError("Invalid value for argument `{}` of loop.log. Expected a number, or a tensor with few. "
                              "Received: {!r}".format(name, value))


class Level:
    """One open loop.

    Args:
        word: how the script has called it: "epochs", "batches".
        frames: where the `for` stands, and behind a generator whoever asks that for items, up to a frame that stays on
            the stack.
        data: what it iterates over.

    Attributes:
        name: the same in every process.
        index: finished iterations.
        steps: of the run, when the running iteration began.
        running: whether an iteration runs.
        pass_: the iterator.
        start, iteration: random states at the start of the pass, and of the running iteration, where it is known.
        made: how many iterators were made over the data before.
        has_inner: whether a loop was opened within an iteration.
        has_begun: whether the session was told of its epoch.
        content: a checksum of what it iterates over, where that can be seen.
        inner_done: whether one within the running iteration is over.
        bound, begun: what variables led to when it opened, and when its running iteration began, where it matters.
        saves: whether a snapshot may be taken within it.
    """

    def __init__(self, word: str, frames: List[FrameType], data: Data):
        self.name = "loop.{} (loop {})".format(word, frame_scopes.place_of(frames))
        self.word, self.frames, self.data = word, frames, data
        self.index = self.steps = self.made = 0
        self.running = self.has_inner = self.inner_done = self.has_begun = False
        self.saves = True
        self.bound: Optional[Dict[str, Any]] = None
        self.begun: Optional[Dict[str, Any]] = None
        self.content = data.content()
        self.pass_: Optional[Pass] = None
        self.start: Dict[str, Any] = {}
        self.iteration: Optional[Dict[str, Any]] = None

    @property
    def frame(self) -> FrameType:
        """Where the `for` stands."""
        return self.frames[0]

    def is_like(self, content: str) -> bool:
        """Whether it iterates over what it did at a checkpoint; there may be more epochs."""
        return content == self.content or (self.word == "epochs" and self.data.kind == "range")

    def state(self) -> Dict[str, Any]:
        """Where it stands, as a plain value."""
        made = self.pass_
        assert made is not None
        return {"name": self.name, "index": self.index, "before": made.before, "made": self.made, "start": self.start,
                "iteration": self.iteration if self.running else None, "chain": made.chain(made.index),
                "drawn": made.index, "content": self.content, "generators": made.generators}


class LoopFeed(Feed):
    """The levels of one outermost loop, as the state kinds see data.

    Args:
        family: the adapter of the Keras in use.

    Attributes:
        levels: the open ones, the outermost first.
        read: name of a level -> what it iterated over last.
        steps: finished iterations of innermost loops in the running epoch.
        told: what else is known against an exact resume: asked at a save.
        stored: the position of the checkpoint, as long as the loop has not come there.
    """

    source = "loop"

    def __init__(self, family: Family):
        self._family = family
        self.levels: List[Level] = []
        self.read: Dict[str, Data] = {}
        self.iterators_of_loop: Dict[str, Any] = {}
        self.steps = 0
        self.told: Any = lambda: []
        self.stored: Optional[Dict[str, Any]] = None

    def moved(self) -> Set[str]:
        """The kinds of data that the loops of the checkpoint have read, and which stand elsewhere since."""
        return {one["kind"] for one in (self.stored or {}).get("read", {}).values() if one["kind"] not in _CONSTANT}

    # -- as the state kinds see it

    @property
    def dataset(self) -> Any:
        return None

    @property
    def user_source(self) -> Any:
        return None

    @property
    def persistent(self) -> bool:
        return False

    @property
    def begins_pass(self) -> bool:
        return False

    def in_pass(self, at_epoch_end: bool) -> bool:
        return False

    def describe(self) -> Dict[str, Any]:
        return dict({"source": self.source, "steps_per_execution": 1}, **dict.fromkeys(
            ("batch_size", "samples", "batches", "steps_per_epoch", "shuffle")))

    def why_not_exact(self) -> List[str]:
        reasons: List[str] = []
        for data in self.read.values():
            reasons += data.why_not_exact()
        for level in self.levels[:-1]:
            if level.running and level.iteration is None:
                reasons.append(NO_ITERATION.format(level.name))
        return reasons + list(self.told())

    def batches_done(self, stopped: bool) -> int:
        return self.steps

    def capture(self, at_epoch_end: bool = False) -> Dict[str, Any]:
        return {"passes": 0, "consumed": 0, "open": False, "order": None, "iterators": 0,
                "levels": [level.state() for level in self.levels],
                "read": {name: data.state() for name, data in self.read.items()},
                "iterators_of_loop": {name: one.state() for name, one in self.iterators_of_loop.items()}}

    @property
    def iterators(self) -> int:
        return 0

    @property
    def unread(self) -> int:
        return 0

    def resume(self, state: Dict[str, Any], batch: int, epoch_over: bool = False, stopped: bool = False) -> None:
        self.stored = state
        self.steps = batch

    @property
    def resuming(self) -> bool:
        return self.stored is not None

    @property
    def replays(self) -> int:
        return sum(level["index"] for level in self.stored["levels"][1:]) if self.stored is not None else 0

    def advance(self, iterators: int, unread: int = 0) -> None:
        """Each level has its own count."""
