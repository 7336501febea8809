"""How long a restore takes, beside Keras's own `load_weights` of the same state, in one process and in turn.

    KERAS_BACKEND=tensorflow python benchmarks/restore.py [--model big] [--mebibytes 120] [--rounds 5]

`restore_session` reads and verifies every byte, and restores the random state, too; `load_weights` has the weights and
the optimizer's state. Files are in the page cache. Medians; nothing here is asserted.
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="big", help="big, many, mobilenet, transformer or tiny")
    parser.add_argument("--mebibytes", type=int, default=120, help="size of the state of the model 'big'")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()

    import keras
    import models

    import keras_session_ext as kse

    model, x, y = models.KINDS[given.model](given.mebibytes)
    model.fit(x[:128], y[:128], batch_size=64, verbose=0)
    count, size = models.state(model)
    with tempfile.TemporaryDirectory(dir=os.environ.get("KSE_BENCH_FOLDER")) as folder:
        ours, theirs = os.path.join(folder, "s.h5"), os.path.join(folder, "m.weights.h5")
        kse.save_session(model, ours)
        model.save_weights(theirs)
        took = {"restore_session": [], "load_weights": [], "verify_checkpoint": []}
        for _ in range(given.rounds + 1):
            for name, call in (("restore_session", lambda: kse.restore_session(model, ours)),
                               ("load_weights", lambda: model.load_weights(theirs)),
                               ("verify_checkpoint", lambda: kse.verify_checkpoint(ours))):
                begun = time.perf_counter()
                call()
                took[name].append(1e3 * (time.perf_counter() - begun))
    ours = statistics.median(took["restore_session"][1:])
    print("{} · Keras {} · {} · {} tensors, {:.0f} MiB".format(
        keras.backend.backend(), keras.__version__, given.model, count, size / (1 << 20)))
    for name, values in took.items():
        print("{:<20} first {:>8.1f} ms, later {:>8.1f} ms {:>7.2f}".format(
            name, values[0], statistics.median(values[1:]), statistics.median(values[1:]) / ours))


if __name__ == "__main__":
    main()
