"""The public contract, in this process, on JAX: arguments, policies, stages, errors."""

import errno
import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest
from sources import digits

import keras_session_ext as kse
from keras_session_ext import files

pytestmark = pytest.mark.slow

X, Y = digits()
X, Y = X[:128], Y[:128]


def make_model(units=8, metrics=("accuracy",)):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(units, activation="relu"),
                              keras.layers.Dropout(0.3), keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=list(metrics))
    return model


def fit(directory, epochs=2, model=None, callbacks=(), validation=False, batch_size=32, checkpoint=None, **options):
    """One start of a script; returns (model, checkpoint callback, history)."""
    model = model or make_model()
    if checkpoint is None:
        options.setdefault("verbose", 0)
        options.setdefault("save", kse.EveryEpochs(1))
        checkpoint = kse.SessionCheckpoint(directory, **options)
    history = model.fit(X, Y, epochs=epochs, batch_size=batch_size, verbose=0, callbacks=[*callbacks, checkpoint],
                        validation_data=(X[:32], Y[:32]) if validation else None)
    return model, checkpoint, history


def weights(model):
    return [np.asarray(value) for value in model.get_weights()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other))


class Stop(Exception):
    pass


class StopAt(keras.callbacks.Callback):
    """Ends fit by an exception, as a bug in the user's code would."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Stop


# -- finished runs, stages, evaluate and predict


def test_a_finished_run_trains_nothing_and_returns_its_history(tmp_path):
    first, _, history = fit(tmp_path, 3)
    seen = []
    again, checkpoint, repeated = fit(
        tmp_path, 3, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_begin=lambda *_: seen.append(1))])
    assert not seen
    assert repeated.history == history.history and repeated.epoch == [0, 1, 2]
    assert same(weights(first), weights(again))
    assert checkpoint.resume_report.exact
    assert again._initial_epoch is None, "a later fit would begin there, too"


def test_more_epochs_go_on(tmp_path):
    whole, _, expected = fit(tmp_path / "whole", 4, keep=kse.KeepAll())
    for info in kse.list_checkpoints(tmp_path / "whole")[:-2]:
        os.remove(info.path)
    model, checkpoint, history = fit(tmp_path / "whole", 4)
    assert same(weights(whole), weights(model)) and history.history == expected.history
    fit(tmp_path / "more", 2)
    _, checkpoint, history = fit(tmp_path / "more", 5)
    assert history.epoch == [0, 1, 2, 3, 4]
    assert "epochs: 2 at the checkpoint, 5 now" in checkpoint.resume_report.changes


def test_more_epochs_do_not_go_on_where_early_stopping_had_stopped(tmp_path):
    def stopper():
        return keras.callbacks.EarlyStopping("loss", patience=0, min_delta=10.0)

    _, _, history = fit(tmp_path, 6, callbacks=[stopper()])
    _, _, repeated = fit(tmp_path, 9, callbacks=[stopper()])
    assert repeated.epoch == history.epoch and len(history.epoch) < 6
    made = kse.SessionCheckpoint(tmp_path, verbose=0, stop_is_final=False)
    _, _, asked = fit(None, 9, callbacks=[stopper()], checkpoint=made)
    assert len(asked.epoch) > len(history.epoch)


def test_stages(tmp_path):
    """Train the head, unfreeze, compile again, fine-tune; killed in the second stage."""

    def script(stop=None):
        model = make_model()
        checkpoint = kse.SessionCheckpoint(tmp_path, save=kse.EverySteps(3) | kse.EveryEpochs(1), verbose=0,
                                           keep=kse.KeepLast(1), background=False)
        first = fit(None, 2, model, checkpoint=checkpoint)[2]
        model.layers[0].trainable = False
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
        second = fit(None, 3, model, [StopAt(stop)] if stop else [], checkpoint=checkpoint)[2]
        return weights(model), first.history, second.history, checkpoint

    with pytest.raises(Stop):
        script(stop=9)
    infos = kse.list_checkpoints(tmp_path)
    assert [info.progress.stage for info in infos] == [1, 0], "the end of a finished stage is kept"
    assert infos[1].finished and infos[0].progress.step > infos[1].progress.step
    values, first, second, checkpoint = script()
    assert checkpoint.resume_report.checkpoint == infos[0].id
    again, first_again, second_again, _ = script()
    assert same(values, again) and first == first_again and second == second_again
    assert len(second["loss"]) == 3


def test_a_branch_from_a_later_stage(tmp_path):
    def script(restore):
        model = make_model()
        checkpoint = kse.SessionCheckpoint(tmp_path, verbose=0, background=False, keep=kse.KeepAll(), restore=restore)
        for epochs in (1, 3):
            fit(None, epochs, model, checkpoint=checkpoint)
        return weights(model), checkpoint.resume_report

    whole, _ = script("auto")
    origin = next(i for i in kse.list_checkpoints(tmp_path) if (i.progress.stage, i.progress.epoch) == (1, 1))
    branch, report = script(origin.id)
    assert report.checkpoint == origin.id and same(whole, branch)
    again, report = script(origin.id)
    assert report.checkpoint != origin.id and report.exact and same(whole, again)


def test_more_epochs_in_a_stage_make_the_later_ones_start_anew(tmp_path):
    def script(first_epochs):
        model = make_model()
        checkpoint = kse.SessionCheckpoint(tmp_path, verbose=0)
        one = fit(None, first_epochs, model, checkpoint=checkpoint)[2]
        two = fit(None, 2, model, checkpoint=checkpoint)[2]
        return len(one.epoch), len(two.epoch), checkpoint.resume_report.checkpoint

    assert script(1) == (1, 2, None)
    assert script(3) == (3, 2, None)


def test_fit_again_after_an_exception_goes_on(tmp_path):
    model = make_model()
    checkpoint = kse.SessionCheckpoint(tmp_path, save=kse.EverySteps(2), verbose=0)
    with pytest.raises(Stop):
        fit(None, 3, model, [StopAt(7)], checkpoint=checkpoint)
    _, _, history = fit(None, 3, model, checkpoint=checkpoint)
    assert checkpoint.resume_report.progress.stage == 0 and checkpoint.resume_report.checkpoint
    assert history.epoch == [0, 1, 2]


@pytest.mark.parametrize("restore", ["auto", "origin"])
def test_a_new_callback_waits_for_the_save_that_an_ended_fit_left_in_flight(tmp_path, monkeypatch, restore):
    """In a notebook: fit was interrupted while a save was written, and the cell is run again."""
    sync = files.sync
    monkeypatch.setattr(files, "sync", lambda fd: (time.sleep(0.5), sync(fd)))
    if restore == "origin":
        restore = fit(tmp_path, 1)[1].checkpoints[-1].id
    with pytest.raises(Stop):
        fit(tmp_path, 4, restore=restore, keep=kse.KeepAll(), callbacks=[StopAt(6)])
    gc.collect()  # the old callback is gone, and its save is still in flight
    _, checkpoint, history = fit(tmp_path, 4, restore=restore, keep=kse.KeepAll())
    assert checkpoint.resume_report.progress.epoch == (1 if restore == "auto" else 2)
    assert history.epoch == [0, 1, 2, 3]


def test_evaluate_and_predict_on_their_own(tmp_path):
    trained, _, _ = fit(tmp_path)
    fresh = make_model()
    before = weights(fresh)
    fresh.evaluate(X, Y, verbose=0, callbacks=[kse.SessionCheckpoint(tmp_path, verbose=0)])
    fresh.predict(X, verbose=0, callbacks=[kse.SessionCheckpoint(tmp_path, verbose=0)])
    assert same(before, weights(fresh)), "restore='auto' restores nothing there"
    predicted = fresh.predict(X, verbose=0, callbacks=[kse.SessionCheckpoint(tmp_path, restore="must", verbose=0)])
    assert np.array_equal(predicted, trained.predict(X, verbose=0))


# -- restore=


def test_never_begins_a_new_run_and_deletes_nothing_of_the_old_one(tmp_path):
    fit(tmp_path, 2)
    old = {info.id for info in kse.list_checkpoints(tmp_path)}
    _, checkpoint, _ = fit(tmp_path, 4, restore="never", keep=kse.KeepLast(1))
    assert checkpoint.resume_report.checkpoint is None
    assert old <= {info.id for info in kse.list_checkpoints(tmp_path)}
    assert len({info.run for info in kse.list_checkpoints(tmp_path)}) == 2


def test_must_with_nothing_there(tmp_path):
    with pytest.raises(kse.CheckpointNotFound, match="restore='must'.*no directory.*auto"):
        fit(tmp_path / "nowhere", restore="must")
    fit(tmp_path / "empty")
    for info in kse.list_checkpoints(tmp_path / "empty"):
        os.remove(info.path)
    with pytest.raises(kse.CheckpointNotFound, match="no valid checkpoint"):
        fit(tmp_path / "empty", restore="must")


def test_an_id_is_used_once_and_its_branch_is_followed(tmp_path):
    fit(tmp_path, 4, keep=kse.KeepAll())
    origin = kse.list_checkpoints(tmp_path)[-1]
    assert origin.progress.epoch == 1
    with pytest.raises(Stop):
        fit(tmp_path, 4, restore=origin.id, keep=kse.KeepAll(), callbacks=[StopAt(6)])
    _, checkpoint, _ = fit(tmp_path, 4, restore=origin.id, keep=kse.KeepAll())
    resumed = next(i for i in kse.list_checkpoints(tmp_path) if i.id == checkpoint.resume_report.checkpoint)
    assert resumed.branch_of == origin.id and resumed.id != origin.id and resumed.progress.epoch == 2
    _, checkpoint, _ = fit(tmp_path / "elsewhere", 4, restore=origin.path)
    assert checkpoint.resume_report.checkpoint == origin.id


@pytest.mark.parametrize("what", ["gone", "damaged"])
def test_a_branch_is_followed_without_what_it_branched_from(tmp_path, what):
    """As on an empty disk with a mirror that never had it, or where it was removed by hand."""
    fit(tmp_path, 2, keep=kse.KeepAll())
    origin = kse.list_checkpoints(tmp_path)[-1]
    fit(tmp_path, 3, restore=origin.id, keep=kse.KeepAll())
    newest = kse.list_checkpoints(tmp_path)[0]
    fit(tmp_path / "elsewhere", 3, restore=origin.path)
    with open(origin.path, "rb+") as file:
        file.truncate(1000)
    if what == "gone":
        os.remove(origin.path)
    for asked in (origin.id, origin.id[-8:], origin.path):
        assert kse.run_id(tmp_path, restore=asked) == newest.run
        _, checkpoint, _ = fit(tmp_path, 3, restore=asked, keep=kse.KeepAll())
        assert checkpoint.resume_report.checkpoint == newest.id
    _, checkpoint, _ = fit(tmp_path / "elsewhere", 3, restore=origin.path)
    assert checkpoint.resume_report.progress.epoch == 3
    error = kse.CheckpointNotFound if what == "gone" else kse.SessionError
    with pytest.raises(error):
        fit(tmp_path / "another", 3, restore=origin.path)


def test_the_best_is_restored_once_and_then_followed(tmp_path):
    fit(tmp_path, 5, validation=True, keep=kse.KeepAll(), checkpoint=None)
    known = kse.list_checkpoints(tmp_path)
    best = min((info for info in known), key=lambda info: (info.metrics["val_loss"], info.order))
    assert kse.best_checkpoint(tmp_path).id == best.id == kse.best_checkpoint(tmp_path, "val_loss", "min").id
    worst = kse.best_checkpoint(tmp_path, "val_loss", "max")
    assert worst.metrics["val_loss"] == max(info.metrics["val_loss"] for info in known)
    with pytest.raises(kse.CheckpointNotFound, match="did you mean 'val_accuracy'.*They have: accuracy"):
        kse.best_checkpoint(tmp_path, "val_acuracy")
    with pytest.raises(kse.CheckpointNotFound, match="did you mean 'val_loss'"):
        fit(tmp_path, 5, restore="best:val_los", validation=True)
    _, branch, _ = fit(tmp_path, 7, restore="best:accuracy", validation=True, keep=kse.KeepAll(), callbacks=[])
    first = branch.resume_report.checkpoint
    assert first == kse.best_checkpoint.__globals__["ranked"](known, "accuracy", "auto", "")[0].id
    newest = kse.list_checkpoints(tmp_path)[0]
    assert newest.branch_of == first and newest.finished
    _, again, history = fit(tmp_path, 9, restore="best:accuracy", validation=True, keep=kse.KeepAll())
    assert again.resume_report.checkpoint == newest.id, "later starts go on from the branch, whatever is best by then"
    best = kse.best_checkpoint(tmp_path, "val_loss")
    _, other, _ = fit(tmp_path, 9, restore="best:val_loss", validation=True, keep=kse.KeepAll())
    assert other.resume_report.checkpoint == best.id, "another metric is another branch"


def test_the_best_of_a_metric_with_a_slash(tmp_path):
    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val/score"] = [0.5, 0.25, 0.75][epoch]

    fit(tmp_path, 3, callbacks=[Score()], keep=kse.KeepAll())
    _, checkpoint, _ = fit(tmp_path, 3, restore="best:val/score", callbacks=[Score()], keep=kse.KeepAll())
    assert checkpoint.resume_report.progress.epoch == 2
    with pytest.raises(kse.CheckpointNotFound, match="deaf"):
        fit(tmp_path, restore="deaf")  # a short id, for all that it has no digit


def test_a_branch_goes_on_from_the_end_it_branched_from(tmp_path):
    """Whatever that run has done behind the branching."""
    fit(tmp_path, 2, keep=kse.KeepAll())
    end = kse.list_checkpoints(tmp_path)[0].id
    fit(tmp_path, 4, keep=kse.KeepAll())
    for epochs in (2, 3):
        checkpoint = kse.SessionCheckpoint(tmp_path, restore=end, keep=kse.KeepAll(), verbose=0)
        fit(tmp_path, 2, checkpoint=checkpoint)
        assert checkpoint.resume_report.checkpoint == end
        fit(tmp_path, epochs, checkpoint=checkpoint)


def test_the_id_of_a_run_is_known_before_it_begins(tmp_path):
    place = tmp_path / "run"
    with pytest.raises(kse.CheckpointNotFound, match="restore='must'"):
        kse.run_id(place, restore="must")
    first = kse.run_id(place)
    with pytest.raises(Stop):
        fit(place, 3, callbacks=[StopAt(1)])
    assert kse.list_checkpoints(place) == [] and kse.run_id(place) == first, "it died before its first checkpoint"
    fit(place, 3, keep=kse.KeepAll())
    infos = kse.list_checkpoints(place)
    assert {info.run for info in infos} == {first} and kse.run_id(place) == first
    second = kse.run_id(place, restore="never")
    assert second != first == kse.run_id(place), "a fresh start is another run"
    branch = kse.run_id(place, restore=infos[1].id)
    assert branch == second, "what begins next here, whichever way"
    fit(place, 4, restore=infos[1].id, keep=kse.KeepAll())
    newest = kse.list_checkpoints(place)[0]
    assert newest.run == branch and newest.branch_of == infos[1].id
    assert kse.run_id(place, restore=infos[1].id) == branch == kse.run_id(place)
    assert kse.run_id(place, restore="never") not in (first, branch)
    os.unlink(str(place / "next-run"))
    fit(place, 1, restore="never")
    assert kse.list_checkpoints(place)[0].run not in (first, branch)


@pytest.mark.parametrize("noted", [b"", b"../../etc", b"\xff" * 16, b"0" * 15, b"A" * 16, b"0" * 100000])
def test_a_note_of_the_next_run_that_is_none(tmp_path, noted):
    (tmp_path / "next-run").write_bytes(noted)
    run = kse.run_id(tmp_path)
    assert len(run) == 16 and set(run) <= set("0123456789abcdef") and kse.run_id(tmp_path) == run


def test_an_unknown_id_names_the_nearest(tmp_path):
    _, checkpoint, _ = fit(tmp_path)
    wrong = checkpoint.checkpoints[-1].id[:-2] + "zz"
    with pytest.raises(kse.CheckpointNotFound, match="nearest: " + checkpoint.checkpoints[-1].id):
        fit(tmp_path, restore=wrong)


# -- policies in fit


def test_save_and_keep_policies(tmp_path):
    asked = []

    def mine(progress, logs):
        asked.append((progress.epoch, progress.batch, bool(logs)))
        return progress.step == 5

    _, checkpoint, _ = fit(tmp_path, 3, save=mine | kse.EverySteps(6) | kse.OnBest("loss"), keep=kse.KeepAll(),
                           background=False)
    assert [(info.progress.step, info.reason) for info in checkpoint.checkpoints if info.progress.batch] == [
        (5, "mine"), (6, "EverySteps(6)")]
    assert asked[:5] == [(0, 1, False), (0, 2, False), (0, 3, False), (1, 0, True), (1, 1, False)]
    assert checkpoint.checkpoints[-1].finished


def test_keep_policy_runs_behind_every_save(tmp_path):
    fit(tmp_path, 5, keep=kse.KeepLast(1) | kse.KeepEvery(epochs=2), background=False)
    assert [info.progress.epoch for info in kse.list_checkpoints(tmp_path)] == [5, 4, 2, 1]


def test_a_monitor_that_is_never_logged_is_told_once_with_the_names(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        fit(tmp_path, 3, save=kse.OnBest("val_los"))
    told = [record.getMessage() for record in caplog.records if "val_los" in record.getMessage()]
    assert len(told) == 1 and "accuracy, loss" in told[0]


def test_nan_in_metrics(tmp_path):
    model = make_model()
    model.compile("adam", lambda y, p: keras.ops.mean(p, axis=-1) * float("nan"))
    fit(tmp_path, 2, model, save=kse.EveryEpochs(1) | kse.OnBest("loss"), keep=kse.KeepBest(1, "loss"))
    info = kse.list_checkpoints(tmp_path)[0]
    assert np.isnan(info.metrics["loss"])
    model = make_model()
    model.compile("adam", lambda y, p: keras.ops.mean(p, axis=-1) * float("nan"))
    _, _, history = fit(tmp_path, 3, model)
    assert len(history.history["loss"]) == 3 and np.isnan(history.history["loss"]).all()


# -- damage, and what does not fit


def test_a_damaged_newest_is_named_and_the_next_older_used(tmp_path, capsys):
    _, checkpoint, _ = fit(tmp_path, 3, background=False)
    newest = kse.list_checkpoints(tmp_path)[0]
    with open(newest.path, "r+b") as handle:
        handle.seek(newest.size_bytes // 2)
        byte = handle.read(1)
        handle.seek(newest.size_bytes // 2)
        handle.write(bytes([byte[0] ^ 1]))
    empty = os.path.join(os.path.dirname(newest.path), "g000009-s0000000001-00000000.h5")
    open(empty, "w").close()
    _, checkpoint, history = fit(tmp_path, 3, verbose=1)
    report = checkpoint.resume_report
    assert report.progress.epoch == 2 and history.epoch == [0, 1, 2]
    assert any(newest.path in line for line in report.rejected)
    assert any(empty in line and "empty" in line for line in report.rejected)
    assert os.path.exists(newest.path) and os.path.exists(empty)
    assert newest.id in capsys.readouterr().out


def test_a_checkpoint_of_another_model_lists_every_difference(tmp_path):
    fit(tmp_path)
    model = make_model(units=12)
    before = weights(model)
    with pytest.raises(kse.StateMismatch) as caught:
        fit(tmp_path, 3, model)
    text = str(caught.value)
    assert "dense" in text and "(64, 8)" in text and "(64, 12)" in text and "(8, 10)" in text and "(12, 10)" in text
    assert "optimizer" in text and "restore='never'" in text
    assert same(before, weights(model)), "nothing is assigned before everything was checked"
    assert kse.list_checkpoints(tmp_path)


def test_a_layer_more_is_named(tmp_path):
    fit(tmp_path)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.3),
                              keras.layers.Dense(10, activation="softmax"), keras.layers.LayerNormalization()])
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(kse.StateMismatch, match="layer_normalization.*missing in the checkpoint"):
        fit(tmp_path, 3, model)


def test_another_batch_size_in_the_middle_of_an_epoch(tmp_path):
    with pytest.raises(Stop):
        fit(tmp_path, 3, save=kse.EverySteps(2), callbacks=[StopAt(4)], background=False)
    with pytest.raises(kse.StateMismatch, match="batch_size: 32 at the checkpoint, 16 now"):
        fit(tmp_path, 3, batch_size=16)


def test_another_batch_size_between_epochs_is_listed(tmp_path):
    fit(tmp_path, 2)
    _, checkpoint, history = fit(tmp_path, 3, batch_size=16)
    assert "data.batch_size: 32 at the checkpoint, 16 now" in checkpoint.resume_report.changes
    assert history.epoch == [0, 1, 2]
    assert checkpoint.resume_report.reasons == ["data.batch_size is 16 now and was 32"], "it is another training"


def test_a_changed_learning_rate_is_told_with_what_is_used(tmp_path):
    """At every start that says another one than the checkpoint's, and at no other."""
    def start(epochs, rate):
        model = make_model()
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        model, checkpoint, _ = fit(tmp_path, epochs, model)
        report = checkpoint.resume_report
        assert report.exact and float(np.asarray(model.optimizer.learning_rate)) == np.float32(0.25)
        return [change for change in report.changes if "learning_rate" in change]

    told = ("optimizer.learning_rate: the script says 0.001; what is used is the checkpoint's 0.25. A callback can "
            "change it, in on_epoch_begin")
    assert [start(epochs, rate) for epochs, rate in ((1, 0.25), (2, 0.001), (3, 0.001), (4, 0.25))] == [
        [], [told], [told], []]


