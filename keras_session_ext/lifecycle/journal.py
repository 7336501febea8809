"""The journal of a run: one line of JSON per event, only ever added to, the source of truth for all views.

```
{"seq": 1790000000123, "time": 1790000000.12, "kind": "checkpoint_saved", "process": "4711-9f3a", "figures": {…}}
```

A line is written by one call at the end of the file, so that a process that is
killed leaves whole lines and at most one torn one, which the next writer
repairs. Any program can read it.
"""

import json
import logging
import math
import os
import threading
import time
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from keras_session_ext import file_locks, files, urls
from keras_session_ext.lifecycle.curves import Curves
from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.journal_segments import read_segments
from keras_session_ext.lifecycle.totals import Totals

logger = logging.getLogger("keras_session_ext")

NAME = "journal.jsonl"
#: how long an event waits for another program's lock on the journal, once
PATIENCE_SECONDS = 2.0
#: what a journal may have grown to at a start before older events are summarised, and during a run four times that
LIMIT_BYTES = 4 << 20
#: what is read of a journal that someone else has made larger
READ_BYTES = 64 << 20
#: a line beyond it is none of ours
LINE_BYTES = 1 << 20
#: events that the story of a run is told by; the others can be summed up
_STORY = frozenset([
    "process_started", "fit_started", "settings", "fit_finished", "restored", "witnessed", "diverged", "interrupted",
    "failed", "finished", "signal_received", "save_failed", "checkpoint_rejected"])
_TEXT_LIMIT = 4000


