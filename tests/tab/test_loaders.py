"""The Session tab in a real TensorBoard process, with each of its loaders; event files of every kind of history."""

import contextlib
import http.client
import os
import subprocess
import sys
import time

import pytest
from story import HOSTILE, get, get_json, killed_twice, saved, tell, tensorboard
from tensorboard import version

from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.journal import Journal, Reading, read_journal
from keras_session_ext.tensorboard import event_writer, plugin_entry
from keras_session_ext.tensorboard.plugin import _behind
from keras_session_ext.tensorboard.plugin_names import TAG

VERSION = tuple(int(part) for part in version.VERSION.split(".")[:2])
LOADERS = {"python": ["--load_fast=false"], "rust": ["--load_fast=true"]} if VERSION >= (2, 5) else {"python": []}


def wait_for(question, seconds=40):
    """The answer once there is one: loaders read behind the server's start."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.3)


def timeline(address, count):
    runs = wait_for(lambda: get_json(address, "/data/plugin/session/runs"))
    assert len(runs) == 1, runs

    def ask():
        made = get_json(address, "/data/plugin/session/timeline", run=runs[0]["name"])
        return made if len(made["events"]) >= count else None

    found = wait_for(ask)
    assert found, "not all events came: {}".format(len(get_json(
        address, "/data/plugin/session/timeline", run=runs[0]["name"])["events"]))
    return found


@pytest.mark.parametrize("flags", LOADERS.values(), ids=list(LOADERS))
def test_every_event_is_served(tmp_path, flags):
    """150 of 150; three processes, two gaps; what a plain TensorBoard shows is there, too."""
    log_dir = killed_twice(str(tmp_path), 150)
    with tensorboard(log_dir, *flags) as address:
        made = timeline(address, 150)
        assert len(made["events"]) == 150
        assert [one["ending"] for one in made["processes"]] == ["interrupted", "interrupted", "running"]
        assert len(made["gaps"]) == 2 and made["headline"]["lost_steps"] == 14
        listing = get_json(address, "/data/plugins_listing")
        assert listing["session"]["enabled"] and listing["session"]["tab_name"] == "Session"
        headers, script = get(address, "/data/plugin/session/index.js")
        assert headers["Content-Type"].startswith("text/javascript") and b"render" in script
        assert headers["X-Content-Type-Options"] == "nosniff"
        check_scalars(address, read_journal(str(tmp_path)).events)


@pytest.mark.parametrize("flags", LOADERS.values(), ids=list(LOADERS))
def test_files_are_bounded_and_every_event_is_served(tmp_path, flags, monkeypatch):
    """Within a process and at each start; a start reads two files at most, the newest of which has just begun."""
    monkeypatch.setattr(event_writer, "FILE_BYTES", 30000)
    log_dir = killed_twice(str(tmp_path), 150)
    folder = os.path.join(log_dir, "session")
    names = sorted(os.listdir(folder))
    assert 3 <= len(names) <= event_writer.FILES
    assert max(os.path.getsize(os.path.join(folder, name)) for name in names) < 30000 + 8000
    with tensorboard(log_dir, *flags) as address:
        assert len(timeline(address, 150)["events"]) == 150
        check_scalars(address, read_journal(str(tmp_path)).events)


def test_the_oldest_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(event_writer, "FILE_BYTES", 2000)
    folder = os.path.join(killed_twice(str(tmp_path), 150), "session")
    assert len(os.listdir(folder)) == event_writer.FILES
    last = read_journal(str(tmp_path)).events[-1].seq
    newest = os.path.join(folder, max(os.listdir(folder)))
    with open(newest, "rb") as handle:
        assert told([event_writer.event_pb2.Event.FromString(record)
                     for _, record in event_writer.records(handle.read())])[-1:] in ([last], [])
    before = sorted(os.listdir(folder))
    event_writer.EventWriter(os.path.dirname(folder)).open(str(tmp_path / "journal.jsonl"))
    assert sorted(os.listdir(folder)) == before, "nothing is written a second time"


def check_scalars(address, events):
    """Every checkpoint has its point, once, and steps only grow."""
    wanted = [event for event in events if event.kind == "checkpoint_saved"]

    def points():
        try:
            found = get_json(address, "/data/plugin/scalars/scalars", run="session", tag="session/checkpoint_bytes")
        except OSError:
            return None
        return found if len(found) >= len(wanted) else None

    found = wait_for(points)
    assert found and len(found) == len(wanted)
    assert [step for _, step, _ in found] == sorted({step for _, step, _ in found})
    assert [value for _, _, value in found] == [event.figures["size_bytes"] for event in wanted]


@pytest.mark.parametrize("flags", LOADERS.values(), ids=list(LOADERS))
def test_hostile_texts_are_data(tmp_path, flags):
    journal = Journal(str(tmp_path / "journal.jsonl"))
    tell(journal, [("process_started", {"host": HOSTILE}), ("failed", {"error": HOSTILE}), saved(3, reason=HOSTILE)],
         str(tmp_path / "tb"))
    with tensorboard(str(tmp_path / "tb"), *flags) as address:
        made = timeline(address, 3)
        assert made["events"][1]["figures"]["error"] == HOSTILE
        with pytest.raises(OSError, match="404"):
            get(address, "/data/plugin/session/timeline", run=HOSTILE)
        with pytest.raises(OSError, match="404"):
            get(address, "/data/plugin/session/../../../etc/passwd")

        def table():
            return get_json(address, "/data/plugin/text/text", run="session", tag="session/timeline/text_summary")

        shown = wait_for(table)
        assert "<table" in shown[-1]["text"], "and it is a table"
        assert "<img" not in shown[-1]["text"] and "<script" not in shown[-1]["text"]


def ask(address, method, route, host=None):
    """The status and the Allow header of one raw request."""
    where = address.split("//")[1]
    link = http.client.HTTPConnection(where, timeout=30)
    try:
        link.putrequest(method, route, skip_host=True)
        link.putheader("Host", where if host is None else host)
        link.endheaders()
        answer = link.getresponse()
        answer.read()
        return answer.status, answer.getheader("Allow")
    finally:
        link.close()


def test_it_answers_only_what_it_needs(tmp_path):
    """Reading by any name of a host; no other method, no host that is none, and no sort of route besides its own."""
    with tensorboard(killed_twice(str(tmp_path), 20)) as address:
        timeline(address, 20)
        for route in ("/runs", "/timeline?run=session", "/index.js"):
            whole = "/data/plugin/session" + route
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                assert ask(address, method, whole) == (405, "GET, HEAD"), (method, route)
            for method in ("GET", "HEAD"):
                assert ask(address, method, whole)[0] == 200
            for host in ("board.example.org", "10.0.0.7:6006", "[::1]:6006", "a-b_c.internal"):
                assert ask(address, "GET", whole, host)[0] == 200, host
            for host in ("<script>", "a b", "a/../b", "x@y", "a:b", "a:123456", "\xe4.org", "[::1", "", "a,b", "%00"):
                assert ask(address, "GET", whole, host)[0] == 400, host
        for route in ("/", "/style.css/..", "/runs/1", "/__init__.py", "/..%2fplugin.py", "/static/index.js"):
            assert ask(address, "GET", "/data/plugin/session" + route)[0] == 404, route
        assert ask(address, "GET", "/data/plugin/session/timeline?run=" + "x" * 50000)[0] in (404, 414)


def test_the_loader_never_stops_tensorboard(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "keras_session_ext.tensorboard.plugin", None)
    assert plugin_entry.SessionLoader().load(None) is None


@pytest.mark.parametrize("before, after", [
    ({}, {"session": 0}), ({"session": 7}, {"session": 7}), ({"text": 3}, {"text": 3, "session": 0}),
    ("", "session=0"), ("text=3", "text=3,session=0"), ("session=5", "session=5"), (None, "session=0")])
def test_all_events_are_asked_for(before, after):
    class Flags:
        samples_per_plugin = before

    plugin_entry.SessionLoader().fix_flags(Flags)
    assert Flags.samples_per_plugin == after


# -- the event file


def read(folder):
    path, = (os.path.join(folder, name) for name in os.listdir(folder))
    with open(path, "rb") as handle:
        data = handle.read()
    from tensorboard.compat.proto import event_pb2

    made = [event_pb2.Event.FromString(record) for _, record in event_writer.records(data)]
    return path, data, made


def told(made, tag=TAG):
    return [event.step for event in made for value in event.summary.value if value.tag == tag]


def test_a_torn_file_is_repaired_and_what_it_lacks_is_written(tmp_path):
    journal = Journal(str(tmp_path / "journal.jsonl"))
    tell(journal, [("fit_started", {}), saved(10), saved(20)], str(tmp_path / "tb"))
    folder = str(tmp_path / "tb" / "session")
    path, data, made = read(folder)
    steps, scalars = told(made), told(made, "session/stall_seconds")
    assert len(steps) == 3 and scalars == [10, 20]
    for size in range(0, len(data), 7):
        with open(path, "wb") as handle:
            handle.write(data[:size])
        tell(journal, [], str(tmp_path / "tb"))
        found = read(folder)[2]
        assert found[0].file_version == "brain.Event:2"
        assert (told(found), told(found, "session/stall_seconds")) == (steps, scalars), size


def test_noise_behind_the_last_record_is_cut(tmp_path):
    journal = Journal(str(tmp_path / "journal.jsonl"))
    tell(journal, [saved(10)], str(tmp_path / "tb"))
    folder = str(tmp_path / "tb" / "session")
    path, data, _ = read(folder)
    for noise in (b"\0" * 100, b"x" * 100, b"\xff" * 5):
        with open(path, "wb") as handle:
            handle.write(data + noise)
        tell(journal, [], str(tmp_path / "tb"))
        assert read(folder)[1] == data


def test_steps_grow_whatever_is_trained_again(tmp_path):
    journal = Journal(str(tmp_path / "journal.jsonl"))
    for steps in ((10, 20, 30), (15, 25), (20, 40)):
        tell(Journal(journal.path), [saved(step) for step in steps], str(tmp_path / "tb"))
    made = read(str(tmp_path / "tb" / "session"))[2]
    assert told(made, "session/stall_seconds") == [10, 20, 30, 31, 32, 33, 40]
    logs = [event for event in made if event.HasField("session_log")]
    assert len(logs) == 7 and {event.session_log.status for event in logs} == {3}, "CHECKPOINT, never START"


def test_nothing_of_tensorflow_is_imported(tmp_path):
    import subprocess
    import sys

    script = ("import sys; from keras_session_ext.tensorboard.event_writer import EventWriter; "
              "w = EventWriter(sys.argv[1]); "
              "w.open(sys.argv[1] + '/journal.jsonl'); "
              "print([m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'keras', 'jax', 'torch', 'grpc')])")
    assert subprocess.check_output([sys.executable, "-c", script, str(tmp_path)]).strip() == b"[]"


def test_what_keeps_a_tensorboard_from_starting_is_told_by_doctor(tmp_path, monkeypatch):
    """An old rich in front on the path: a TensorBoard before 2.5 ends, and doctor names it; a later one starts."""
    doctor = [sys.executable, "-c", "from keras_session_ext.cli.main import main; main()", "doctor", str(tmp_path)]
    content = "as TensorBoard {} wants them".format(version.VERSION)
    assert (content in subprocess.run(doctor, capture_output=True, text=True).stdout) == (VERSION < (2, 5))
    metadata = tmp_path / "rich-9.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rich\nVersion: 9.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(AssertionError, match="VersionConflict") if VERSION < (2, 5) else contextlib.nullcontext():
        with tensorboard(str(tmp_path)):
            pass
    said = subprocess.run(doctor, capture_output=True, text=True)
    told = "rich 9.0" in said.stdout and "TensorBoard {} does not start".format(version.VERSION) in said.stdout
    assert told == (VERSION < (2, 5)), said.stdout


def test_only_what_is_missing_is_told_in_figures():
    def event(kind, seq):
        return LifecycleEvent(kind, 1.0, {}, seq, "a")

    before = [event("summary", 10), event("summary", 20), event("summary", 30), event("progress", 22)]
    read = [event("progress", seq) for seq in (21, 25, 31)]
    assert [one.seq for one in _behind(before, Reading(read, 2)).events] == [20, 21, 25, 31]
    assert _behind(before, Reading([event("progress", 5)], 0)).events[0].seq == 5, "nothing is missing"
    assert _behind(before, Reading([], 0)).events == []


@pytest.mark.parametrize("flags", LOADERS.values(), ids=list(LOADERS))
def test_the_curves_of_files_that_are_gone_stay(tmp_path, flags, monkeypatch):
    """And so do the figures at the head: a file begins with what went before it."""
    monkeypatch.setattr(event_writer, "FILE_BYTES", 40000)
    rows = [("process_started", {"pid": 1}), ("fit_started", {"stage": 0})]
    for epoch in range(1500):
        loss = 77.0 if epoch == 333 else 1.0 / (epoch + 1)
        rows += [("epoch_finished", {"epoch": epoch, "step": 10 * epoch + 10, "metrics": {"loss": loss}})]
        rows += [saved(10 * epoch + 10)] if epoch % 10 == 9 else []
    log_dir = str(tmp_path / "tb")
    tell(Journal(str(tmp_path / "journal.jsonl")), rows, log_dir)
    assert len(os.listdir(os.path.join(log_dir, "session"))) == event_writer.FILES
    with tensorboard(log_dir, *flags) as address:
        assert wait_for(lambda: timeline(address, 500)["curves"]["step"] == 15000)
        made = timeline(address, 500)
        assert made["dropped"] + len(made["events"]) == len(rows) and made["dropped"] > 300
        line, = made["curves"]["lines"]
        assert (line["steps"][0], line["steps"][-1]) == (10, 15000) and max(line["values"]) == 77.0
        assert made["headline"]["checkpoints"] == 150
