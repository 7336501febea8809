"""Loops on a `tf.Session`, killed by SIGKILL and started again: as the whole run, or the reason is named."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from harness import environment
from members import MEMBERS, current

NAME = current()
HERE = os.path.dirname(os.path.abspath(__file__))
GRAPH = [name for name, member in MEMBERS.items() if member.family == "graph"]
REPEATS = [name for name in GRAPH if name != "keras225"]  # which does not give the same twice by itself
pytestmark = pytest.mark.members(*GRAPH)

#: what is run beside the train op and cannot be brought back -> what is said of it
TOLD = {
    "queue": "which is filled ahead of training by threads; read the data by tf.data or feed_dict",
    "python": "calls Python code from the graph, whose state is not seen",
    "loop_in_graph": "stands in a tf.while_loop or a function of the graph",
    "gamma": "draws a count of numbers that its values decide",
    "unseeded": "call tf.compat.v1.set_random_seed before the graph is built",
    "in_a_cond": "asks an iterator in a tf.cond",
    "too_deep": "another session than the loop's trains",
    "other_session": "another session than the loop's trains",
    "session_in_epoch": "another session than the loop's trains",
    "trained_before": "a callable of the session that was made before the loop began",
    "caught": "nobody can tell whether the random op",
    "over": "nobody can tell whether the random op",
}


def run(case, directory, kill=0):
    made = dict(environment(MEMBERS[NAME].engine), CASE=case, KILL=str(kill))
    made["PYTHONPATH"] = os.pathsep.join([HERE, made["PYTHONPATH"]])
    return subprocess.run([sys.executable, os.path.join(HERE, "session_loop.py"), str(directory)], env=made,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)


def result(done):
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.rsplit("RESULT ", 1)[1].splitlines()[0])


@pytest.mark.parametrize("case", ["fed", "monitored", *[pytest.param(name, marks=pytest.mark.variant) for name in (
    "attribute", "initialized", "one_shot", "fed_iterator", "integers", "kept_run", "texts",
    "held_without_value", "switched", "reset")], pytest.param("keras_calls", marks=[
        pytest.mark.variant, pytest.mark.members(*REPEATS)])])
def test_a_killed_loop_goes_on_as_if_nothing_had_been(case, tmp_path):
    whole = result(run(case, tmp_path / "whole"))
    assert whole["exact"], whole["reasons"]
    for kill in (6, 17) if case in ("fed", "monitored") else (13,):
        done = run(case, tmp_path / "killed", kill)
        assert done.returncode == -signal.SIGKILL, done.stdout
    resumed = result(run(case, tmp_path / "killed"))
    assert resumed["resumed"] and resumed["exact"], resumed["reasons"]
    for what in ("weights", "losses", "steps"):
        assert resumed[what] == whole[what]


@pytest.mark.parametrize("case", ["queue", *[pytest.param(name, marks=pytest.mark.variant) for name in sorted(
    set(TOLD) - {"queue"})]])
def test_what_cannot_be_brought_back_is_named(case, tmp_path):
    told = result(run(case, tmp_path))
    assert not told["exact"] and any(TOLD[case] in reason for reason in told["reasons"]), told["reasons"]


def test_the_script_of_the_docs(tmp_path):
    with open(os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "loops.md")) as handle:
        section = handle.read().split("## Sessions of TensorFlow 1")[1].split("\n## ")[0]
    made = dict(environment(MEMBERS[NAME].engine), KSE_FAMILY=NAME)
    made["PYTHONPATH"] = os.pathsep.join([HERE, made["PYTHONPATH"]])
    script = "import members\nmembers.load()\n" + re.search(r"```text\n(.*?)```", section, re.S).group(1)
    for text in ("a fresh start", "finished: nothing is left to train"):
        done = subprocess.run([sys.executable, "-c", script], env=made, cwd=str(tmp_path), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300)
        assert done.returncode == 0 and text in done.stdout, done.stdout
