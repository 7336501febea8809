"""What a loop of the script's own iterates over: how many items are behind, and how to get there again."""

import gc
import itertools
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

from keras_session_ext.backend.feeds import walk_tf_dataset
from keras_session_ext.backend.feeds.batch_tap import Tap, digest
from keras_session_ext.backend.feeds.shared_feed import drop
from keras_session_ext.backend.feeds.torch_loader import TappedLoader
from keras_session_ext.errors import ConfigError

_SEQUENCES = (list, tuple, np.ndarray, str)
_WRAPPERS = (zip, map, filter, itertools.islice)
_LARGE_BYTES = 1 << 26
_BESIDE = ("a dataset that draws a new order each time is read by a level, and outside of one, too; write loop.batches "
           "around each of them")


def is_followed(value: Any) -> bool:
    """Whether it is a dataset or a loader, whose order a loop has to follow."""
    return _is_dataset(value) or _is_loader(value)


def _is_dataset(value: Any) -> bool:
    return hasattr(value, "element_spec") and hasattr(type(value), "_inputs")


def _is_loader(value: Any) -> bool:
    return any(base.__name__ == "DataLoader" and base.__module__.startswith("torch.") for base in type(value).__mro__)


def own_state(value: Any) -> Optional[Tuple[Callable[[], Any], Callable[[Any], None]]]:
    """Functions that get and set the states of a loader's own generators; None where it has none."""
    loader = TappedLoader(value, Tap()) if _is_loader(value) else None
    return None if loader is None or not loader.generators() else (loader.generators, loader.set_generators)


def check(source: Any, word: str) -> None:
    """Refuses what hides the data that it reads.

    Args:
        source: what the loop was given.
        word: how the loop is called.

    Raises:
        ConfigError: it says what to write.
    """
    if isinstance(source, enumerate):
        raise ConfigError("loop.{0}(enumerate(data)) hides the data whose place is to be followed. Write "
                          "loop.enumerate(data).".format(word))
    if isinstance(source, _WRAPPERS):
        parts = [one for held in gc.get_referents(source) for one in (held if isinstance(held, tuple) else [held])]
        hidden = [one for one in parts if hasattr(type(one), "__next__") and type(one).__module__ not in (
            "builtins", "itertools")]
        if hidden:
            raise ConfigError("loop.{}({}(…)) hides a {}, whose place is to be followed. Give the data itself to "
                              "loop.{}, and do the rest within the loop.".format(
                                  word, type(source).__name__, type(hidden[0]).__name__, word))
    if getattr(source, "shape", None) == () or not (hasattr(source, "__iter__") or hasattr(source, "__getitem__")):
        raise ConfigError("Invalid value for argument `source` of loop.{}. Expected a number or something to iterate "
                          "over. Received: {!r}".format(word, source))


_iterators: Dict[int, int] = {}  # id of a dataset that is followed -> how many iterators were made over it


def _count_iterators(dataset: Any) -> None:
    """Lets every iterator over a dataset be counted, those of the script's plain loops and of Keras, too."""
    _iterators[id(dataset)] = 0
    kind: Any = next(base for base in type(dataset).__mro__ if "__iter__" in vars(base))
    original = vars(kind)["__iter__"]
    if hasattr(original, "counts"):
        return

    def counted(self: Any) -> Iterator[Any]:
        if id(self) in _iterators:
            _iterators[id(self)] += 1
        made: Iterator[Any] = original(self)
        return made

    counted.counts = True  # type: ignore[attr-defined]
    kind.__iter__ = counted


