"""Each file-system call of a training fails: training goes on, or ends with an error that names the path.

tests/fault_loop.py draws so many of its cases; `KSE_FAULTS=5000 pytest tests/integration/test_fault_loop.py` runs more.
"""

import json
import os
import subprocess
import sys

import pytest
from harness import HERE, environment

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("KSE_FAULTS", "500"))


@pytest.mark.timeout(600 + 4 * COUNT)
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_and_nothing_hangs_whatever_fails(seed, tmp_path):
    made = subprocess.run([sys.executable, os.path.join(HERE, "fault_loop.py"), str(tmp_path), str(seed),
                           str(COUNT // 2)], env=environment("torch"), stdout=subprocess.PIPE, check=True)
    drawn, *lines = [json.loads(line) for line in made.stdout.decode().splitlines()]
    assert drawn["cases"] > 100_000 and len(lines) == COUNT // 2
    outcomes = {line["outcome"] for line in lines}
    assert {"warned", "refused", "through"} <= outcomes, "all three came"
    for line in lines:
        assert line["outcome"] in ("through", "warned", "refused"), line
        assert not line["lost"] and not line["broken"] and not line["leftovers"], line
        assert line["same"] and line["end"], line
