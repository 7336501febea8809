"""An axis of time on which the long stretches in which nothing ran are short, and times of day to write on it."""

import datetime
from typing import Any, Dict, List, NamedTuple, Tuple

#: what a folded gap may take of the time in which something ran, and all of them together
_FOLD_SHARE, _ALL_FOLDS_SHARE = 0.04, 0.5
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600,
          43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000)


class Tick(NamedTuple):
    """A time that is written on the axis.

    Attributes:
        place: on the folded axis.
        label: a time of day, below it the date where that is another one.
    """

    place: float
    label: str


class FoldedTime:
    """Maps times to places on an axis with folds.

    Args:
        busy: [start, end] of what ran, in seconds since the epoch; they may overlap.

    Attributes:
        length: of the axis; places go from 0 to it.
        folds: (start, end) of each gap that is folded, as places.

    Examples:
        >>> axis = FoldedTime([(100.0, 200.0), (90000.0, 90100.0)])
        >>> axis.place(150.0), axis.length, axis.place(90050.0), axis.folds
        (50.0, 208.0, 158.0, [(100.0, 108.0)])
    """

    def __init__(self, busy: List[Tuple[float, float]]):
        union: List[List[float]] = []
        for start, end in sorted(busy) or [(0.0, 1.0)]:
            if union and start <= union[-1][1]:
                union[-1][1] = max(union[-1][1], end)
            else:
                union.append([start, max(start, end)])
        active = sum(end - start for start, end in union) or 1.0
        longest = active * min(_FOLD_SHARE, _ALL_FOLDS_SHARE / max(1, len(union) - 1))
        self._pieces: List[Tuple[float, float, float, float]] = []  # start, end, and their places
        self.length = 0.0
        self.folds: List[Tuple[float, float]] = []
        for number, (start, end) in enumerate(union):
            if number:
                idle = start - union[number - 1][1]
                folded = idle > 1.5 * longest
                if folded:
                    self.folds.append((self.length, self.length + longest))
                self._add(union[number - 1][1], start, longest if folded else idle)
            self._add(start, end, end - start)
        self.length = max(self.length, 1e-6)

    def _add(self, start: float, end: float, length: float) -> None:
        self._pieces.append((start, end, self.length, self.length + length))
        self.length += length

    def place(self, when: float) -> float:
        """Where a time is on the axis."""
        start, end, left, right = self._pieces[0]
        for piece in self._pieces:
            if piece[0] > when:
                break
            start, end, left, right = piece
        share = (when - start) / (end - start) if end > start else 0.0
        return left + max(0.0, min(1.0, share)) * (right - left)

    def ticks(self, most: int = 9) -> List[Tick]:
        """Round local times that stand clear of each other and of the folds, with one behind every fold."""
        step = next((one for one in _STEPS if self.length / one <= most), _STEPS[-1])
        room = self.length / (1.6 * most)
        places: List[Tuple[float, bool]] = []
        for first, last in self._stretches():
            places.append((first, True))
            for when in _round_times(first, last, step):
                if self.place(last) - self.place(when) > room or last == self._pieces[-1][1]:
                    places.append((when, False))
        kept: List[Tuple[float, bool]] = []
        for when, edge in places:
            if kept and self.place(when) - self.place(kept[-1][0]) < room:
                if not edge or kept[-1][1]:
                    continue
                kept.pop()
            kept.append((when, edge))
        return self._labelled([when for when, _ in kept], step)

    def _stretches(self) -> List[Tuple[float, float]]:
        """From fold to fold."""
        made: List[List[float]] = []
        for start, end, left, right in self._pieces:
            if right - left < (end - start) * 0.999:
                made.append([])
            elif made and made[-1]:
                made[-1][1] = end
            else:
                made[-1:] = [[start, end]]
        return [(one[0], one[1]) for one in made if one]

    def _labelled(self, times: List[float], step: float) -> List[Tick]:
        made: List[Tick] = []
        day = None
        for when in times:
            local = datetime.datetime.fromtimestamp(when)
            clock = local.strftime("%H:%M" if step >= 60 else "%H:%M:%S")
            if step < 1:
                clock += ".{:02d}".format(local.microsecond // 10000)
            date = local.strftime("%d %b %Y").lstrip("0") if local.date() != day else ""
            day = local.date()
            made.append(Tick(self.place(when), clock + ("\n" + date if date else "")))
        return made


def _round_times(first: float, last: float, step: float) -> List[float]:
    offset = datetime.datetime.fromtimestamp(first).astimezone().utcoffset() or datetime.timedelta(0)
    shift = offset.total_seconds()
    number = int((first + shift) // step) + 1
    made: List[float] = []
    while number * step - shift < last and len(made) < 1000:
        made.append(number * step - shift)
        number += 1
    return made


def busy_times(story: Dict[str, Any]) -> List[Tuple[float, float]]:
    """When the processes of a story were there."""
    return [(one["start"], max(one["start"], one["last_sign"] if one["end"] is None else one["end"]))
            for one in story["processes"]]