def test_a_fit_that_is_tried_again_in_the_same_process_is_the_same_script(tmp_path):
    """Though a callback has moved the learning rate in between; and a script may say what the rate has come to."""
    def scheduled():
        return keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 ** (epoch + 1))

    def made(rate):
        model = make_model()
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    checkpoint, model = kse.SessionCheckpoint(tmp_path, save=kse.EveryEpochs(1), verbose=0), made(0.25)
    with pytest.raises(Stop):
        fit(tmp_path, 4, model, [StopAt(10), scheduled()], checkpoint=checkpoint)
    fit(tmp_path, 4, model, [scheduled()], checkpoint=checkpoint)
    assert checkpoint.resume_report.exact and checkpoint.resume_report.checkpoint is not None
    assert not [change for change in checkpoint.resume_report.changes if "learning_rate" in change]
    now = float(np.asarray(model.optimizer.learning_rate))
    _, again, _ = fit(tmp_path, 5, made(now), [scheduled()])
    assert again.resume_report.exact, again.resume_report


def test_other_loss_weights_are_another_training(tmp_path):
    for epochs, weights in ((1, [1.0]), (2, [3.0])):
        model = make_model()
        model.compile("adam", "sparse_categorical_crossentropy", loss_weights=weights)
        _, checkpoint, _ = fit(tmp_path, epochs, model)
    assert checkpoint.resume_report.reasons == ["loss_weights is [3.0] now and was [1.0]"]


