"""A tap on a Python data source: what it yielded, and which random states it drew from.

Sources may run ahead of training (prefetch, worker queues), so everything is
kept by position. Used for generators, `PyDataset` and torch `DataLoader`, whose
batches pass through Python; replayed batches are compared by their checksums.
"""

from collections import OrderedDict
from typing import Any, Callable, Dict, Iterator, Set

import numpy as np
import xxhash

from keras_session_ext.backend import random as host_random

_REMEMBERED = 1024  # positions; prefetch queues hold a few dozen batches at most


def digest(batch: Any) -> str:
    """A checksum over every array of a batch."""
    state = xxhash.xxh3_64()
    _update(state, batch)
    return state.hexdigest()


def _update(state, value):
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
            state.update(array.reshape(-1).view(np.uint8))


class Tap:
    """Follows one source over its passes.

    Attributes:
        draws: host random states the source drew from.
        shared: those of them that something else drew from in between.
    """

    def __init__(self):
        self.draws: Set[str] = set()
        self.shared: Set[str] = set()
        self._chain: "OrderedDict[int, str]" = OrderedDict()
        self._states: "OrderedDict[int, Any]" = OrderedDict()

    def begin_pass(self, start: int = 0, chain: str = "") -> None:
        """A new iterator of the source begins at batch `start` of its pass."""
        self._chain = OrderedDict([(start, chain)])
        self._states = OrderedDict()

    def wrap(self, iterator: Iterator, get_state: Callable[[], Any] = None) -> Iterator:
        """The same batches, followed."""
        start = next(reversed(self._chain))
        left = None
        index = start
        while True:
            before = host_random.host_states()
            if left is not None:
                self.shared |= {name for name in before if name in left and not host_random.same(before[name], left[name])}
            if get_state is not None:
                self._remember(self._states, index, get_state())
            try:
                batch = next(iterator)
            except StopIteration:
                return
            left = host_random.host_states()
            self.draws |= {name for name in left if name in before and not host_random.same(before[name], left[name])}
            index += 1
            previous = self._chain[index - 1]
            self._remember(self._chain, index, xxhash.xxh3_64_hexdigest((previous + digest(batch)).encode()))
            yield batch

    @staticmethod
    def _remember(table, index, value):
        table[index] = value
        while len(table) > _REMEMBERED:
            table.popitem(last=False)

    def chain(self, index: int):
        """The checksum over the first `index` batches of the pass, or None if it is forgotten."""
        return self._chain.get(index)

    def source_state(self, index: int):
        """The source's own state after `index` batches, where it offers one."""
        return self._states.get(index)

    def state(self) -> Dict[str, Any]:
        return {"draws": sorted(self.draws), "shared": sorted(self.shared & self.draws)}

    def set_state(self, state: Dict[str, Any]) -> None:
        self.draws |= set(state["draws"])
        self.shared |= set(state["shared"])
