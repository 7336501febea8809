"""A tap on a Python data source: what it yielded, and which random states it drew from.

Sources may run ahead of training (prefetch, worker queues), so everything is
kept by position. Used for generators, `PyDataset` and torch `DataLoader`, whose
batches pass through Python; replayed batches are compared by their checksums.
"""

from collections import OrderedDict
from typing import Any, Callable, Dict, Iterator, Optional, Set, TypeVar

import numpy as np
import xxhash

from keras_session_ext.backend.randomness import host_random

_Value = TypeVar("_Value")
_REMEMBERED = 1024  # positions; prefetch queues hold a few dozen batches at most


def digest(batch: Any) -> str:
    """A checksum over every array of a batch."""
    state = xxhash.xxh3_64()
    _update(state, batch)
    return state.hexdigest()


def _update(state: xxhash.xxh3_64, value: Any) -> None:
    if isinstance(value, dict):
        for key in sorted(value, key=repr):
            state.update(repr(key).encode())
            _update(state, value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            _update(state, item)
    elif value is not None:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
        array = np.ascontiguousarray(value)
        state.update("{} {}".format(array.dtype, array.shape).encode())
        if array.dtype.kind in "OUS":
            state.update(repr(array.tolist()).encode())
        else:
            data: Any = array.reshape(-1).view(np.uint8)
            state.update(data)


class Tap:
    """Follows one source over its passes.

    Attributes:
        draws: host random states that changed while the source made a batch.
        between: those that changed in between, by training or by the source's own threads.
    """

    def __init__(self) -> None:
        self.draws: Set[str] = set()
        self.between: Set[str] = set()
        self._get_state: Optional[Callable[[], Any]] = None
        self.begin_pass()

    def begin_pass(self, start: int = 0, chain: str = "") -> None:
        """A new iterator of the source begins at batch `start` of its pass."""
        self._chain: "OrderedDict[int, str]" = OrderedDict([(start, chain)])
        self._states: "OrderedDict[int, Any]" = OrderedDict()
        self._made = start

    def wrap(self, iterator: Iterator, get_state: Optional[Callable[[], Any]] = None) -> Iterator:
        """The same batches, followed."""
        self._get_state = get_state
        left: Dict[str, Any] = {}
        while True:
            before = host_random.host_states()
            self.between |= _changed(left, before)
            if get_state is not None:
                self._remember(self._states, self._made, get_state())
            try:
                batch = next(iterator)
            except StopIteration:
                return
            left = host_random.host_states()
            self.draws |= _changed(before, left)
            chain = xxhash.xxh3_64_hexdigest((self._chain[self._made] + digest(batch)).encode())
            self._made += 1
            self._remember(self._chain, self._made, chain)
            yield batch

    @staticmethod
    def _remember(table: "OrderedDict[int, _Value]", index: int, value: _Value) -> None:
        table[index] = value
        while len(table) > _REMEMBERED:
            table.popitem(last=False)

    @property
    def shared(self) -> Set[str]:
        """Host random states that the source is not alone with."""
        return self.draws & self.between

    def chain(self, index: int) -> Optional[str]:
        """The checksum over the first `index` batches of the pass, or None if it is forgotten."""
        return self._chain.get(index)

    def source_state(self, index: int) -> Any:
        """The source's own state after `index` batches, where it offers one."""
        if index in self._states:
            return self._states[index]
        return self._get_state() if self._get_state is not None and index == self._made else None

    def state(self) -> Dict[str, Any]:
        """What a resumed process goes on with."""
        return {"draws": sorted(self.draws), "between": sorted(self.between)}

    def set_state(self, state: Dict[str, Any]) -> None:
        """Takes what `state` returned."""
        self.draws |= set(state["draws"])
        self.between |= set(state["between"])


def _changed(one: Dict[str, Any], other: Dict[str, Any]) -> Set[str]:
    return {name for name in one if name in other and not host_random.same(one[name], other[name])}
