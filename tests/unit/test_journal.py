"""The journal: whole lines, whatever happened to the file before; and the record that writes it."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_session_ext import file_locks, files
from keras_session_ext.lifecycle import earlier_processes, events, journal, record
from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.journal import Journal, Reading, parse, plain, read_journal, summarise
from keras_session_ext.lifecycle.totals import Totals
from keras_session_ext.progress import Progress


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal.jsonl")


def kinds(path):
    return [event.kind for event in read_journal(path).events]


def raw(path):
    with open(path, "rb") as handle:
        return handle.read()


def test_events_come_back_as_they_were(path):
    journal = Journal(path)
    written = [journal.append("fit_started", {"stage": 0}), journal.append("progress", {"step": 7})]
    assert read_journal(path) == Reading(written, 0)
    assert [event.seq for event in written] == sorted({event.seq for event in written})
    assert oct(os.stat(path).st_mode & 0o777) == "0o600"


def test_numbers_go_on_over_processes_and_clocks_that_run_backwards(path, monkeypatch):
    first = Journal(path).append("fit_started", {})
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    second = Journal(path).append("fit_started", {})
    assert second.seq == first.seq + 1 and second.process != first.process


@pytest.mark.parametrize("size", range(1, 90))
def test_a_torn_last_line_is_repaired(path, size):
    journal = Journal(path)
    journal.append("fit_started", {})
    whole = raw(path)
    journal.append("progress", {"step": 12345})
    torn = raw(path)[:len(whole) + size]
    with open(path, "wb") as handle:
        handle.write(torn)
    Journal(path).append("finished", {})
    assert kinds(path) == ["fit_started", "finished"] and read_journal(path).skipped == 0


def test_a_last_line_that_lacks_only_its_end_is_kept(path):
    Journal(path).append("fit_started", {})
    with open(path, "r+b") as handle:
        handle.truncate(len(raw(path)) - 1)
    Journal(path).append("finished", {})
    assert kinds(path) == ["fit_started", "finished"]


@pytest.mark.parametrize("line", [
    b"not json", b"[]", b"1", b"null", b'"text"', b"{}", b"\xff\xfe", b"{" * 100000, b"[" * 100000,
    b'{"seq":1,"time":"now","kind":"k","process":"p","figures":{}}',
    b'{"seq":1,"time":NaN,"kind":"k","process":"p","figures":{}}',
    b'{"seq":1,"time":Infinity,"kind":"k","process":"p","figures":{}}',
    b'{"seq":true,"time":1,"kind":"k","process":"p","figures":{}}',
    b'{"seq":-1,"time":1,"kind":"k","process":"p","figures":{}}',
    b'{"seq":99999999999999999999,"time":1,"kind":"k","process":"p","figures":{}}',
    b'{"seq":1,"time":' + b"9" * 400 + b',"kind":"k","process":"p","figures":{}}',
    b'{"seq":1,"time":1e18,"kind":"k","process":"p","figures":{}}',
    b'{"seq":1,"time":1,"kind":7,"process":"p","figures":{}}',
    b'{"seq":1,"time":1,"kind":"k","process":null,"figures":{}}',
    b'{"seq":1,"time":1,"kind":"k","process":"p","figures":[]}',
    b'{"seq":1,"time":1,"kind":"k","process":"p","figures":{"x":"' + b"a" * (10 << 20) + b'"}}',
], ids=lambda line: repr(line[:40]))
def test_foreign_lines_are_counted(path, line):
    journal = Journal(path)
    journal.append("fit_started", {})
    with open(path, "ab") as handle:
        handle.write(line + b"\n")
    journal = Journal(path, limit_bytes=1 << 30)
    journal.append("finished", {})
    assert kinds(path) == ["fit_started", "finished"]
    assert read_journal(path).skipped == 1


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read(data):
    reading = parse(data.split(b"\n"))
    assert reading.skipped + len(reading.events) <= data.count(b"\n") + 1


def test_figures_are_made_plain():
    import numpy as np

    class Hostile:
        def __str__(self):
            return "x" * 100000

    made = plain({"nan": float("nan"), "inf": float("-inf"), 3: np.float32(0.5), "array": np.int64(7),
                  "object": Hostile(), "deep": [[[[[[[[1]]]]]]]]})
    assert made["nan"] == "nan" and made["inf"] == "-inf" and made["3"] == 0.5 and made["array"] == 7
    assert len(made["object"]) < 4100 and made["object"].endswith("(100000 characters)")
    json.dumps(made, allow_nan=False)


def test_two_threads_write_whole_lines(path):
    journal = Journal(path)

    def work():
        for _ in range(200):
            journal.append("progress", {"text": "x" * 300})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reading = read_journal(path)
    assert len(reading.events) == 800 and not reading.skipped
    seqs = [event.seq for event in reading.events]
    assert seqs == sorted(set(seqs))


# -- rotation


def test_a_journal_is_bounded_and_its_story_stays(path):
    journal = Journal(path, limit_bytes=20000)
    journal.append("process_started", {"pid": 1})
    for step in range(4000):
        journal.append("checkpoint_saved", {"id": "c{}".format(step), "step": step, "size_bytes": 10,
                                            "stall_seconds": 0.5})
        if journal._summary is not None:
            journal._summary.join()
    assert len(raw(path)) <= 4 * 20000 * 1.3
    events_ = read_journal(path).events
    assert [event.kind for event in events_[:2]] == ["process_started", "summary"]
    assert sum(event.kind == "summary" for event in events_) == 1
    saved = sum(event.kind == "checkpoint_saved" for event in events_)
    assert events_[1].figures["events"] == 4000 - saved > 0
    totals = Totals()
    for event in events_:
        totals.add(event)
    assert (totals.checkpoints, totals.size_bytes, totals.stall_seconds) == (4000, 40000.0, 2000.0), "nothing is lost"
    Journal(path, limit_bytes=20000)
    assert len(raw(path)) <= len(json.dumps([event._asdict() for event in events_])), "and again at a start"
    events_ = read_journal(path).events
    known = earlier_processes.KnownCheckpoints(events_)
    assert not known.add("c3999", time.time()) and not known.add("c0", events_[0].time), "none is told a second time"
    assert known.add("c4000", time.time()) and not known.add("c4000", time.time())


def test_a_summary_does_not_hold_up_whoever_tells(path, monkeypatch):
    """A training thread tells events; what they are summed up from is read beside it."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments, **options):
        begun.set()
        assert go_on.wait(60)
        return summarise(*arguments, **options)

    monkeypatch.setattr("keras_session_ext.lifecycle.journal.summarise", slow)
    journal = Journal(path, limit_bytes=1000)
    while journal._summary is None:
        journal.append("checkpoint_saved", {"size_bytes": 1})
    assert begun.wait(60)
    journal.append("failed", {"why": "told meanwhile"})
    Journal(path, limit_bytes=1 << 30).append("finished", {})
    go_on.set()
    journal._summary.join()
    assert "summary" in kinds(path) and kinds(path)[-2:] == ["failed", "finished"]


