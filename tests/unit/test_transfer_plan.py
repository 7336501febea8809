"""The plans by which weights and slots go from one Keras to another; pure tables."""

import pytest

from keras_session_ext.backend.transfer.plan import plan_slots, plan_weights
from keras_session_ext.run import script_settings


def layer(name, kind, weights, **layout):
    return {"name": name, "class": kind, "layout": layout, "weights": weights}


DENSE = layer("dense", "Dense", [["kernel", 0], ["bias", 1]])
NORM = layer("norm", "BatchNormalization", [["gamma", 2], ["beta", 3], ["moving_mean", 4], ["moving_variance", 5]])
SHAPES = [(3, 2), (2,), (2,), (2,), (2,), (2,)]


def test_layers_meet_in_order_whatever_their_automatic_names():
    renamed = [dict(DENSE, name="dense_7"), dict(NORM, name="batch_normalization_3")]
    plan = plan_weights([DENSE, NORM], renamed, SHAPES, SHAPES)
    assert plan.moves == [(number, number) for number in range(6)] and not plan.problems


def test_layers_meet_by_name_where_the_names_are_the_same():
    one, other = layer("a", "Dense", [["kernel", 0]]), layer("b", "Dense", [["kernel", 1]])
    here = [layer("b", "Dense", [["kernel", 0]]), layer("a", "Dense", [["kernel", 1]])]
    assert sorted(plan_weights([one, other], here, [(2, 2)] * 2, [(2, 2)] * 2).moves) == [(0, 1), (1, 0)]


def test_weights_are_numbered_as_each_keras_has_them():
    here = [layer("dense", "Dense", [["kernel", 5], ["bias", 2]])]
    shapes = [(), (), (2,), (), (), (3, 2)]
    assert plan_weights([DENSE], here, SHAPES, shapes).moves == [(0, 5), (1, 2)]


@pytest.mark.parametrize("here, said", [
    ([DENSE], "the checkpoint has 2 layers with weights (dense, norm), the model has 1 (dense)"),
    ([DENSE, dict(NORM, **{"class": "LayerNormalization"})], "has a BatchNormalization, the model a LayerNorm"),
    ([dict(DENSE, weights=[["kernel", 0]]), NORM], "the checkpoint has 2 weights (kernel, bias), the model 1 (kernel)"),
    ([dict(DENSE, weights=[["kernel", 1], ["bias", 0]]), NORM], "dense/kernel: the checkpoint has shape (3, 2)"),
    ([], "the model has 0 ()"),
])
def test_another_model_is_named_and_nothing_is_carried(here, said):
    plan = plan_weights([DENSE, NORM], here, SHAPES, SHAPES)
    assert said in "\n".join(plan.problems) and not plan.moves


@pytest.mark.parametrize("then, now, fits", [(True, True, True), (None, False, True), (None, None, True),
                                             (False, True, False), (None, True, False), (True, None, False)])
def test_a_gru_fits_only_one_of_its_kind(then, now, fits):
    def gru(reset_after):
        return [layer("gru", "GRU", [["kernel", 0]], **({} if reset_after is None else {"reset_after": reset_after}))]

    plan = plan_weights(gru(then), gru(now), [(2, 6)], [(2, 6)])
    assert (not plan.problems) == fits
    assert fits or "Write reset_after=" in plan.problems[0]


def optimizer(kind, slots, settings=(), **scalars):
    return {"class": kind, "slots": slots, "settings": dict(settings), "scalars": scalars}


ADAM = optimizer("Adam", {"m": [[0, 1], [1, 2]], "v": [[0, 3], [1, 4]]}, {"epsilon": 1e-7, "beta_1": 0.9}, iterations=0)


def test_slots_meet_by_the_weight_they_serve():
    here = optimizer("Adam", {"m": [[5, 2], [2, 4]], "v": [[5, 3], [2, 5]]}, {"epsilon": 1e-7}, iterations=0)
    plan = plan_slots(ADAM, here, {0: 5, 1: 2})
    assert sorted(plan.moves) == [(0, 0), (1, 2), (2, 4), (3, 3), (4, 5)] and not plan.notes


