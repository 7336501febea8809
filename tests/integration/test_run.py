"""`keras-session run`: kills, signals, crashes, and everything that a script may be."""

import json
import os
import pty
import signal
import subprocess
import textwrap
import time

import pytest
from commands import COMMAND, finish, start

import keras_session_ext as kse

TRAINS = """
import hashlib, os, sys, time
import keras
import numpy as np
keras.utils.set_random_seed(1)
x = np.random.normal(size=(256, 8)).astype("float32")
pace = float(os.environ.get("PACE", "0"))
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
model.compile("adam", "mse")
beat = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs=None: (
    open("steps", "a").write("{} {}\\n".format(os.getpid(), batch)), time.sleep(pace)))
model.fit(x, x[:, :1], batch_size=8, epochs=int(sys.argv[1]), verbose=0, callbacks=[beat])
print(hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights())).hexdigest())
"""


def write(tmp_path, text, name="train.py"):
    (tmp_path / name).write_text(textwrap.dedent(text))
    return name


def wait_for_steps(tmp_path, count, pid_not=()):
    """Waits until some process has begun so many batches; returns its pid."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        lines = (tmp_path / "steps").read_text().split("\n")[:-1] if (tmp_path / "steps").exists() else []
        pids = [int(line.split()[0]) for line in lines]
        for pid in set(pids) - set(pid_not):
            if pids.count(pid) >= count:
                return pid
        time.sleep(0.02)
    raise AssertionError("no process began {} batches".format(count))


def is_alive(pid):
    try:
        with open("/proc/{}/stat".format(pid)) as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid, seconds=60):
    end = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < end, "process {} is still there".format(pid)
        time.sleep(0.05)


@pytest.fixture
def paced(monkeypatch):
    monkeypatch.setenv("PACE", "0.03")


@pytest.mark.slow
def test_a_killed_script_is_started_again_and_ends_as_if_nothing_had_been(tmp_path, paced):
    write(tmp_path, TRAINS)
    plain = subprocess.run([os.path.join(os.path.dirname(os.sys.executable), "python"), "train.py", "3"],
                           cwd=str(tmp_path), env=dict(os.environ, KERAS_BACKEND="jax", PACE="0"), check=True,
                           stdout=subprocess.PIPE)
    (tmp_path / "steps").unlink()
    process = start(["run", "--set", "save.every_steps=5", "train.py", "3"], tmp_path)
    first = wait_for_steps(tmp_path, 20)
    os.kill(first, signal.SIGKILL)
    second = wait_for_steps(tmp_path, 30, [first])
    os.kill(second, signal.SIGKILL)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err.decode()
    assert out.decode().split("\n")[-2] == plain.stdout.decode().split("\n")[-2], "the same weights, to the bit"
    assert err.decode().count("was killed by SIGKILL") == 2 and "restart 2 of 10" in err.decode()
    infos = kse.list_checkpoints(tmp_path / "runs" / "train")
    assert infos[0].progress.step == 96 and infos[0].finished
    assert list((tmp_path / "runs" / "train" / "tensorboard").iterdir())
    config = json.loads((tmp_path / "runs" / "train" / "config.json").read_text())
    assert config["save"] == {"every_steps": 5} and os.path.basename(config["directory"]) == "train"
    status, out, err = finish(["run", "train.py", "3"], tmp_path)
    assert status == 0 and "finished: nothing is left to train" in out and out.split("\n")[-2] == \
        plain.stdout.decode().split("\n")[-2]


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_is_handed_on_and_saves(tmp_path, paced, whole_group):
    write(tmp_path, TRAINS)
    process = start(["run", "train.py", "50"], tmp_path, start_new_session=True)
    child = wait_for_steps(tmp_path, 10)
    if whole_group:
        os.killpg(process.pid, signal.SIGTERM)  # as schedulers do: the child is told twice
    else:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM, err.decode()
    assert not is_alive(child) and "starting it again" not in err.decode()
    newest = kse.list_checkpoints(tmp_path / "runs" / "train")[0]
    assert newest.reason == "OnSignal(SIGTERM)" and newest.progress.step >= 9


@pytest.mark.slow
def test_the_script_does_not_outlive_its_supervisor(tmp_path, paced):
    write(tmp_path, TRAINS)
    process = start(["run", "train.py", "50"], tmp_path)
    child = wait_for_steps(tmp_path, 10)
    process.kill()
    process.communicate(timeout=60)
    wait_until_gone(child)
    assert kse.list_checkpoints(tmp_path / "runs" / "train")[0].reason == "OnSignal(SIGTERM)", "it saved before"


@pytest.mark.slow
def test_two_models_several_fits_and_inference(tmp_path):
    write(tmp_path, """
        import os, signal, sys
        import keras, numpy as np
        os.makedirs("elsewhere", exist_ok=True)
        os.chdir("elsewhere")  # the run lives where it was started
        keras.utils.set_random_seed(1)
        x = np.random.normal(size=(64, 4)).astype("float32")
        def build():
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(1)])
            model.compile("adam", "mse")
            return model
        a, b = build(), build()
        class Asks(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                self.model.predict(x[:8], verbose=0)  # not a call of the script's own
        one = a.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=Asks())
        two = b.fit(x, a.predict(x, verbose=0), epochs=2, verbose=0, batch_size=16)
        if not os.path.exists("once"):
            open("once", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        three = a.fit(x, x[:, :1], epochs=1, verbose=0)
        print([len(history.epoch) for history in (one, two, three)], a.evaluate(x, x[:, :1], verbose=0) > 0)
        """)
    status, out, err = finish(["run", "train.py"], tmp_path)
    assert status == 0 and "[2, 2, 1] True" in out, out + err
    finished = [info for info in kse.list_checkpoints(tmp_path / "runs" / "train") if info.finished]
    assert sorted(info.progress.stage for info in finished) == [0, 1, 2]


@pytest.mark.slow
def test_rivals_and_callbacks_of_ours_in_the_script(tmp_path):
    write(tmp_path, """
        import keras, numpy as np
        import keras_session_ext as kse
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        x = np.zeros((8, 4), "float32")
        model.fit(x, x[:, :1], verbose=0, callbacks=[keras.callbacks.BackupAndRestore("backup")])
        model.fit(x, x[:, :1], verbose=0, callbacks=[kse.SessionCheckpoint("mine")])
        """)
    status, _, err = finish(["run", "train.py"], tmp_path)
    assert status == 0 and "BackupAndRestore is left out" in err and "callbacks of keras_session_ext itself" in err
    assert kse.list_checkpoints(tmp_path / "mine") and kse.list_checkpoints(tmp_path / "runs" / "train")


def test_a_script_runs_as_python_runs_it(tmp_path):
    (tmp_path / "beside.py").write_text("VALUE = 7\n")
    write(tmp_path, """
        import sys, __main__, beside, pickle
        class Thing:
            pass
        assert __name__ == "__main__" and __main__.Thing is Thing and __main__.__file__ == __file__
        assert isinstance(pickle.loads(pickle.dumps(Thing())), Thing)
        print(sys.argv, beside.VALUE)
        sys.exit(0)
        """)
    status, out, err = finish(["run", "train.py", "--epochs", "3", "--json"], tmp_path)
    assert status == 0 and out == "['train.py', '--epochs', '3', '--json'] 7\n", err
    assert "train.py never called fit" in err and "save_session" in err


@pytest.mark.parametrize("text, arguments, expected, restarts, said", [
    ("import sys; sys.exit(7)", ["--max-restarts", "0"], 7, 0, ""),
    ("import sys; sys.exit(2)", [], 2, 0, "wrong arguments"),
    ("raise ValueError('a bug')", [], 1, 1, "failed twice before a fit began"),
    ("import os; os.kill(os.getpid(), 11)", ["--max-restarts", "0"], -11, 0, ""),
    ("import os\nif os.path.exists('there'): raise SystemExit(0)\nopen('there', 'w').close(); os._exit(3)", [], 0, 1,
     "ended with status 3"),
])
def test_how_scripts_end(tmp_path, text, arguments, expected, restarts, said):
    write(tmp_path, text)
    status, out, err = finish(["run", "--json", *arguments, "train.py"], tmp_path)
    assert status == expected and said in err, err
    outcome = json.loads(out)
    assert outcome["status"] == expected and outcome["restarts"] == restarts and outcome["fits"] == 0


def test_ctrl_c_is_the_scripts_to_answer_and_no_crash(tmp_path):
    """The terminal tells the whole group; the script's own answer counts, and it is not started again."""
    write(tmp_path, """
        import signal, socket, sys, time
        told, tell = socket.socketpair()
        tell.setblocking(False)
        signal.set_wakeup_fd(tell.fileno())  # a byte for every one; Python's own handlers may take two as one
        signal.signal(signal.SIGINT, lambda number, frame: None)
        print("ready", flush=True)
        first = told.recv(1)
        time.sleep(1)
        told.setblocking(False)
        try:
            more = told.recv(100)
        except BlockingIOError:
            more = b""
        print("interrupted", len(first + more), flush=True)
        sys.exit(5)
        """)
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(str(tmp_path))
        os.execv(COMMAND, [COMMAND, "run", "train.py"])
    shown = b""
    try:
        while not shown.endswith(b"interrupted 1\r\n"):
            if b"ready" in shown and b"^C" not in shown:
                os.write(terminal, b"\x03")
            shown += os.read(terminal, 1000)
        assert b"starting it again" not in shown
        assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 5, "its own status is kept, and it is not started again"
        pid = 0
    finally:
        os.close(terminal)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_traceback_is_the_scripts_own(tmp_path):
    write(tmp_path, "def inner():\n    raise ValueError('a bug')\ninner()\n")
    _, _, err = finish(["run", "--max-restarts", "0", "train.py"], tmp_path)
    assert "ValueError: a bug" in err and "train.py" in err and "launch.py" not in err


def test_workers_of_a_dead_script_end_with_it(tmp_path):
    write(tmp_path, """
        import os, subprocess, sys, time
        if os.path.exists("worker"):
            sys.exit(0)
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        stays = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open("worker", "w") as handle:
            handle.write("{} {}".format(worker.pid, stays.pid))
        os.kill(os.getpid(), 9)
        """)
    status, _, err = finish(["run", "train.py"], tmp_path)
    worker, stays = map(int, (tmp_path / "worker").read_text().split())
    try:
        assert status == 0 and "killed by SIGKILL" in err
        wait_until_gone(worker, 10)
        assert is_alive(stays), "what makes a session of its own is meant to stay"
    finally:
        os.kill(stays, signal.SIGKILL)


@pytest.mark.parametrize("command", ["run", "prove"])
@pytest.mark.parametrize("make, said", [
    (lambda folder: "trian.py", "There is no script trian.py. Did you mean train.py?"),
    (lambda folder: ".", "is a directory"),
    (lambda folder: write(folder, "def (:\n", "bad.py"), "bad.py:1:"),
    (lambda folder: write(folder, "a = '\0'\n", "zero.py"), "zero.py"),
])
def test_what_is_no_script(tmp_path, command, make, said):
    write(tmp_path, "open('started', 'w').close()\n")
    status, _, err = finish([command, make(tmp_path)], tmp_path)
    assert status == 2 and said in err, err
    assert not (tmp_path / "runs").exists() and not (tmp_path / "started").exists()


def test_a_wrong_config_starts_nothing(tmp_path):
    write(tmp_path, "open('started', 'w').close()\n")
    (tmp_path / "c.yaml").write_text("session:\n  directory: runs/a\n  save: {every_stepz: 5}\n  keep: {last: no}\n")
    status, _, err = finish(["run", "--config", "c.yaml", "train.py"], tmp_path)
    assert status == 2 and not (tmp_path / "started").exists()
    assert "c.yaml:3:10: save.every_stepz: unknown key; did you mean 'every_steps'?" in err and "keep.last" in err
    status, out, _ = finish(["run", "--json", "--config", "none.yaml", "train.py"], tmp_path)
    assert status == 2 and json.loads(out)["error"]["type"] == "ConfigError"


def test_a_script_without_fit_cannot_be_proved(tmp_path):
    write(tmp_path, "print('hello')\n")
    status, _, err = finish(["prove", "train.py"], tmp_path)
    assert status == 1 and "never called fit" in err
    write(tmp_path, "raise ValueError('a bug')\n")
    status, out, _ = finish(["prove", "--json", "train.py"], tmp_path)
    assert status == 1 and "ValueError: a bug" in json.loads(out)["error"]["message"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    status, _, err = finish(["prove", "--keep", "full", "train.py"], tmp_path)
    assert status == 2 and "is not empty" in err
