"""What the witness costs a step: the whole fit with it beside the fit without, on one engine, and the note by itself.

    for engine in tensorflow jax torch; do KERAS_BACKEND=$engine python benchmarks/witness.py; done

Two `SessionCheckpoint`s that save at the end only, one with `witness=False`, in turn; medians of wall time and CPU
seconds, per step. Nothing is asserted: the machine is noisy.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time

import keras
import numpy as np

import keras_session_ext as kse
from keras_session_ext.run.witness_notes import StepNotes

STEPS = 500


def seconds_of_fit(model, data, witness):
    """(wall, CPU) seconds of one epoch of 500 small steps."""
    folder = tempfile.mkdtemp()
    checkpoint = kse.SessionCheckpoint(folder, save=kse.EveryEpochs(100), witness=witness, verbose=0, background=False)
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(*data, batch_size=8, epochs=1, verbose=0, callbacks=[checkpoint])
    made = time.perf_counter() - wall, time.process_time() - cpu
    shutil.rmtree(folder)
    return made


def note_alone(rounds):
    """Microseconds of one note, with one log and with ten."""
    made = []
    for logs in ({"loss": 0.5}, {"metric {}".format(number): 0.5 for number in range(10)}):
        folder = tempfile.mkdtemp()
        notes = StepNotes(os.path.join(folder, "notes"), 0o600, "run")
        notes.write(0, logs)
        took = []
        for _ in range(rounds):
            began = time.perf_counter()
            for number in range(1000):
                notes.write(number, logs)
            took.append((time.perf_counter() - began) * 1e3)  # of 1000: microseconds each
        notes.close()
        shutil.rmtree(folder)
        made.append(statistics.median(took))
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    data = np.random.rand(8 * STEPS, 8).astype("float32"), np.random.rand(8 * STEPS, 1).astype("float32")
    seconds_of_fit(model, data, True)  # traces
    pairs = [(seconds_of_fit(model, data, False), seconds_of_fit(model, data, True)) for _ in range(rounds)]
    print("{:<12}{:>14}{:>14}{:>14}{:>8}".format(keras.backend.backend(), "without", "with", "difference", "ratio"))
    for name, which in (("wall", 0), ("CPU", 1)):
        without, with_ = (statistics.median(pair[side][which] for pair in pairs) * 1e6 / STEPS for side in (0, 1))
        between = statistics.median((pair[1][which] - pair[0][which]) * 1e6 / STEPS for pair in pairs)
        print("{:<12}{:>11.1f} µs{:>11.1f} µs{:>11.1f} µs{:>8.3f}".format(name, without, with_, between,
                                                                         with_ / without))
    print("a note alone: {:.1f} µs with one log, {:.1f} µs with ten".format(*note_alone(rounds)))


if __name__ == "__main__":
    main()
