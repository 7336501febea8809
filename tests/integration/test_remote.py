"""Trainings whose run lives in a store, on machines that do not survive: real servers, real kills, a wiped disk."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import keras
import numpy as np
import pytest
import store_proxy
import stores
from click.testing import CliRunner
from harness import assert_same, environment, finish, kill

import keras_session_ext as kse
from keras_session_ext import remote_files
from keras_session_ext.cli import main as cli
from keras_session_ext.lifecycle.journal import read_journal

MOMENTS = ("batch:9", "validation:1", "write:4")

SCRIPT = """
import json, os, sys, time
import keras
import numpy as np
import keras_session_ext as kse
url, settings = sys.argv[1], json.loads(sys.argv[2])
keras.utils.set_random_seed(1)
random = np.random.default_rng(0)
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(settings.get("width", 16)), keras.layers.Dropout(0.3),
                          keras.layers.Dense(1)])
model.compile("adam", "mse")
pace = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: (
    print("batch", batch, flush=True), time.sleep(settings.get("pace", 0.0))))
checkpoint = kse.SessionCheckpoint(url, save=kse.EverySteps(settings.get("every", 4)) | kse.OnSignal(
    grace_seconds=settings.get("grace", 60)), staging=settings["staging"])
model.fit(random.normal(size=(64, 8)), random.normal(size=(64, 1)), epochs=settings.get("epochs", 2), batch_size=8,
          callbacks=[checkpoint, pace, kse.SessionLogger(url + "/tensorboard")], verbose=0)
