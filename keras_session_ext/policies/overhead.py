"""Saves as often as a share of the training time allows, by what they are measured to cost.

After CheckFreq (Mohan, Phanishayee and Chidambaram, FAST 2021), which tunes the distance of checkpoints to a bound.
"""

import collections
import statistics
import time
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, Union

from keras_session_ext.arguments import duration
from keras_session_ext.errors import ConfigError
from keras_session_ext.policies.save import SavePolicy
from keras_session_ext.progress import Progress

#: steps that tell how long one takes where no save goes on
_KNOWN_STEPS, _FEWEST_STEPS = 64, 8
#: saves of which the median is what the next one will cost
_KNOWN_SAVES = 5
#: before anything was measured
_FIRST_SECONDS = 10.0


class Overhead(SavePolicy):
    """Saves as often as a share of the training time allows.

    What a save costs is measured while training goes on: how much longer the steps take, from the one that
    waits for it to the last one beside which it is written, than steps do where no save goes on.

    Args:
        share: of the time of training that saves may cost, above 0 and below 1.
        lose_at_most_seconds: saves at least that often, whatever it costs; a number, or a duration such as "5m".
        clock: the time source, in seconds; for tests.

    Raises:
        ConfigError: a value out of its range.

    Examples:
        >>> Overhead(share=0.02) | Overhead(lose_at_most_seconds=60)
        Overhead(share=0.02, lose_at_most_seconds=300) | Overhead(share=0.01, lose_at_most_seconds=60)
    """

    def __init__(self, share: float = 0.01, lose_at_most_seconds: Union[float, str] = 300,
                 clock: Callable[[], float] = time.monotonic):
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
            raise ConfigError("Invalid value for argument `share`. Expected a number above 0 and below 1, such as 0.01 "
                              "for one percent. Received: {!r}".format(share))
        self.share = share
        self.lose_at_most_seconds = duration("lose_at_most_seconds", lose_at_most_seconds)
        self._clock = clock
        self._usual: Deque[float] = collections.deque(maxlen=_KNOWN_STEPS)
        self._costs: Deque[float] = collections.deque(maxlen=_KNOWN_SAVES)
        self._before: Optional[Tuple[Progress, float]] = None  # the step asked about last, and when
        self._saved_at = clock()
        self._lasted = 0.0  # how long the last save took until it was durable
        self._going: List[float] = []  # how long the steps took beside the save that goes on
        self._is_going = self._is_over = False

    def begin(self, progress: Progress) -> None:
        self._saved_at, self._before = self._clock(), None
        self._going, self._is_going, self._is_over = [], False, False

    def __call__(self, progress: Progress, logs: Dict[str, Any]) -> bool:
        now = self._clock()
        self._measure(progress, now)
        self._before = progress, now
        return not self._is_going and now - self._saved_at >= self.distance_seconds

    def _measure(self, progress: Progress, now: float) -> None:
        if self._before is None:
            return
        before, then = self._before
        if (progress.stage, progress.epoch) == (before.stage, before.epoch) and progress.batch > before.batch:
            (self._going if self._is_going else self._usual).append((now - then) / (progress.batch - before.batch))
        if self._is_over:
            if len(self._usual) >= _FEWEST_STEPS:
                usual = statistics.median(self._usual)
                self._costs.append(max(0.0, sum(self._going) - usual * len(self._going)))
            self._going, self._is_going, self._is_over = [], False, False

    def save_begins(self) -> None:
        self._saved_at = self._clock()
        self._is_going, self._is_over = True, False

    def save_ends(self) -> None:
        if self._is_going:
            self._lasted = self._clock() - self._saved_at
            self._is_over = True  # the step that is made now was slowed down, too

    @property
    def cost_seconds(self) -> Optional[float]:
        """What a save costs, as far as it was measured."""
        return statistics.median(self._costs) if self._costs else None

    @property
    def distance_seconds(self) -> float:
        """How long after one save the next one is due."""
        cost = self.cost_seconds
        if cost is None:
            return min(_FIRST_SECONDS, self.lose_at_most_seconds)
        # no save is to wait for the one before
        return min(max(cost / self.share, 2 * self._lasted), self.lose_at_most_seconds)

    @property
    def reason(self) -> str:
        if self.cost_seconds is None:
            return repr(self) + ": the first, to see what it costs"
        return "{!r}: one costs {:.0f} ms, so one every {:.3g} s".format(
            self, 1e3 * self.cost_seconds, self.distance_seconds)

    def get_state(self) -> Dict[str, Any]:
        return {"costs": list(self._costs), "lasted": self._lasted}

    def set_state(self, state: Dict[str, Any]) -> None:
        self._costs.extend(map(float, state.get("costs", ())))
        self._lasted = float(state.get("lasted", 0.0))

    def __repr__(self) -> str:
        return "Overhead(share={!r}, lose_at_most_seconds={!r})".format(self.share, self.lose_at_most_seconds)
