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

ON_SIGNAL = "OnSignal(SIGTERM, SIGINT, SIGHUP)"
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
    process = start(["run", "-d", "runs/train", "--set", "save.every_steps=5", "train.py", "3"], tmp_path)
    first = wait_for_steps(tmp_path, 20)
    os.kill(first, signal.SIGKILL)
    second = wait_for_steps(tmp_path, 30, [first])
    os.kill(second, signal.SIGKILL)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err.decode()
    assert out.decode().split("\n")[-2] == plain.stdout.decode().split("\n")[-2], "the same weights, to the bit"
    assert err.decode().count("was killed by SIGKILL") == 2
    assert err.decode().count("restart 1 of 10") == 2, "each had made a new checkpoint"
    infos = kse.list_checkpoints(tmp_path / "runs" / "train")
    assert infos[0].progress.step == 96 and infos[0].finished
    assert list((tmp_path / "runs" / "train" / "tensorboard").iterdir())
    config = json.loads((tmp_path / "runs" / "train" / "config.json").read_text())
    assert config["save"] == {"every_steps": 5, "on_signal": ["SIGTERM", "SIGINT", "SIGHUP"]}
    assert os.path.basename(config["directory"]) == "train"
    status, out, err = finish(["run", "-d", "runs/train", "train.py", "3"], tmp_path)
    assert status == 0 and "finished: nothing is left to train" in out and out.split("\n")[-2] == \
        plain.stdout.decode().split("\n")[-2]


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_is_handed_on_and_saves(tmp_path, paced, whole_group):
    write(tmp_path, TRAINS)
    process = start(["run", "-d", "runs/train", "train.py", "50"], tmp_path, start_new_session=True)
    child = wait_for_steps(tmp_path, 10)
    if whole_group:
        os.killpg(process.pid, signal.SIGTERM)  # as schedulers do: the child is told twice
    else:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM, err.decode()
    assert not is_alive(child) and "starting it again" not in err.decode()
    newest = kse.list_checkpoints(tmp_path / "runs" / "train")[0]
    assert newest.reason == ON_SIGNAL and newest.progress.step >= 9


@pytest.mark.slow
def test_the_script_does_not_outlive_its_supervisor(tmp_path, paced):
    write(tmp_path, TRAINS)
    process = start(["run", "-d", "runs/train", "train.py", "50"], tmp_path)
    child = wait_for_steps(tmp_path, 10)
    process.kill()
    process.communicate(timeout=60)
    wait_until_gone(child)
    assert kse.list_checkpoints(tmp_path / "runs" / "train")[0].reason == ON_SIGNAL, "it saved before"


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
    ("import os; os.kill(os.getpid(), 9)", ["--max-restarts", "0"], -9, 0, ""),
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
    assert "ValueError: a bug" in err and "train.py" in err and "run_with_callbacks.py" not in err


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


@pytest.mark.parametrize("command", ["run", "prove"])
@pytest.mark.parametrize("words, said", [
    (["-m", "here.train"], "There is no module here.train."),
    (["-m", "here"], "here is a package without a __main__. Name the module in it that trains."),
    (["-m", "her.train"], "There is no module her."),
    (["-m", "here..train"], "There is no module here..train."),
    (["-m", "here/broken.py"], "There is no module here/broken. Leave out -m to run a file."),
    (["-m", ""], "There is no module ."),
    (["-m", "__main__"], "There is no module __main__."),
    (["-m", "here.broken"], "broken.py:1:"),
    (["-m"], "Missing argument 'SCRIPT'"),
    (["here.fine"], "There is no script here.fine. Put -m before it to run the module in "),
])
def test_what_is_no_module(tmp_path, command, words, said):
    (tmp_path / "here").mkdir()
    write(tmp_path, "open('started', 'w').close()\n", "here/__init__.py")  # no package is imported to find one
    write(tmp_path, "", "here/fine.py")
    write(tmp_path, "def (:\n", "here/broken.py")
    status, _, err = finish([command, *words], tmp_path)
    assert status == 2 and said in err, err
    assert not (tmp_path / "runs").exists() and not (tmp_path / "started").exists()


