"""What breaks around a training, and not in it: its output, and the mount that its run lives on."""

import os
import subprocess
import sys

import pytest
from harness import environment

import keras_session_ext as kse

pytestmark = pytest.mark.slow

SCRIPT = """
import os, signal, subprocess, sys, numpy as np, keras, keras_session_ext as kse
directory, result, what = sys.argv[1:4]
class Breaks(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if what == "mount" and epoch == 0:
            subprocess.run(["umount", "-l", os.path.dirname(directory)], check=True)
        if what == "mount" and epoch == 2:
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", os.path.dirname(directory)], check=True)
        if what == "SIGTERM" and epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
history = model.fit(np.ones((16, 4)), np.ones((16, 1)), batch_size=4, epochs=5, verbose=0, callbacks=[
    Breaks(), kse.SessionCheckpoint(directory), kse.SessionLogger(os.path.join(directory, "logs"))])
with open(result, "w") as handle:
    handle.write(str(len(history.history["loss"])))
os._exit(0)  # the interpreter flushes its output, which fails, and that is no business of ours
"""


def run(folder, tmp_path, what, **streams):
    result = tmp_path / "result"
    made = dict(environment("torch"), PYTHONIOENCODING="ascii:strict")
    status = subprocess.run([sys.executable, "-c", SCRIPT, str(folder), str(result), what], env=made, timeout=200,
                            **streams).returncode
    return status, result.read_text() if result.exists() else ""


@pytest.mark.parametrize("output", ["full", "closed", "ASCII"])
@pytest.mark.parametrize("what", ["", "SIGTERM"])
def test_an_output_that_fails_ends_nothing_and_hides_no_ending(output, what, tmp_path):
    folder = tmp_path / ("lauf-für-später" if output == "ASCII" else "run")
    if output == "full":
        with open("/dev/full", "w") as full:
            status, epochs = run(folder, tmp_path, what, stdout=full, stderr=full)
    elif output == "closed":
        reading, writing = os.pipe()
        os.close(reading)
        status, epochs = run(folder, tmp_path, what, stdout=writing, stderr=writing)
        os.close(writing)
    else:
        status, epochs = run(folder, tmp_path, what, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (status, epochs) == ((-15, "") if what else (0, "5"))
    newest = kse.list_checkpoints(folder)[0]
    assert newest.progress.epoch == (1 if what else 5) or (what and newest.progress.step >= 4)
    kse.verify_checkpoint(newest.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_mount_that_goes_and_comes_back_costs_no_history(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)
    try:
        status, epochs = run(disk / "run", tmp_path, "mount", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert (status, epochs) == (0, "5")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
