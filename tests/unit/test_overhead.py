"""A policy that measures what saves cost: trainings are played, with steps and saves of all sorts."""

import random

import pytest

from keras_session_ext import Overhead
from keras_session_ext.errors import ConfigError
from keras_session_ext.policies.save import AnyPolicy, EverySteps
from keras_session_ext.progress import Progress


class Training:
    """Steps that take their time, and saves that stop them and slow them down, on a clock of its own.

    Args:
        policy: makes the policy, of the clock.
        step: seconds of a step.
        stall: what a save stops training for.
        writing: how long a save takes until it is durable.
        slower: how many times as long a step takes meanwhile.
    """

    def __init__(self, policy, step, stall, writing, slower, seed=0):
        self.now = 0.0
        self.policy = policy(lambda: self.now)
        self.step, self.stall, self.writing, self.slower = step, stall, writing, slower
        self.random = random.Random(seed)
        self.saves, self.cost, self.durable = [], 0.0, None
        self.progress = Progress()
        self.policy.begin(self.progress)

    def run(self, seconds, batches=100, validation=0.0):
        end = self.now + seconds
        while self.now < end:
            usual = self.step * self.random.uniform(0.9, 1.1)
            took = usual * self.slower if self.durable is not None else usual
            self.now += took
            self.cost += took - usual
            batch = self.progress.batch + 1
            if batch == batches:
                self.now += validation
                self.progress = self.progress._replace(epoch=self.progress.epoch + 1, batch=0)
                continue
            self.progress = self.progress._replace(batch=batch, step=self.progress.step + 1)
            self.ask()

    def ask(self):
        if self.durable is not None and self.now >= self.durable:
            self.durable = None
            self.policy.save_ends()
        if self.policy(self.progress, {}):
            self.saves.append(self.now)
            self.now += self.stall
            self.cost += self.stall
            self.policy.save_begins()
            self.durable = self.now + self.writing


@pytest.mark.parametrize("share", [0.005, 0.01, 0.05])
@pytest.mark.parametrize("step, stall, writing, slower", [
    (0.3, 0.004, 0.6, 1.2), (0.01, 0.02, 0.3, 1.0), (0.05, 0.5, 0.0, 1.0), (0.002, 0.001, 0.05, 2.0),
    (2.0, 1.0, 3.0, 1.5), (0.1, 0.0, 5.0, 1.05)])
def test_the_share_is_kept(share, step, stall, writing, slower):
    training = Training(lambda clock: Overhead(share, 1e9, clock), step, stall, writing, slower)
    training.run(100 + 60 * (stall + step + writing * (slower - 1)) / share)
    assert training.cost / training.now < 1.15 * share
    assert training.cost / training.now > 0.2 * share or training.writing > 0.1 / share, "and it is made use of"
    assert len(training.saves) > 10


@pytest.mark.parametrize("seed", range(20))
def test_no_more_is_lost_than_was_said(seed):
    """However much a save costs, and whatever stands between the steps."""
    dice = random.Random(seed)
    training = Training(lambda clock: Overhead(0.001, 60, clock), dice.uniform(0.01, 2), dice.uniform(0, 3),
                        dice.uniform(0, 10), dice.uniform(1, 2), seed)
    training.run(800)
    waits = [later - earlier for earlier, later in zip([0.0, *training.saves], training.saves)]
    assert max(waits) < 60 + training.stall + 2 * training.step * training.slower * 1.1


def test_validations_and_epochs_are_no_cost_of_a_save():
    training = Training(lambda clock: Overhead(0.01, 1e9, clock), 0.1, 0.05, 0.2, 1.0)
    training.run(4000, batches=20, validation=30.0)
    assert training.policy.cost_seconds == pytest.approx(0.05, rel=0.5)


def test_saves_for_other_reasons_are_measured_too():
    training = Training(lambda clock: AnyPolicy([EverySteps(50), Overhead(0.01, 1e9, clock)]), 0.1, 0.05, 0.2, 1.2)
    training.run(500)
    overhead = training.policy.policies[1]
    assert overhead.cost_seconds == pytest.approx(0.05 + 0.2 * 0.2 / 1.2, rel=0.6)
    assert training.policy.fired in ([], ["EverySteps(50)"]), "the others save often enough"


def test_what_was_measured_goes_on_after_a_resume():
    training = Training(lambda clock: Overhead(0.01, 1e9, clock), 0.1, 0.5, 0.2, 1.0)
    training.run(500)
    other = Overhead(0.01, 1e9)
    other.set_state(training.policy.get_state())
    assert other.distance_seconds == training.policy.distance_seconds > 30
    assert "one costs" in other.reason and "Overhead(share=0.01" in other.reason
    assert repr(other) == repr(training.policy), "by which a resumed run finds it"


def test_an_end_without_a_beginning_says_nothing():
    policy = Overhead(0.01, 1e9, lambda: 1000.0)
    policy.begin(Progress())
    before = policy.get_state()
    policy.save_ends()
    assert policy.get_state() == before


def test_the_first_save_comes_soon():
    """To see what it costs; and not where nothing may be lost for so long."""
    for most, expected in ((1e9, 10.0), (3.0, 3.0)):
        training = Training(lambda clock, most=most: Overhead(0.01, most, clock), 0.1, 0.0, 0.1, 1.0)
        training.run(12)
        assert training.saves[0] == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize("arguments, told", [
    ({"share": 0}, "share"), ({"share": 1}, "share"), ({"share": "1%"}, "share"), ({"share": True}, "share"),
    ({"share": float("nan")}, "share"), ({"lose_at_most_seconds": 0}, "lose_at_most_seconds"),
    ({"lose_at_most_seconds": "5 min"}, "lose_at_most_seconds")])
def test_wrong_arguments(arguments, told):
    with pytest.raises(ConfigError, match="Invalid value for argument `{}`".format(told)):
        Overhead(**arguments)