def test_a_setting_of_the_optimizer_that_the_script_decides_is_not_exact(tmp_path):
    for epochs, momentum in ((1, 0.5), (2, 0.75)):
        model = make_model()
        model.compile(keras.optimizers.SGD(0.25, momentum=momentum), "sparse_categorical_crossentropy")
        _, checkpoint, _ = fit(tmp_path, epochs, model)
    assert checkpoint.resume_report.reasons == ["optimizer.momentum is 0.75 now and was 0.5"]


def test_what_does_not_fit_is_said_first(tmp_path):
    fit(tmp_path)
    model = make_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(kse.StateMismatch) as raised:
        fit(tmp_path, 3, model)
    first, second = str(raised.value).splitlines()[:2]
    assert first == "This script does not fit its checkpoint: the optimizer is SGD now and was Adam"
    assert second.startswith("The checkpoint: " + str(tmp_path))
    with pytest.raises(kse.StateMismatch) as raised:
        fit(tmp_path, 3, make_model(9))
    assert "kernel" in str(raised.value).splitlines()[0] and "(64, 8), the model has (64, 9)" in str(raised.value)
    assert len(str(raised.value).splitlines()) < 30 and len(raised.value.problems) >= 9


def test_constructor_arguments_belong_to_the_script(tmp_path):
    fit(tmp_path, 2, callbacks=[keras.callbacks.EarlyStopping("loss", patience=3, min_delta=0.25)])
    edited = keras.callbacks.EarlyStopping("loss", patience=7, min_delta=0.125)
    _, checkpoint, _ = fit(tmp_path, 4, callbacks=[edited])
    assert edited.patience == 7 and abs(edited.min_delta) == 0.125
    assert "EarlyStopping.patience: 3 at the checkpoint, 7 now" in checkpoint.resume_report.changes


