"""Loops of unchanged scripts under `keras-session run --loops`: killed by SIGKILL, and as if nothing had been.

What a script gives under plain Python is what it has to give when it was killed on the way; nothing in it knows of this
package.
"""

import json
import os
import re
import subprocess
import sys

import pytest
from commands import COMMAND
from harness import HERE, environment

pytestmark = pytest.mark.slow
LOOPS = os.path.join(HERE, "loop_scripts")
#: a step of these scripts takes less time than a save behind it
EVERY = ["--set", "save.every_steps=3", "--set", "background=false"]
#: what takes the lines of a SessionLoop out of the scripts that have one
TAKEN_OUT = [(r"import keras_session_ext as kse\n", ""), (r"\n *loop = kse.SessionLoop.*", ""),
             (r"\n *loop\.log.*", ""),
             (r"for \w+ in loop\.epochs\(\):", "while True:"), (r"(?:self\.)?loop\.epochs\((.*)\):", r"range(\1):"),
             (r"(?:self\.)?loop\.batches\((.*)\):", r"\1:"), (r"loop\.enumerate", "enumerate"),
             (r"from common import (.*)", lambda found: "from dies import " + ", ".join(
                 one for one in found.group(1).split(", ") if one != "settings")),
             (r", history=loop.history", ""), (r"result\(loop, ?", "result("), (r"Trainer\(loop\)", "Trainer()"),
             (r"__init__\(self, loop\)", "__init__(self)"), (r"\n *self\.loop = loop", "")]
#: the kinds of loop: what it is, the script, the engine, the steps at which its processes die, what is wrapped
KINDS = [
    ("epochs and enumerate(dataset), a traced step, a validation", "tensorflow_guide.py", "tensorflow", "13,8", 2),
    ("stateless, the state in a tuple", "jax_guide.py", "jax", "13,8", 2),
    ("a DataLoader, an optimizer and a schedule of torch", "torch_guide.py", "torch", "13,8", 2),
    ("`while True`, episodes, an environment, left by break", "q_learning.py", "jax", "17,8,14", 2),
    ("in methods of a class, two stages", "trainer_class.py", "torch", "17,8,14", 2),
    ("fit, evaluate and train_on_batch inside", "keras_calls.py", "tensorflow", "5,6", 2),
    ("gradients without an optimizer", "mesh.py", "jax", "7", 2),
    ("two models and two optimizers", "gan.py", "tensorflow", "4,6", 2),
    ("`while` with a condition and `else`, next()", "until_good.py", "jax", "8,9", 2),
    ("progress bars", "bars.py", "torch", "8,10", 3),
    ("one loop over a generator, left by break", "flat.py", "jax", "8,9", 1),
    ("a model for each fold, left by return", "folds.py", "torch", "9,20,14", 3),
    ("left by return, and another loop behind it", "returns.py", "jax", "8,7,9", 3),
    ("the inner loop in a module beside", "beside.py", "jax", "8,9", 2),
    ("a generator that trains", "yields.py", "torch", "8,9", 2),
    ("a fit, and loops one after the other", "stages.py", "jax", "8,9,7", 3),
    ("an image is trained, and a dream without optimizer", "style.py", "tensorflow", "8,16,7", 3),
    ("a dataset made anew in each iteration", "reptile.py", "tensorflow", "7,9", 2),
]
#: the others are of `-m matrix`
IN_CI = ("tensorflow_guide.py", "q_learning.py", "gan.py", "until_good.py", "flat.py", "folds.py", "returns.py",
         "yields.py")


def made(script, folder):
    """The folder's copy of a script, without a SessionLoop."""
    path = os.path.join(LOOPS, "unchanged", script)
    if os.path.exists(path):
        return path
    with open(os.path.join(LOOPS, script)) as file:
        text = file.read()
    for pattern, instead in TAKEN_OUT:
        text = re.sub(pattern, instead, text)
    assert "loop." not in re.sub(r"loop\.\w+ is|a loop\.", "", text) and "kse" not in text, text
    (folder / script).write_text(text)
    return str(folder / script)