@pytest.mark.slow
def test_a_module_is_run_as_python_runs_it(tmp_path):
    """Of a package, with relative imports; `__main__` is what it is for `python -m`."""
    (tmp_path / "mine" / "task").mkdir(parents=True)
    write(tmp_path, "", "mine/__init__.py"), write(tmp_path, "", "mine/task/__init__.py")
    write(tmp_path, "epochs = 3\n", "mine/settings.py")
    write(tmp_path, """
        import os, pickle, sys
        import keras, numpy as np
        from ..settings import epochs
        class Mine:
            pass
        keras.utils.set_random_seed(1)
        x = np.random.normal(size=(64, 4)).astype("float32")
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        history = model.fit(x, x[:, :1], epochs=epochs, verbose=0)
        print([__name__, __package__, __spec__.name, sys.path[0], sys.argv, Mine.__module__, len(pickle.dumps(Mine())),
               os.path.realpath(sys.modules["__main__"].__file__), history.history["loss"]])
        """, "mine/task/__main__.py")
    words = ["mine.task", "--lr", "-m"]
    plain = subprocess.run([os.sys.executable, "-m", *words], cwd=str(tmp_path), stdout=subprocess.PIPE, check=True,
                           env=dict(os.environ, KERAS_BACKEND="jax"))
    status, out, err = finish(["run", "-m", *words], tmp_path)
    assert status == 0 and out.split("\n")[-2] == plain.stdout.decode().split("\n")[-2], err
    [name] = os.listdir(str(tmp_path / "runs"))
    assert name.startswith("mine.task-lr-m-") and kse.list_checkpoints(tmp_path / "runs" / name)[0].finished


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


#: a model, and how a script of its own tells what came out
SMALL = """
import hashlib, multiprocessing, os, signal, sys
import keras, numpy as np
keras.utils.set_random_seed(1)
x = np.random.normal(size=(64, 4)).astype("float32")
def build(rate=0.01):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model
def sha(model):
    return hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights())).hexdigest()
def die_once():
    if "--kill" in sys.argv and not os.path.exists("once"):
        open("once", "w").close()
        os.kill(os.getpid(), 9)
"""

SEARCH = SMALL + """
class Pruned(Exception):
    pass
class Prune(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise Pruned
for trial in range(4):
    model = build(0.01 * (trial + 1))
    try:
        model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[Prune()] if trial < 2 else [])
    except Pruned:
        pass
    if trial == int(sys.argv[1]):
        die_once()
    print("trial", trial, sha(model))
"""

FOLDS = SMALL + """
def fold(number, out):
    model = build(0.01 * (number + 1))
    model.fit(x, x[:, :1], epochs=1, verbose=0)
    out.put(sha(model))
fork = multiprocessing.get_context("fork")
for number in range(2):
    out = fork.Queue()
    child = fork.Process(target=fold, args=(number, out))
    child.start()
    print("fold", out.get(timeout=200))
    child.join()
"""


def told(text, word):
    return [line for line in text.split("\n") if line.startswith(word)]


@pytest.mark.slow
def test_a_search_with_pruned_trials_is_what_python_makes_of_it(tmp_path):
    """Without a kill, and killed behind a pruned and a finished trial."""
    write(tmp_path, SEARCH)
    plain = subprocess.run([os.path.join(os.path.dirname(COMMAND), "python"), "train.py", "9"], cwd=str(tmp_path),
                           env=dict(os.environ, KERAS_BACKEND="jax"), check=True, stdout=subprocess.PIPE)
    expected = told(plain.stdout.decode(), "trial")
    assert len({line.split()[-1] for line in expected}) == 4
    for trial in ("9", "1", "2"):
        status, out, err = finish(["run", "train.py", trial, "--kill"], tmp_path)
        assert status == 0, err
        assert ("was killed by SIGKILL" in err) == (trial != "9")
        assert told(out, "trial")[-4:] == expected, out
        (tmp_path / "once").exists() and (tmp_path / "once").unlink()


@pytest.mark.slow
def test_fits_in_forked_children_are_left_as_they_are(tmp_path):
    write(tmp_path, FOLDS)
    status, out, err = finish(["run", "train.py"], tmp_path)
    assert status == 0 and len(set(told(out, "fold"))) == 2, out + err
    assert "child processes is left as it is" in err and "never called fit" in err


