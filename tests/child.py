"""One training in a process of its own: started by the kill tests, killed by itself at a given moment.

    python tests/child.py '{"directory": …, "source": …, "kill": "batch:12", "result": …}'

With `--serve` it imports the frameworks once and forks a process for every
line of standard input: imports take most of the time of a short training.
"""

import atexit
import hashlib
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback

import numpy as np

import keras_session_ext as kse


def kill_after(seconds):
    """A process beside this one ends it with SIGKILL, wherever it is then."""
    victim = os.getpid()
    if not os.fork():
        time.sleep(seconds)
        if os.getppid() == victim:
            os.kill(victim, signal.SIGKILL)
        os._exit(0)


def make_killer(keras, kill, waits=lambda: None):
    """A callback that ends the process with SIGKILL, and leaves no trace else; `waits` is called before.

    `kill` is an event and at which time of it, such as `batch:12`; or `start:0.3`, seconds from now; or `training:0.3`,
    seconds from the second batch (the first one compiles), where each takes 10 ms more.
    """
    event, _, number = (kill or "never:0").partition(":")
    left, begun = [float(number)], []
    if event == "start":
        kill_after(float(number))

    def count(name):
        if name == event:
            left[0] -= 1
            if left[0] == 0:
                waits()
                os.kill(os.getpid(), signal.SIGKILL)

    class Killer(keras.callbacks.Callback):
        def get_state(self):  # how often the event was met is this process's own
            return {}

        def set_state(self, state):
            """Nothing of an earlier process counts."""

        def on_train_batch_begin(self, batch, logs=None):
            count("batch")
            if event == "training":
                if begun and left:
                    kill_after(left.pop())
                begun.append(batch)
                time.sleep(0.01)

        def on_test_batch_begin(self, batch, logs=None):
            count("validation")

        def on_epoch_end(self, epoch, logs=None):
            count("epoch_end")

        def on_epoch_begin(self, epoch, logs=None):
            count("epoch_begin")

    if event == "write":
        from keras_session_ext import files

        write_at = files.write_at

        def counted(fd, data, offset):
            count("write")
            write_at(fd, data, offset)

        files.write_at = counted
    return Killer()


def write_behind(piece_bytes):
    """Every save is written as only large ones are: in pieces, by a thread of its own, while it is still laid out."""
    if piece_bytes:
        from keras_session_ext.checkpoint import encoder
        from keras_session_ext.store import write_behind

        write_behind._SMALL_BYTES, encoder.PIECE_BYTES = 0, piece_bytes


class Counter:
    """A user's callback with a state of its own: numbers, a list, an array, a random generator."""

    @staticmethod
    def make(keras):
        class UserCallback(keras.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.batches = 0
                self.losses = []
                self.totals = np.zeros(3)
                self.rng = np.random.default_rng(0)
                self.drawn = 0.0

            def on_train_batch_begin(self, batch, logs=None):
                self.batches += 1

            def on_epoch_end(self, epoch, logs=None):
                self.losses.append(float(logs.get("loss", 0.0)))
                self.totals[epoch % 3] += 1
                self.drawn += float(self.rng.random())

        return UserCallback()


def peers(keras, task):
    folder = task.get("files", task["directory"])
    made = [
        keras.callbacks.EarlyStopping(monitor="loss", patience=task.get("patience", 20), min_delta=0.001,
                                      restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=0, min_delta=0.3),
        Counter.make(keras),
    ]
    if "more_peers" in task:
        os.makedirs(folder, exist_ok=True)
        made += [
            keras.callbacks.CSVLogger(os.path.join(folder, "log.csv")),
            keras.callbacks.ModelCheckpoint(os.path.join(folder, task.get("best", "best.weights.h5")), monitor="loss",
                                            save_best_only=True, save_weights_only=True),
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        ]
        seen = []
        made.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(float(logs["loss"]))))
        made[-1].seen_for_the_test = seen
    return made


