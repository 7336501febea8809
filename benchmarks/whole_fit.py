"""What saves cost the whole fit, beside fits without them and with other libraries, in one process and in turn.

    KERAS_BACKEND=tensorflow python benchmarks/whole_fit.py [--model big] [--every 10] [--steps 30] [--rounds 5]

"steps" is the time from the end of the first step to the end of the last, divided by that without a callback; "ms a
save" what is more of it, for each save. "stall" is what a save keeps the training thread from its next step for. "end"
is how long fit takes behind its last step. CPU seconds and memory are what is more than without. Medians over the
rounds, the first of which is left out where there are several. Nothing here is asserted.
"""

import argparse
import gc
import json
import os
import resource
import shutil
import statistics
import tempfile
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def cpu_seconds():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def resident_bytes():
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * resource.getpagesize()


class Peak(threading.Thread):
    """The most memory that this process has while a block lasts."""

    def __enter__(self):
        self.before = self.most = resident_bytes()
        self.goes_on = True
        self.start()
        return self

    def __exit__(self, *exception):
        self.goes_on = False
        self.join()

    def run(self):
        while self.goes_on:
            self.most = max(self.most, resident_bytes())
            time.sleep(0.02)


def limits(size_bytes, folder):
    """What the same bytes take from warm memory: a copy, and a durable file past the page cache."""
    import numpy as np

    from keras_session_ext import files
    from keras_session_ext.checkpoint.arena import aligned_memory

    memory = aligned_memory(size_bytes)
    memory[...] = 1
    source = memory.copy()
    begun = time.perf_counter()
    np.copyto(memory, source)
    copied = time.perf_counter() - begun
    fd = files.create(os.path.join(folder, "raw"))
    begun = time.perf_counter()
    files.reserve(fd, len(memory))
    files.write_pieces(fd, [(0, memory.data)])
    files.sync(fd)
    written = time.perf_counter() - begun
    files.close(fd)
    os.unlink(os.path.join(folder, "raw"))
    return {"memcpy_ms": 1e3 * copied, "durable_ms": 1e3 * written}


def fit(model, x, y, batch_size, name, every):
    """One fit; returns its figures."""
    import keras
    import peers

    from keras_session_ext.lifecycle.record import Record

    saved, ends, outside = [], [], []
    emit = Record.emit

    def heard(self, kind, **figures):
        if kind == "checkpoint_saved":
            saved.append(figures)
        return emit(self, kind, **figures)

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            ends.append(time.perf_counter())

    def timed(function):
        last = [None]

        def call(*arguments):
            begun = time.perf_counter()
            if last[0] is not None:
                outside.append(begun - last[0])
            made = function(*arguments)
            last[0] = time.perf_counter()
            return made

        return call

    folder = tempfile.mkdtemp(dir=os.environ.get("KSE_BENCH_FOLDER"))
    callbacks = [] if name == "none" else [peers.PEERS[name](folder, every, model)]
    model._initial_epoch = None
    model.make_train_function()
    model.train_function = timed(model.train_function)
    make, model.make_train_function = model.make_train_function, lambda force=False: model.train_function
    Record.emit = heard
    gc.collect()
    try:
        with Peak() as peak:
            cpu, begun = cpu_seconds(), time.perf_counter()
            model.fit(x, y, batch_size=batch_size, verbose=0, shuffle=False, callbacks=[Clock(), *callbacks])
            over, cpu = time.perf_counter(), cpu_seconds() - cpu
    finally:
        Record.emit = emit
        model.make_train_function = make
        model.train_function = None
        shutil.rmtree(folder, ignore_errors=True)
    usual = statistics.median(outside)
    count = max(1, (len(ends) - 1) // every)
    ours = [1e3 * one["stall_seconds"] for one in saved]
    return {"steps_s": ends[-1] - ends[0], "first_step_s": ends[0] - begun, "end_s": over - ends[-1], "cpu_s": cpu,
            "stall_ms": ours or [1e3 * (one - usual) for one in sorted(outside, reverse=True)[:count]],
            "durable_ms": [1e3 * one["durable_seconds"] for one in saved], "peak_mb": (peak.most - peak.before) / 1e6}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="big", help="big, many, mobilenet, transformer or tiny")
    parser.add_argument("--mebibytes", type=int, default=384, help="size of the state of the model 'big'")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="of a fit")
    parser.add_argument("--every", type=int, default=10, help="steps between two saves")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", help="what to compare, with commas; default: what is usual for the engine")
    parser.add_argument("--json", help="a file for the figures of all rounds")
    parser.add_argument("--plot", help="a file for a picture of them, such as cost.png")
    given = parser.parse_args()

    import keras
    import models
    import numpy as np
    import peers

    keras.utils.set_random_seed(0)
    model, x, y = models.KINDS[given.model](given.mebibytes)
    rows = np.resize(np.arange(len(x)), given.batch * given.steps)
    x, y = x[rows], y[rows]
    cases = ["none", *(given.cases.split(",") if given.cases else peers.USUAL[keras.backend.backend()])]
    model.fit(x[:2 * given.batch], y[:2 * given.batch], batch_size=given.batch, verbose=0)
    count, size = models.state(model)
    print("{} · Keras {} · {} · {} tensors, {:.0f} MiB · {} steps of {} rows, a save every {} · {} cores".format(
        keras.backend.backend(), keras.__version__, given.model, count, size / (1 << 20), given.steps, given.batch,
        given.every, len(os.sched_getaffinity(0))), flush=True)
    told = {name: [] for name in cases}
    bounds = []
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=os.environ.get("KSE_BENCH_FOLDER")) as folder:
            bounds.append(limits(size, folder))
        for name in cases if number % 2 == 0 else cases[::-1]:
            os.sync()
            told[name].append(fit(model, x, y, given.batch, name, given.every))
            print("  {} {}: {:.2f} s".format(number, name, told[name][-1]["steps_s"]), flush=True)
    if given.json:
        with open(given.json, "w") as handle:
            json.dump({"cases": told, "limits": bounds}, handle)
    table(told, bounds, given, size)
    if given.plot:
        plot(told, given.plot)


