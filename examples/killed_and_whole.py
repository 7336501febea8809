"""What the examples of loops share: the training in processes of its own, killed and whole, and the comparison."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile


def main(train, kills, script, title):
    """Compares a training that was killed with one that was not, or is the training itself (`--train DIRECTORY`).

    Args:
        train: the training; it is called with a directory, and with the step to die at or 0, and prints names and
            checksums with a tab between.
        kills: steps that each process makes before it dies.
        script: the file of the example.
        title: what it says of itself.

    Returns:
        The exit status: 1 if anything differs.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--train", metavar="DIRECTORY")
    parser.add_argument("--dies-at", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train, arguments.dies_at)
        return 0
    folder = tempfile.mkdtemp()
    whole = _run(script, os.path.join(folder, "whole"))
    for dies_at in kills:
        _run(script, os.path.join(folder, "killed"), dies_at)
    killed = _run(script, os.path.join(folder, "killed"))
    print("{:<28}{:<20}{:<20}".format("", "uninterrupted", "killed three times"))
    for name, digest in whole.items():
        print("{:<28}{:<20}{:<20}{}".format(name, digest[:16], killed[name][:16],
                                            "same" if digest == killed[name] else "DIFFERENT"))
    return int(whole != killed)


def _run(script, directory, dies_at=0):
    """Starts the training in a process of its own; returns what it prints at its end."""
    done = subprocess.run([sys.executable, os.path.abspath(script), "--train", directory, "--dies-at", str(dies_at)],
                          capture_output=True, text=True, env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"))
    expected = -signal.SIGKILL if dies_at else 0
    if done.returncode != expected:
        sys.exit("The training ended with status {}, expected {}:\n{}".format(done.returncode, expected, done.stderr))
    print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("Session: resumed", "  exact:"))))
    return dict(line.split("\t") for line in done.stdout.splitlines() if "\t" in line)