def test_a_story_of_very_many_processes_is_bounded_too(path):
    for pid in range(400):
        Journal(path, limit_bytes=10000).append("process_started", {"pid": pid})
    assert len(raw(path)) <= 12000
    assert read_journal(path).events[-1].figures["pid"] == 399


def test_a_hostile_summary_adds_nothing():
    bad = LifecycleEvent("summary", 1.0, {"events": "many", "counts": [1], "size_bytes": float("inf")}, 1, "p")
    made = summarise([bad, bad, *[LifecycleEvent("progress", 2.0, {}, 2, "p")] * 4])
    assert made[0].figures["events"] == 1 and made[0].figures["totals"]["size_bytes"] == 0


def test_two_processes_lose_nothing_while_they_rotate(path):
    """And neither cuts the line that the other is writing."""
    script = ("import sys; from keras_session_ext.lifecycle.journal import Journal\n"
              "journal = Journal(sys.argv[1], limit_bytes=20000)\n"
              "for number in range(400):\n"
              "    journal.append('checkpoint_saved', {'size_bytes': 1, 'text': 'x' * 50, 'id': sys.argv[2]})\n"
              "    number % 20 or Journal(sys.argv[1], limit_bytes=20000)")
    writers = [subprocess.Popen([sys.executable, "-c", script, path, name]) for name in "ab"]
    assert [one.wait(60) for one in writers] == [0, 0]
    reading, totals = read_journal(path), Totals()
    for event in reading.events:
        totals.add(event)
    assert totals.checkpoints == 800 and not reading.skipped