print("DONE", [one.progress.step for one in checkpoint.checkpoints], flush=True)
"""


@pytest.fixture(scope="module")
def place():
    with stores.place("s3") as made:
        yield made


def begin(place, url, folder, engine="jax", variables=(), **settings):
    settings = dict(settings, staging=str(folder / "staging"))
    made = dict(environment(engine), **dict(place.variables, TMPDIR=str(folder), **dict(variables)))
    return subprocess.Popen([sys.executable, "-c", SCRIPT, url, json.dumps(settings)], env=made, cwd=str(folder),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def output_of(process, timeout=150):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def steps(url):
    return [info.progress.step for info in kse.list_checkpoints(url)]


# -- the promise


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_killed_on_machines_that_are_gone(place, engine, tmp_path):
    task = {"source": "arrays", "seed": 3}
    reference = finish(engine, dict(task, directory=str(tmp_path / "whole"), result=str(tmp_path / "whole.json")))
    machine, url = tmp_path / "machine", place.url()
    task = dict(task, directory=url, result=str(tmp_path / "killed.json"), staging=str(machine),
                variables=dict(place.variables, TMPDIR=str(machine)))
    for moment in (*MOMENTS, *["validation:4"] * 3):  # the last ones where the store was too slow to have one
        if moment in MOMENTS or not kse.list_checkpoints(url):
            machine.mkdir()
            kill(engine, task, moment)
            shutil.rmtree(str(machine))
    machine.mkdir()
    resumed = finish(engine, task)
    assert resumed["checkpoint"] and resumed["exact"], resumed["reasons"]
    assert_same(reference, resumed)
    assert resumed["diverged_at"] is None
    kinds = [event.kind for event in read_journal(url).events]
    # what a machine told in its last moments is gone with it
    assert kinds.count("fit_started") >= 2 and kinds.count("restored") >= 1 and kinds[-1] == "finished", kinds
    assert kinds.count("interrupted") >= 1


# -- who trains


@pytest.mark.slow
def test_eight_starts_at_once(place, tmp_path):
    url, starts = place.url(), []
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        starts.append(begin(place, url, folder, pace=0.3, epochs=4))
    outcomes = [output_of(one) for one in starts]
    trained = [out for _, out, _ in outcomes if "DONE" in out]
    refused = [err for _, out, err in outcomes if "DONE" not in out]
    assert len(trained) == 1, outcomes
    for err in refused:
        assert "DirectoryBusy" in err and url in err and re.search(r"process \d+ on \S+", err), err
    assert steps(url)[0] == 32


@pytest.mark.slow
def test_one_that_comes_back_to_life_is_fenced_off(place, tmp_path):
    """Its machine seems gone; another takes over; it wakes up."""
    url = place.url()
    for name in "ab":
        (tmp_path / name).mkdir()
    first = begin(place, url, tmp_path / "a", pace=0.2, epochs=40)
    while "batch 4" not in first.stdout.readline():
        pass
    first.send_signal(signal.SIGSTOP)
    try:
        owner = json.loads(remote_files.read(url + "/checkpoints/g000001.claim").decode())
        second = begin(place, url, tmp_path / "b")
        began = time.monotonic()
        while second.poll() is None:  # written anew, however long the second one takes to import Keras; nothing is new
            remote_files.replace(url + "/checkpoints/g000001.claim",
                                 json.dumps(dict(owner, machine="another", host="elsewhere")).encode())
            time.sleep(0.5)
            assert time.monotonic() - began < 150
        status, out, err = output_of(second)
        assert status == 0 and "DONE" in out, err
        assert "has trained in" in err and "elsewhere" in err and time.monotonic() - began > 20, err
        after = steps(url)
    finally:
        first.send_signal(signal.SIGCONT)
    status, out, err = output_of(first)
    assert status and "DirectoryBusy" in err and "has taken over" in err, err
    assert steps(url) == after and after[0] == 16


@pytest.mark.slow
def test_a_clock_that_is_wrong_changes_nothing(place, tmp_path, monkeypatch):
    """Only the store's clock is asked, and only how long ago something was."""
    url = place.url()
    owner = {"pid": 1, "host": "elsewhere", "machine": "another", "began": "5"}
    remote_files.create(url + "/checkpoints/g000007.claim", json.dumps(owner).encode())
    from keras_session_ext.store import remote_lock

    monkeypatch.setattr(remote_lock, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(time, "time", lambda real=time.time: real() - 5 * 3600)
    time.sleep(1.1)
    began = time.monotonic()
    checkpoint = train(url, staging=str(tmp_path))
    assert checkpoint.checkpoints and time.monotonic() - began > 0.5
    assert kse.list_checkpoints(url)[0].id.startswith("g000008")


# -- in this process


def train(url, epochs=1, model=None, callbacks=(), **options):
    keras.utils.set_random_seed(1)
    if model is None:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        model.compile("adam", "mse")
    checkpoint = kse.SessionCheckpoint(url, verbose=0, **options)
    data = np.random.default_rng(0).normal(size=(32, 4))
    model.fit(data, data[:, :1], epochs=epochs, batch_size=8, verbose=0, callbacks=[checkpoint, *callbacks])
    return checkpoint


@pytest.fixture
def proxied(place, monkeypatch):
    """The place behind a proxy, for this process."""
    with store_proxy.before(place.variables["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        remote_files._clients.clear()
        yield proxy
    remote_files._clients.clear()


def test_everything_that_takes_a_directory_takes_a_url(place, tmp_path):
    url = place.url()
    train(url, 3, staging=str(tmp_path / "staging"), background=False,
          callbacks=[kse.SessionLogger(url + "/tensorboard")])
    infos = kse.list_checkpoints(url)
    newest = infos[0]
    assert [info.progress.step for info in infos] == [12, 8, 4] and newest.path.startswith(url)
    assert kse.verify_checkpoint(newest.path).id == newest.id
    assert kse.best_checkpoint(url, "loss").id in {info.id for info in infos}
    assert kse.run_id(url) == newest.run
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    assert kse.restore_session(model, newest.path).checkpoint == newest.id
    fetched = kse.fetch_checkpoint(url, tmp_path / "model.h5")
    assert kse.verify_checkpoint(fetched).id == newest.id
    for one, other in zip(keras.models.load_model(fetched, compile=False).get_weights(), model.get_weights()):
        assert (one == other).all()
    assert "checkpoint" in open(kse.report(url, tmp_path / "run.html")).read()
    assert kse.plot_timeline(url) is not None
    again = train(url, 3)
    assert again.resume_report.checkpoint == newest.id and again.resume_report.exact
    branch = train(str(tmp_path / "branch"), 1, restore=newest.path)
    assert branch.resume_report.checkpoint == newest.id


COMMANDS = [["ls"], ["ls", "--sort", "loss"], ["show"], ["log"], ["verify"], ["verify", "--all"], ["doctor"],
            ["prune", "--keep-last", "1", "--yes"]]


def test_commands(place, tmp_path):
    url = place.url() + "/run"
    train(url, 3, background=False)
    newest = kse.list_checkpoints(url)[0]

    def call(*arguments):
        result = CliRunner().invoke(cli.commands, [*arguments, "--json"])
        assert result.exit_code == 0, result.output
        return result.output

    for command in COMMANDS:
        assert url in call(*command, url) or command[0] == "log", command
    assert steps(url) == [12]
    assert "checkpoint_deleted" in call("log", url) and newest.id in call("show", newest.path)
    assert newest.id in call("show", newest.id, "-d", url) and newest.id in call("show", url + "/" + newest.id)
    call("export", newest.path, str(tmp_path / "weights.npz"))
    assert len(np.load(str(tmp_path / "weights.npz")).files) == 4
    call("report", url, "-o", str(tmp_path / "run.html"))
    call("diff", newest.path, newest.path)
    above = json.loads(call("ls", url.rsplit("/", 1)[0]))
    assert url in json.dumps(above)
    bucket = "/".join(url.split("/")[:3])
    assert url in call("ls", bucket)
    assert CliRunner().invoke(cli.commands, ["show", bucket]).exit_code == 2


@pytest.mark.parametrize("name", ["ä b", "100%", "%2F", "a+b", "a&b=c"])
def test_names_of_runs(place, name):
    url = "{}/{}".format(place.url(), name)
    train(url)
    assert steps(url) == [4] and train(url).resume_report.checkpoint


def test_in_memory(place, tmp_path, monkeypatch):
    url = place.url()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    checkpoint = train(url, 2, staging="memory", background=False)
    assert len(checkpoint.checkpoints) == 2 and steps(url) == [8, 4]


# -- trouble


def test_before_training_it_is_said(place, tmp_path, monkeypatch):
    with pytest.raises(kse.SessionError, match="s3://no-such-bucket/run"):
        train("s3://no-such-bucket/run")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    remote_files._clients.clear()
    try:
        with pytest.raises(kse.SessionError, match="(?i)credential"):
            train(place.url())
    finally:
        remote_files._clients.clear()


def test_a_store_that_ignores_conditions_is_refused(proxied, place):
    """As some gateways do: they make the object in the place of another."""
    def unconditional(number, method, path):
        return "unconditional" if method == "PUT" and path.endswith(".claim") else None

    proxied.trouble = unconditional
    url = place.url()
    with pytest.raises(kse.SessionError, match="(?s)two starts at once could not be told apart.*If-None-Match"):
        train(url)
    assert kse.list_checkpoints(url) == []


def test_a_store_that_goes_away_in_the_middle(proxied, place, tmp_path, caplog):
    """Training goes on, it is told, and what waited is up once the store is back."""
    url = place.url()
    refuse = []
    proxied.trouble = lambda number, method, path: 403 if refuse and method == "PUT" and path.endswith(".h5") else None

    class Away(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                refuse.append(1)
            if epoch == 3:
                time.sleep(1.5)
                refuse.clear()

    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        checkpoint = train(url, 4, callbacks=[Away()], staging=str(tmp_path))
    assert "could not be saved" in caplog.text and "it is tried again" in caplog.text
    assert steps(url)[0] == 16 and checkpoint.checkpoints[-1].progress.step == 16
    assert "save_failed" in [event.kind for event in read_journal(url).events]
    assert not [name for folder, _, names in os.walk(str(tmp_path)) for name in names if name.endswith(".h5")]


@pytest.mark.slow
def test_what_could_not_be_sent_is_sent_by_the_next_start(place, tmp_path):
    with store_proxy.before(place.variables["AWS_ENDPOINT_URL"]) as proxy:
        url = place.url()
        proxy.trouble = lambda number, method, path: (
            403 if method == "PUT" and "s0000000012" in path else None)
        process = begin(place, url, tmp_path, variables={"AWS_ENDPOINT_URL": proxy.url}, pace=0.3, epochs=2)
        seen = ""
        while "batch 5" not in seen.rsplit("batch 7", 1)[-1] or "batch 7" not in seen:
            line = process.stdout.readline()
            assert line, process.communicate()
            seen += line
        process.kill()
        process.communicate()
    assert max(steps(url)) < 12
    waiting = [name for _, _, names in os.walk(str(tmp_path)) for name in names if name.endswith(".h5")]
    assert [name[:19] for name in waiting] == ["g000001-s0000000012"]
    status, out, err = output_of(begin(place, url, tmp_path, epochs=2))
    assert status == 0 and "resumed from g000001-s0000000012" in out, out + err
    assert not [name for _, _, names in os.walk(str(tmp_path)) for name in names if name.endswith(".h5")]


@pytest.mark.slow
def test_too_slow_for_the_grace_time(place, tmp_path):
    """The upload on its way is finished rather than a newer one begun; the message says which and why."""
    with store_proxy.before(place.variables["AWS_ENDPOINT_URL"]) as proxy:
        url = place.url()
        proxy.bytes_per_second = 1_000_000
        process = begin(place, url, tmp_path, variables={"AWS_ENDPOINT_URL": proxy.url}, width=40_000, every=4,
                        grace=6, pace=0.4, epochs=9)
        seen = ""
        while seen.count("batch 0") < 5:
            line = process.stdout.readline()
            assert line, process.communicate()
            seen += line
        process.send_signal(signal.SIGTERM)
        status, out, err = output_of(process)
        assert status == -signal.SIGTERM, err
        assert re.search(r"MiB of step \d+ cannot be up within 6 s at [\d.]+ MiB/s.*step \d+, which is on its way, is "
                         "finished instead", out), out + err
        assert "Session: saved" in out and steps(url)


def test_no_secret_is_told(place, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim-geheim")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "geheim-geheim")
    remote_files._clients.clear()
    url = place.url()
    train(url, 2, callbacks=[kse.SessionLogger(url + "/tensorboard")], staging=str(tmp_path))
    fs, path = remote_files.client(url)
    for name in fs.find(path):
        assert b"geheim" not in fs.cat_file(name), name
    out, err = capfd.readouterr()
    assert "geheim" not in caplog.text + out + err
    remote_files._clients.clear()


def test_training_waits_for_no_slow_store(proxied, place, tmp_path):
    """The training thread loses no more than on a local disk: it never talks to the store."""
    asked_from = []
    import threading

    real = remote_files._call

    def watched(*arguments, **keywords):
        asked_from.append((threading.current_thread() is threading.main_thread(), training[-1:]))
        return real(*arguments, **keywords)

    training = []

    class Within(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            training.append(epoch)

        def on_train_end(self, logs=None):
            training.clear()

    remote_files._call = watched
    try:
        train(place.url(), 4, save=kse.EverySteps(1), callbacks=[Within()], staging=str(tmp_path))
    finally:
        remote_files._call = real
    assert any(epoch for main, epoch in asked_from if not main)
    assert not [epoch for main, epoch in asked_from if main and epoch]


@pytest.mark.slow
def test_run_with_a_config_on_an_empty_disk(place, tmp_path):
    url = place.url()
    script = SCRIPT.split("checkpoint = kse")[0].replace("import keras_session_ext as kse\n", "").replace(
        "url, settings = sys.argv[1], json.loads(sys.argv[2])", "settings = {'pace': 0.2}")
    script += ("model.fit(random.normal(size=(64, 8)), random.normal(size=(64, 1)), epochs=2, batch_size=8, "
               "callbacks=[pace], verbose=0)\nprint('SHA', sum(float(abs(w).sum()) for w in model.get_weights()))\n")
    outcomes = []
    for machine in ("first", "second", "plain"):
        folder = tmp_path / machine
        folder.mkdir()
        (folder / "train.py").write_text(script)
        (folder / "train.yaml").write_text("session:\n  directory: {}\n  save: {{every_steps: 4}}\n".format(url))
        command = [] if machine == "plain" else [
            "-c", "from keras_session_ext.cli.main import main; main()", "run", "--config", "train.yaml"]
        process = subprocess.Popen([sys.executable, *command, "train.py"], cwd=str(folder), universal_newlines=True,
                                   env=dict(environment("jax"), TMPDIR=str(folder), **place.variables),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        if machine == "first":
            seen = ""
            while "batch 6" not in seen:
                line = process.stdout.readline()
                assert line, process.communicate()
                seen += line
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            shutil.rmtree(str(folder))
        else:
            outcomes.append(output_of(process))
    assert "resumed from g000001-s0000000004" in outcomes[0][1] and "exact: yes" in outcomes[0][1], outcomes[0]
    assert outcomes[0][1].split("SHA")[1] == outcomes[1][1].split("SHA")[1]


@pytest.mark.slow
def test_tensorboard_reads_it_where_there_is_no_tensorflow(place, tmp_path):
    """TensorFlow's own file systems have no S3; TensorBoard's, without it, have."""
    url, port = place.url(), stores.free_port()
    train(url, 2, staging=str(tmp_path), callbacks=[kse.SessionLogger(url + "/tensorboard")])
    endpoint = place.variables["AWS_ENDPOINT_URL"]
    script = ("import sys; sys.modules['tensorflow'] = None; from tensorboard.main import run_main; "
              "sys.argv[1:] = ['--logdir', {!r}, '--port', '{}', '--host', '127.0.0.1']; run_main()".format(url, port))
    with stores.running([sys.executable, "-c", script], port, env=dict(
            os.environ, S3_ENDPOINT=endpoint, **place.variables)):
        end, found = time.monotonic() + 90, []
        while not found:
            assert time.monotonic() < end
            time.sleep(0.5)
            with urllib.request.urlopen("http://127.0.0.1:{}/data/plugin/session/runs".format(port)) as answer:
                found = json.loads(answer.read().decode())
    assert [one["name"] for one in found] == ["tensorboard/session"]
