"""SIGTERM, SIGINT and SIGUSR1 in a real training."""

import os
import signal
import subprocess
import sys
import time

import pytest
from harness import environment

import keras_session_ext as kse

pytestmark = pytest.mark.slow

SCRIPT = """
import os, signal, sys, time, numpy as np, keras, keras_session_ext as kse
directory, where, names = sys.argv[1:4]
class Slow(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if where in ("train", "stuck", "slow") and batch == 3:
            print("ready", flush=True)
            end = time.monotonic() + (60 if where in ("stuck", "slow") else 0)
            while time.monotonic() < end and not os.path.exists(os.path.join(directory, "go")):
                time.sleep(0.05)
        time.sleep(0.05 if where == "train" else 0)
    def on_test_batch_begin(self, batch, logs=None):
        if where == "validation" and batch == 3:
            print("ready", flush=True)
        time.sleep(0.05)
    def on_epoch_end(self, epoch, logs=None):
        print("epoch", epoch, flush=True)
if where == "exception":
    class Slow(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise RuntimeError("a bug")
policy = kse.EveryEpochs(50)
for part in names.split("|"):
    policy = policy | kse.OnSignal(*part.split(","))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
x = np.zeros((64, 4)); y = np.zeros((64, 2))
try:
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, validation_data=(x, y), validation_batch_size=2, callbacks=[
        Slow(), kse.SessionCheckpoint(directory, save=policy)])
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(5)
except RuntimeError:
    print("ready", flush=True)
    for _ in range(300):  # the kernel may hand a signal to another thread, and Python answers when this one wakes up
        time.sleep(0.1)
print("done", flush=True)
"""


def start(tmp_path, where, names):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), where, names], env=environment("jax"),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_until_ready(process):
    for line in process.stdout:
        if line.strip() == b"ready":
            return
    raise AssertionError(process.stderr.read().decode())


@pytest.mark.parametrize("where", ["train", "validation"])
def test_sigterm_saves_and_ends(tmp_path, where):
    process = start(tmp_path, where, "SIGTERM")
    wait_until_ready(process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM and b"the process ends now" in out
    info, = kse.list_checkpoints(tmp_path)
    assert "OnSignal(SIGTERM)" in info.reason
    assert info.progress.batch == 32 if where == "validation" else 3 <= info.progress.batch < 32
    kse.verify_checkpoint(info.path)


def test_sigint_saves_and_interrupts_as_ever(tmp_path):
    process = start(tmp_path, "train", "SIGINT")
    wait_until_ready(process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 5 and b"interrupted" in out
    assert b"KeyboardInterrupt ends the training now" in out and b"the process ends" not in out, "a kernel lives on"
    assert len(kse.list_checkpoints(tmp_path)) == 1


def test_sigusr1_saves_and_goes_on(tmp_path):
    process = start(tmp_path, "train", "SIGUSR1")
    wait_until_ready(process)
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and b"done" in out
    assert [info.reason for info in kse.list_checkpoints(tmp_path)] == ["the end of the stage", "OnSignal(SIGUSR1)"]


@pytest.mark.parametrize("policies", ["SIGTERM,SIGUSR1", "SIGUSR1,SIGTERM", "SIGUSR1|SIGTERM", "SIGINT|SIGTERM"])
def test_different_signals_within_one_batch(tmp_path, policies):
    """What SLURM sends, in a batch that is slow: a warning, and later the end. The end waits for the save."""
    process = start(tmp_path, "slow", policies)
    wait_until_ready(process)
    process.send_signal(signal.SIGINT if "SIGINT" in policies else signal.SIGUSR1)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    (tmp_path / "go").touch()
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, 5) and len(kse.list_checkpoints(tmp_path)) == 1


def test_a_second_signal_acts_at_once(tmp_path):
    process = start(tmp_path, "stuck", "SIGTERM")
    wait_until_ready(process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # a supervisor hands on what the whole group was sent
    time.sleep(1.0)
    assert process.poll() is None, "the batch is not over, and nothing is saved yet"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM and not kse.list_checkpoints(tmp_path)


def test_the_same_signal_twice_in_a_moment_saves(tmp_path):
    process = start(tmp_path, "train", "SIGTERM")
    wait_until_ready(process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM and len(kse.list_checkpoints(tmp_path)) == 1


def test_after_an_exception_signals_mean_what_they_meant(tmp_path):
    process = start(tmp_path, "exception", "SIGTERM")
    wait_until_ready(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM


HARD = """
import os, signal, sys, time, ctypes, threading, numpy as np, keras, keras_session_ext as kse
from keras_session_ext.run import signal_deadline
directory, what = sys.argv[1:3]
signal_deadline.SECONDS = 2.0
signal.signal(signal.SIGUSR1, lambda number, frame: print("requeued", flush=True))
class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 3:
            if what == "pool":
                import multiprocessing
                with multiprocessing.get_context("fork").Pool(2) as pool:  # ends its workers by SIGTERM
                    print("pool", sum(pool.map(abs, range(9))), flush=True)
                child = os.fork()
                if not child:
                    print("child", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
                          signal.getsignal(signal.SIGUSR1).__name__, flush=True)
                    print("descriptors", [os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
                                          if os.path.exists("/proc/self/fd/" + fd) and directory in os.readlink(
                                              "/proc/self/fd/" + fd)], flush=True)
                    os._exit(0)
                os.waitpid(child, 0)
            print("ready", flush=True)
            while what == "stuck":  # C code that goes on whatever interrupts it
                ctypes.CDLL(None).sleep(100)
            if what == "both":
                time.sleep(1.0)
        time.sleep(0.05)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
x = np.zeros((64, 4)); y = np.zeros((64, 2))
model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[
    Slow(), kse.SessionCheckpoint(directory, save=kse.OnSignal("SIGTERM", "SIGUSR1"))])
print("done", flush=True)
"""


def start_hard(tmp_path, what, *before):
    return subprocess.Popen([*before, sys.executable, "-c", HARD, str(tmp_path), what], env=environment("jax"),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_sigusr1_saves_and_the_handler_of_the_script_is_called(tmp_path):
    process = start_hard(tmp_path, "slow")
    wait_until_ready(process)
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and b"requeued" in out and b"done" in out
    assert len(kse.list_checkpoints(tmp_path)) == 2


def test_sigusr1_and_then_sigterm_in_one_batch_calls_that_handler_first(tmp_path):
    """A warning, by which a job asks to be queued again, and the end."""
    process = start_hard(tmp_path, "both")
    wait_until_ready(process)
    process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM and b"requeued" in out and b"done" not in out, err
    assert len(kse.list_checkpoints(tmp_path)) == 1


def test_a_main_thread_that_does_not_answer_does_not_outlive_the_signal(tmp_path):
    process = start_hard(tmp_path, "stuck")
    wait_until_ready(process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert b"was not answered in time" in err


def test_a_child_has_the_signals_of_the_script(tmp_path):
    process = start_hard(tmp_path, "pool")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert b"pool 36" in out and b"child True <lambda>" in out and b"descriptors []" in out and b"done" in out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a process namespace")
def test_process_1_of_a_container_ends(tmp_path):
    process = start_hard(tmp_path, "slow", "unshare", "--pid", "--fork", "--kill-child")
    wait_until_ready(process)
    with open("/proc/{0}/task/{0}/children".format(process.pid)) as handle:
        os.kill(int(handle.read()), signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM and b"done" not in out, err
    assert len(kse.list_checkpoints(tmp_path)) == 1