def test_a_line_that_comes_while_the_size_is_asked_costs_nothing(path, monkeypatch):
    """The first line, which sums up all before it, was lost where another process wrote at that moment."""
    from keras_session_ext import files

    journal, other = Journal(path), Journal(path)
    for number in range(300):
        journal.append("checkpoint_saved", {"id": number})
    journal._summarise()
    ask, asked = files.size_bytes, []

    def size_bytes(fd):
        size = ask(fd)
        if not asked:
            asked.append(other.append("checkpoint_saved", {"id": "at this moment"}))
        return size

    monkeypatch.setattr(files, "size_bytes", size_bytes)
    journal._summarise()
    totals = Totals()
    for event in read_journal(path).events:
        totals.add(event)
    assert asked and totals.checkpoints == 301


def test_a_rotation_that_fails_costs_nothing(path, monkeypatch):
    from keras_session_ext import files

    journal = Journal(path, limit_bytes=1000)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace", full)
    monkeypatch.setattr(files, "write_new", full)
    for step in range(200):
        journal.append("progress", {"step": step})
    assert [event.figures["step"] for event in read_journal(path).events] == list(range(200))
    assert os.listdir(os.path.dirname(path)) == ["journal.jsonl"]


def test_a_half_written_line_does_not_take_the_next_with_it(path):
    journal = Journal(path)
    journal.append("fit_started", {})
    with open(path, "ab") as handle:
        handle.write(b'{"seq":1,"time":2')  # another process died in it
    journal.append("checkpoint_saved", {"id": "x"})
    assert kinds(path) == ["fit_started", "checkpoint_saved"]


def test_a_record_does_not_keep_what_it_describes(path, a_record):
    class Held:
        def describe(self):
            return {}

    held = Held()
    one = record.Record(held.describe)
    gone = weakref.ref(one)
    stop = one._stop_listening
    del one, held
    gc.collect()
    assert gone() is None
    stop()


# -- the record


@pytest.fixture
def a_record():
    made = []

    def make():
        made.append(record.Record(lambda: {"keras": "0.0"}))
        return made[-1]

    yield make
    for one in made:
        one._stop_listening()
        if one in record._open:
            record._open.remove(one)
    record.Record._current = None


def test_what_happened_before_the_journal_was_open_is_in_it(path, a_record):
    one = a_record()
    events.emit("graph_built", model="m")
    one.open(path)
    one.fit_started(owned=True)
    assert kinds(path) == ["process_started", "graph_built", "fit_started"]


def test_the_shims_events_go_to_the_run_that_is_worked_on(tmp_path, a_record):
    one, two = a_record(), a_record()
    for number, each in enumerate((one, two)):
        each.open(str(tmp_path / str(number)))
        each.fit_started(owned=True)
    events.emit("session_created")
    assert "session_created" not in kinds(str(tmp_path / "0")) and "session_created" in kinds(str(tmp_path / "1"))


def vanish(a_record, path, *told):
    """A process that ends without a word."""
    one = a_record()
    one.open(path)
    one.fit_started(owned=True)
    for kind, figures in told:
        one.emit(kind, **figures)
    one._stop_listening()
    return one


def test_a_process_that_vanished_is_found_at_the_next_start(path, a_record):
    gone = vanish(a_record, path, ("progress", {"step": 30, "epoch": 2}))
    two = a_record()
    two.open(path)
    assert "interrupted" not in kinds(path), "a process that only evaluates says nothing of one that may be training"
    two.fit_started(owned=True, left={"process": gone.journal.process, "time": time.time() + 5, "step": 33, "epoch": 2})
    found = [event for event in read_journal(path).events if event.kind == "interrupted"]
    assert len(found) == 1 and found[0].figures["vanished"] == gone.journal.process
    assert found[0].figures["step"] == 33
    assert two.lost(20, time.time())["lost_steps"] == 13
    three = a_record()
    three.open(path)
    three.fit_started(owned=True)
    assert kinds(path).count("interrupted") == 2, "two vanished, each told once"


@pytest.mark.parametrize("told", [
    [("fit_finished", {"seconds": 1.0})], [("failed", {"error": "x"})],
    [("signal_received", {"ends": True, "signal": "SIGTERM"})]])
def test_a_process_that_ended_with_a_word_did_not_vanish(path, a_record, told):
    vanish(a_record, path, *told)
    two = a_record()
    two.open(path)
    two.fit_started(owned=True)
    assert "interrupted" not in kinds(path)


def test_without_a_lock_a_live_process_is_not_called_vanished(path, a_record, monkeypatch):
    vanish(a_record, path)
    monkeypatch.setattr(record.os, "getpid", lambda: 1)
    monkeypatch.setattr(record.os, "kill", lambda pid, number: None)
    two = a_record()
    two.open(path)
    two.fit_started(owned=False)
    assert "interrupted" not in kinds(path)


