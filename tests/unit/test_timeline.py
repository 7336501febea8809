"""The story of a run from its events: pure, and not impressed by anything."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_session_ext.lifecycle.events import KINDS, LifecycleEvent
from keras_session_ext.lifecycle.timeline import spell, timeline


def told(*rows):
    """Events from (seconds, process, kind, figures)."""
    return [LifecycleEvent(kind, when, figures, number + 1, process)
            for number, (when, process, kind, figures) in enumerate(rows)]


RUN = told(
    (0, "a", "process_started", {"pid": 7, "host": "node", "keras": "3.15.1"}),
    (1, "a", "fit_started", {"stage": 0}),
    (1, "a", "epoch_started", {"epoch": 0, "step": 0}),
    (5, "a", "checkpoint_saved", {"id": "c1", "step": 40, "size_bytes": 1000, "stall_seconds": 0.5,
                                  "durable_seconds": 0.9, "reason": "EverySteps(40)", "directory": 'runs/"a"'}),
    (7, "a", "progress", {"step": 60}),
    (107, "b", "process_started", {"pid": 8, "host": "node"}),
    (107, "b", "interrupted", {"vanished": "a", "step": 60, "last_sign": 7, "seconds": 6.0}),
    (107, "b", "fit_started", {"stage": 0}),
    (108, "b", "restored", {"id": "c1", "step": 40, "seconds": 0.5, "lost_steps": 20, "lost_seconds": 2.0,
                            "exact": True, "reasons": []}),
    (109, "b", "replayed", {"batches": 40, "seconds": 0.5, "exact": False, "reasons": ["it drew ahead"], "step": 40}),
    (112, "b", "epoch_finished", {"epoch": 0, "step": 100}),
    (113, "b", "checkpoint_saved", {"id": "c2", "step": 100, "size_bytes": 3000, "stall_seconds": 0.5}),
    (114, "b", "checkpoint_deleted", {"id": "c1", "reason": "wanted by none of KeepLast(1)"}),
    (117, "b", "fit_finished", {"step": 100, "seconds": 10.0}),
    (118, "b", "finished", {}),
)


def test_the_story_of_a_kill_and_a_resume():
    made = timeline(RUN, now=118.0)
    a, b = made["processes"]
    assert (a["ending"], a["end"], a["pid"]) == ("interrupted", 7, 7) and "step 60" in a["text"]
    assert (b["ending"], b["end"], b["number"]) == ("finished", 118, 2)
    gap, = made["gaps"]
    assert (gap["start"], gap["end"], gap["lost_steps"], gap["after"]) == (7, 107, 20, 0)
    assert gap["text"] == "nothing ran for 1 min 40 s; 20 steps were trained again"
    head = made["headline"]
    assert (head["resumes"], head["lost_steps"], head["checkpoints"], head["size_bytes"]) == (1, 20, 2, 4000)
    assert head["training_seconds"] == 16.0 and head["stall_share"] == pytest.approx(1 / 16)
    assert head["goodput"] == pytest.approx(1 - (2.0 + 1.0 + 1.0) / 16)
    assert head["exact"] is False and head["exact_reasons"] == ["it drew ahead"], "the last word counts"
    assert head["steps_per_second"] == pytest.approx(60 / 3)
    spans = {(span["lane"], span["process"]): span for span in made["spans"]}
    assert spans["epoch", 0]["end"] == 7 and spans["fit", 0]["end"] == 7, "what was open ended with its process"
    assert spans["restore", 1]["start"] == 107.5 and spans["replay", 1]["label"] == "40 batches skipped"
    checkpoint = made["checkpoints"]["c1"]
    assert checkpoint["deleted"]["reason"] == "wanted by none of KeepLast(1)"
    assert checkpoint["restore"] == 'kse.SessionCheckpoint("runs/\\"a\\"", restore="c1")'


def test_every_prefix_of_a_story_is_one():
    for length in range(len(RUN) + 1):
        made = timeline(RUN[:length], now=RUN[length - 1].time if length else 0.0)
        json.dumps(made, allow_nan=False)
        assert len(made["events"]) == length


def test_a_running_process_and_one_that_fell_silent():
    assert timeline(RUN[:5], now=60.0)["processes"][0]["ending"] == "running"
    silent = timeline(RUN[:5], now=6000.0)["processes"][0]
    assert (silent["ending"], silent["end"]) == ("silent", 7)


def test_failures_and_signals():
    made = timeline(told(
        (0, "a", "process_started", {}), (0, "a", "fit_started", {}), (2, "a", "save_failed", {"error": "ENOSPC"}),
        (3, "a", "failed", {"error": "ValueError: x", "seconds": 3.0}), (4, "a", "fit_started", {}),
        (5, "a", "signal_received", {"signal": "SIGTERM", "ends": True, "seconds": 1.0})), now=6.0)
    assert [mark["kind"] for mark in made["marks"]] == ["save_failed", "failed", "signal"]
    assert made["processes"][0]["ending"] == "signal" and made["headline"]["failures"] == 2
    assert made["headline"]["training_seconds"] == 4.0


def test_a_summary_counts():
    made = timeline(told((0, "a", "restored", {"lost_steps": 99}),  # kept for the drawing, and summed up already
                         (0, "a", "summary", {"events": 90, "totals": {"checkpoints": 9, "size_bytes": 900,
                                                                       "stall_seconds": 1.5, "lost_steps": 5}}),
                         (1, "a", "checkpoint_saved", {"id": "x", "size_bytes": 100, "stall_seconds": 0.5})), now=1.0)
    head = made["headline"]
    assert made["dropped"] == 90 and head["lost_steps"] == 5
    assert (head["checkpoints"], head["size_bytes"], head["stall_seconds"]) == (10, 1000, 2.0)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)
names = st.sampled_from(["id", "step", "epoch", "seconds", "lost_steps", "lost_seconds", "size_bytes", "exact",
                         "reasons", "vanished", "last_sign", "pid", "stage", "batches", "counts", "events", "error",
                         "ends", "stall_seconds", "directory", "validation"])


@given(st.lists(st.tuples(st.floats(0, 1e10), st.sampled_from("abc"), st.sampled_from([*KINDS, "foreign"]),
                          st.dictionaries(names, values, max_size=6)), max_size=12))
@settings(max_examples=400, deadline=None)
def test_hostile_figures_make_a_story_too(rows):
    from keras_session_ext.lifecycle.journal import plain

    made = timeline([event._replace(figures=plain(event.figures)) for event in told(*rows)], now=1.0)
    json.dumps(made, allow_nan=False)
    assert 0 <= (made["headline"]["goodput"] or 0) <= 1


def test_durations_for_people():
    assert [spell(one) for one in (0, 0.0421, 59.4, 60, 3600, 90061, 172800)] == [
        "0 ms", "42 ms", "59 s", "1 min", "1 h", "1 d 1 h", "2 d"]
