"""Which signals wait for a save, and which act at once."""

import signal

import pytest

from keras_session_ext.policies.save import OnSignal
from keras_session_ext.run import signals


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.setattr(signals, "REPEAT_SECONDS", 0.0)
    made = signals.SignalWatch([OnSignal("SIGUSR1"), OnSignal("SIGTERM", "SIGINT")], lambda frame: True)
    made.delivered = []
    monkeypatch.setattr(made, "deliver", made.delivered.append)
    monkeypatch.setattr(signal, "signal", lambda number, handler: signal.SIG_DFL)
    made.install()
    return made


def test_only_the_same_ending_signal_again_acts_at_once(watch, monkeypatch):
    for number in (signal.SIGUSR1, signal.SIGUSR1):
        watch._handle(number, None)
    monkeypatch.setattr(signals, "REPEAT_SECONDS", 1000.0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        watch._handle(number, None)
    assert watch.delivered == []
    assert watch.received() == [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT], "none is lost, what ends comes last"
    assert watch.received() == []
    monkeypatch.setattr(signals, "REPEAT_SECONDS", 0.0)
    watch._handle(signal.SIGTERM, None)
    assert watch.delivered == [signal.SIGTERM]


def test_what_a_fit_never_answered_is_forgotten_by_the_next(watch):
    """It ended by an exception in between."""
    watch._asked[signal.SIGTERM] = -1000.0
    watch.install()
    watch._handle(signal.SIGUSR1, None)
    assert watch._asked == {} and watch.received() == [signal.SIGUSR1]


@pytest.mark.parametrize("durable, said", [(True, "job 8 is requeued"), (False, "the job is not requeued")])
def test_a_job_is_requeued_only_when_the_save_is_durable(monkeypatch, durable, said):
    asked, told = [], []
    monkeypatch.setattr(signals, "requeue", lambda: asked.append(1) or "job 8 is requeued")
    watch = signals.SignalWatch([OnSignal("SIGUSR1", then="requeue"), OnSignal("SIGUSR2")], lambda frame: True)
    watch._handle(signal.SIGUSR1, None)
    watch.answer(lambda: durable, lambda number, ends: None, lambda *what: told.append(what))
    assert told == [(durable, said)] and len(asked) == durable
    watch._handle(signal.SIGUSR2, None)
    watch.answer(lambda: True, lambda number, ends: None, lambda *what: told.append(what))
    assert len(told) == 1, "the other policy's signal requeues nothing"
