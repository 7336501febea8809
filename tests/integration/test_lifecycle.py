"""The life of real runs: what the journal and TensorBoard know after SIGKILL at any moment."""

import collections
import json
import logging
import os
import random
import signal
import time

import keras
import numpy as np
import pytest
from harness import finish, kill, start
from sources import digits
from tensorboard.compat.proto import event_pb2

import keras_session_ext as kse
from keras_session_ext.lifecycle.journal import read_journal
from keras_session_ext.lifecycle.timeline import timeline
from keras_session_ext.tensorboard.event_writer import EventWriter, records
from keras_session_ext.tensorboard.plugin_names import TAG

pytestmark = pytest.mark.slow

X, Y = digits()
X, Y = X[:128], Y[:128]


def shown(log_dir):
    """The numbers of the events in the event file, as far as it is whole."""
    folder = os.path.join(log_dir, "session")
    found = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        with open(os.path.join(folder, name), "rb") as handle:
            data = handle.read()
        for _, record in records(data):
            event = event_pb2.Event.FromString(record)
            found += [event.step for value in event.summary.value if value.tag == TAG]
    return found


def test_what_was_acknowledged_is_known_after_sigkill_at_100_random_moments(tmp_path):
    moments = random.Random(4)
    run, log_dir, acks = str(tmp_path / "run"), str(tmp_path / "tb"), str(tmp_path / "acks")
    task = {"directory": run, "log_dir": log_dir, "acks": acks, "every": 2, "epochs": 100000,
            "patience": 100000, "result": str(tmp_path / "r.json")}
    killed = 0
    for _ in range(100):
        status, _, output = start("torch", dict(task, kill="start:{}".format(moments.uniform(0.02, 0.9))))
        assert status == -signal.SIGKILL, output
        if not os.path.exists(acks):
            continue  # it died before the first event
        killed += 1
        with open(acks) as handle:
            acknowledged = {int(line) for line in handle.read().split("\n")[:-1]}
        reading = read_journal(run)
        assert acknowledged <= {event.seq for event in reading.events} and reading.skipped <= 1
        assert acknowledged <= set(shown(log_dir)), "in TensorBoard before it is acknowledged"
    assert killed > 60 and len(acknowledged) > 300
    EventWriter(log_dir).open(os.path.join(run, "journal.jsonl"))  # as the next start does
    journal = [event.seq for event in read_journal(run).events]
    assert shown(log_dir) == journal == sorted(set(journal)), "all of it, once, in order"
    made = timeline(read_journal(run).events)
    fits = sum(event.kind == "fit_started" for event in read_journal(run).events)
    endings = collections.Counter((one["ending"], one["text"][:40]) for one in made["processes"])
    assert sum(count for (ending, _), count in endings.items() if ending == "interrupted") >= fits - 2, endings
    known = {event.figures["id"] for event in read_journal(run).events if event.kind == "checkpoint_saved"}
    assert {info.id for info in kse.list_checkpoints(run)[3:]} <= known
    loaded(log_dir, journal)


def loaded(log_dir, journal):
    """TensorBoard's own Python loader sees the same."""
    from tensorboard.backend.event_processing import plugin_event_multiplexer

    multiplexer = plugin_event_multiplexer.EventMultiplexer(
        tensor_size_guidance={"session": 0, "scalars": 0}, purge_orphaned_data=True)
    multiplexer.AddRunsFromDirectory(log_dir)
    multiplexer.Reload()
    assert [event.step for event in multiplexer.Tensors("session", TAG)] == journal
    steps = [event.step for event in multiplexer.Tensors("session", "session/stall_seconds")]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("logger_place", [0, 9])