def test_callbacks_that_came_and_went_are_listed(tmp_path):
    fit(tmp_path, 2, callbacks=[keras.callbacks.TerminateOnNaN()])
    _, checkpoint, _ = fit(tmp_path, 3, callbacks=[keras.callbacks.EarlyStopping("loss")])
    assert "callback TerminateOnNaN: no longer in the list" in checkpoint.resume_report.changes
    assert "callback EarlyStopping: new in the list" in checkpoint.resume_report.changes


def test_an_iterator_in_a_callback_is_not_claimed(tmp_path):
    class Numbers(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.numbers = (n for n in range(1000))

        def on_epoch_end(self, epoch, logs=None):
            next(self.numbers)

    fit(tmp_path, 2, callbacks=[Numbers()])
    _, checkpoint, _ = fit(tmp_path, 3, callbacks=[Numbers()])
    assert not checkpoint.resume_report.exact
    assert "Numbers.numbers" in "".join(checkpoint.resume_report.reasons)


# -- arguments, neighbours, places


@pytest.mark.parametrize("options, named", [
    ({"save": 5}, "save"), ({"save": "epoch"}, "save"), ({"save": kse.EveryEpochs}, "save"), ({"keep": 3}, "keep"),
    ({"restore": True}, "restore"), ({"restore": ""}, "restore"), ({"on_error": "ignore"}, "on_error"),
    ({"directory": 7}, "directory"), ({"directory": ""}, "directory"),
    ({"directory": "sftp://host/a"}, "directory"), ({"restore": "s3://bucket"}, "restore"),
    ({"staging": "s3://bucket/a"}, "staging"), ({"staging": 5}, "staging"),
    ({"restore": "latest"}, "restore"), ({"restore": None}, "restore"), ({"background": "yes"}, "background"),
    ({"background": 1}, "background"), ({"verbose": 2}, "verbose"), ({"verbose": "auto"}, "verbose"),
    ({"verbose": None}, "verbose"), ({"verbose": 1.0}, "verbose"), ({"group": "staff"}, "group"),
    ({"witness": 0}, "witness"), ({"stop_is_final": None}, "stop_is_final"), ({"on_error": True}, "on_error"),
])
def test_arguments_are_checked_at_once(tmp_path, options, named):
    with pytest.raises(kse.ConfigError, match="`{}`".format(named)):
        kse.SessionCheckpoint(**dict({"directory": tmp_path}, **options))


@pytest.mark.parametrize("keyword, message", [
    ("save_freq", r"SessionCheckpoint\(\) got an unexpected keyword .* 'save_freq'; say `save=EverySteps\(100\)`"),
    ("backup_dir", "say `directory=`"), ("save_best_only", r"keep=KeepBest\(1, 'val_loss'\)"),
    ("max_to_keep", r"keep=KeepLast\(3\)"), ("diretory", "did you mean 'directory'"), ("resume", "restore='auto'"),
    ("backgroud", "did you mean 'background'"), ("xyz", "It takes: directory, save, keep")])
def test_a_wrong_keyword_is_answered(tmp_path, keyword, message):
    with pytest.raises(TypeError, match=message):
        kse.SessionCheckpoint(str(tmp_path), **{keyword: 1})


def test_what_may_have_been_meant_by_restore(tmp_path):
    with pytest.raises(kse.ConfigError, match="did you mean 'auto'"):
        kse.SessionCheckpoint(tmp_path, restore="latest")
    with pytest.raises(kse.ConfigError, match="did you mean 'never'"):
        kse.SessionCheckpoint(tmp_path, restore="nver")
    assert kse.SessionCheckpoint(tmp_path, verbose=True) and kse.SessionCheckpoint(tmp_path, verbose=False)


def test_backup_and_restore_by_mistake(tmp_path):
    with pytest.raises(kse.ConfigError, match="BackupAndRestore"):
        fit(tmp_path, callbacks=[keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))])


