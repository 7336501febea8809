"""What a run in a store costs: reading beside the plain client, and what training loses while the store is slow.

    KERAS_BACKEND=jax python benchmarks/store.py [--server gcs] [--mebibytes 384] [--rounds 5] [--throttle 1000000]

Against a server on this machine, which is the bottleneck: read the ratios. Moto (s3) reads the whole object anew for
each range that it is asked for, as no real store does. In turn; medians; nothing here is asserted.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests"))


def timed(call):
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def read(url, folder, rounds, mebibytes):
    """A checkpoint read and verified, beside the plain client's download of the same object."""
    import keras
    import models

    import keras_session_ext as kse
    from keras_session_ext import remote_files
    from keras_session_ext.checkpoint import reader

    model, x, y = models.KINDS["big"](mebibytes)
    checkpoint = kse.SessionCheckpoint(url, verbose=0, staging=folder, save=kse.EveryEpochs(10))
    model.fit(x[:64], y[:64], batch_size=64, verbose=0, callbacks=[checkpoint])
    info = kse.list_checkpoints(url)[0]
    fs, path = remote_files.client(info.path)
    local = os.path.join(folder, "plain.h5")
    took = {"plain client to a file": [], "plain client to memory": [], "read and verified": []}
    for _ in range(rounds + 1):
        took["plain client to a file"].append(timed(lambda: fs.get_file(path, local)))
        took["plain client to memory"].append(timed(lambda: fs.cat_file(path)))
        took["read and verified"].append(timed(lambda: reader.read_checkpoint(info.path)))
    print("Keras {} · {} · {:.0f} MiB".format(keras.__version__, keras.backend.backend(), info.size_bytes / 2 ** 20))
    ours = statistics.median(took["read and verified"][1:])
    for name, values in took.items():
        middle = statistics.median(values[1:])
        print("{:<24} {:>7.2f} s {:>7.0f} MiB/s; ours has {:.2f} of its speed".format(
            name, middle, info.size_bytes / 2 ** 20 / middle, middle / ours))


def stalls(places, rounds, folder):
    """What the training thread waits for a save, here and in a store that is throttled."""
    import keras
    import numpy as np

    import keras_session_ext as kse
    from keras_session_ext.lifecycle.journal import read_journal

    def fit(place):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(1024), keras.layers.Dense(256)])
        model.compile("adam", "mse")
        x = np.zeros((64 * 30, 256), "float32")
        checkpoint = kse.SessionCheckpoint(place, verbose=0, save=kse.EverySteps(5),
                                           staging=os.path.join(folder, "staging"))
        seconds = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seconds.append(
            time.perf_counter()))
        model.fit(x, x, batch_size=64, verbose=0, callbacks=[checkpoint, clock])
        told = [event.figures["stall_seconds"] for event in read_journal(place).events
                if event.kind == "checkpoint_saved"]
        return 1e3 * statistics.median(told), seconds[-1] - seconds[0]

    found = {name: [] for name in places}
    for _ in range(rounds):
        for name, place in places.items():
            found[name].append(fit(place()))
    for name, values in found.items():
        stall, whole = (statistics.median(column) for column in zip(*values))
        print("{:<24} stall {:>6.2f} ms, 29 steps with 6 saves {:>6.2f} s".format(name, stall, whole))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", default="gcs", choices=["s3", "gcs", "azure"])
    parser.add_argument("--mebibytes", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--throttle", type=int, default=1_000_000, help="bytes a second of the slow store")
    given = parser.parse_args()

    import store_proxy
    import stores

    from keras_session_ext import remote_files

    with tempfile.TemporaryDirectory(dir=os.environ.get("KSE_BENCH_FOLDER")) as folder:
        with stores.place(given.server) as place:
            print(given.server, end=" · ")
            read(place.url(), folder, given.rounds, given.mebibytes)
        with stores.place("s3") as place, store_proxy.before(place.variables["AWS_ENDPOINT_URL"]) as proxy:
            proxy.bytes_per_second = given.throttle
            os.environ["AWS_ENDPOINT_URL"] = proxy.url
            remote_files._clients.clear()
            stalls({"on this machine": lambda: tempfile.mkdtemp(dir=folder), "in the slow store": place.url},
                   given.rounds, folder)


if __name__ == "__main__":
    main()