def test_the_story_of_a_run_that_was_killed_twice(tmp_path, logger_place):
    task = {"directory": str(tmp_path / "run"), "log_dir": str(tmp_path / "tb"), "result": str(tmp_path / "r.json"),
            "logger_place": logger_place, "every": 4}
    kill("torch", task, "batch:13")
    kill("torch", task, "validation:2")
    finish("torch", task)
    events = read_journal(task["directory"]).events
    made = timeline(events)
    assert [one["ending"] for one in made["processes"]] == ["interrupted", "interrupted", "finished"]
    assert len(made["gaps"]) == 2 and made["headline"]["resumes"] == 2 and made["headline"]["exact"] is True
    assert {span["lane"] for span in made["spans"]} == {"fit", "epoch", "evaluate", "restore", "replay"}
    known = {info.id: info for info in kse.list_checkpoints(task["directory"])}
    assert set(made["checkpoints"]) >= set(known)
    for id, info in known.items():
        told = made["checkpoints"][id]
        assert told["size_bytes"] == info.size_bytes == os.path.getsize(info.path)
        assert told["progress"]["step"] == info.progress.step and told["reason"] == info.reason
        if told["kinds"] is not None:  # the last moment of a killed process may be known from the file alone
            assert 0 < sum(told["kinds"].values()) <= info.size_bytes and len(told["largest"]) == 8
    assert sum(told["kinds"] is None for told in made["checkpoints"].values()) <= 2
    assert set(shown(task["log_dir"])) == {event.seq for event in events}


# -- in this process