def test_two_of_us(tmp_path):
    with pytest.raises(kse.ConfigError, match="Two SessionCheckpoint"):
        fit(tmp_path, callbacks=[kse.SessionCheckpoint(tmp_path / "other")])


def test_it_is_a_real_callback(tmp_path):
    callback = kse.SessionCheckpoint(tmp_path)
    assert isinstance(callback, keras.callbacks.Callback) and isinstance(callback, kse.SessionCheckpoint)


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(kse.SessionError, match="Cannot write checkpoints to .*file.*Choose a directory"):
        fit(tmp_path / "file" / "run")


def test_a_directory_in_use(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent("""
        import sys
        from keras_session_ext.store.run_directory import RunDirectory
        RunDirectory(sys.argv[1]).acquire()
        print("held", flush=True)
        sys.stdin.read()
        """), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(kse.DirectoryBusy, match="process {} on".format(holder.pid)):
            fit(tmp_path)
    finally:
        holder.communicate()
    fit(tmp_path)


def test_a_run_that_was_taken_over_stops(tmp_path):
    from keras_session_ext.store.run_directory import RunDirectory

    class TakeOver(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                RunDirectory(tmp_path).acquire()  # in one process the lock does not help: the fence must

    with pytest.raises(kse.DirectoryBusy, match="taken over"):
        fit(tmp_path, 6, callbacks=[TakeOver()], background=False)
    assert kse.list_checkpoints(tmp_path)[0].progress.epoch == 2


@pytest.mark.parametrize("background", [True, False])
def test_a_failed_save_is_told_and_training_goes_on(tmp_path, monkeypatch, caplog, background):
    sync, calls = files.sync, []

    def failing(fd):
        calls.append(fd)
        if len(calls) == 3:  # the claim, the first save, the second save
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(fd)

    monkeypatch.setattr(files, "sync", failing)
    checkpoint = kse.SessionCheckpoint(tmp_path, save=kse.EveryEpochs(1), background=background, keep=kse.KeepAll(),
                                       verbose=0)
    # each save ends before the next is due, so that it is the second one that fails
    wait = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: checkpoint._session.saves.drain(30))
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        fit(None, 4, callbacks=[wait], checkpoint=checkpoint)
    assert any("No space left" in record.getMessage() for record in caplog.records)
    epochs = [info.progress.epoch for info in kse.list_checkpoints(tmp_path)]
    assert epochs == [4, 3, 1]
    assert not [name for name in os.listdir(tmp_path / "checkpoints") if name.startswith(".tmp")]


def test_on_error_raise(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "publish", lambda temporary, final: (_ for _ in ()).throw(OSError(errno.EIO, "I/O")))
    with pytest.raises(OSError, match="I/O"):
        fit(tmp_path, on_error="raise", background=False)


# -- outside fit


def test_save_session_and_restore_session(tmp_path):
    model, _, _ = fit(tmp_path / "run")
    path = kse.save_session(model, tmp_path / "model.h5")
    other = make_model()
    report = kse.restore_session(other, path)
    assert same(weights(model), weights(other))
    assert report.kinds["optimizer"] == "restored" and not report.exact and "fit" in report.kinds["data"]
    for one, two in zip(model.optimizer.variables, other.optimizer.variables):
        assert np.array_equal(one, two)
    assert kse.save_session(other, path) == path, "one of our own files is replaced"
    assert kse.verify_checkpoint(path).reason == "save_session"
    kse.restore_session(make_model(), kse.list_checkpoints(tmp_path / "run")[0].path)
    uncompiled = keras.Sequential(make_model().layers)
    assert kse.restore_session(uncompiled, path).kinds["optimizer"].startswith("not restored")


@pytest.mark.parametrize("name, text", [
    ("model.weights.h5", "weights.h5"), ("model.keras", "ends in .h5"), ("no/such/folder/model.h5", "no directory"),
    ("taken.h5", "no checkpoint of this package"), ("folder.h5", "no checkpoint of this package"),
])
def test_save_session_refuses(tmp_path, name, text):
    (tmp_path / "taken.h5").write_text("mine")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(kse.ConfigError, match=text):
        kse.save_session(make_model(), tmp_path / name)
    assert (tmp_path / "taken.h5").read_text() == "mine"


def test_restore_session_refuses(tmp_path):
    path = kse.save_session(make_model(), tmp_path / "model.h5")
    with pytest.raises(kse.StateMismatch, match=r"\(64, 8\).*\(64, 9\)"):
        kse.restore_session(make_model(units=9), path)
    with pytest.raises(kse.CheckpointNotFound):
        kse.restore_session(make_model(), tmp_path / "other.h5")
    with pytest.raises(kse.UnsupportedBackend, match="no variables yet"):
        kse.save_session(keras.Sequential([keras.layers.Dense(1)]), tmp_path / "unbuilt.h5")


def test_a_trainer_that_is_no_model_is_told_so(tmp_path):
    from keras.src.backend.torch.trainer import TorchTrainer

    class Mixed(TorchTrainer, keras.layers.Dense):
        def __init__(self):
            keras.layers.Dense.__init__(self, 1)
            TorchTrainer.__init__(self)

    model = Mixed()
    model.compile("sgd", "mse")
    with pytest.raises(kse.UnsupportedBackend, match="is a Keras Trainer but no keras.Model.*Derive the class"):
        model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0, callbacks=[kse.SessionCheckpoint(tmp_path)])


