"""Experiment trackers with their own clients, offline: one run over all kills, and no step told twice."""

import json
import signal
import struct
import subprocess
import sys

import pytest
from harness import environment

SCRIPT = """
import json, os, sys
import keras
import numpy as np
import keras_session_ext as kse
keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
model.compile("adam", "mse")
checkpoint = kse.SessionCheckpoint("run", save=kse.EverySteps(8), background=False)
told = open("told", "a")

class Dies(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if checkpoint.progress.step + 1 == int(sys.argv[1]):
            os.kill(os.getpid(), 9)

class Track(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if not checkpoint.trains_again:
            log({"loss": float(logs["loss"])}, checkpoint.progress.step + 1)

    def on_epoch_end(self, epoch, logs=None):
        print("epoch", epoch + 1, checkpoint.trains_again, file=told, flush=True)
"""
MLFLOW = """
import mlflow
mlflow.set_tracking_uri("file:" + os.path.abspath("mlruns"))
log = lambda values, step: mlflow.log_metrics(values, step=step)
mine = kse.run_id("run")
known = mlflow.search_runs(search_all_experiments=True, output_format="list",
                           filter_string="tags.session = '{}'".format(mine))
assert len(known) < 2
with mlflow.start_run(run_id=known[0].info.run_id if known else None, tags={"session": mine}) as active:
    model.fit(x, x[:, :1], batch_size=4, epochs=4, verbose=0, callbacks=[checkpoint, Dies(), Track()])
found = mlflow.MlflowClient().get_metric_history(active.info.run_id, "loss")
print("\\nRESULT" + json.dumps([[one.step, one.value] for one in found]))
"""
WANDB = """
import wandb
checkpoint = kse.SessionCheckpoint("run", save=kse.EverySteps(8), background=False)

class Track(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        wandb.log({"loss": float(logs["loss"])}, step=checkpoint.progress.step + 1)

with wandb.init(project="tests", id=kse.run_id("run"), resume="allow", mode="offline", dir=".") as active:
    model.fit(x, x[:, :1], batch_size=4, epochs=4, verbose=0, callbacks=[checkpoint, Dies(), Track()])
print("\\nRESULT" + json.dumps(active.id))
"""
#: the steps at which it dies: behind a checkpoint; within what is trained again then; behind another one
KILLS = (14, 11, 24)


def start(folder, script, dies=0):
    variables = dict(environment("jax"), MLFLOW_ALLOW_FILE_STORE="true", WANDB_SILENT="true", WANDB_CONSOLE="off")
    made = subprocess.run([sys.executable, "-c", SCRIPT + script, str(dies)], cwd=str(folder), env=variables,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    text = made.stdout.decode(errors="replace")
    if dies:
        assert made.returncode == -signal.SIGKILL, text
        return None
    assert made.returncode == 0, text
    return json.loads(text.rsplit("RESULT", 1)[1])


@pytest.mark.slow
def test_mlflow_has_each_step_once(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = start(tmp_path / "whole", MLFLOW)
    (tmp_path / "killed").mkdir()
    for dies in KILLS:
        start(tmp_path / "killed", MLFLOW, dies)
    found = start(tmp_path / "killed", MLFLOW)
    assert [step for step, _ in whole] == list(range(1, 41))
    seen = dict(map(tuple, found))
    assert seen == dict(map(tuple, whole)), "every step, with the value of the run that was never interrupted"
    twice = len(found) - len(seen)
    assert twice <= len(KILLS), "at most the very steps at which it died"
    epochs = (tmp_path / "killed" / "told").read_text().split("\n")
    assert [one for one in epochs if one.endswith("False")] == ["epoch {} False".format(n) for n in range(1, 5)], epochs


@pytest.mark.slow
def test_wandb_goes_on_with_one_run(tmp_path):
    """Offline it writes what it was told at its end: a killed process's part is lost to it."""
    for dies in (KILLS[-1], 0):
        id = start(tmp_path, WANDB, dies)
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"), key=lambda folder: folder.stat().st_mtime)
    assert len(folders) == 2 and all((folder / "run-{}.wandb".format(id)).exists() for folder in folders)
    told = list(_history(folders[-1] / "run-{}.wandb".format(id)))
    first = told[0][0]
    assert first == 17 and [step for step, _ in told] == list(range(first, 41))
    (tmp_path / "whole").mkdir()
    start(tmp_path / "whole", WANDB)
    whole, = (tmp_path / "whole" / "wandb").glob("offline-run-*/*.wandb")
    assert told == list(_history(whole))[first - 1:]


def _history(path):
    """Steps and losses in a file of W&B, which is a log as LevelDB writes it, of messages.

    https://github.com/google/leveldb/blob/1.23/doc/log_format.md
    """
    from wandb.proto import wandb_internal_pb2

    data, at, message = path.read_bytes(), 7, b""  # behind its own first bytes
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no room for a header is left in the block
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        message += data[at + 7:at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            record = wandb_internal_pb2.Record.FromString(message)
            message = b""
            if record.WhichOneof("record_type") == "history":
                items = {one.key or "/".join(one.nested_key): one.value_json for one in record.history.item}
                yield int(items["_step"]), float(items["loss"])
