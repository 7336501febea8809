"""Settings of sessions and the hook of lifecycle events; no framework."""

import logging

import pytest

from keras_session_ext.backend.tf1_session.scope_settings import as_settings
from keras_session_ext.errors import ConfigError
from keras_session_ext.lifecycle import events


def test_settings():
    assert as_settings(None) == as_settings({})
    made = as_settings({"memory_growth": True, "intra_op_threads": 2, "inter_op_threads": 0, "device": "/CPU:0"})
    assert (made.memory_growth, made.intra_op_threads, made.inter_op_threads, made.device) == (True, 2, 0, "/CPU:0")


@pytest.mark.parametrize("config, expected", [
    (3, "Expected a mapping"), ("device", "Expected a mapping"), ([("device", "/CPU:0")], "Expected a mapping"),
    ({"devise": "/CPU:0"}, "did you mean 'device'"), ({"xyz": 1}, "expected memory_growth"), ({4: 1}, "unknown key"),
    ({"memory_growth": 1}, "expected a bool"), ({"intra_op_threads": True}, "a count of at least 0"),
    ({"intra_op_threads": -1}, "a count of at least 0"), ({"inter_op_threads": 1.5}, "a count of at least 0"),
    ({"device": 0}, "expected a str"),
])
def test_wrong_settings(config, expected):
    with pytest.raises(ConfigError, match=expected):
        as_settings(config)


def test_all_wrong_settings_at_once():
    with pytest.raises(ConfigError) as error:
        as_settings({"device": 1, "memory_growth": "yes", "threads": 2})
    assert len(str(error.value).splitlines()) == 4


def test_events_reach_every_listener_and_a_broken_one_disturbs_nobody(caplog):
    seen = []

    def broken(event):
        raise RuntimeError(event.kind)

    stops = [events.listen(broken), events.listen(seen.append)]
    with caplog.at_level(logging.ERROR):
        events.emit("fit_started", stage=0)
        events.emit("fit_finished", stage=0)
    for stop in stops + stops:  # twice is no error
        stop()
    events.emit("session_closed")
    assert [(event.kind, event.figures) for event in seen] == [("fit_started", {"stage": 0}),
                                                               ("fit_finished", {"stage": 0})]
    assert len(caplog.records) == 1 and seen[0].time <= seen[1].time
    with pytest.raises(AttributeError):
        seen[0].kind = "other"
    with pytest.raises(TypeError, match="Expected a function"):
        events.listen("print")