class Data:
    """One object that loops iterate over.

    Args:
        source: the object.

    Attributes:
        source: the object.
        kind: what it is, for messages.
        drawn: how many items were drawn from it, over all of them.
        followed: how many of its iterators are known of.
    """

    def __init__(self, source: Any):
        self.source = source
        self.drawn = self.followed = 0
        self._pipeline: Optional[walk_tf_dataset.Pipeline] = None
        self.kind = "tf.data.Dataset" if _is_dataset(source) else "DataLoader" if _is_loader(source) else type(
            source).__name__
        if self.kind == "tf.data.Dataset":
            _count_iterators(source)

    @property
    def made(self) -> int:
        """How many iterators were made over it, where that matters."""
        return _iterators[id(self.source)] if self.kind == "tf.data.Dataset" else 0

    @property
    def is_iterator(self) -> bool:
        """Whether it can be iterated over once only."""
        return hasattr(type(self.source), "__next__")

    def _look(self) -> Optional[walk_tf_dataset.Pipeline]:
        if self._pipeline is None and self.kind == "tf.data.Dataset":
            self._pipeline = walk_tf_dataset.Pipeline(self.source)
        return self._pipeline

    def why_not_exact(self) -> List[str]:
        """Reasons why its items may be others when they are drawn again."""
        pipeline = self._look()
        if pipeline is None:
            return []
        beside = self.made != self.followed and walk_tf_dataset.reshuffles(self.source)
        return pipeline.why_not_exact() + [_BESIDE] * beside

    def content(self) -> str:
        """A checksum of the data in it, where they can be seen; else an empty text."""
        pipeline = self._look()
        if pipeline is not None:
            return pipeline.content
        if isinstance(self.source, range):
            return repr(self.source)
        large = isinstance(self.source, np.ndarray) and self.source.nbytes > _LARGE_BYTES
        if large or not isinstance(self.source, _SEQUENCES):
            return ""
        try:
            return digest([np.asarray(self.source)] if isinstance(self.source, (str, np.ndarray)) else self.source)
        except (TypeError, ValueError):  # of objects of the script
            return ""

    def state(self) -> Dict[str, Any]:
        """Where it stands, as a plain value."""
        return {"kind": self.kind, "made": self.made, "drawn": self.drawn, "generators": self._generators()}

    def _generators(self) -> List[np.ndarray]:
        return TappedLoader(self.source, Tap()).generators() if self.kind == "DataLoader" else []

    def advance(self, made: int) -> None:
        """Makes the next iterator the one after so many others."""
        if self.kind == "tf.data.Dataset" and made > self.made:
            walk_tf_dataset.advance(self.source, made - self.made)
            _iterators[id(self.source)] = self.followed = made

    def set_generators(self, states: List[np.ndarray]) -> None:
        """Gives a loader's own generators their states."""
        if self.kind == "DataLoader" and states:
            TappedLoader(self.source, Tap()).set_generators(states)

    def hidden_order(self) -> bool:
        """Whether each iterator over it draws a new order from a state of its own."""
        return walk_tf_dataset.reshuffles(self.source) or bool(self._generators())


class Pass:
    """One iterator over data.

    Args:
        data: over what.

    Attributes:
        generators: what a loader's own generators were at its start.
        index: items drawn.
    """

    def __init__(self, data: Data):
        self.data = data
        self.index = 0
        self.generators = data.state()["generators"]
        self.before = data.drawn
        data.followed += 1
        iterator = iter(data.source)
        self._tap: Optional[Tap] = None
        if data.kind != "tf.data.Dataset" and not isinstance(data.source, (range, itertools.count, *_SEQUENCES)):
            self._tap = Tap()
            iterator = self._tap.wrap(iterator)
        self._iterator: Iterator[Any] = iterator

    def draw(self) -> Any:
        """The next item.

        Raises:
            StopIteration: there is none.
        """
        item = next(self._iterator)
        self.index += 1
        self.data.drawn += 1
        return item

    def drop(self, count: int) -> None:
        """Draws items that the loop has had, and drops them.

        Raises:
            StateMismatch: the data end before.
        """
        drop(self.draw, count)

    def chain(self, index: int) -> Optional[str]:
        """A checksum of the first `index` items; None where that is not known, or not needed."""
        return None if self._tap is None else self._tap.chain(index)
