"""When to save and what to keep: pure values in, decisions out."""

import logging
import math
import pickle
import signal

import pytest

from keras_session_ext.errors import ConfigError, SessionError
from keras_session_ext.policies.keep import (
    KeepAll,
    KeepAny,
    KeepBest,
    KeepEvery,
    KeepLast,
    KeepPolicy,
    KeepSize,
    as_keep_policy,
)
from keras_session_ext.policies.monitor import Monitor
from keras_session_ext.policies.overhead import Overhead
from keras_session_ext.policies.save import (
    AnyPolicy,
    EveryEpochs,
    EverySeconds,
    EverySteps,
    OnBest,
    OnSignal,
    SavePolicy,
    as_policy,
)
from keras_session_ext.progress import CheckpointInfo, Progress

NAN = float("nan")
INF = float("inf")


def fires(policy, steps):
    return [step for step in steps if policy(Progress(step=step), {})]


class Clock:
    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


class Recorded(SavePolicy):
    """A policy that notes what it was asked and answers as told."""

    def __init__(self, answer=False, name="Recorded"):
        self.answer, self.name = answer, name
        self.asked, self.begun, self.state = [], [], {}

    def begin(self, progress):
        self.begun.append(progress)

    def __call__(self, progress, logs):
        self.asked.append((progress, logs))
        return self.answer

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.state = dict(state, taken=True)

    def __repr__(self):
        return self.name


# -- EverySteps


@pytest.mark.parametrize("n, steps, expected", [
    (1, range(0, 4), [1, 2, 3]),
    (3, range(0, 10), [3, 6, 9]),
    (100, (99, 100, 101, 199, 200), [100, 200]),
    (10, range(0, 64, 8), [16, 24, 32, 40, 56]),  # steps_per_execution=8: the first question past a multiple
    (10, range(0, 100, 25), [25, 50, 75]),  # several multiples in one jump: one save
    (7, (0, 0, 0, 7, 7, 7), [7]),  # asked again at one step: once
    (5, (0,), []),
])
def test_every_steps_fires_past_absolute_multiples(n, steps, expected):
    assert fires(EverySteps(n), steps) == expected


@pytest.mark.parametrize("start, expected", [(0, [10, 20]), (9, [10, 20]), (10, [20]), (11, [20]), (19, [20])])
def test_every_steps_counts_over_the_whole_run(start, expected):
    policy = EverySteps(10)
    policy.begin(Progress(step=start))
    assert fires(policy, range(start, 26)) == expected


def test_every_steps_is_resumed_at_the_steps_of_the_uninterrupted_run():
    whole = fires(EverySteps(7), range(0, 60))
    for cut in range(0, 60):
        first, second = EverySteps(7), EverySteps(7)
        second.begin(Progress(step=cut))
        assert fires(first, range(0, cut + 1)) + fires(second, range(cut, 60)) == whole


# -- EveryEpochs


def epochs(policy, last, batches=3, stage=0):
    fired, step = [], 0
    for epoch in range(last):
        for batch in range(batches):
            step += 1
            if policy(Progress(stage, epoch, batch, step), {}):
                fired.append((epoch, batch))
        if policy(Progress(stage, epoch + 1, 0, step), {"loss": 1.0}):
            fired.append((epoch + 1, 0))
    return fired


@pytest.mark.parametrize("n, expected", [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (4, [4]), (7, [])])
def test_every_epochs_fires_at_the_end_of_epochs_only(n, expected):
    assert epochs(EveryEpochs(n), 6) == [(epoch, 0) for epoch in expected]


