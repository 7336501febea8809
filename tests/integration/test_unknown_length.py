"""A dataset whose length Keras finds out by asking for a batch that is not there, resumed from every checkpoint.

The last one of an epoch is that of a step behind which no other comes, and does not know it. Each engine trains in a
process of its own, tests/unknown_length.py.
"""

import json
import os
import subprocess
import sys

import pytest
from harness import HERE, environment

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_every_checkpoint(engine, tmp_path):
    made = subprocess.run([sys.executable, os.path.join(HERE, "unknown_length.py"), str(tmp_path)],
                          env=environment(engine), stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in made.stdout.decode().splitlines()]
    assert len(lines) >= 20
    for line in lines:
        assert line["exact"] and not line["differs"], line
