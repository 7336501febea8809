"""A run's journal, as TensorBoard reads it; written without TensorFlow.

Every event is a record of the Session tab; what a plain TensorBoard can show
stands beside it: scalars, a table, `SessionLog.CHECKPOINT`. One file serves all
processes of a run; a full one is followed by another, which begins with what went
before in figures and curves, and the oldest go. Steps only grow, whatever is
trained a second time: the Rust loader drops what a lower step follows, and the
Python loader would draw it twice.
https://github.com/tensorflow/tensorboard/blob/2.21.0/tensorboard/data/server/reservoir.rs
"""

import json
import os
import re
import socket
import struct
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from google.protobuf import message
from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2
from tensorboard.summary.writer import record_writer

from keras_session_ext import files, urls
from keras_session_ext.lifecycle.curves import Curves
from keras_session_ext.lifecycle.events import KINDS, LifecycleEvent
from keras_session_ext.lifecycle.journal import read_journal
from keras_session_ext.lifecycle.totals import Totals, number, whole
from keras_session_ext.remote_copies import COPY_SECONDS, FolderCopy, Repeated, folder_for
from keras_session_ext.tensorboard.plugin_names import BEFORE_TAG, CONTENT, PLUGIN_NAME, TABLE_TAG, TAG

_SUFFIX = ".session"
#: a file that has grown beyond it is followed by another: it is read whole at the next start
FILE_BYTES = 16 << 20
#: how many of a run are kept: older events are in the journal, the oldest of all as sums
FILES = 8
_TABLE_ROWS = 50
_TABLE_SECONDS = 60.0
#: kinds of events that belong in the table; after these it is written at once
_TOLD_AT_ONCE = frozenset(["restored", "interrupted", "failed", "save_failed", "checkpoint_rejected",
                           "signal_received", "fit_finished", "finished"])
#: after these a process may be gone: they are waited for, where TensorBoard reads a copy
_LAST_WORDS, _LAST_SECONDS = frozenset(["signal_received", "finished"]), 10.0
_TOLD = _TOLD_AT_ONCE | {"process_started", "fit_started", "checkpoint_saved"}