def test_every_epochs_asks_once_per_epoch():
    policy = EveryEpochs()
    assert [policy(Progress(epoch=1), {}) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("begun, asked, expected", [
    (Progress(epoch=2), Progress(epoch=2), False),  # a resume does not save again what it came from
    (Progress(epoch=2), Progress(epoch=4), True),
    (Progress(epoch=2), Progress(epoch=3), False),
    (Progress(epoch=3, batch=5), Progress(epoch=4), True),
    (Progress(stage=1, epoch=0), Progress(stage=1, epoch=2), True),
    (Progress(stage=1, epoch=0), Progress(stage=1, epoch=2, batch=1), False),
])
def test_every_second_epoch_after_a_resume(begun, asked, expected):
    policy = EveryEpochs(2)
    policy.begin(begun)
    assert policy(asked, {}) is expected


def test_every_epochs_goes_on_in_the_next_stage():
    policy = EveryEpochs()
    assert policy(Progress(stage=0, epoch=5), {})
    policy.begin(Progress(stage=1, epoch=0, step=50))
    assert not policy(Progress(stage=1, epoch=0, step=50), {})
    assert policy(Progress(stage=1, epoch=1, step=60), {})


# -- EverySeconds


def test_every_seconds_with_a_clock():
    clock = Clock()
    policy = EverySeconds(60, clock=clock)
    policy.begin(Progress())
    fired = []
    for now in (0, 59.9, 60, 61, 119.9, 120, 500, 501, 560):
        clock.now = now
        if policy(Progress(), {}):
            fired.append(now)
    assert fired == [60, 120, 500, 560]


def test_every_seconds_counts_from_the_begin_of_training():
    clock = Clock()
    policy = EverySeconds(10, clock=clock)
    clock.now = 1000.0  # building the model took long
    policy.begin(Progress())
    assert not policy(Progress(), {})
    clock.now = 1009.9
    assert not policy(Progress(), {})
    clock.now = 1010.0
    assert policy(Progress(), {})


def test_every_seconds_uses_a_monotonic_clock():
    policy = EverySeconds(1e-9)
    assert policy(Progress(), {})


# -- OnBest


@pytest.mark.parametrize("monitor, mode, values, expected", [
    ("val_loss", "auto", [0.5, 0.6, 0.4, 0.4, 0.3], [0.5, 0.4, 0.3]),
    ("val_accuracy", "auto", [0.5, 0.6, 0.4, 0.6, 0.7], [0.5, 0.6, 0.7]),
    ("val_auc", "auto", [0.5, 0.4], [0.5]),
    ("mean_squared_error", "auto", [3.0, 2.0, 2.5], [3.0, 2.0]),
    ("score", "max", [1, 3, 2, 4], [1, 3, 4]),
    ("accuracy", "min", [3, 4, 2], [3, 2]),
    ("loss", "auto", [NAN, 0.5, NAN, 0.4], [0.5, 0.4]),
    ("loss", "auto", [INF, 5.0, -INF], [INF, 5.0, -INF]),
    ("loss", "auto", [None, "text", 0.5], [0.5]),
])
def test_on_best(monitor, mode, values, expected):
    policy = OnBest(monitor, mode)
    assert [value for value in values if policy(Progress(), {monitor: value})] == expected


def test_on_best_ignores_batches():
    policy = OnBest("loss")
    assert not policy(Progress(), {}) and policy.get_state() == {}


def test_on_best_tells_a_wrong_monitor_once_with_the_logged_names(caplog):
    policy = OnBest("val_los")
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        assert [policy(Progress(), {"val_loss": 1.0, "loss": 2.0}) for _ in range(3)] == [False] * 3
    (message,) = [record.getMessage() for record in caplog.records]
    assert "OnBest('val_los')" in message and "'val_los'" in message and "loss, val_loss" in message


def test_keep_best_tells_a_wrong_monitor_once_with_what_may_have_been_meant(caplog):
    def info(epoch, batch, **metrics):
        progress = Progress(0, epoch, batch, 10 * epoch + batch)
        return CheckpointInfo("{}-{}".format(epoch, batch), "", progress, 1, 0.0, 1, metrics, "", True)

    policy = KeepBest(1, "val_los")
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        policy.plan([info(0, 5, loss=0.5)])
        assert not caplog.records, "within an epoch there is no validation yet"
        KeepBest(1, "val_loss").plan([info(0, 5, loss=0.5), info(1, 0, loss=0.5, val_loss=0.25)])
        assert not caplog.records
        for _ in range(2):
            policy.plan([info(0, 5, loss=0.5), info(1, 0, loss=0.5, val_loss=0.25)])
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == ("KeepBest(1, 'val_los') has no effect yet: fit has not logged 'val_los'; did you mean "
                       "'val_loss'? It logs: loss, val_loss.")


def test_on_best_is_silent_where_the_metric_is_logged(caplog):
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        OnBest("loss")(Progress(), {"loss": NAN})
        OnBest("loss")(Progress(), {})
    assert not caplog.records


def test_on_best_remembers_the_best_of_earlier_processes():
    before = OnBest("loss")
    assert before(Progress(), {"loss": 0.25})
    after = OnBest("loss")
    after.set_state(before.get_state())
    assert not after(Progress(), {"loss": 0.3})
    assert after(Progress(), {"loss": 0.2})


@pytest.mark.parametrize("value", [INF, -INF, 0.1, -0.0, 1e308])
def test_the_state_of_on_best_goes_into_strict_json(value):
    import json

    before, after = OnBest("loss", "max"), OnBest("loss", "max")
    assert before(Progress(), {"loss": value})
    after.set_state(json.loads(json.dumps(before.get_state(), allow_nan=False)))
    assert not after(Progress(), {"loss": value})
    assert value == INF or after(Progress(), {"loss": INF})


@pytest.mark.parametrize("name, up", [
    ("loss", False), ("val_loss", False), ("mae", False), ("acc", True), ("val_acc", True),
    ("sparse_categorical_accuracy", True), ("AUC", True), ("val_f1_score", True), ("val_mean_io_u", False),
    ("mean_iou", True), ("perplexity", False), ("recall_1", True), ("precision_at_recall", True),
])
def test_the_direction_of_a_metric(name, up):
    assert Monitor(name).better(2.0, 1.0) is up


# -- OnSignal


@pytest.mark.parametrize("arguments, expected", [
    ((), [signal.SIGTERM]),
    (("SIGUSR1",), [signal.SIGUSR1]),
    ((signal.SIGTERM, "SIGINT"), [signal.SIGTERM, signal.SIGINT]),
    ((10,), [signal.Signals(10)]),
])
def test_on_signal_takes_signals_and_names(arguments, expected):
    policy = OnSignal(*arguments)
    assert policy.signals == expected
    assert repr(policy) == "OnSignal({})".format(", ".join(one.name for one in expected))


def test_on_signal_fires_while_one_was_received():
    policy = OnSignal()
    assert policy(Progress(), {}) is False
    policy.received = int(signal.SIGTERM)
    assert policy(Progress(), {}) is True


@pytest.mark.parametrize("wrong", ["SIGNOTHING", "TERM", -1, 9999, True, None, signal.SIGKILL, "SIGSTOP", 1.5, [15]])
def test_on_signal_refuses_what_no_process_can_catch(wrong):
    with pytest.raises(ConfigError, match="`signals`") as caught:
        OnSignal(wrong)
    assert repr(wrong) in str(caught.value)


# -- joining


def at_seven(progress, logs):
    return progress.step == 7


@pytest.mark.parametrize("made", [
    lambda: EverySteps(5) | at_seven, lambda: at_seven | EverySteps(5),
    lambda: AnyPolicy([EverySteps(5), at_seven]), lambda: (at_seven | EveryEpochs(9)) | EverySteps(5),
    lambda: at_seven | (EveryEpochs(9) | EverySteps(5)),
])
def test_policies_are_joined_with_plain_callables_on_either_side(made):
    policy = made()
    assert isinstance(policy, AnyPolicy)
    assert fires(policy, range(1, 11)) == [5, 7, 10]


def test_joining_is_flat_and_keeps_the_order():
    policy = EverySteps(1) | EveryEpochs(2) | at_seven | OnBest("loss")
    assert [type(one).__name__ for one in policy.policies] == [
        "EverySteps", "EveryEpochs", "CallablePolicy", "OnBest"]
    assert repr(policy) == "EverySteps(1) | EveryEpochs(2) | at_seven | OnBest('loss')"


def test_any_policy_asks_every_policy():
    policies = [Recorded(True, "a"), Recorded(False, "b"), Recorded(True, "c")]
    joined = AnyPolicy(policies)
    assert joined(Progress(step=3), {"loss": 1.0}) is True
    assert joined.fired == ["a", "c"]
    assert [policy.asked for policy in policies] == [[(Progress(step=3), {"loss": 1.0})]] * 3


def test_any_policy_forgets_who_fired_last():
    joined = EverySteps(2) | EverySteps(3)
    assert joined(Progress(step=6), {}) and joined.fired == ["EverySteps(2)", "EverySteps(3)"]
    assert not joined(Progress(step=7), {}) and joined.fired == []


def test_any_policy_of_nothing_never_saves():
    assert AnyPolicy([])(Progress(), {}) is False


def test_begin_reaches_every_policy():
    policies = [Recorded(), Recorded()]
    AnyPolicy(policies).begin(Progress(step=4))
    assert [policy.begun for policy in policies] == [[Progress(step=4)]] * 2


def test_state_goes_to_the_policy_it_came_from():
    a, b = Recorded(name="a"), Recorded(name="b")
    a.state = {"n": 1}
    state = AnyPolicy([a, b]).get_state()
    assert state == {"a": {"n": 1}}
    c, d = Recorded(name="a"), Recorded(name="b")
    AnyPolicy([d, c]).set_state(state)  # the order in the script may change
    assert c.state == {"n": 1, "taken": True} and d.state == {}


def test_state_of_a_policy_that_is_gone_is_dropped():
    AnyPolicy([EverySteps(1)]).set_state({"OnBest('loss')": {"best": 1.0}})


def test_two_monitors_do_not_share_their_best():
    low, high = OnBest("score", "min"), OnBest("score", "max")
    for value in (0.5, 0.9, 0.1):
        (low | high)(Progress(), {"score": value})
    low_again, high_again = OnBest("score", "min"), OnBest("score", "max")
    AnyPolicy([low_again, high_again]).set_state(AnyPolicy([low, high]).get_state())
    logs = {"score": 0.5}
    assert not low_again(Progress(), logs) and not high_again(Progress(), logs)


def test_a_callable_may_return_anything_true():
    policy = as_policy(lambda progress, logs: logs.get("loss"))
    assert policy(Progress(), {"loss": 3.0}) is True and policy(Progress(), {}) is False


def test_a_callable_object_is_named_by_its_class():
    class AtNight:
        def __call__(self, progress, logs):
            return True

    assert repr(EverySteps(1) | AtNight()) == "EverySteps(1) | AtNight"


def test_a_stage_has_one_end():
    """Raised `epochs` end it again: the ends before are checkpoints like others."""
    infos = [CheckpointInfo("{}-{}".format(stage, epoch), "", Progress(stage, epoch, 0, 100 * stage + epoch), 1, 0.0, 1,
                            {}, "", True, finished=epoch % 2 == 0)
             for stage in (0, 1) for epoch in range(1, 9)]
    plan = KeepLast(1).plan(infos)
    assert [info.id for info in plan.keep] == ["1-8", "0-8"]
    assert plan.reasons["0-8"] == ["the end of stage 0"] and "the end of stage 1" in plan.reasons["1-8"]


# -- what configs take


@pytest.mark.parametrize("text, policy", [
    ("10m", EverySeconds(600)), ("1h30m", EverySeconds(5400)), ("0.5", EverySeconds(0.5)),
    ("500ms", EverySeconds(0.5))])
def test_durations_are_written_as_in_configs(text, policy):
    assert repr(EverySeconds(text)) == repr(policy) and EverySeconds(text).s == policy.s
    assert KeepEvery(seconds=text).distance == policy.s
    assert Overhead(lose_at_most_seconds=text).lose_at_most_seconds == policy.s


def test_sizes_are_written_as_in_configs():
    assert KeepSize("20GB").size_bytes == 20 * 10**9 and KeepSize("1.5 KiB").size_bytes == 1536


@pytest.mark.parametrize("make, message", [
    (lambda: EverySteps(steps=5), r"EverySteps\(\) got an unexpected keyword argument 'steps'. It takes: n"),
    (lambda: EverySeconds(seconds=5), "'seconds'.*It takes: s, clock"),
    (lambda: OnBest(metric="loss"), "'metric'.*It takes: monitor, mode"),
    (lambda: OnBest("loss", moode="max"), "did you mean 'mode'"),
    (lambda: KeepBest(1, monitr="loss"), "did you mean 'monitor'"),
    (lambda: KeepEvery(step=5), "did you mean 'steps'"),
    (lambda: Overhead(lose_at_most=5), "did you mean 'lose_at_most_seconds'")])
def test_a_wrong_keyword_is_told_with_what_may_have_been_meant(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_policy_that_takes_nothing_takes_nothing():
    class Mine(SavePolicy):
        pass

    for make in (lambda: KeepAll(3), lambda: KeepAll(n=3), lambda: Mine(5), lambda: Mine(n=5)):
        with pytest.raises(TypeError):
            make()
    assert repr(pickle.loads(pickle.dumps(KeepBest(1, "loss") | KeepAll()))) == "KeepBest(1, 'loss') | KeepAll()"


def test_policies_of_the_users_own_take_what_they_like():
    class Mine(SavePolicy):
        def __init__(self, **anything):
            self.anything = anything

    assert Mine(a=1).anything == {"a": 1}


# -- bad arguments


@pytest.mark.parametrize("make, argument", [
    (lambda: EverySteps(0), "n"), (lambda: EverySteps(-1), "n"), (lambda: EverySteps(1.0), "n"),
    (lambda: EverySteps(True), "n"), (lambda: EverySteps("3"), "n"), (lambda: EverySteps(None), "n"),
    (lambda: EveryEpochs(0), "n"), (lambda: EveryEpochs(2.5), "n"), (lambda: EveryEpochs([1]), "n"),
    (lambda: EverySeconds(0), "s"), (lambda: EverySeconds(-3.0), "s"), (lambda: EverySeconds(NAN), "s"),
    (lambda: EverySeconds("10 minutes"), "s"),
    (lambda: EverySeconds("0s"), "s"), (lambda: EverySeconds("10:30"), "s"), (lambda: EverySeconds(False), "s"),
    (lambda: OnBest(""), "monitor"), (lambda: OnBest(None), "monitor"), (lambda: OnBest(3), "monitor"),
    (lambda: OnBest("loss", "best"), "mode"), (lambda: OnBest("loss", None), "mode"),
    (lambda: EverySteps(1) | 5, "save"), (lambda: 5 | EverySteps(1), "save"), (lambda: EverySteps(1) | None, "save"),
    (lambda: EverySteps(1) | EveryEpochs, "save"), (lambda: as_policy(EveryEpochs), "save"),
    (lambda: as_policy("EveryEpochs"), "save"), (lambda: EverySteps(1) | KeepLast(1), "save"),
    (lambda: KeepLast(0), "n"), (lambda: KeepLast(1.5), "n"), (lambda: KeepLast(True), "n"),
    (lambda: KeepBest(0, "loss"), "n"), (lambda: KeepBest(1, ""), "monitor"),
    (lambda: KeepBest(1, "loss", "up"), "mode"),
    (lambda: KeepEvery(steps=0), "steps"), (lambda: KeepEvery(epochs=1.5), "epochs"),
    (lambda: KeepEvery(seconds=-1.0), "seconds"), (lambda: KeepEvery(seconds="1y"), "seconds"),
    (lambda: KeepSize(0), "size_bytes"), (lambda: KeepSize(1e9), "size_bytes"), (lambda: KeepSize("1G"), "size_bytes"),
    (lambda: KeepSize("-1GB"), "size_bytes"),
    (lambda: KeepLast(1) | 3, "keep"), (lambda: KeepLast(1) | EverySteps(1), "keep"),
    (lambda: as_keep_policy(3), "keep"), (lambda: as_keep_policy(KeepLast), "keep"),
])
def test_a_bad_argument_is_named(make, argument):
    with pytest.raises(ConfigError, match="argument `{}`".format(argument)) as caught:
        make()
    assert "Expected" in str(caught.value) and "Received: " in str(caught.value)
    assert isinstance(caught.value, (SessionError, ValueError))


@pytest.mark.parametrize("arguments", [{}, {"steps": 1, "epochs": 1}, {"steps": 1, "epochs": 1, "seconds": 1}])
def test_keep_every_takes_exactly_one_distance(arguments):
    with pytest.raises(ConfigError, match="exactly one of steps=, epochs=, seconds="):
        KeepEvery(**arguments)


@pytest.mark.parametrize("make, name", [
    (lambda: OnBest("loss", "sideways"), "sideways"), (lambda: EverySteps(-17), "-17"),
    (lambda: KeepEvery(seconds=0), "0"), (lambda: as_keep_policy("all"), "'all'"),
])
def test_a_bad_value_is_repeated(make, name):
    with pytest.raises(ConfigError, match=name):
        make()


# -- what to keep


def info(step, generation=1, epoch=0, stage=0, seconds=0.0, finished=False, id=None, size_bytes=0, **metrics):
    return CheckpointInfo(
        id=id or "g{}-s{}".format(generation, step), path="", progress=Progress(stage, epoch, 0, step, float(seconds)),
        generation=generation, created=0.0, size_bytes=size_bytes, metrics=metrics, reason="", exact=True,
        finished=finished)


def kept(policy, infos):
    plan = policy.plan(infos)
    everything = [one.id for one in plan.keep + plan.remove]
    assert sorted(everything) == sorted(one.id for one in infos), "each stands on one side, once"
    assert set(plan.reasons) == set(everything) and all(plan.reasons.values()), "each has a reason"
    assert [one.order for one in plan.keep] == sorted((one.order for one in plan.keep), reverse=True)
    return [one.progress.step for one in plan.keep]


@pytest.mark.parametrize("policy", [
    KeepLast(1), KeepBest(1, "loss"), KeepEvery(steps=10), KeepSize(1), KeepAll(), KeepLast(1) | KeepAll(),
    KeepPolicy()], ids=repr)
def test_a_plan_of_nothing(policy):
    assert tuple(policy.plan([])) == ([], [], {})


@pytest.mark.parametrize("n, expected", [
    (1, [50]), (2, [50, 40]), (5, [50, 40, 30, 20, 10]), (99, [50, 40, 30, 20, 10])])
@pytest.mark.parametrize("turned", [False, True])
def test_keep_last(n, expected, turned):
    infos = [info(step) for step in (10, 20, 30, 40, 50)]
    assert kept(KeepLast(n), infos[::-1] if turned else infos) == expected


def test_order_is_generation_then_step_and_never_the_time_of_the_file():
    infos = [info(900, generation=1)._replace(created=99.0), info(10, generation=2)._replace(created=1.0),
             info(20, generation=2)._replace(created=0.0), info(5, generation=10)._replace(created=0.5)]
    assert kept(KeepLast(2), infos) == [5, 20]


def test_a_plan_takes_any_iterable_and_changes_nothing():
    infos = [info(1), info(2)]
    assert KeepLast(1).plan(iter(infos)).remove == [infos[0]]
    assert infos == [info(1), info(2)]


@pytest.mark.parametrize("n, losses, expected", [
    (1, [0.5, 0.3, 0.4], [3, 2]),  # 3 is the newest
    (2, [0.5, 0.3, 0.4, 0.9], [4, 3, 2]),
    (1, [NAN, NAN, 0.9, NAN], [4, 3]),
    (1, [NAN, NAN], [2]),
    (2, [0.3, 0.3, 0.3, 0.3], [4, 2, 1]),  # of equal ones the older stays
    (1, [-INF, 0.0, INF], [3, 1]),
    (3, [None, 0.2, "text", 0.1, 0.9], [5, 4, 2]),
])
def test_keep_best(n, losses, expected):
    assert kept(KeepBest(n, "loss"), [info(step, loss=loss) for step, loss in enumerate(losses, 1)]) == expected


def test_keep_best_without_the_metric_keeps_the_newest():
    assert kept(KeepBest(2, "val_loss"), [info(1, loss=1.0), info(2), info(3)]) == [3]


def test_keep_best_of_a_metric_that_grows():
    infos = [info(step, accuracy=value) for step, value in ((1, 0.2), (2, 0.9), (3, 0.5), (4, 0.1))]
    assert kept(KeepBest(1, "accuracy"), infos) == [4, 2]
    assert kept(KeepBest(1, "accuracy", "min"), infos) == [4]


@pytest.mark.parametrize("policy, expected", [
    (KeepEvery(steps=10), [27, 20, 10, 1]), (KeepEvery(steps=100), [27, 1]),
    (KeepEvery(steps=1), [27, 24, 20, 15, 10, 4, 1]),
    (KeepEvery(epochs=2), [27, 20, 10, 1]), (KeepEvery(epochs=1), [27, 24, 20, 15, 10, 4, 1]),
    (KeepEvery(seconds=30), [27, 20, 10, 1]), (KeepEvery(seconds=0.5), [27, 24, 20, 15, 10, 4, 1]),
], ids=repr)
def test_keep_every_keeps_the_first_of_each_stretch(policy, expected):
    infos = [info(step, epoch=epoch, seconds=seconds) for step, epoch, seconds in (
        (1, 0, 1.0), (4, 1, 29.9), (10, 2, 30.0), (15, 3, 59.0), (20, 4, 60.0), (24, 5, 61.0), (27, 6, 100.0))]
    assert kept(policy, infos) == expected


def test_keep_every_epochs_counts_each_stage_on_its_own():
    infos = [info(1, epoch=1, stage=0), info(2, epoch=2, stage=0), info(3, epoch=1, stage=1), info(4, epoch=2, stage=1),
             info(5, epoch=3, stage=1)]
    assert kept(KeepEvery(epochs=2), infos) == [5, 4, 3, 2, 1]
    assert kept(KeepEvery(epochs=4), infos) == [5, 3, 2, 1]


def test_the_last_checkpoint_of_a_stage_that_failed_stays():
    infos = [info(1, stage=0), info(2, stage=0), info(3, stage=1), info(4, stage=1, finished=True), info(5, stage=2),
             info(6, stage=2)]
    assert kept(KeepLast(1), infos) == [6, 4, 2]
    assert KeepLast(1).plan(infos).reasons[infos[1].id] == ["the last of stage 0"]


def test_what_was_kept_stays_kept_as_the_run_goes_on():
    """A plan applied after every save keeps what one plan over all of them would."""
    for policy in (KeepEvery(steps=30), KeepEvery(epochs=2), KeepEvery(seconds=40), KeepBest(3, "loss"), KeepLast(2),
                   KeepSize(100), KeepSize(1), KeepSize(10**6)):
        everything = [info(step, epoch=step // 10, seconds=step * 1.5, loss=abs(math.sin(step)),
                           size_bytes=10 + step * 7 % 40)
                      for step in range(5, 300, 5)]
        alive = []
        for one in everything:
            alive = policy.plan(alive + [one]).keep
        assert alive == policy.plan(everything).keep


@pytest.mark.parametrize("size, sizes, expected", [
    (30, [10, 10, 10, 10, 10], [5, 4, 3]),
    (29, [10, 10, 10, 10, 10], [5, 4]),
    (10**12, [10, 20, 30], [3, 2, 1]),
    (15, [10, 10, 20], [3]),  # the newest stays, however large it is
    (25, [1, 20, 10, 10], [4, 3]),  # no older one slips in behind one that did not fit
    (20, [5, 0, 20], [3, 2]),
])
@pytest.mark.parametrize("turned", [False, True])
def test_keep_size_keeps_the_newest_that_fit(size, sizes, expected, turned):
    infos = [info(step, size_bytes=one) for step, one in enumerate(sizes, 1)]
    assert kept(KeepSize(size), infos[::-1] if turned else infos) == expected


def test_keep_size_says_why_and_joins_others():
    infos = [info(step, size_bytes=100, loss=step) for step in (1, 2, 3)]
    policy = KeepSize(200) | KeepBest(1, "loss")
    assert kept(policy, infos) == [3, 2, 1] and repr(policy) == "KeepSize(200) | KeepBest(1, 'loss')"
    assert KeepSize(200).plan(infos).reasons["g1-s2"] == ["among the newest that fit into 200 bytes"]
    assert KeepSize(200).plan(infos).reasons["g1-s1"] == ["wanted by none of KeepSize(200)"]


def test_keep_all():
    assert kept(KeepAll(), [info(1), info(2), info(3)]) == [3, 2, 1]


@pytest.mark.parametrize("policy", [
    KeepLast(1), KeepBest(1, "loss"), KeepEvery(steps=10**6), KeepPolicy(), KeepBest(1, "nothing")], ids=repr)
def test_the_newest_and_the_ends_of_stages_always_stay(policy):
    infos = [info(1, stage=0, loss=0.1), info(2, stage=0, finished=True, loss=3.0), info(3, stage=1, loss=2.0),
             info(4, stage=1, finished=True, loss=4.0), info(5, stage=2, loss=5.0), info(6, stage=2, loss=6.0)]
    assert {2, 4, 6} <= set(kept(policy, infos))
    assert 3 not in kept(policy, infos)
    plan = policy.plan(infos)
    assert "the newest" in plan.reasons["g1-s6"]
    assert "the end of stage 0" in plan.reasons["g1-s2"] and "the end of stage 1" in plan.reasons["g1-s4"]


def test_joined_keep_policies_keep_what_any_of_them_wants():
    infos = [info(step, loss=loss) for step, loss in ((10, 0.1), (21, 0.9), (32, 0.8), (43, 0.7), (54, 0.6))]
    policy = KeepLast(2) | KeepBest(1, "loss") | KeepEvery(steps=40)
    assert isinstance(policy, KeepAny)
    assert kept(policy, infos) == [54, 43, 10]
    assert policy.plan(infos).reasons["g1-s10"] == ["loss = 0.1, one of the best 1, the first within 40 steps"]
    assert repr(policy) == "KeepLast(2) | KeepBest(1, 'loss') | KeepEvery(steps=40)"


def test_the_reasons_say_why():
    plan = KeepLast(1).plan([info(1), info(2)])
    assert plan.reasons == {"g1-s2": ["the newest", "one of the last 1"], "g1-s1": ["wanted by none of KeepLast(1)"]}


def test_a_policy_of_the_users_own():
    class KeepEven(KeepPolicy):
        def wanted(self, infos):
            return {one.id: "even" for one in infos if one.progress.step % 2 == 0}

    infos = [info(step) for step in range(1, 6)]
    assert kept(KeepEven(), infos) == [5, 4, 2]
    assert kept(KeepEven() | KeepLast(2), infos) == [5, 4, 2]
    assert kept(KeepLast(3) | KeepEven(), infos) == [5, 4, 3, 2]
