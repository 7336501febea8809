"""Curves from events: continuous over restarts, bounded, and not impressed by anything."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_session_ext.lifecycle import curves, record
from keras_session_ext.lifecycle.curves import ALL_POINTS, LINE_POINTS, LINES, Curves, Point, logged, thin
from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.journal import Journal, parse, plain, read_journal, summarise
from keras_session_ext.lifecycle.timeline import timeline
from keras_session_ext.progress import Progress


def gathered(*rows):
    """Curves of (seconds, kind, figures)."""
    made = Curves()
    for when, kind, figures in rows:
        made.add(LifecycleEvent(kind, float(when), figures))
    return made


def epoch(when, step, **metrics):
    return when, "epoch_finished", {"step": step, "metrics": metrics}


def lines(drawn, thrown=None):
    return {line["name"]: line for line in drawn["lines"] if line["thrown"] == thrown}


KILLED = (epoch(10, 100, loss=0.9), epoch(20, 200, loss=0.8), epoch(30, 300, loss=0.7),
          (1000, "interrupted", {"step": 340, "last_sign": 35.0}),
          (1001, "restored", {"step": 150, "lost_steps": 190, "lost_seconds": 20.0}),
          epoch(1010, 200, loss=0.81), epoch(1020, 300, loss=0.71))


def test_a_curve_goes_on_where_the_run_went_on():
    drawn = gathered(*KILLED).drawn()
    assert lines(drawn)["loss"]["steps"] == [100, 200, 300]
    assert lines(drawn)["loss"]["times"] == [10.0, 1010.0, 1020.0]
    assert lines(drawn)["loss"]["values"] == [0.9, 0.81, 0.71]
    assert lines(drawn, 0)["loss"]["values"] == [0.9, 0.8, 0.7], "what was thrown away goes out from the curve"
    assert drawn["thrown"] == [{"from": 150, "to": 340, "start": 15.0, "end": 35.0}]
    assert drawn["restarts"] == [
        {"how": "interrupted", "ended": 35.0, "ended_step": 340, "time": 1001.0, "step": 150}]


def test_a_kill_before_the_first_checkpoint_throws_all_away():
    drawn = gathered(epoch(10, 100, loss=0.9), (15, "interrupted", {"step": 150, "last_sign": 12.0}),
                     (16, "epoch_started", {"step": 0}), epoch(26, 100, loss=0.9)).drawn()
    assert drawn["thrown"] == [{"from": 0, "to": 150, "start": 10.0, "end": 12.0}]
    assert lines(drawn)["loss"]["times"] == [26.0]


def test_an_epoch_that_ends_again_is_one_point():
    """Saved at its last step, before validation; killed behind its end: the next process ends it once more."""
    drawn = gathered(epoch(10, 100, loss=0.9), epoch(20, 200, loss=0.8, val_loss=0.75),
                     (1000, "interrupted", {"step": 200, "last_sign": 35.0}),
                     (1001, "restored", {"step": 200, "lost_steps": 0, "lost_seconds": 15.0}),
                     epoch(1010, 200, loss=0.8, val_loss=0.75), epoch(1020, 300, loss=0.7)).drawn()
    assert lines(drawn)["loss"]["steps"] == [100, 200, 300]
    assert lines(drawn)["loss"]["times"][1] == 1010
    assert lines(drawn)["val_loss"]["steps"] == [200]


def test_a_stage_that_was_finished_throws_nothing_away():
    """Started again, each finished stage hands out its end first."""
    drawn = gathered(epoch(10, 100, loss=0.9), epoch(20, 200, loss=0.8), (30, "finished", {}),
                     (40, "restored", {"step": 100, "finished": True}), (41, "restored", {"step": 200}),
                     epoch(50, 300, loss=0.7)).drawn()
    assert lines(drawn)["loss"]["steps"] == [100, 200, 300] and drawn["thrown"] == []


def test_a_save_that_ends_behind_training_is_no_way_back():
    drawn = gathered(epoch(10, 100, loss=0.9), (11, "checkpoint_saved", {"step": 50}), epoch(20, 200, loss=0.8)).drawn()
    assert drawn["thrown"] == [] and len(lines(drawn)["loss"]["steps"]) == 2


def test_nan_infinities_and_metrics_that_come_midway():
    drawn = gathered(epoch(1, 10, loss="nan"), epoch(2, 20, loss=1.0, val="inf"), epoch(3, 30, loss="-inf", val=2.0),
                     epoch(4, 40, loss="many", val=None, text=True)).drawn()
    assert lines(drawn)["loss"]["values"] == ["nan", 1.0, "-inf"]
    assert lines(drawn)["val"] == {"name": "val", "source": "epochs", "thrown": None, "steps": [20, 30],
                                   "times": [2.0, 3.0], "values": ["inf", 2.0]}
    assert set(lines(drawn)) == {"loss", "val"}
    json.dumps(drawn, allow_nan=False)


def test_steps_within_epochs_are_a_line_of_their_own():
    rows = [(step / 10, "progress", {"step": step + 3, "metrics_step": step, "metrics_time": float(step),
                                     "metrics": {"loss": 3.0}}) for step in (7, 50, 100, 110, 210, 260)]
    ends = [(2, "progress", {"step": 90}), epoch(3, 100, loss=2.0)]
    drawn = gathered(*rows[:2], *ends, *rows[2:4], epoch(4, 200, loss=1.0), *rows[4:]).drawn()
    within, whole = drawn["lines"]
    assert (whole["source"], whole["steps"]) == ("epochs", [100, 200])
    assert (within["source"], within["steps"], within["times"]) == (
        "steps", [7, 50, 100, 210, 260], [7.0, 50.0, 100.0, 210.0, 260.0]), "a lone one is no line"
    assert within["parts"] == [0, 0, 0, 2, 2], "and no line leads from one epoch to the next"


def test_epochs_faster_than_points_have_no_line_within():
    rows = [row for step in range(0, 1000, 10) for row in (
        (step, "progress", {"step": step + 3, "metrics_step": step + 2, "metrics": {"loss": 3.0}}),
        epoch(step + 5, step + 10, loss=2.0))]
    assert [line["source"] for line in gathered(*rows).drawn()["lines"]] == ["epochs"]


def test_a_hundred_thousand_epochs_fit():
    made = Curves()
    for number in range(100000):
        value = 50.0 if number == 4321 else -50.0 if number == 77777 else math.sin(number)
        made.add(LifecycleEvent("epoch_finished", float(number), {
            "step": number, "metrics": {"loss": "nan" if number == 60000 else value, "other": 1.0}}))
    line = lines(made.drawn())["loss"]
    numbers = [value for value in line["values"] if not isinstance(value, str)]
    assert len(line["steps"]) <= LINE_POINTS and (max(numbers), min(numbers)) == (50.0, -50.0)
    assert "nan" in line["values"] and (line["steps"][0], line["steps"][-1]) == (0, 99999)
    assert line["steps"] == sorted(line["steps"])
    assert len(json.dumps(made.state())) < 100000


def test_many_metrics_are_bounded_too():
    made = Curves()
    names = ["m{}".format(number) for number in range(3 * LINES)]
    for step in range(3000):
        made.add(LifecycleEvent("epoch_finished", float(step), {"step": step, "metrics": dict.fromkeys(names, 1.0)}))
    drawn = made.drawn()
    assert len(drawn["lines"]) == LINES and names[-1] in drawn["left_out"]
    assert sum(len(line["steps"]) for line in drawn["lines"]) <= ALL_POINTS
    assert len(json.dumps(made.state())) < 1 << 19, "half a line of the journal"


def test_a_thousand_kills_are_bounded_too():
    made = Curves()
    for kill in range(1000):
        for step in range(30):
            made.add(LifecycleEvent("epoch_finished", kill * 100.0 + step, {"step": kill * 10 + step,
                                                                           "metrics": {"loss": 1.0, "val_loss": 1.0}}))
        made.add(LifecycleEvent("interrupted", kill * 100.0 + 40, {"step": kill * 10 + 29}))
        made.add(LifecycleEvent("restored", kill * 100.0 + 50, {"step": kill * 10 + 10}))
    drawn = made.drawn()
    assert len(drawn["restarts"]) <= 500 and len(drawn["thrown"]) <= 200
    assert len(json.dumps(drawn)) < 600000 and len(json.dumps(made.state())) < 1 << 19


def test_a_summary_goes_on():
    """The journal sums its older half up; the curves are what they were."""
    events = [LifecycleEvent(kind, float(when), figures, number, "a")
              for number, (when, kind, figures) in enumerate(KILLED)]
    whole = gathered(*KILLED).drawn()
    for _ in range(3):
        text = json.dumps([event._asdict() for event in summarise(events)])
        events = [LifecycleEvent(**dict(fields, figures=plain(fields["figures"]))) for fields in json.loads(text)]
        assert timeline(events, now=2000.0)["curves"] == whole
    made = summarise(events + events)
    assert [event.kind for event in made].count("summary") == 2, "one of them stood in the newer half"


def test_the_journal_of_a_long_run_keeps_its_curves(tmp_path):
    path = str(tmp_path / "journal.jsonl")
    journal = Journal(path, limit_bytes=100000)
    for number in range(6000):
        journal.append("epoch_finished", {"step": number, "metrics": {"loss": 9.0 if number == 50 else 1.0}})
        if journal._summary is not None:
            journal._summary.join()
    assert (tmp_path / "journal.jsonl").stat().st_size < 4 * 100000 * 1.3
    line, = timeline(read_journal(path).events)["curves"]["lines"]
    assert (line["steps"][0], line["steps"][-1], max(line["values"])) == (0, 5999, 9.0)


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["nan", "inf", "x"]),
                      lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
                          ["lines", "thrown", "restarts", "name", "source", "steps", "times", "values", "loss", "step",
                           "from", "to", "how", "ended"]), inner, max_size=6), max_leaves=12)


@given(st.lists(st.tuples(st.floats(0, 1e10), st.sampled_from(
    ["summary", "epoch_finished", "restored", "progress", "interrupted", "failed", "signal_received"]),
    st.dictionaries(st.sampled_from(["step", "metrics", "curves", "last_sign", "lost_seconds", "ends", "metrics_step"]),
                    values, max_size=6)), max_size=10))
@settings(max_examples=300, deadline=None)
def test_hostile_figures_make_curves_too(rows):
    made = gathered(*[(when, kind, plain(figures)) for when, kind, figures in rows])
    json.dumps(made.drawn(), allow_nan=False)
    again = Curves()
    again.add(LifecycleEvent("summary", 0.0, {"curves": plain(made.state())}))
    json.dumps(again.drawn(), allow_nan=False)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=400), st.integers(10, 100))
@settings(max_examples=200, deadline=None)
def test_thinned_lines_keep_their_ends_and_extremes(steps, limit):
    line = [Point(step, 0.0, float((step * 7919) % 101)) for step in sorted(steps)]
    made = thin(line, limit)
    assert len(made) <= max(limit, 5) and (made[0], made[-1]) == (line[0], line[-1])
    assert max(p.value for p in made) == max(p.value for p in line)
    assert min(p.value for p in made) == min(p.value for p in line)


def test_logs_of_all_sorts():
    import numpy as np

    made = logged({"a": np.float32(0.5), "v": np.array([1.0, float("nan")]), "big": np.arange(100), "s": "text",
                   "o": object(), "n": None, "m": np.ones((2, 2)), "r": [[1], [2, 3]]})
    assert made == {"a": 0.5, "v[0]": 1.0, "v[1]": "nan", "big[mean]": 49.5, "m[0]": 1.0, "m[1]": 1.0, "m[2]": 1.0,
                    "m[3]": 1.0}
    assert logged(None) == {}


# -- what the record tells of steps


@pytest.fixture
def a_record(tmp_path, monkeypatch):
    one, clock = record.Record(lambda: {}), [100.0]
    monkeypatch.setattr(record.time, "monotonic", lambda: clock[0])
    one.open(str(tmp_path / "journal.jsonl"))
    one.fit_started(owned=True)
    one.clock, one.file = clock, tmp_path / "journal.jsonl"
    yield one
    one._stop_listening()
    record._open.remove(one)
    record.Record._current = None


class OnDevice:
    """A log that has to be computed, and says when it was read."""

    def __init__(self, step, read):
        self.step, self.read = step, read

    def __float__(self):
        self.read.append(self.step)
        return float(self.step)


def test_the_logs_of_a_step_are_told_now_and_then_and_read_late(a_record):
    read, per_step = [], 0.005
    for step in range(200000):  # 1,000 seconds
        a_record.clock[0] += per_step
        a_record.beat(Progress(step=step))
        a_record.step(step + 1, {"loss": OnDevice(step + 1, read)})
        if read and read[-1] > step - 32:
            raise AssertionError("step {} waited for the device at {}".format(read[-1], step))
    told = [event for event in parse(a_record.file.read_bytes().split(b"\n")).events if event.kind == "progress"]
    assert [event.figures["metrics_step"] for event in told if "metrics" in event.figures] == read
    assert 300 < len(read) < 360, "one a second at first, then one in a hundredth of the time"
    assert read[0] == 1 and all(event.figures["metrics"]["loss"] == event.figures["metrics_step"] for event in told)


def test_slow_steps_are_told_each(a_record):
    for step in range(5):
        a_record.beat(Progress(step=step))
        a_record.step(step + 1, {"loss": 0.5})
        a_record.clock[0] += 20.0
    told = [event.figures.get("metrics_step") for event in read_journal(str(a_record.file)).events
            if event.kind == "progress"]
    assert told == [1, 2, 3, 4]


def test_counts_of_older_kerases_are_no_metrics(a_record):
    a_record.step(1, {"batch": 0, "size": 32, "loss": 0.5})
    a_record.clock[0] += 5.0
    a_record.beat(Progress(step=40))
    a_record.step(41, {"size": 7.0})
    a_record.clock[0] += 5.0
    a_record.beat(Progress(step=80))
    told = [event.figures["metrics"] for event in read_journal(str(a_record.file)).events if event.kind == "progress"]
    assert told == [{"loss": 0.5}, {"size": 7.0}]


def test_a_step_without_logs_tells_nothing(a_record):
    a_record.step(1, None)
    a_record.step(2, {})
    a_record.clock[0] += 5.0
    a_record.beat(Progress(step=40))
    assert all("metrics" not in event.figures for event in read_journal(str(a_record.file)).events)


def test_no_line_is_longer_than_what_the_journal_reads():
    assert curves._SUMMED_POINTS * 40 + curves._SUMMED_POINTS // 2 * 40 < 1 << 20


def test_checkpoints_have_their_places_however_many_there_are():
    made = Curves()
    for number in range(30000):
        made.add(LifecycleEvent("checkpoint_saved", float(number), {"step": number}))
    for view in (made.drawn(), made.state()):
        steps = view["saves"]["steps"]
        assert 500 <= len(steps) <= 1000 and steps[0] == 0 and steps[-1] > 29900