class EventWriter:
    """Follows a journal and writes it as an event file.

    Args:
        log_dir: TensorBoard's; the run is its folder "session".
    """

    def __init__(self, log_dir: str):
        self._copies: Optional[Repeated] = None
        if urls.is_url(log_dir):
            self._shown_in = urls.join(log_dir, "session")
            self.folder = os.path.join(folder_for(log_dir), "session")
            copy = FolderCopy(self._shown_in, self.folder, lambda name: name.endswith(_SUFFIX))
            self._bring: Callable[[], None] = lambda: copy.bring(lambda path, size: os.path.getsize(path) >= size)
            self._copies = Repeated("Events cannot be written to " + self._shown_in, copy.send, COPY_SECONDS)
        else:
            self._shown_in = self.folder = os.path.join(os.path.abspath(log_dir), "session")
            self._bring = lambda: None
        self._path: Optional[str] = None
        self._size_bytes = 0  # of that file, in bytes
        self._seq = 0  # of the last event in the file
        self._shown = True  # whether its scalars stand there, too
        self._step = -1  # of the last scalar
        self._totals, self._curves, self._count = Totals(), Curves(), 0
        self._told: List[LifecycleEvent] = []  # the rows of the table
        self._table_due = 0.0

    def open(self, journal: str) -> None:
        """Repairs the file of the processes before, and writes what they could not.

        Raises:
            OSError: the folder cannot be written.
        """
        self._seq, self._shown, self._step, self._told = 0, True, -1, []
        self._totals, self._curves, self._count = Totals(), Curves(), 0
        files.make_directory(self.folder, 0o777)
        self._bring()
        found = self._files()
        damaged = not found
        for path in found[-2:]:  # of a file that has just begun the one before tells how far the run had come
            try:
                damaged = False
                self._resume(path, repair=path == found[-1])
            except message.DecodeError:  # damaged within: it stays, and another file goes on
                damaged = True
        if damaged:
            self._begin_file()
        for event in read_journal(journal).events:
            if event.seq > self._seq:
                self.write(event)
                continue
            self._remember(event)
            if event.seq == self._seq and not self._shown:
                self._show(event)
        if self._copies is not None:
            self._copies.begin()

    def _files(self) -> List[str]:
        """Those of this run, the oldest first."""
        return [os.path.join(self.folder, name) for name in sorted(files.names(self.folder))
                if name.startswith("events.out.tfevents.") and name.endswith(_SUFFIX)]

    def _begin_file(self) -> None:
        """Goes on in a file that stands behind all others in order; of these the newest are kept."""
        earlier = self._files()
        when = int(time.time())
        if earlier:
            found = re.match(r"events\.out\.tfevents\.(\d{10})\.", os.path.basename(earlier[-1]))
            when = max(when, int(found.group(1)) + 1 if found is not None else 0)
        self._path = os.path.join(self.folder, "events.out.tfevents.{:010d}.{}.{}{}".format(
            when, socket.gethostname(), os.getpid(), _SUFFIX))
        self._size_bytes = 0
        self._append(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))
        if earlier and self._count:
            figures = {"events": self._count, "totals": self._totals.state(), "curves": self._curves.state()}
            before = _json(LifecycleEvent("summary", time.time(), figures, self._seq))
            self._append(self._message(time.time(), self._seq, [self._text(BEFORE_TAG, PLUGIN_NAME, before, CONTENT)]))
        for path in earlier[:-(FILES - 1)]:
            files.remove(path)

    def _resume(self, path: str, repair: bool) -> None:
        """Learns what stands in a file of the processes before."""
        data = files.read_all(path)
        self._path, self._size_bytes = path, 0
        for behind, record in records(data):
            self._size_bytes = behind
            self._know(record)
        if repair and self._size_bytes < len(data):  # the process before was killed while it wrote
            files.truncate_text(path, self._size_bytes)
        if repair and not self._size_bytes:
            self._append(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))

    def _know(self, record: bytes) -> None:
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            if value.tag == TAG:
                self._seq, self._shown = max(self._seq, event.step), False
            elif value.tag not in (TABLE_TAG, BEFORE_TAG):
                self._step, self._shown = max(self._step, event.step), True

    def _remember(self, event: LifecycleEvent) -> None:
        self._totals.add(event)
        self._curves.add(event)
        self._count += whole(event.figures.get("events")) or 0 if event.kind == "summary" else 1
        if event.kind in _TOLD:
            self._told = self._told[1 - _TABLE_ROWS:] + [event]

    # -- one event

    def write(self, event: LifecycleEvent) -> None:
        """Adds an event; it is with the operating system when this returns.

        Raises:
            OSError: it could not be written.
        """
        if self._size_bytes > FILE_BYTES:
            self._begin_file()
        self._remember(event)
        self._seq = max(self._seq + 1, event.seq)
        self._append(self._message(event.time, self._seq, [self._text(TAG, PLUGIN_NAME, _json(event), CONTENT)]))
        self._show(event)
        if self._copies is not None and event.kind in _TOLD_AT_ONCE:
            self._copies.ask()
            if event.kind in _LAST_WORDS and event.figures.get("ends", True):
                self._copies.flush(_LAST_SECONDS)

    def _show(self, event: LifecycleEvent) -> None:
        """What a TensorBoard without the tab shows of an event."""
        scalars = self._scalars(event)
        if scalars:
            self._step = max(self._step + 1, whole(event.figures.get("step")) or 0)
            self._append(self._message(event.time, self._step, [_scalar(*pair) for pair in sorted(scalars.items())]))
        if event.kind == "checkpoint_saved":
            self._log_checkpoint(event)
        if event.kind in _TOLD_AT_ONCE or (event.kind in _TOLD and event.time >= self._table_due):
            self._table_due = event.time + _TABLE_SECONDS
            text = table(self._told).encode("utf-8", "replace")
            self._append(self._message(event.time, self._seq, [self._text(TABLE_TAG, "text", text, b"")]))

    def __str__(self) -> str:
        return "Writing for TensorBoard to {}".format(self._shown_in)

    def _scalars(self, event: LifecycleEvent) -> Dict[str, float]:
        figures, totals = event.figures, self._totals
        if event.kind == "restored":
            return {"lost_steps": number(figures.get("lost_steps")), "repeated_steps": totals.repeated_steps,
                    "restore_seconds": number(figures.get("seconds"))}
        if event.kind != "checkpoint_saved":
            return {}
        made = {
            "checkpoint_bytes": number(figures.get("size_bytes")),
            "checkpoint_seconds": number(figures.get("durable_seconds")),
            "stall_seconds": number(figures.get("stall_seconds")), "saving_share": totals.stall_share,
        }
        if totals.goodput is not None:
            made["goodput"] = totals.goodput
        if totals.steps_per_second is not None:
            made["steps_per_second"] = totals.steps_per_second
        return made

    def _log_checkpoint(self, event: LifecycleEvent) -> None:
        log = event_pb2.SessionLog(status=event_pb2.SessionLog.CHECKPOINT, msg=str(event.figures.get("reason", "")),
                                   checkpoint_path=str(event.figures.get("id", "")))
        self._append(event_pb2.Event(wall_time=event.time, step=self._step, session_log=log))

    @staticmethod
    def _message(when: float, step: int, values: List[Any]) -> Any:
        return event_pb2.Event(wall_time=when, step=step, summary=summary_pb2.Summary(value=values))

    @staticmethod
    def _text(tag: str, plugin: str, text: bytes, content: bytes) -> Any:
        value = summary_pb2.Summary.Value(tag=tag)
        value.tensor.dtype = types_pb2.DT_STRING
        value.tensor.string_val.append(text)
        _describe(value, plugin, content, 2)
        return value

    def _append(self, event: Any) -> None:
        target = _File(self._path)
        record_writer.RecordWriter(target).write(event.SerializeToString())
        self._size_bytes += target.written


