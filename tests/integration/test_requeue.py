"""A job that is told that its time is up saves, goes back into the queue of a real SLURM, and goes on from there."""

import json
import os
import stat
import sys
import textwrap

import pytest
import slurm

from keras_session_ext.lifecycle.journal import read_journal
from keras_session_ext.run import requeue

pytestmark = pytest.mark.slow

#: trains 60 steps, and says at which start of the job it does so
SCRIPT = """
    import hashlib, json, os, sys, time
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    import numpy as np
    import keras_session_ext as kse

    class Pace(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            open(os.path.join(folder, "steps"), "a").write("step\\n")
            time.sleep(pace)

    folder, pace, own = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "own"
    keras.utils.set_random_seed(1)
    x = np.arange(480, dtype="float32").reshape(120, 4) / 480
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.5),
                              keras.layers.Dense(1)])
    model.compile("adam", "mse")
    made = []
    if own:
        made.append(kse.SessionCheckpoint(os.path.join(folder, "run"), save=kse.OnSignal("SIGUSR1", then="requeue")))
    history = model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[*made, Pace()])
    digest = hashlib.sha256(b"".join(np.asarray(value).tobytes() for value in model.get_weights())).hexdigest()
    with open(os.path.join(folder, "result.json"), "w") as handle:
        json.dump({"digest": digest, "loss": history.history["loss"],
                   "restarts": int(os.environ.get("SLURM_RESTART_COUNT", 0))}, handle)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.cluster(str(tmp_path_factory.mktemp("slurm"))) as environment:
        yield environment


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "train.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return str(path)


@pytest.fixture(scope="module")
def uninterrupted(script, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("uninterrupted"))
    slurm.call(os.environ, sys.executable, script, folder, "0", "own")
    return result(folder)


def result(folder):
    path = os.path.join(folder, "result.json")
    if not os.path.exists(path):
        return None
    with open(path) as handle:
        text = handle.read()
    return json.loads(text) if text.endswith("}") else None


def steps(folder):
    try:
        return os.path.getsize(os.path.join(folder, "steps")) // 5
    except OSError:
        return 0


@pytest.mark.parametrize("how", ["callback", "array", "run --requeue"])
def test_the_job_goes_on_where_it_was(cluster, script, uninterrupted, tmp_path, how):
    folder, job = str(tmp_path), str(tmp_path / "job.sh")
    command = [sys.executable, script, folder, "0.25", "own"]
    if how == "run --requeue":
        command = [os.path.join(os.path.dirname(sys.executable), "keras-session"), "run", "--requeue",
                   "-d", folder + "/run", script, folder, "0.25", "none"]
    with open(job, "w") as handle:
        handle.write("#!/bin/bash\nexec {}\n".format(" ".join(command)))
    number = slurm.call(cluster, "sbatch", "--parsable", "--requeue", "--chdir=" + folder, "--open-mode=append",
                        "--output=" + folder + "/log", *(["--array=3"] if how == "array" else []), job)
    assert number
    slurm.wait_for(lambda: steps(folder) > 5 or result(folder), 120, "a training")
    # what `sbatch --signal=B:USR1@…` sends, at once: to the script of the job alone
    slurm.call(cluster, "scancel", "--signal=USR1", "--batch", number)
    done = slurm.wait_for(lambda: result(folder), 180, "an end of the training:\n" + log(folder))
    assert done["restarts"] == 1, log(folder)
    assert (done["digest"], done["loss"]) == (uninterrupted["digest"], uninterrupted["loss"])
    assert "job {}{} is requeued".format(number, "_3" if how == "array" else "") in log(folder)
    events = read_journal(folder + "/run").events
    saved = [event.figures["reason"] for event in events if event.kind == "checkpoint_saved"]
    assert any("OnSignal(SIGUSR1, then='requeue')" in reason for reason in saved)


def log(folder):
    try:
        with open(folder + "/log") as handle:
            return handle.read()
    except OSError:
        return ""


@pytest.mark.parametrize("kind, told", [
    ("none", "cannot be run"), ("fails", "scontrol says 'no such job'"), ("works", "job 7_1 is requeued")])
def test_what_scontrol_may_say(tmp_path, monkeypatch, kind, told):
    """A stand-in for scontrol: none, one that refuses, one that obeys."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    if kind != "none":
        path = tmp_path / "scontrol"
        path.write_text("#!/bin/sh\n[ \"$1 $2\" = \"requeue 7_1\" ] || exit 3\n" + (
            "echo no such job; exit 1\n" if kind == "fails" else ""))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    assert told in requeue.requeue()


def test_outside_of_slurm_nothing_is_requeued(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert "no SLURM job" in requeue.requeue()