def summary(peer):
    """A peer's state, comparable across processes."""
    from keras_session_ext.state import plain_values

    names = {"EarlyStopping": ("wait", "best", "best_epoch", "stopped_epoch", "best_weights"),
             "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"), "ModelCheckpoint": ("best",),
             "UserCallback": ("batches", "losses", "totals", "rng", "drawn"),
             "LambdaCallback": ("seen_for_the_test",)}.get(type(peer).__name__, ())
    return {name: plain_values.fingerprint(getattr(peer, name, None)) for name in names}


def acknowledge(path):
    """Notes the number of every event once its listeners are told of it."""
    from keras_session_ext.lifecycle import events

    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    events.listen(lambda event: event.seq and os.write(out, "{}\n".format(event.seq).encode()))


def told_of(kind):
    """A function that waits until an event of a kind was told."""
    from keras_session_ext.lifecycle import events

    told = threading.Event()
    if kind is not None:
        events.listen(lambda event: told.set() if event.kind == kind else None)
    return lambda: kind is None or told.wait(120)


def main(task):
    import architectures
    import keras
    import sources

    os.environ.update(task.get("variables", {}))
    write_behind(task.get("piece_bytes"))
    source = sources.SOURCES[task.get("source", "arrays")]
    seed = task["seed"] if "seed" in task else source.seed
    np.random.seed()  # a forked process has its parent's
    if seed is not None:
        keras.utils.set_random_seed(seed)
    if "model" in task:
        model, arguments = architectures.MODELS[task["model"]]()
    else:
        model, arguments = architectures.plain(**dict(source.compile, **task.get("compile", {}))), source.make()
    checkpoint = kse.SessionCheckpoint(
        task["directory"], save=kse.EveryEpochs(1) | kse.EverySteps(task.get("every", 3)),
        keep=kse.KeepAll(), restore=task.get("restore", "auto"), background=task.get("background", True),
        staging=task.get("staging"), mirror=task.get("mirror"))
    callbacks = peers(keras, task)
    place = task.get("place", 1)
    callbacks[place:place] = [checkpoint, make_killer(keras, task.get("kill"), told_of(task.get("dies_behind")))]
    if "log_dir" in task:
        callbacks.insert(task.get("logger_place", 0), kse.SessionLogger(task["log_dir"]))
    if "pace" in task:  # seconds a batch takes at least
        callbacks.append(keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs=None: time.sleep(task["pace"])))
    if "acks" in task:
        acknowledge(task["acks"])
    history = model.fit(**arguments, epochs=task.get("epochs", sources.EPOCHS), callbacks=callbacks, verbose=0)
    digest = hashlib.sha256()
    for path, array in architectures.tensors_of(model):
        digest.update("{} {}".format(array.dtype, array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    report = checkpoint.resume_report
    with open(task["result"], "w") as handle:
        json.dump({
            "sha256": digest.hexdigest(), "epochs": history.epoch,
            "history": {name: [float(value).hex() for value in values] for name, values in history.history.items()},
            "peers": [summary(peer) for peer in callbacks], "exact": report.exact, "reasons": report.reasons,
            "kinds": report.kinds, "checkpoint": report.checkpoint, "changes": report.changes,
            "witnessed": report.witnessed, "diverged_at": report.diverged_at,
        }, handle)


def prepare():
    """Imports what every task needs; nothing is computed."""
    for name in ("keras", "tensorflow", "torch", "sklearn.datasets", "keras_session_ext.run.session",
                 "keras_session_ext.checkpoint.hdf5_layout"):
        importlib.import_module(name)


def run(main, prepare):
    """One task from the command line, or with `--serve` one forked process per line of standard input."""
    if sys.argv[1] != "--serve":
        main(json.loads(sys.argv[1]))
        return
    prepare()
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if not child:
            out = os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            status = 1
            try:
                main(task)
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            if not status:
                threading._shutdown()  # what an interpreter's end does, without the seconds of freeing three frameworks
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        sys.stdout.write(json.dumps(code) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run(main, prepare)
