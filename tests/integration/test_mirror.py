"""A folder with a second copy in a store: a disk that vanishes, a store that goes away, two machines, the command."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import stores
from harness import assert_same, environment, finish, kill

import keras_session_ext as kse
from keras_session_ext import remote_files
from keras_session_ext.cli import main as cli
from keras_session_ext.lifecycle.journal import read_journal
from keras_session_ext.store.run_directory import RunDirectory


@pytest.fixture(scope="module")
def place():
    with stores.place("s3") as made:
        yield made


class Within(keras.callbacks.Callback):
    """Does something before a batch of the whole fit, counted from 1."""

    def __init__(self, batch, work):
        super().__init__()
        self._left, self._work = batch, work

    def on_train_batch_begin(self, batch, logs=None):
        self._left -= 1
        if self._left == 0:
            self._work()


def train(folder, url, epochs=2, callbacks=(), **options):
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dropout(0.3),
                              keras.layers.Dense(1)])
    model.compile("adam", "mse")
    checkpoint = kse.SessionCheckpoint(folder, mirror=url, **dict({"save": kse.EverySteps(4), "verbose": 0}, **options))
    model.fit(x, x[:, :1], batch_size=8, epochs=epochs, verbose=0, callbacks=[*callbacks, checkpoint])
    return checkpoint, [np.asarray(one) for one in model.get_weights()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other))


def there(url):
    """The steps of the checkpoints behind a URL, newest first."""
    return [info.progress.step for info in kse.list_checkpoints(url)]


def comes_to(url, steps):
    """Whether these are there within a while: at the end of a fit the newest is, and older ones follow."""
    end = time.monotonic() + 60
    while there(url) != steps and time.monotonic() < end:
        time.sleep(0.1)
    return there(url) == steps


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_killed_and_the_disk_is_gone_each_time(place, engine, tmp_path):
    task = {"source": "arrays", "seed": 3}
    reference = finish(engine, dict(task, directory=str(tmp_path / "whole"), result=str(tmp_path / "whole.json")))
    folder = tmp_path / "machine"
    task = dict(task, directory=str(folder), mirror=place.url(), result=str(tmp_path / "killed.json"),
                variables=place.variables)
    for moment in ("batch:9", "validation:1", "batch:4"):
        behind = {"dies_behind": "checkpoint_mirrored"} if moment == "batch:9" else {}
        kill(engine, dict(task, **behind), moment)
        shutil.rmtree(str(folder))
    resumed = finish(engine, task)
    assert resumed["checkpoint"] and resumed["exact"], resumed["reasons"]
    assert_same(reference, resumed)
    assert resumed["diverged_at"] is None
    kinds = [event.kind for event in read_journal(task["mirror"]).events]
    assert kinds.count("fit_started") >= 2 and kinds.count("checkpoint_mirrored") >= 1 and "fit_finished" in kinds


def test_both_hold_the_same_at_the_end(place, tmp_path):
    url = place.url()
    train(str(tmp_path / "run"), url, 4, keep=kse.KeepLast(2))
    kept = there(str(tmp_path / "run"))
    assert comes_to(url, kept) and kept[0] == 16 and len(kept) == 2
    for info in kse.list_checkpoints(url):
        kse.verify_checkpoint(info.path)
    told = [event.seq for event in read_journal(url).events]
    assert told == [event.seq for event in read_journal(str(tmp_path / "run" / "journal.jsonl")).events][:len(told)]
    assert "fit_finished" in [event.kind for event in read_journal(url).events]


def test_the_disk_knows_more_than_the_mirror(place, tmp_path):
    """The machine survived, and what it could not send is sent by the next start; it goes on from here."""
    folder, url = str(tmp_path / "run"), place.url()
    train(folder, url, 2)
    remote_files.remove(next(iter(kse.list_checkpoints(url))).path)
    assert there(url) != there(folder)
    checkpoint, _ = train(folder, url, 2)
    assert checkpoint.resume_report.exact and comes_to(url, there(folder))
    assert checkpoint.resume_report.checkpoint == kse.list_checkpoints(folder)[0].id


def test_the_mirror_knows_more_than_the_disk(place, tmp_path):
    """The folder is an old copy; the run has gone on elsewhere."""
    folder, url = str(tmp_path / "run"), place.url()
    train(folder, url, 2)
    shutil.copytree(folder, str(tmp_path / "old"))
    shutil.rmtree(folder)
    _, weights = train(folder, url, 4)
    checkpoint, again = train(str(tmp_path / "old"), url, 4)
    assert checkpoint.resume_report.checkpoint.startswith("g000002") and same(weights, again)
    assert kse.list_checkpoints(url)[0].generation >= 2


def test_the_id_of_the_run_is_known_on_an_empty_disk(place, tmp_path):
    folder, url = str(tmp_path / "run"), place.url()
    given = kse.run_id(folder, mirror=url)
    shutil.rmtree(folder)  # before anything was saved: the note is there, too
    assert kse.run_id(folder, mirror=url) == given
    train(folder, url, 2)
    shutil.rmtree(folder)
    assert kse.run_id(folder, mirror=url) == given == kse.list_checkpoints(url)[0].run


def test_evaluated_on_an_empty_disk(place, tmp_path, caplog):
    folder, url = str(tmp_path / "run"), place.url()
    _, weights = train(folder, url, 2)
    shutil.rmtree(folder)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dropout(0.3),
                              keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.evaluate(np.zeros((8, 4)), np.zeros((8, 1)), verbose=0, callbacks=[
        kse.SessionCheckpoint(folder, mirror=url, restore="must", verbose=0)])
    assert same([np.asarray(one) for one in model.get_weights()], weights) and "rror" not in caplog.text


def test_the_best_is_found_behind_the_url(place, tmp_path):
    folder, url = str(tmp_path / "run"), place.url()
    train(folder, url, 3, save=kse.EveryEpochs(1), keep=kse.KeepAll())
    best = kse.best_checkpoint(folder, "loss").id
    shutil.rmtree(folder)
    checkpoint, _ = train(folder, url, 4, restore="best:loss")
    assert checkpoint.resume_report.checkpoint == best


def test_a_store_that_goes_away_stops_nothing(place, tmp_path, monkeypatch, caplog):
    folder, url = str(tmp_path / "run"), place.url()
    real, failed = remote_files.upload, threading.Event()

    def away(*arguments):
        failed.set()
        raise remote_files.StoreError(5, "the store is away", url)

    monkeypatch.setattr(remote_files, "upload", away)
    back = Within(10, lambda: failed.wait(60) and monkeypatch.setattr(remote_files, "upload", real))
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        checkpoint, _ = train(folder, url, 4, callbacks=[back])
    assert "is saved in" in caplog.text and "the store is away" in caplog.text and "tried again" in caplog.text
    kinds = [event.kind for event in read_journal(os.path.join(folder, "journal.jsonl")).events]
    assert "mirror_failed" in kinds and "save_failed" not in kinds
    assert [one.progress.step for one in checkpoint.checkpoints] == [4, 8, 12, 16]
    assert comes_to(url, there(folder))


def test_a_store_that_cannot_be_reached_at_the_start_is_told(place, tmp_path):
    with pytest.raises(kse.SessionError, match="no-such-bucket"):
        train(str(tmp_path / "run"), "s3://no-such-bucket-of-anyone/run")
    assert not kse.list_checkpoints(str(tmp_path / "run"))


def test_another_machine_goes_on_and_this_one_is_told(place, tmp_path):
    folder, url = str(tmp_path / "run"), place.url()

    def another():
        name = "g{:06d}.claim".format(2)
        remote_files.create(url + "/checkpoints/" + name, json.dumps({"host": "elsewhere", "pid": 1}).encode())

    with pytest.raises(kse.DirectoryBusy, match="taken over"):
        train(folder, url, 40, callbacks=[Within(6, another), Within(150, lambda: time.sleep(5))])
    assert max(there(url) or [0]) <= 8


def test_two_at_once_one_is_refused(place, tmp_path):
    url, errors = place.url(), []

    def second():
        try:
            RunDirectory(str(tmp_path / "other"), mirror=url).acquire()
        except kse.DirectoryBusy as error:
            errors.append(str(error))

    def at():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(60)

    owner = {"host": "elsewhere", "pid": 7, "boot": "another", "begun": 1}
    remote_files.create(url + "/checkpoints/g000001.claim", json.dumps(owner).encode())
    beating = threading.Event()

    def beat():
        count = 0
        while not beating.wait(0.5):
            count += 1
            remote_files.replace(url + "/checkpoints/g000001.claim", json.dumps(dict(owner, beat=count)).encode())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        at()
    finally:
        beating.set()
        thread.join()
    assert len(errors) == 1 and "elsewhere" in errors[0] and "7" in errors[0]
    assert not RunDirectory(str(tmp_path / "other")).paths()


def test_what_retention_takes_while_it_waits(place, tmp_path, monkeypatch):
    """Uploads that are slow: names go here meanwhile, and nothing is left over there."""
    folder, url, real = str(tmp_path / "run"), place.url(), remote_files.upload

    def slow(*arguments):
        time.sleep(0.5)
        return real(*arguments)

    monkeypatch.setattr(remote_files, "upload", slow)
    seen, pace = [], keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: (
        time.sleep(0.15), seen.append(there(url))))
    train(folder, url, 6, save=kse.EverySteps(1), keep=kse.KeepLast(1), callbacks=[pace])
    first = next(number for number, steps in enumerate(seen) if steps)
    assert all(seen[first:]), "once something was there, there was something at every moment: {}".format(seen)
    assert comes_to(url, [24]) and there(folder) == [24]
    train(folder, url, 7, save=kse.EverySteps(1), keep=kse.KeepLast(1))
    assert there(url)[0] == there(folder)[0] == 28


def test_a_policy_of_cost_saves_on_while_the_store_is_away(place, tmp_path, monkeypatch):
    """The second copy is no part of a save."""
    folder, url = str(tmp_path / "run"), place.url()
    monkeypatch.setattr(remote_files, "upload", lambda *arguments: (_ for _ in ()).throw(
        remote_files.StoreError(5, "the store is away", url)))
    pace = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.05))
    checkpoint, _ = train(folder, url, 20, callbacks=[pace], save=kse.Overhead(0.5, lose_at_most_seconds=0.5))
    assert len(checkpoint.checkpoints) > 3 and there(url) == []


@pytest.mark.parametrize("damage", ["header", "tensors"])
def test_a_damaged_file_is_read_from_the_mirror(place, tmp_path, damage, caplog):
    folder, url = str(tmp_path / "run"), place.url()
    train(folder, url, 2)
    assert comes_to(url, there(folder))
    for info in kse.list_checkpoints(folder):
        with open(info.path, "r+b") as handle:
            handle.seek(200 if damage == "header" else info.size_bytes // 2)
            handle.write(os.urandom(64))
    checkpoint, _ = train(folder, url, 3)
    assert checkpoint.resume_report.checkpoint.startswith("g000001-s0000000008")


def test_a_store_that_is_away_between_two_fits(place, tmp_path, monkeypatch, caplog):
    folder, url = str(tmp_path / "run"), place.url()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    checkpoint = kse.SessionCheckpoint(folder, mirror=url, verbose=0, on_error="raise")
    model.fit(np.zeros((8, 4)), np.zeros((8, 1)), verbose=0, callbacks=[checkpoint])

    def away(*arguments, **more):
        raise remote_files.StoreError(5, "the store is away", url)

    for name in ("names", "upload", "create", "replace", "read"):
        monkeypatch.setattr(remote_files, name, away)
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        model.fit(np.zeros((8, 4)), np.zeros((8, 1)), verbose=0, callbacks=[checkpoint])
    assert "cannot be asked who trains" in caplog.text and "sent as long as this process lives" in caplog.text
    assert [one.progress.step for one in checkpoint.checkpoints] == [1, 2]


def test_a_mirror_that_holds_another_run_is_refused(place, tmp_path):
    url = place.url()
    train(str(tmp_path / "one"), url, 2)
    train(str(tmp_path / "two"), None, 2)
    before = read_journal(str(tmp_path / "two" / "journal.jsonl")).events
    with pytest.raises(kse.SessionError, match="no two copies of one"):
        train(str(tmp_path / "two"), url, 3)
    after = read_journal(str(tmp_path / "two" / "journal.jsonl")).events
    assert [event.seq for event in after][:len(before)] == [event.seq for event in before]


def test_a_file_that_cannot_be_opened_stops_no_others(place, tmp_path, monkeypatch, caplog):
    from keras_session_ext import files

    folder, url, real = str(tmp_path / "run"), place.url(), files.open_read

    def broken(path):
        if "s0000000004" in path:
            raise OSError(5, "Input/output error", path)
        return real(path)

    monkeypatch.setattr(files, "open_read", broken)
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        train(folder, url, 3, keep=kse.KeepAll())
    assert comes_to(url, [12, 8]) and "cannot be copied" in caplog.text


SIGNALLED = """
import os, signal, sys, time
import keras
import numpy as np
import keras_session_ext as kse
from keras_session_ext import remote_files
real = remote_files.upload

