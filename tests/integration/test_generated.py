"""Trainings put together at random: whatever they are made of, the report never says yes where the result is another.

CI runs a selection; `KSE_GENERATED=300 pytest tests/integration/test_generated.py` as many as one likes, per engine.
"""

import json
import os
import subprocess
import sys

import pytest
from harness import HERE, environment

COUNT = int(os.environ.get("KSE_GENERATED", "10"))


def generated(engine, *arguments):
    made = subprocess.run([sys.executable, os.path.join(HERE, "generated.py"), *arguments], env=environment(engine),
                          capture_output=True)
    assert made.returncode == 0, made.stderr.decode()[-3000:]
    return [json.loads(line) for line in made.stdout.decode().splitlines()]


#: said yes, and were not the same
FOUND = {"layers": ["seeded Dropout"], "loss": "Huber", "metrics": ["mae"], "optimizer": "Adam",
         "callbacks": ["change layers"], "source": "tf.data", "nodes": ["repeat", "shuffle", "unseeded"],
         "validates": True, "eagerly": False, "every": 5, "which": 0.1, "seed": 300147}


@pytest.mark.slow
def test_what_was_found_is_exact(tmp_path):
    later = dict(FOUND, layers=["Dense"], nodes=["shuffle", "unseeded", "stateless"], which=0.7, seed=300249)
    lines = generated("tensorflow", str(tmp_path), json.dumps([FOUND, later]))
    assert [(line["exact"], line["differs"]) for line in lines] == [(True, [])] * 2


@pytest.mark.slow
@pytest.mark.timeout(60 + 60 * COUNT)
@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_no_false_yes(engine, tmp_path):
    lines = generated(engine, str(tmp_path), "0", str(COUNT))
    assert len(lines) == COUNT and sum(line["exact"] for line in lines) >= COUNT // 2
    assert [line for line in lines if line["exact"] and line["differs"]] == []