def table(told, bounds, given, size):
    first = 1 if given.rounds > 2 else 0
    saves = (given.steps - 1) // given.every

    def median(name, what):
        return statistics.median(one[what] for one in told[name][first:])

    print("limits: memcpy {:.0f} ms, durable past the page cache {:.0f} ms".format(
        *(statistics.median(one[what] for one in bounds[first:]) for what in ("memcpy_ms", "durable_ms"))))
    print("{:<20} {:>7} {:>10} {:>11} {:>11} {:>9} {:>8} {:>9} {:>8}".format(
        "", "steps", "ms a save", "stall 1st", "stall later", "durable", "end ms", "CPU-s/GiB", "peak MB"))
    for name in told:
        firsts = [one["stall_ms"][0] for one in told[name][first:]] if name != "none" else [0]
        later = [stall for one in told[name][first:] for stall in one["stall_ms"][1:]] if name != "none" else []
        durable = [each for one in told[name][first:] for each in one["durable_ms"]]
        more = median(name, "steps_s") - median("none", "steps_s")
        files = saves + (1 if name in ("session", "foreground") else 0)  # one more at the end of the fit
        print("{:<20} {:>7.3f} {:>10.0f} {:>11.1f} {:>11.1f} {:>9} {:>8.0f} {:>9.2f} {:>8.0f}".format(
            name, median(name, "steps_s") / median("none", "steps_s"), 1e3 * more / max(1, saves),
            statistics.median(firsts), statistics.median(later or [0]),
            "{:.0f}".format(statistics.median(durable)) if durable else "-", 1e3 * median(name, "end_s"),
            (median(name, "cpu_s") - median("none", "cpu_s")) / files / (size / (1 << 30)),
            median(name, "peak_mb") - median("none", "peak_mb")))


def plot(told, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    base = statistics.median(one["steps_s"] for one in told["none"])
    figure, axes = pyplot.subplots(figsize=(7, 0.5 * len(told) + 1.2))
    names = list(told)[::-1]
    for place, name in enumerate(names):
        ratios = [one["steps_s"] / base for one in told[name]]
        axes.plot(ratios, [place] * len(ratios), "o", color="#2a6fbb" if name == "session" else "#888888", alpha=0.6)
    axes.axvline(1, color="#cccccc", zorder=0)
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels(names)
    axes.set_xlabel("steps of a fit with saves ÷ without; each point is a fit")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
