"""A user's script as editors see it: nothing here may be marked."""

from typing import Any, Dict, List

import keras
import numpy as np

import keras_session_ext as kse


def at_night(progress: kse.Progress, logs: Dict[str, Any]) -> bool:
    return progress.step % 7 == 0 and "loss" in logs


class Mine(kse.SavePolicy):
    def __call__(self, progress: kse.Progress, logs: Dict[str, Any]) -> bool:
        return progress.epoch == 3


model = keras.Sequential([keras.layers.Dense(1)])
model.compile("adam", "mse")
checkpoint = kse.SessionCheckpoint(
    "runs/a", save=kse.EveryEpochs(1) | kse.EverySeconds("5m") | kse.OnSignal("SIGTERM", 10) | Mine() | at_night,
    keep=kse.KeepLast(3) | kse.KeepBest(1, "val_loss", "min") | kse.KeepSize("20GB"), on_error="raise", verbose=0)
others = [
    kse.SessionCheckpoint("runs/b", save=lambda progress, logs: progress.step % 7 == 0, restore="best:val_loss"),
    kse.SessionCheckpoint("runs/c", save=at_night, keep=kse.KeepEvery(seconds="1h"), background=False),
    kse.SessionCheckpoint("runs/d", save=kse.Overhead(share=0.01) | kse.OnBest("val_loss"), keep=kse.KeepAll())]
model.fit(np.zeros((4, 2)), np.zeros((4, 1)), epochs=2, callbacks=[checkpoint, kse.SessionLogger("runs/a/tensorboard")])

report: kse.ResumeReport = checkpoint.resume_report
exact: bool = report.exact
witnessed: int = report.witnessed
done: List[kse.CheckpointInfo] = checkpoint.checkpoints
for info in kse.list_checkpoints("runs/a"):
    step: int = info.progress.step
best: kse.CheckpointInfo = kse.best_checkpoint("runs/a", "val_loss")
path: str = kse.save_session(model, "model.h5")
again: kse.ResumeReport = kse.restore_session(model, path)
callbacks = kse.callbacks_from_config("train.yaml")
page: str = kse.report("runs/a", "run.html")
try:
    kse.verify_checkpoint(path)
except kse.CheckpointCorrupt as error:
    print(error)