@pytest.mark.parametrize("here, note", [
    (optimizer("SGD", {}), "was Adam, now it is SGD: no slots correspond"),
    (optimizer("Adam", {"m": [[0, 1], [1, 2]]}, iterations=0), "slot v has no counterpart"),
    (dict(ADAM, slots=dict(ADAM["slots"], vhat=[[0, 5]])), "slot vhat is not in the checkpoint"),
    (dict(ADAM, settings={"epsilon": 1e-8}), "epsilon was 1e-07, now it is 1e-08"),
    (dict(ADAM, scalars={}), "iterations has no counterpart"),
])
def test_what_has_no_counterpart_is_named(here, note):
    assert any(note in said for said in plan_slots(ADAM, here, {0: 0, 1: 1}).notes)


def test_nadams_schedule_is_carried_only_where_it_means_the_same():
    old, new = optimizer("Nadam", {}, m_schedule=3), optimizer("Nadam", {}, u_product=4)
    assert plan_slots(old, old, {}).moves == [(3, 3)]
    plan = plan_slots(old, new, {})
    assert not plan.moves and "m_schedule has no counterpart" in plan.notes[0]


def test_a_weight_that_is_not_there_keeps_no_slot():
    plan = plan_slots(ADAM, ADAM, {0: 0})
    assert (2, 2) not in plan.moves and "slot m of weight 1 has no counterpart here" in plan.notes


def test_defaults_that_differ_are_named():
    """LSTM's recurrent_activation was hard_sigmoid in Keras 2 and is sigmoid since: the same weights, other results."""
    then = [dict(layer("lstm", "LSTM", [["kernel", 0]]), computes={
        "activation": "tanh", "recurrent_activation": "hard_sigmoid of slope 1/5", "epsilon": 0.0010000000474974513})]
    now = [dict(layer("lstm", "LSTM", [["kernel", 0]]), computes={
        "activation": "tanh", "recurrent_activation": "sigmoid", "epsilon": 0.001})]
    plan = plan_weights(then, now, [(2, 8)], [(2, 8)])
    assert plan.moves == [(0, 0)] and not plan.problems
    assert plan.notes == ["lstm: recurrent_activation was hard_sigmoid of slope 1/5, now it is sigmoid; write it out "
                          "to compute the same"]


def test_settings_are_compared_as_float32():
    then, now = optimizer("Adam", {}, {"beta_1": 0.8999999761581421}), optimizer("Adam", {}, {"beta_1": 0.9})
    assert not plan_slots(then, now, {}).notes


@pytest.mark.parametrize("kind, then, now", [
    ("RMSprop", "epsilon outside the root", "epsilon inside the root"),
    ("Adagrad", "epsilon inside the root", "epsilon outside the root"), ("Nadam", "older keras", "newer keras")])
def test_optimizers_that_compute_in_another_way_are_named(kind, then, now):
    one = dict(optimizer(kind, {}, u_product=3), form=then)
    other = dict(optimizer(kind, {}, u_product=5), form=now)
    plan = plan_slots(one, other, {})
    assert "computes its steps in another way" in plan.notes[0] and "u_product" in plan.notes[1] and not plan.moves
    assert plan_slots(one, dict(other, form=then), {}).moves == [(3, 5)]


def test_scalars_and_settings_without_a_counterpart_are_named():
    one, other = optimizer("SGD", {}, {"decay": 0.3}), optimizer("SGD", {}, {}, iterations=1)
    assert plan_slots(one, other, {}).notes == [
        "the optimizer's iterations is not in the checkpoint, it begins anew",
        "the optimizer's decay was 0.3, and has no counterpart here"]


def test_what_two_kerases_call_differently_is_no_change_of_the_script():
    then = {"optimizer.learning_rate": "0.001", "optimizer.decay": "0.0", "loss": "mse", "epochs": 3,
            "data.batches": None}
    now = {"optimizer.learning_rate": "0.0010000000474974513", "optimizer.clipnorm": "None", "loss": "mae", "epochs": 3,
           "data.batches": 45}
    assert script_settings.compare(then, now, strictly=False) == ["loss: mse at the checkpoint, mae now"]
    assert len(script_settings.compare(then, now)) == 5
