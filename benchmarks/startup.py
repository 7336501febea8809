"""How long each command of keras-session takes from nothing to its end, beside a Python that does nothing.

    python benchmarks/startup.py [--rounds 15]

Whole processes, every command in turn with `python -c pass` right before it; medians. "beyond python" is what
remains of each pair. Nothing is asserted: the machine is noisy.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from keras_session_ext.checkpoint.encoder import Encoder, Tensor
from keras_session_ext.checkpoint.hdf5_layout import KerasView
from keras_session_ext.lifecycle.journal import Journal
from keras_session_ext.store.run_directory import RunDirectory

CHECKPOINTS = 20


def make_run(path):
    """A run directory with checkpoints of a small model, and a journal."""
    directory, encoder = RunDirectory(path), Encoder()
    directory.acquire()
    journal = Journal(os.path.join(path, "journal.jsonl"))
    for step in range(1, CHECKPOINTS + 1):
        id = directory.new_id(step)
        fields = {
            "id": id, "parent": None, "run": "r", "branch_of": None, "generation": 1,
            "created": time.time(), "reason": "EverySteps(1)", "metrics": {"loss": 1.0 / step}, "finished": False,
            "reasons": [], "session": {},
            "progress": {"stage": 0, "epoch": 0, "batch": step, "step": step, "elapsed_seconds": step / 1.0}}
        tensors = [Tensor("variables/model/{:04d}".format(number), "variables", np.zeros((64, 64), np.float32))
                   for number in range(100)]
        directory.publish(id, encoder.encode(fields, tensors, KerasView((), (), ())))
        journal.append("checkpoint_saved", {"id": fields["id"], "step": step})
    directory.release()


def seconds(command):
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    folder = tempfile.mkdtemp()
    run = os.path.join(folder, "run")
    make_run(run)
    commands = [["--help"], ["--version"], ["ls", run], ["ls", folder], ["show", run], ["log", run], ["verify", run],
                ["diff", run, run], ["prune", run, "--keep-last", "3", "--dry-run"],
                ["export", run, os.path.join(folder, "a.npz"), "--all", "--force"],
                ["report", run, "-o", os.path.join(folder, "a.html")], ["schema"], ["doctor", folder],
                ["run", "--help"], ["prove", "--help"]]
    ours = [sys.executable, "-c", "from keras_session_ext.cli.main import main; main()"]
    print("{} checkpoints of 100 tensors, {} rounds".format(CHECKPOINTS, rounds))
    print("{:<18}{:>12}{:>14}{:>16}".format("", "python, ms", "command, ms", "beyond python"))
    try:
        for command in commands:
            pairs = [(seconds([sys.executable, "-c", "pass"]), seconds(ours + command)) for _ in range(rounds)]
            base, whole = (statistics.median(pair[index] for pair in pairs) for index in (0, 1))
            beyond = statistics.median(whole - base for base, whole in pairs)
            name = " ".join(part for part in command[:2] if not part.startswith(folder))
            print("{:<18}{:>12.0f}{:>14.0f}{:>16.0f}".format(
                "ls (runs below)" if command == ["ls", folder] else name, base * 1e3, whole * 1e3, beyond * 1e3))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
