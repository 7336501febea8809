"""What type checkers and editors say of a user's script: nothing of a right one, and every line of a wrong one."""

import json
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SCRIPTS = os.path.join(ROOT, "tests", "types")


def mypy(script, folder):
    """As one who has installed the package: what stands within it is not theirs to see."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=",
               "--no-error-summary", "--disable-error-code=import-untyped", "--cache-dir", str(folder), script]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=str(folder),
                          timeout=300, env=dict(os.environ, MYPYPATH=ROOT))
    found = [line.split(":") for line in made.stdout.splitlines() if ": error: " in line]
    assert found or made.returncode == 0, made.stdout
    return {int(parts[1]): ":".join(parts[2:]) for parts in found}


def pyright(script, folder):
    """What VS Code has, in its standard mode."""
    with open(str(folder / "pyrightconfig.json"), "w") as handle:
        json.dump({"typeCheckingMode": "standard", "reportMissingTypeStubs": False, "extraPaths": [ROOT],
                   "include": [script], "reportUnusedExpression": False}, handle)
    made = subprocess.run([sys.executable, "-m", "basedpyright", "--project", str(folder), "--outputjson",
                           "--pythonpath", sys.executable], capture_output=True, text=True, timeout=300)
    answer = json.loads(made.stdout)
    assert answer["summary"]["filesAnalyzed"] == 1, made.stdout
    return {one["range"]["start"]["line"] + 1: one["message"] for one in answer["generalDiagnostics"]
            if one["severity"] == "error"}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_right_script_is_not_marked(checker, tmp_path):
    assert checker(os.path.join(SCRIPTS, "right.py"), tmp_path) == {}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_every_wrong_line_is_marked(checker, tmp_path):
    script = os.path.join(SCRIPTS, "wrong.py")
    with open(script) as handle:
        wrong = {number for number, line in enumerate(handle, 1) if line.endswith("# wrong\n")}
    assert set(checker(script, tmp_path)) == wrong and len(wrong) > 20
