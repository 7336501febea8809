"""Kills a training with SIGKILL three times in the middle of an epoch and shows that nothing was lost.

    python examples/survive_sigkill.py

A small convolutional network learns scikit-learn's handwritten digits, once
without interruption and once killed and started again. At the end every kind
of state of the two runs is compared. Exit status 1 if anything differs.

`--train DIRECTORY` is the training itself: an ordinary script with one callback more.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

EPOCHS, BATCH = 6, 64
KILLS = ((1, 9), (2, 14), (4, 5))  # (epoch, batch), counted from 0


def build():
    import keras
    from keras import layers

    model = keras.Sequential([
        keras.Input((8, 8, 1)),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomRotation(0.05),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.4),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(directory):
    import keras
    from sklearn.datasets import load_digits

    import keras_session_ext as kse

    keras.utils.set_random_seed(0)  # only so that two runs begin alike; a resume needs no seed
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)

    class Progress(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_begin(self, batch, logs=None):
            print("at", self.epoch, batch, flush=True)

    model = build()
    model.fit(x, y, epochs=EPOCHS, batch_size=BATCH, validation_split=0.2, verbose=0, callbacks=[
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=1, min_delta=0.2),
        kse.SessionCheckpoint(directory, save=kse.EverySteps(4) | kse.EveryEpochs(1)),
        Progress(),
    ])


def run(directory, kill_at=None, messages=None):
    """Starts the training in a process of its own; kills it at (epoch, batch) if asked to."""
    child = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--train", directory],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"))
    errors = []
    drain = threading.Thread(target=lambda: errors.append(child.stderr.read()), daemon=True)
    drain.start()
    try:
        for line in child.stdout:
            words = line.decode().split()
            if words[:1] == ["at"]:
                if kill_at and (int(words[1]), int(words[2])) >= kill_at:
                    child.send_signal(signal.SIGKILL)
                    break
            elif messages is not None and line.strip():
                messages.append(line.decode().rstrip())
        child.stdout.close()
        status = child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    drain.join()
    expected = -signal.SIGKILL if kill_at else 0
    if status != expected:
        sys.exit("The training ended with status {}, expected {}:\n{}".format(
            status, expected, errors[0].decode(errors="replace")))


def state_of(directory):
    """SHA-256 of each kind of state in the run's last checkpoint, and over all tensors."""
    import keras_session_ext as kse
    from keras_session_ext.checkpoint.reader import read_checkpoint

    newest = kse.list_checkpoints(directory)[0]
    header, tensors = read_checkpoint(newest.path)
    everything, kinds = hashlib.sha256(), {}
    for name, value in header.fields["session"].items():
        kinds[name] = hashlib.sha256(json.dumps(value, sort_keys=True).encode())
    for row in header.rows:
        data = tensors[row.name].tobytes()
        kinds.get(row.kind, everything).update(data)
        everything.update(data)
    return newest, {name: digest.hexdigest() for name, digest in kinds.items()}, everything.hexdigest()


def main():
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = os.path.join(folder, "whole"), os.path.join(folder, "killed")
        print("The uninterrupted run and the killed one train side by side …")
        failed = []

        def uninterrupted():
            try:
                run(whole)
            except SystemExit as error:
                failed.append(error)

        other = threading.Thread(target=uninterrupted)
        other.start()
        for epoch, batch in KILLS:
            run(killed, (epoch, batch))
            print("killed with SIGKILL in epoch {}, batch {}".format(epoch, batch), flush=True)
        messages = []
        run(killed, messages=messages)
        other.join()
        if failed:
            raise failed[0]
        print("\n".join(messages), end="\n\n")
        one, one_kinds, one_all = state_of(whole)
        two, two_kinds, two_all = state_of(killed)
        same = True
        print("{:<12} {:<18} {:<18} {}".format("state", "uninterrupted", "killed 3 times", "same"))
        for name in one_kinds:
            equal = one_kinds[name] == two_kinds.get(name)
            same = same and equal
            print("{:<12} {:<18} {:<18} {}".format(name, one_kinds[name][:16], two_kinds[name][:16],
                                                   "yes" if equal else "NO"))
        same = same and one_all == two_all and one.metrics == two.metrics
        print("\nSHA-256 over all tensors\n  uninterrupted   {}\n  killed 3 times  {}".format(one_all, two_all))
        print("{} after {} batches, in {:.0f} s".format(
            "identical" if same else "DIFFERENT", two.progress.step, time.monotonic() - begun))
    return 0 if same else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", metavar="DIRECTORY", help="only train, in this directory")
    arguments = parser.parse_args()
    sys.exit(train(arguments.train) if arguments.train else main())