def test_the_report_reads_well(tmp_path, capsys):
    fit(tmp_path, 2)
    capsys.readouterr()
    fit(tmp_path, 3, verbose=1)
    text = capsys.readouterr().out
    assert text.count("Session: resumed from") == 1 and "exact: yes" in text
    assert json.dumps(text)


def test_a_fresh_start_prints_one_line_and_its_end_another(tmp_path, capsys):
    fit(tmp_path, verbose=1)
    assert capsys.readouterr().out == (
        "Session: a fresh start in {0}\n"
        "Session: finished at epoch 2, batch 0 (step 8); 2 checkpoints in {0}\n".format(tmp_path))
    fit(tmp_path / "quiet", verbose=0)
    assert capsys.readouterr().out == ""


# -- stages that end by an exception, are left out, or share a generator


def search(directory, prune=(0,), rates=(0.01, 0.02, 0.03)):
    """A search in one process: trials share a callback; some are pruned by an exception. Returns weights by trial."""
    checkpoint = kse.SessionCheckpoint(directory, save=kse.EverySteps(2), keep=kse.KeepAll(), background=False,
                                       verbose=0)
    found, reports = [], []
    for trial, rate in enumerate(rates):
        keras.utils.set_random_seed(trial)
        model = make_model()
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        try:
            fit(None, 2, model, [StopAt(7)] if trial in prune else [], checkpoint=checkpoint)
        except Stop:
            checkpoint.give_up()
        found.append(weights(model))
        reports.append(checkpoint.resume_report)
    return found, reports, checkpoint