class _File:
    """What a RecordWriter writes to: each record is one call that adds to the end of the file."""

    def __init__(self, path: Any):
        self._path = path
        self.written = 0

    def write(self, data: bytes) -> None:
        files.append(self._path, data, 0o666)
        self.written += len(data)


def _describe(value: Any, plugin: str, content: bytes, data_class: int) -> None:
    value.metadata.plugin_data.plugin_name = plugin
    value.metadata.plugin_data.content = content
    # field 4, data_class: TensorBoard 2.1 and later hide what has none, and older protos do not know it
    value.metadata.MergeFromString(bytes((0x20, data_class)))


def _scalar(name: str, number: float) -> Any:
    value = summary_pb2.Summary.Value(tag="session/" + name)
    value.tensor.dtype = types_pb2.DT_FLOAT
    value.tensor.float_val.append(number)
    value.tensor.tensor_shape.SetInParent()
    _describe(value, "scalars", b"", 1)
    return value


def _json(event: LifecycleEvent) -> bytes:
    return json.dumps({"seq": event.seq, "time": event.time, "kind": event.kind, "process": event.process,
                       "figures": event.figures}, separators=(",", ":")).encode()


def records(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """The whole records of an event file, each with the offset behind it; a torn one ends them.

    https://github.com/tensorflow/tensorflow/blob/v2.15.0/tensorflow/core/lib/io/record_writer.h
    """
    at = 0
    while at + 16 <= len(data):
        length, = struct.unpack_from("<Q", data, at)
        check, = struct.unpack_from("<I", data, at + 8)
        if check != record_writer.masked_crc32c(data[at:at + 8]) or at + 16 + length > len(data):
            return
        record = data[at + 12:at + 12 + length]
        last = at + 16 + length == len(data)
        if last and struct.unpack_from("<I", data, at + 12 + length)[0] != record_writer.masked_crc32c(record):
            return
        at += 16 + length
        yield at, record


def table(rows: List[LifecycleEvent]) -> str:
    """The last events as a table in Markdown, newest first; foreign text cannot leave its cell."""
    lines = ["| time | process | what | details |", "|---|---|---|---|"]
    for event in reversed(rows):
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
        lines.append("| {} | {} | {} | {} |".format(
            when, _cell(event.process), _cell(KINDS.get(event.kind, event.kind)), _cell(_details(event))))
    return "\n".join(lines)


def _details(event: LifecycleEvent) -> str:
    shown = ("id", "step", "reason", "error", "signal", "exact", "lost_steps", "seconds", "why")
    found = [(name, event.figures[name]) for name in shown if event.figures.get(name) not in (None, "")]
    return ", ".join("{} {}".format(name, round(value, 3) if isinstance(value, float) else value)
                     for name, value in found)


def _cell(text: Any) -> str:
    text = " ".join(str(text)[:300].split())
    return "".join("&#{};".format(ord(c)) if c in "|<>&`*_[]\\!" else c for c in text)