class Journal:
    """Adds events to the journal of a run.

    Several processes may add to one journal: each line is written, and a torn
    one repaired, while the file is locked.

    Args:
        path: the file.
        mode: its permissions when it is made.
        limit_bytes: beyond it older events are summarised.
    """

    def __init__(self, path: str, mode: int = 0o600, limit_bytes: int = LIMIT_BYTES):
        self.path = path
        self.process = "{}-{}".format(os.getpid(), os.urandom(3).hex())
        self._mode = mode
        self._guard = threading.Lock()
        self._patience = PATIENCE_SECONDS  # until another program's lock was met
        self._told = False
        self._summary: Optional[threading.Thread] = None  # the last one that a long training needed
        self._seq = max([0] + [event.seq for event in read_journal(path).events])
        self._bound = self._limit = 4 * limit_bytes
        try:
            if os.path.getsize(path) > limit_bytes:
                self._summarise()
        except OSError:
            pass  # it is not there, or cannot be replaced now: the next lines say so

    def append(self, kind: str, figures: Dict[str, Any], when: Any = None) -> LifecycleEvent:
        """Adds one event; returns it with its number.

        Raises:
            OSError: it could not be written.
        """
        now = time.time()
        with self._guard:
            self._seq = max(self._seq + 1, int(now * 1000))
            event = LifecycleEvent(kind, now if when is None else when, plain(figures), self._seq, self.process)
            with file_locks.Lines(self.path, self._mode, self._patience) as lines:
                if not lines.is_ours and not self._told:
                    self._told = True
                    logger.warning("Another program has locked the journal %s. Training does not wait for it.",
                                   self.path)
                self._patience = PATIENCE_SECONDS if lines.is_ours else 0.0
                lines.append(_repair(lines) + line_of(event))
                size = lines.size_bytes()
            if size > self._limit and (self._summary is None or not self._summary.is_alive()):
                self._limit = size + size // 4  # if it cannot be done now, not at once again
                self._summary = threading.Thread(target=self._summarise, name="keras-session-journal", daemon=True)
                self._summary.start()  # it takes a second, and whoever tells an event may be training
        return event

    def _summarise(self) -> None:
        """Replaces the file by one that tells its older half in figures; only what came meanwhile is under its lock."""
        try:
            fd = files.open_read(self.path)
        except OSError:
            return
        try:
            size = files.size_bytes(fd)  # once: others add to it meanwhile
            data = bytearray(min(size, READ_BYTES))
            begin = size - len(data)
            data = data[:files.read_at(fd, data, begin)]
            read = data[:data.rfind(b"\n") + 1]
            kept = summarise(parse(bytes(read).split(b"\n")).events)
            made = b"".join(map(line_of, kept))
            if len(made) > len(read) * 3 // 4:  # a story of very many processes
                made = b"".join(map(line_of, summarise(kept, story=frozenset())))
            with file_locks.Lines(self.path, self._mode) as lines:
                if lines.is_ours and files.is_at(fd, self.path):  # else another time
                    rest = bytearray(max(0, lines.size_bytes() - begin - len(read)))
                    rest = rest[:files.read_at(fd, rest, begin + len(read))]
                    folder, name = os.path.split(self.path)
                    temporary = os.path.join(folder, ".tmp-{}-{}".format(os.urandom(4).hex(), name))
                    files.write_new(temporary, made + bytes(rest), self._mode)
                    files.replace(temporary, self.path)
                    self._limit = max(self._bound, (len(made) + len(rest)) * 5 // 4)
        except OSError:
            pass  # a full disk: the journal stays as it is, and grows
        finally:
            files.close(fd)


def _repair(lines: file_locks.Lines) -> bytes:
    """Cuts a torn last line; returns what completes one that cannot be cut, or needs only its end."""
    torn = lines.tail(LINE_BYTES)
    if torn is None:
        return b"\n"  # too long for any line of ours: it stays, and is passed over
    if torn and (not lines.is_ours or _event(torn) is not None):
        return b"\n"
    if torn:
        lines.cut(len(torn))
    return b""


class Reading(NamedTuple):
    """What a journal says.

    Attributes:
        events: in the order they were written.
        skipped: how many lines could not be read.
    """

    events: List[LifecycleEvent]
    skipped: int


def read_journal(path: str) -> Reading:
    """Reads a journal; lines that are torn, foreign or hostile are counted, never trusted.

    Args:
        path: the file, or the run directory that holds it, which may be a URL.

    Returns:
        A `Reading`; empty where there is no journal.

    Raises:
        OSError: the file is there and cannot be read.

    Examples:
        >>> read_journal("no/such/run")
        Reading(events=[], skipped=0)
    """
    path = os.fspath(path)
    if urls.is_url(path):
        return parse(read_segments(urls.normalised(path)).split(b"\n"))
    if os.path.isdir(path):
        path = os.path.join(path, NAME)
    try:
        return parse(files.read_all(path, READ_BYTES).split(b"\n"))
    except (FileNotFoundError, NotADirectoryError):
        return Reading([], 0)


class Tail:
    """Reads a journal and goes on with what is added to it.

    Args:
        path: the file; it may not be there yet.

    A torn last line is left for the next call: the next writer completes it, or cuts it.
    """

    def __init__(self, path: str):
        self._path = path
        self._fd = -1
        self._at = 0
        self._last = 0

    def __enter__(self) -> "Tail":
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._fd >= 0:
            files.close(self._fd)

    def read(self) -> List[LifecycleEvent]:
        """The events since the call before, the first time all.

        Raises:
            OSError: the file is there and cannot be read.
        """
        events = self._rest() if self._fd >= 0 else []
        while self._fd < 0 or not files.is_at(self._fd, self._path):
            if not self._open():
                break
            # a summary has taken the place of the older half: what was told already is passed over
            told = max([self._last] + [event.seq for event in events])
            events += [event for event in self._rest() if event.seq > told]
        self._last = max([self._last] + [event.seq for event in events])
        return events

    def _open(self) -> bool:
        try:
            fd = files.open_read(self._path)
        except FileNotFoundError:
            return False
        self.__exit__()
        self._fd, self._at = fd, max(0, files.size_bytes(fd) - READ_BYTES)
        return True

    def _rest(self) -> List[LifecycleEvent]:
        data = bytearray(max(0, files.size_bytes(self._fd) - self._at))
        data = data[:files.read_at(self._fd, data, self._at)]
        whole = bytes(data[:data.rfind(b"\n") + 1])
        self._at += len(whole)
        return parse(whole.split(b"\n")).events


def summarise(events: List[LifecycleEvent], story: Any = _STORY) -> List[LifecycleEvent]:
    """The same story with the details of its older half in figures: the sums up to there stand in one event.

    What is kept of the older half stands before that event, which replaces all that was summed up until it.
    """
    half = len(events) // 2
    older, newer = events[:half], events[half:]
    totals, curves, count = Totals(), Curves(), 0
    for event in older:
        totals.add(event)
        curves.add(event)
        if event.kind == "summary":
            earlier = event.figures.get("events")
            count += earlier if isinstance(earlier, int) and 0 <= earlier < 1 << 53 else 0
    kept = [event for event in older if event.kind in story]
    count += sum(event.kind not in story and event.kind != "summary" for event in older)
    last = older[-1] if older else LifecycleEvent("", 0.0, {})
    figures = {"events": count, "totals": totals.state(), "curves": curves.state()}
    return [*kept, LifecycleEvent("summary", last.time, plain(figures), last.seq, last.process), *newer]


def line_of(event: LifecycleEvent) -> bytes:
    """An event as a line of the journal."""
    fields = {"seq": event.seq, "time": event.time, "kind": event.kind, "process": event.process,
              "figures": event.figures}
    return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def parse(lines: Iterable[bytes]) -> Reading:
    """The events that stand in lines of JSON; what is none of ours is counted."""
    events, skipped = [], 0
    for line in lines:
        event = _event(line) if line.strip() else None
        if event is not None:
            events.append(event)
        elif line.strip():
            skipped += 1
    return Reading(events, skipped)


def _event(line: bytes) -> Any:
    """The event of a line, or None where it is not one of ours."""
    if len(line) > LINE_BYTES:
        return None
    try:
        fields = json.loads(line.decode("utf-8"))
        kind, when, figures = fields["kind"], fields["time"], fields["figures"]
        seq, process = fields["seq"], fields["process"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    good = (isinstance(kind, str) and isinstance(when, (int, float)) and not isinstance(when, bool)
            and 0 <= when < 1e11 and isinstance(figures, dict) and type(seq) is int and 0 <= seq < 1 << 53
            and isinstance(process, str))
    return LifecycleEvent(kind, float(when), plain(figures), seq, process) if good else None


def plain(value: Any, depth: int = 6) -> Any:
    """A value as JSON can hold it: what is not finite or not plain becomes text, long texts are cut."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, dict) and depth:
        return {str(key): plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and depth:
        return [plain(item, depth - 1) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return plain(value.item(), depth)
    text = str(value) if not isinstance(value, int) else "a number of {} bits".format(value.bit_length())
    return text if len(text) <= _TEXT_LIMIT else "{}… ({} characters)".format(text[:_TEXT_LIMIT], len(text))