def slow(*arguments):
    time.sleep(6)
    return real(*arguments)

remote_files.upload = slow
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("HEARD"))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
checkpoint = kse.SessionCheckpoint(sys.argv[1], mirror=sys.argv[2],
                                   save=kse.EverySteps(4) | kse.OnSignal(grace_seconds=1))
ends = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: (
    os.kill(os.getpid(), signal.SIGTERM) if checkpoint.progress.step == 5 else None))
model.fit(np.zeros((64, 4)), np.zeros((64, 1)), batch_size=8, epochs=4, verbose=0, callbacks=[ends, checkpoint])
"""


@pytest.mark.slow
def test_a_signal_waits_for_no_mirror_beyond_its_grace(place, tmp_path):
    folder, url = str(tmp_path / "run"), place.url()
    variables = dict(environment("jax"), **place.variables)
    done = subprocess.run([sys.executable, "-c", SIGNALLED, folder, url], env=variables, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 1 and "HEARD" in done.stderr, done.stdout + done.stderr
    step = there(folder)[0]
    assert step in (5, 6) and "saved at" in done.stdout, done.stdout
    assert "step {} is not in the store yet".format(step) in done.stdout, done.stdout
    assert there(url)[0] == step, "as long as the process lives it is gone on with, and its exit waits"


@pytest.mark.parametrize("options, words", [
    ({"mirror": "runs/b"}, "URL of a store"), ({"mirror": 5}, "mirror"), ({"mirror": "sftp://host/a"}, "sftp"),
    ({"directory": "s3://bucket/run", "mirror": "s3://bucket/other"}, "second copy of a folder")])
def test_what_cannot_be_a_mirror(place, tmp_path, options, words):
    with pytest.raises(kse.ConfigError, match=words):
        kse.SessionCheckpoint(**dict({"directory": str(tmp_path / "run")}, **options))


def test_copies_of_the_callback_have_mirrors_of_their_own(place, tmp_path):
    import copy

    url = place.url()
    checkpoint = copy.deepcopy(kse.SessionCheckpoint(str(tmp_path / "search"), mirror=url, verbose=0))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((8, 4)), np.zeros((8, 1)), verbose=0, callbacks=[checkpoint])
    assert there(url + "/copy-0") == [1] and not kse.list_checkpoints(url)


# -- the command


@pytest.fixture
def call(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(one) for one in arguments])
        return (ended.value.code or 0, *capsys.readouterr())

    return call


def sent(made):
    return json.loads(made[1])["sent"]


def test_the_command_copies_what_is_missing(place, tmp_path, call):
    folder, url = str(tmp_path / "run"), place.url()
    whole = train(str(tmp_path / "whole"), None, 4)[1]
    train(folder, None, 2)
    made = call("mirror", folder, url, "--json")
    assert made[0] == 0 and len(sent(made)) == len(there(folder))
    assert there(url) == there(folder) and read_journal(url).events
    assert sent(call("mirror", folder, url, "--json")) == []
    train(folder, None, 3)
    assert sent(call("mirror", folder, url, "--json"))
    shutil.rmtree(folder)
    checkpoint, weights = train(folder, url, 4)  # and goes on from it
    assert checkpoint.resume_report.exact and same(weights, whole)


def test_the_command_refuses_what_the_run_has_not_seen(place, tmp_path, call):
    url = place.url()
    train(str(tmp_path / "one"), url, 2)
    train(str(tmp_path / "two"), None, 2)
    status, _, error = call("mirror", tmp_path / "two", url)
    assert status not in (0, 2) and "has not seen" in error
    assert call("mirror", tmp_path / "one", str(tmp_path / "elsewhere"))[0] == 2


def test_the_command_leaves_out_what_is_damaged(place, tmp_path, call):
    folder, url = str(tmp_path / "run"), place.url()
    train(folder, None, 2)
    with open(kse.list_checkpoints(folder)[0].path, "r+b") as handle:
        handle.seek(-100, 2)
        handle.write(b"\xff" * 10)
    status, out, error = call("mirror", folder, url, "--json")
    assert status == 1 and len(json.loads(out)["left_out"]) == 1 and "Left out" in error
    assert there(url) == there(folder)[1:]