def test_a_fit_that_was_given_up_is_a_stage_of_its_own(tmp_path):
    """Started again at any point, every trial ends as it did: pruned ones are trained to their exception again."""
    whole, reports, checkpoint = search(tmp_path / "whole", prune=(0, 1))
    assert [report.checkpoint for report in reports] == [None] * 3
    infos = kse.list_checkpoints(tmp_path / "whole")
    assert {info.progress.stage for info in infos} == {0, 1, 2} and infos[0].finished
    for left in (infos[-1], infos[len(infos) // 2], infos[1], infos[0]):  # killed right behind this checkpoint
        copy = tmp_path / left.id
        shutil.copytree(str(tmp_path / "whole"), str(copy))
        for info in kse.list_checkpoints(copy):
            if info.order > left.order:
                os.remove(info.path)
        again, reports, _ = search(copy, prune=(0, 1))
        assert all(same(one, other) for one, other in zip(whole, again)), left.progress
        newest = reports[left.progress.stage]
        assert newest.checkpoint == left.id and newest.exact
    again = search(copy, prune=(0, 1))[2]
    assert not again.checkpoints, "nothing but what was trained already"


def test_a_fit_that_does_not_fail_again_makes_later_stages_new(tmp_path):
    search(tmp_path)
    whole, _, _ = search(tmp_path / "other", prune=())
    again, reports, _ = search(tmp_path, prune=())
    assert reports[0].checkpoint and not reports[1].checkpoint
    assert all(same(one, other) for one, other in zip(whole, again))


def test_a_stage_that_was_left_out_gives_its_place_to_no_other(tmp_path):
    search(tmp_path, prune=())
    with pytest.raises(kse.StateMismatch, match="fit number 0 of the run(.|\n)*learning_rate(.|\n)*same order"):
        search(tmp_path, prune=(), rates=(0.02, 0.03))
    checkpoint = kse.SessionCheckpoint(tmp_path, verbose=0)
    with pytest.raises(kse.StateMismatch, match="data.batch_size"):
        keras.utils.set_random_seed(0)
        model = make_model()
        model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
        model.fit(X, Y, epochs=2, batch_size=16, verbose=0, callbacks=[checkpoint])


def test_a_generator_over_several_fits_is_brought_to_its_place(tmp_path):
    def script(fits):
        keras.utils.set_random_seed(3)
        model, checkpoint = make_model(), kse.SessionCheckpoint(tmp_path, verbose=0)
        batches = ((X[start:start + 16], Y[start:start + 16]) for _ in range(9) for start in range(0, 128, 16))
        for _ in range(fits):
            model.fit(batches, steps_per_epoch=5, epochs=2, verbose=0, callbacks=[checkpoint])
        return weights(model), checkpoint.resume_report

    script(2)
    again, report = script(3)
    assert report.exact
    shutil.rmtree(str(tmp_path))
    assert same(again, script(3)[0])


class Rows(keras.utils.PyDataset):
    """One object for several fits that is an iterator, too, as Keras's image iterators are."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[index * 32:index * 32 + 32], Y[index * 32:index * 32 + 32]

    def __iter__(self):
        return self

    def __next__(self):
        raise AssertionError("a PyDataset is asked by its index")


def test_a_dataset_over_several_fits_is_no_generator(tmp_path):
    def script(fits):
        keras.utils.set_random_seed(3)
        model, checkpoint, rows = make_model(), kse.SessionCheckpoint(tmp_path, verbose=0), Rows()
        for _ in range(fits):
            model.fit(rows, epochs=2, verbose=0, callbacks=[checkpoint])
        return weights(model), checkpoint.resume_report

    script(2)
    again, report = script(3)
    assert report.exact
    shutil.rmtree(str(tmp_path))
    assert same(again, script(3)[0])


def test_a_model_that_was_never_trained_is_restored_from_its_own_file(tmp_path):
    model = make_model()
    path = kse.save_session(model, tmp_path / "model.h5")
    other = make_model()
    kse.restore_session(other, path)
    assert same(weights(model), weights(other))


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_modes_follow_the_umask(tmp_path, umask):
    """What is made beside the run is for whom the umask says; the run itself is the user's own."""
    before = os.umask(umask)
    try:
        logs = tmp_path / "logs" / "a"
        checkpoint = kse.SessionCheckpoint(tmp_path / "runs" / "a", verbose=0)
        make_model().fit(X, Y, epochs=1, verbose=0, callbacks=[checkpoint, kse.SessionLogger(logs)])
    finally:
        os.umask(before)
    for path in (tmp_path / "logs", logs, *logs.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path
    for path in (tmp_path / "runs").rglob("*"):
        assert not path.stat().st_mode & 0o077, path