def model():
    made = keras.Sequential([keras.Input((64,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(10)])
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def kinds(directory):
    return [event.kind for event in read_journal(str(directory)).events]


def test_alone_it_logs_the_phases(tmp_path):
    kse.backend.close_session()  # another test may have made one in this process
    logger = kse.SessionLogger(tmp_path)
    one = model()
    one.fit(X, Y, epochs=2, batch_size=32, verbose=0, validation_data=(X[:32], Y[:32]), callbacks=[logger])
    one.evaluate(X, Y, verbose=0, callbacks=[logger])
    one.predict(X, verbose=0, callbacks=[logger])
    told = kinds(tmp_path)
    assert sorted(told[:4]) == ["graph_built", "process_started", "session_created", "variables_initialised"]
    epoch = ["epoch_started", "evaluate_started", "evaluate_finished", "epoch_finished"]
    assert told[4:] == ["fit_started", *epoch, *epoch, "fit_finished", "evaluate_started", "evaluate_finished",
                        "predict_started", "predict_finished"]
    ends = [event.figures["step"] for event in read_journal(str(tmp_path)).events if event.kind == "epoch_finished"]
    assert ends == [4, 8]
    assert len(shown(str(tmp_path))) == len(told)


def test_what_curves_are_drawn_from_is_told(tmp_path):
    """Logs of steps within an epoch, vectors by their components, and what the script says."""
    one = keras.Sequential([keras.layers.Input(X.shape[1:]), keras.layers.Dense(3, activation="softmax")])
    one.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    labels = keras.utils.to_categorical(np.arange(len(X)) % 3, 3)
    # one step of an epoch alone is no line: behind its first steps an epoch takes long enough for several
    pace = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batch > 35 and time.sleep(0.15))
    for folder, callbacks in (("run", [kse.SessionCheckpoint(tmp_path / "run", verbose=0)]), ("alone", [])):
        one.fit(X, labels, epochs=2, batch_size=2, verbose=0, callbacks=[
            *callbacks, pace, kse.SessionLogger(tmp_path / ("tb" if callbacks else "alone"))])
        events = events_of(tmp_path / folder)
        step = next(event.figures for event in events if event.kind == "progress")
        assert step["metrics_step"] == 1 and step["step"] >= 32, "it is read when it has been computed"
        assert set(step["metrics"]) == {"loss", "f1_score[0]", "f1_score[1]", "f1_score[2]"}
        drawn = timeline(events)["curves"]["lines"]
        assert {(line["name"], line["source"]) for line in drawn} >= {
            ("loss", "epochs"), ("loss", "steps"), ("f1_score[2]", "epochs")}
    told = next(event for event in events_of(tmp_path / "run") if event.kind == "settings").figures["settings"]
    assert told["data.batch_size"] == 2 and told["keep"] == "KeepLast(3)" and "EveryEpochs(1)" in told["save"]


def events_of(directory):
    return read_journal(str(directory)).events


def test_a_log_directory_that_cannot_be_written_is_told_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        history = model().fit(X, Y, epochs=3, verbose=0, callbacks=[kse.SessionLogger(tmp_path / "file" / "tb")])
        assert len(history.epoch) == 3
        model().fit(X, Y, epochs=3, verbose=0, callbacks=[
            kse.SessionCheckpoint(tmp_path / "run", verbose=0), kse.SessionLogger(tmp_path / "file" / "tb")])
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 2, "once for each run"
    assert "fit_finished" in kinds(tmp_path / "run")


@pytest.mark.parametrize("wrong", [None, "", 3, b"x", ["a"]])
def test_a_log_directory_that_is_no_path(wrong):
    with pytest.raises(kse.ConfigError, match="log_dir"):
        kse.SessionLogger(wrong)


def test_failures_are_told(tmp_path):
    class Broken(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("<script>boom</script>")

    checkpoint = kse.SessionCheckpoint(tmp_path, verbose=0)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            model().fit(X, Y, verbose=0, callbacks=[checkpoint, Broken()])
    assert kinds(tmp_path).count("failed") == 1, "noticed at the next start"


def test_a_damaged_checkpoint_and_a_failed_save_are_told(tmp_path, monkeypatch):
    from keras_session_ext import files

    model().fit(X, Y, epochs=2, verbose=0, callbacks=[kse.SessionCheckpoint(tmp_path, verbose=0)])
    newest = kse.list_checkpoints(tmp_path)[0].path
    with open(newest, "r+b") as handle:
        handle.seek(os.path.getsize(newest) // 2)
        handle.write(b"\xff\x00\xff")
    fresh = files.sync
    monkeypatch.setattr(files, "sync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    checkpoint = kse.SessionCheckpoint(tmp_path, verbose=0)
    monkeypatch.setattr(checkpoint._session.directory, "acquire", with_sync(checkpoint._session.directory, fresh))
    model().fit(X, Y, epochs=3, verbose=0, callbacks=[checkpoint])
    told = read_journal(str(tmp_path)).events
    rejected, = (event for event in told if event.kind == "checkpoint_rejected")
    assert os.path.basename(newest) in rejected.figures["why"]
    assert any("No space left" in event.figures["error"] for event in told if event.kind == "save_failed")


def with_sync(directory, sync):
    """Lets the start of the run through, whose claim is synced, too."""
    from keras_session_ext import files

    acquire = directory.acquire

    def acquired():
        broken, files.sync = files.sync, sync
        try:
            acquire()
        finally:
            files.sync = broken

    return acquired


def test_views_of_a_run_in_a_notebook_and_on_a_page(tmp_path):
    checkpoint = kse.SessionCheckpoint(tmp_path / "run", verbose=0)
    model().fit(X, Y, epochs=2, verbose=0, callbacks=[checkpoint])
    found = kse.list_checkpoints(tmp_path / "run")
    assert found[0].id in found._repr_html_() and isinstance(found, list)
    report = checkpoint.resume_report
    report.because("<script>")
    report.checkpoint = "x"
    assert "&lt;script&gt;" in report._repr_html_() and "<script>" not in report._repr_html_()
    path = kse.report(tmp_path / "run", tmp_path / "run.html")
    assert kse.report(tmp_path / "run", tmp_path / "run.html") == path, "an old page is replaced"
    with open(path) as handle:
        text = handle.read()
    data = text.split('id="session-data">')[1].split("</script>")[0]
    assert found[0].id in json.loads(data)["timelines"]["run"]["checkpoints"]
    figure = kse.plot_timeline(tmp_path / "run")
    figure.savefig(str(tmp_path / "run.png"))
    assert os.path.getsize(str(tmp_path / "run.png")) > 5000
    with pytest.raises(kse.CheckpointNotFound, match="There is no journal"):
        kse.report(tmp_path / "nowhere", tmp_path / "x.html")
    with pytest.raises(kse.ConfigError, match="Cannot write the report"):
        kse.report(tmp_path / "run", tmp_path / "no" / "x.html")


def test_weights_are_what_they_are_without_the_logger(tmp_path):
    def trained(*callbacks):
        keras.utils.set_random_seed(3)
        made = model()
        made.fit(X, Y, epochs=2, verbose=0, callbacks=list(callbacks))
        return [np.asarray(one) for one in made.get_weights()]

    plain, logged = trained(), trained(kse.SessionLogger(tmp_path))
    assert all(np.array_equal(one, other) for one, other in zip(plain, logged))
