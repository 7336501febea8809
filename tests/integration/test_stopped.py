"""A fit that a callback stops, such as a time limit: finished, or to go on at the next start; tests/stopped.py."""

import json
import os
import subprocess
import sys

import pytest
from harness import HERE, environment

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_what_the_next_start_makes_of_it(engine, tmp_path):
    made = subprocess.run([sys.executable, os.path.join(HERE, "stopped.py"), str(tmp_path)],
                          env=environment(engine), stdout=subprocess.PIPE, check=True)
    found = {line["name"]: line for line in map(json.loads, made.stdout.decode().splitlines())}
    for name in ("goes on at every start", "more epochs"):
        assert found[name]["same"] and found[name]["exact"], found[name]
    assert found["final"]["epochs"] == [0]
    within = found["within an epoch"]
    assert within["epochs"] == [0, 1, 2, 3] and not within["exact"] and not within["same"]
    assert "stop it in on_epoch_end" in within["reasons"][0]
