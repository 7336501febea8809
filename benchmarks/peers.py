"""What saves in the benchmarks: this package, and what else there is, each every so many steps."""

import os

import keras

import keras_session_ext as kse


class Hook(keras.callbacks.Callback):
    """A library without a callback of its own."""

    def __init__(self, every, save, end=None):
        super().__init__()
        self._every, self._save, self._end = every, save, end

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self._every == 0:
            self._save()

    def on_train_end(self, logs=None):
        if self._end is not None:
            self._end()


def _session(folder, every, background):
    return kse.SessionCheckpoint(os.path.join(folder, "run"), save=kse.EverySteps(every), keep=kse.KeepLast(1),
                                 background=background, verbose=0)


def session(folder, every, model):
    return _session(folder, every, True)


def foreground(folder, every, model):
    return _session(folder, every, False)


def weights_h5(folder, every, model):
    path = os.path.join(folder, "m.weights.h5")
    return keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=every)


def keras_file(folder, every, model):
    return keras.callbacks.ModelCheckpoint(os.path.join(folder, "m.keras"), save_freq=every)


def backup(folder, every, model):
    return keras.callbacks.BackupAndRestore(os.path.join(folder, "backup"), save_freq=every)


def tf_checkpoint(folder, every, model):
    import tensorflow

    checkpoint = tensorflow.train.Checkpoint(model=model, optimizer=model.optimizer)
    manager = tensorflow.train.CheckpointManager(checkpoint, os.path.join(folder, "tf"), max_to_keep=1)
    return Hook(every, manager.save)


def tf_checkpoint_async(folder, every, model):
    """Of the raw variables: it refuses those of Keras 3."""
    import tensorflow

    checkpoint = tensorflow.train.Checkpoint(
        v=[one.value for one in model.variables], o=[one.value for one in model.optimizer.variables])
    manager = tensorflow.train.CheckpointManager(checkpoint, os.path.join(folder, "tf"), max_to_keep=1)
    options = tensorflow.train.CheckpointOptions(experimental_enable_async_checkpoint=True)
    return Hook(every, lambda: manager.save(options=options), manager.sync)


def orbax(folder, every, model):
    return keras.callbacks.OrbaxCheckpoint(os.path.join(folder, "orbax"), save_freq=every, max_to_keep=1)


def torch_save(folder, every, model):
    import torch

    def save():
        optimizer = {one.path: one.value for one in model.optimizer.variables}
        torch.save({"model": model.state_dict(), "optimizer": optimizer}, os.path.join(folder, "state.pt"))

    return Hook(every, save)


PEERS = {made.__name__: made for made in (
    session, foreground, weights_h5, keras_file, backup, tf_checkpoint, tf_checkpoint_async, orbax, torch_save)}
#: what each engine is compared with, if nothing else is asked for
USUAL = {"tensorflow": ["session", "weights_h5", "backup", "tf_checkpoint", "tf_checkpoint_async"],
         "jax": ["session", "weights_h5", "backup"], "torch": ["session", "weights_h5", "torch_save"]}