def test_a_fit_that_ended_by_an_exception_is_told(path, a_record, monkeypatch):
    one = a_record()
    one.open(path)
    one.fit_started(owned=True)
    try:
        raise ValueError("<script>alert(1)</script>")
    except ValueError as error:
        monkeypatch.setattr("sys.last_value", error, raising=False)
    one.fit_started(owned=True)
    failed = next(event for event in read_journal(path).events if event.kind == "failed")
    assert failed.figures["error"] == "ValueError: <script>alert(1)</script>"
    assert failed.figures["where"].startswith("test_journal.py:")
    one.fit_finished()
    one.end()
    one.end()
    assert kinds(path)[-2:] == ["fit_finished", "finished"]


def test_a_journal_that_cannot_be_written_is_told_once(tmp_path, a_record, caplog):
    (tmp_path / "file").write_text("")
    one = a_record()
    one.open(str(tmp_path / "file" / "journal.jsonl"))
    seen = []
    stop = events.listen(seen.append)
    one.fit_started(owned=True)
    one.emit("progress")
    one.end()
    stop()
    assert len([r for r in caplog.records if "journal" in r.getMessage()]) == 1
    assert [event.kind for event in seen] == ["fit_started", "progress", "failed", "finished"], "listeners still hear"


def test_a_view_that_fails_is_left_out(path, a_record, caplog):
    class Broken:
        def open(self, path):
            pass

        def write(self, event):
            raise OSError(28, "No space left on device")

    one = a_record()
    one.add_sink(Broken())
    one.open(path)
    for _ in range(3):
        one.emit("progress")
    assert len([r for r in caplog.records if "left out" in r.getMessage()]) == 1
    assert kinds(path) == ["process_started"] + ["progress"] * 3


def test_signs_of_life_come_now_and_then(path, a_record, monkeypatch):
    one, notes, clock = a_record(), [], [100.0]
    monkeypatch.setattr(record.time, "monotonic", lambda: clock[0])
    one.note = lambda **place: notes.append(place["step"])
    one.open(path)
    one.fit_started(owned=True)
    for step in range(2100):
        clock[0] += 0.01
        one.beat(Progress(step=step))
    assert kinds(path).count("progress") == 2
    assert 40 <= len(notes) <= 43


def test_a_sign_of_life_that_cannot_be_noted_is_told_once(path, a_record, caplog):
    def full(**place):
        raise OSError(28, "No space left on device")

    one = a_record()
    one.note = full
    one.open(path)
    one.fit_started(owned=True)
    for step in range(3):
        one.beat(Progress(step=step))
    assert len([r for r in caplog.records if "sign of life" in r.getMessage()]) == 1


# -- others' locks


HOLD = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_another_programs_lock_is_waited_for_once(path, caplog, monkeypatch):
    monkeypatch.setattr(journal, "PATIENCE_SECONDS", 0.2)
    made = Journal(path)
    made.append("one", {})
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        for number in range(100):
            made.append("two", {"number": number})
    finally:
        holder.communicate()
    assert caplog.text.count("Another program has locked the journal") == 1
    made.append("three", {})
    assert [event.kind for event in read_journal(path).events] == ["one", *["two"] * 100, "three"]


def test_what_another_program_left_torn_stays_its_own(path):
    """While the file is not ours nothing of it is cut, and our line is whole all the same."""
    made = Journal(path)
    made.append("one", {})
    with open(path, "ab") as handle:
        handle.write(b'{"half of a li')
        size = handle.tell()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        made._patience = 0.0
        made.append("two", {})
    finally:
        holder.communicate()
    assert os.path.getsize(path) > size and [event.kind for event in read_journal(path).events] == ["one", "two"]


def test_a_process_that_is_forked_while_a_line_is_written_keeps_no_lock(path):
    """As workers of a data loader are, at any moment."""
    with file_locks.Lines(path):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with file_locks.Lines(path) as lines:
            assert lines.is_ours
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_failing_look_at_the_file_leaves_no_lock_behind(path, monkeypatch):
    lines = file_locks.Lines(path)
    with monkeypatch.context() as patched:
        def fail(fd, path):
            raise OSError("stale file handle")

        patched.setattr(files, "is_at", fail)
        with pytest.raises(OSError), lines:
            pass
    with pytest.raises(OSError):
        os.fstat(lines._fd)
    with file_locks.Lines(path) as again:
        assert again.is_ours