@pytest.mark.slow
@pytest.mark.parametrize("wrong, said, expected", [
    ("raise ValueError('a bug')", "it failed 3 times without a new checkpoint", 1),
    ("kse.restore_session(build(), 'none.h5')", "would happen again", 3),
])
def test_what_would_fail_again_is_not_started_for_ever(tmp_path, wrong, said, expected):
    write(tmp_path, SMALL + "import keras_session_ext as kse\n"
          "build().fit(x, x[:, :1], epochs=1, verbose=0)\n" + wrong + "\n")
    status, _, err = finish(["run", "train.py"], tmp_path)
    assert status == expected and said in err, err
    assert err.count("starting it again") == (2 if expected == 1 else 0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_ends_a_terminals_work_saves(tmp_path, paced, number):
    write(tmp_path, TRAINS)
    process = start(["run", "-d", "runs/a", "train.py", "50"], tmp_path, preexec_fn=defaults)
    wait_for_steps(tmp_path, 10)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -number, err.decode()
    newest = kse.list_checkpoints(tmp_path / "runs" / "a")[0]
    assert newest.reason == ON_SIGNAL and newest.progress.step >= 9


def defaults():
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path):
    write(tmp_path, """
        import os, sys, time
        first = not os.path.exists("there")
        open("there", "w").close()
        time.sleep(2)
        sys.exit(5 if first else 0)
        """)
    process = start(["run", "train.py"], tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    end = time.monotonic() + 60
    while not (tmp_path / "there").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "ended with status 5" in err.decode()


def test_the_file_of_a_script_is_absolute_as_pythons(tmp_path):
    write(tmp_path, "import os, sys\nos.chdir('/')\nprint(os.path.exists(__file__), sys.argv)\n")
    assert finish(["run", "train.py", "a"], tmp_path)[1] == "True ['train.py', 'a']\n"


@pytest.mark.slow
def test_other_arguments_are_another_run(tmp_path):
    write(tmp_path, SMALL + "model = build(float(sys.argv[1]))\nmodel.fit(x, x[:, :1], verbose=0)\nprint(sha(model))\n")
    ends = {finish(["run", "train.py", rate], tmp_path)[1].split("\n")[-2] for rate in ("0.1", "0.2")}
    assert len(ends) == 2 and len(list((tmp_path / "runs").iterdir())) == 2
    assert finish(["run", "-d", "here", "train.py", "0.1"], tmp_path)[0] == 0
    status, _, err = finish(["run", "-d", "here", "train.py", "0.2"], tmp_path)
    assert status == 1 and "optimizer.learning_rate" in err and "starting it again" not in err


@pytest.mark.slow
def test_prove_says_what_it_cannot_prove_and_leaves_nothing_behind(tmp_path):
    write(tmp_path, SMALL + "build().fit(x, x[:, :1], epochs=1, verbose=0)\n")
    status, _, err = finish(["prove", "train.py"], tmp_path)
    assert status == 1 and "trains 2 steps" in err
    write(tmp_path, SMALL + textwrap.dedent("""
        import subprocess
        os.makedirs("elsewhere", exist_ok=True)
        os.chdir("elsewhere")
        helper = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        open("../helpers", "a").write("{}\\n".format(helper.pid))
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
        model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score(average=None)])
        model.fit(x, np.eye(3)[np.arange(64) % 3], epochs=4, verbose=0)
        """))
    status, out, err = finish(["prove", "--kills", "1", "--keep", "kept", "train.py"], tmp_path)
    assert status == 0 and "exact: the same" in out, out + err
    for pid in (tmp_path / "helpers").read_text().split():
        wait_until_gone(int(pid), 10)


@pytest.mark.slow
def test_a_script_that_starts_once_in_a_folder_is_proved_in_copies(tmp_path):
    (tmp_path / "settings.txt").write_text("0.1")
    write(tmp_path, SMALL + textwrap.dedent("""
        os.makedirs("output")
        model = build(float(open("settings.txt").read()))
        model.fit(x, x[:, :1], epochs=4, verbose=0)
        open("output/done", "w").close()
        """))
    status, out, err = finish(["prove", "--kills", "2", "--keep", "kept", "train.py"], tmp_path)
    assert status == 0 and "exact: the same" in out, out + err
    assert "fails when it is started again in the folder" in err and "FileExistsError" in err and "output" in err
    write(tmp_path, SMALL + "build().fit(x, x[:, :1], epochs=4, verbose=0)\nraise ValueError('a bug')\n")
    status, _, err = finish(["prove", "train.py"], tmp_path)
    assert status == 1 and "a bug" in err and "copy" not in err, "it fails by itself"