def start(words, engine, folder, kills, **variables):
    names = dict(environment(engine), LOOP_STARTS=str(folder / "starts"), LOOP_KILLS=kills, LOOP_DIRECTORY="",
                 **variables)
    names["PYTHONPATH"] = os.pathsep.join([names["PYTHONPATH"], LOOPS])
    if os.path.exists(names["LOOP_STARTS"]):
        os.remove(names["LOOP_STARTS"])
    return subprocess.run([sys.executable, *words], cwd=str(folder), env=names, capture_output=True, text=True)


def result(done):
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [one for one in done.stdout.splitlines() if one.startswith("RESULT ")]
    return json.loads(lines[-1][len("RESULT "):])


@pytest.mark.parametrize("kind, script, engine, kills, wrapped", [
    pytest.param(*one, id=one[1], marks=() if one[1] in IN_CI else pytest.mark.matrix) for one in KINDS])
def test_a_killed_script_gives_what_python_gives(kind, script, engine, kills, wrapped, tmp_path):
    path = made(script, tmp_path)
    plain = result(start([path], engine, tmp_path, ""))
    done = start([COMMAND, "run", "--loops", "-d", "run", *EVERY, path], engine, tmp_path, kills)
    found = result(done)
    assert found["values"] == plain["values"], done.stdout + done.stderr
    assert found["steps"] < plain["steps"], "it was resumed"
    assert done.stderr.count("was killed by SIGKILL") == kills.count(",") + 1, done.stderr
    lines = re.findall(r"wrapped are the loops in line ([\d, ]+)", done.stderr.split("was killed")[0])
    assert sum(one.count(",") + 1 for one in lines) == wrapped, done.stderr
    assert "not saved" not in done.stderr and "exact: no" not in done.stdout, done.stdout + done.stderr
    assert "exact: yes" in done.stdout, done.stdout + done.stderr


def test_what_cannot_be_wrapped_is_told_and_runs_as_it_is(tmp_path):
    path = made("told.py", tmp_path)
    plain = result(start([path], "torch", tmp_path, ""))
    done = start([COMMAND, "run", "--loops", "-d", "run", path], "torch", tmp_path, "")
    assert result(done) == plain
    with open(path) as file:
        expected = [line for line, text in enumerate(file, 1) if re.search(r"# told: ", text)]
    told = sorted(int(one) for one in re.findall(r"told\.py, line (\d+): (?:not saved|this loop)", done.stderr))
    assert sorted(set(told)) == expected and "loop.epochs(zip(…)) hides a" in done.stderr, done.stderr


@pytest.mark.parametrize("script, engine", [
    ("q_learning.py", "jax"), ("stages.py", "torch"),
    pytest.param("gan.py", "tensorflow", marks=pytest.mark.matrix)])
def test_prove_kills_and_compares(script, engine, tmp_path):
    done = start([COMMAND, "prove", "--json", "--loops", "--kills", "3", made(script, tmp_path)], engine, tmp_path, "")
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["exact"] and len(verdict["killed"]) == 3 and len(verdict["resumed"]) >= 3, verdict
    assert not verdict["fresh"], "these scripts are seeded"
    for kind in ("variables", "loop", "random", "data"):
        one, other = verdict["rows"][kind]
        assert len(one) == 64 and one == other, kind


def test_prove_names_what_is_not_captured(tmp_path):
    done = start([COMMAND, "prove", "--json", "--loops", "--kills", "2", made("hidden.py", tmp_path)], "jax", tmp_path,
                 "")
    verdict = json.loads(done.stdout)
    assert done.returncode == 1 and not verdict["exact"], done.stdout + done.stderr
    assert "noise (generator" in verdict["reasons"][0], verdict
