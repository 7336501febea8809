"""Putting the random state back while a source's thread draws from it."""

import random
from types import SimpleNamespace

import numpy as np

from keras_session_ext.backend.randomness import host_random
from keras_session_ext.progress import ResumeReport
from keras_session_ext.state import random as random_state


def settle(draws, shared=()):
    """Puts a state back, the source's thread drawing at the worst moment; returns what was left of its draw."""
    then = {"host": host_random.host_states()}
    np.random.random(), random.random()  # since then
    drawn = {}

    def put_back(state, model):
        np.random.random()  # the thread, just before
        drawn.update(numpy=host_random.host_states()["numpy"])
        host_random.set_host_states(state["host"])
        return []

    run = SimpleNamespace(
        report=ResumeReport(), model=None, family=SimpleNamespace(set_random_state=put_back),
        feed=SimpleNamespace(source="generator", drew_ahead=lambda name: name in draws,
                             shares_draws=lambda name: name in shared))
    random_state.settle(then, run)
    return then["host"], drawn, host_random.host_states(), run.report


def test_what_a_thread_draws_from_is_not_even_written_to():
    then, drawn, now, report = settle({"numpy"})
    assert host_random.same(now["numpy"], drawn["numpy"]), "its draw would come a second time"
    assert host_random.same(now["python"], then["python"]) and not report.reasons


def test_what_nobody_draws_ahead_from_comes_back():
    then, _, now, report = settle(set())
    assert all(host_random.same(now[name], then[name]) for name in ("numpy", "python")) and not report.reasons


def test_what_the_source_shares_comes_back_and_is_told():
    then, _, now, report = settle({"numpy"}, shared={"numpy"})
    assert host_random.same(now["numpy"], then["numpy"])
    assert "draws from numpy's global random state, and so does something else" in report.reasons[0]
