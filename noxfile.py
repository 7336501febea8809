"""The families in environments of their own: `nox` runs every member, `nox -t ci` the selection of CI.

CI runs all tests of one member per family, and of the others what every Keras does in its own way.

Interpreters come from the path or from pyenv; one that is missing is an error.
`nox -s table` writes docs/families.md from what the members showed.
"""

import glob
import os
import sys

import nox

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "tests", "families"))

from members import MEMBERS

nox.options.error_on_missing_interpreters = True
nox.options.tags = ["families"]
nox.options.default_venv_backend = "uv|virtualenv"

ROWS = os.path.join(HERE, ".nox", "rows")
TESTS = ["PyYAML", "click", "jsonschema", "pytest", "pytest-timeout", "pytest-xdist", "rich", "scikit-learn",
         "tensorboard", "xxhash"]
#: TensorBoards that show the tab, each with its interpreter and what it does not declare; 2.21 is in the default tests
TENSORBOARDS = {
    "1.15": ("3.7", ["tensorboard==1.15.0", "protobuf<3.21", "numpy"]),
    "2.0": ("3.7", ["tensorboard==2.0.2", "protobuf<3.21", "numpy"]),
    "2.10": ("3.10", ["tensorboard==2.10.1", "six", "numpy<1.24"]),
}
CI = ("tf115", "tf215", "jax")
CI_SHORT = ("keras231", "tf24", "tf210", "tf_keras", "torch")
ROOTS = [os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv"), "/opt/pyenv"]


def interpreter(version):
    """A Python of this version: pyenv's, or else the one called so on the path."""
    for root in filter(None, ROOTS):
        found = sorted(glob.glob(os.path.join(root, "versions", version + ".*", "bin", "python")))
        if found:
            return found[-1]
    return version


def test_member(session):
    """Installs one member and runs the tests of the families in it."""
    name = session.name.split("-", 1)[1]
    member = MEMBERS[name]
    if "PIP_FIND_LINKS" in os.environ:  # uv has a name of its own for it
        session.env["UV_FIND_LINKS"] = os.environ["PIP_FIND_LINKS"]
    session.install(*member.requirements, *TESTS)
    selected = session.posargs or ["tests/families"]
    if session.name.startswith("short-"):
        selected = ["-m", "not variant", *selected]
    session.run("python", "-m", "pytest", "-q", "-n", "3", "--dist", "worksteal", "-p", "no:cacheprovider", *selected,
                env={"KSE_FAMILY": name, "KSE_ROWS": ROWS})  # imports the package from here


for name, member in MEMBERS.items():
    tags = ["families"] + (["ci"] if name in CI else [])
    nox.session(test_member, python=interpreter(member.python), name="family-" + name, tags=tags)
    if name in CI_SHORT:
        nox.session(test_member, python=interpreter(member.python), name="short-" + name, tags=["ci"])


def test_tensorboard(session):
    """Installs one TensorBoard and looks at the Session tab in it."""
    name = session.name.split("-", 1)[1]
    if "PIP_FIND_LINKS" in os.environ:
        session.env["UV_FIND_LINKS"] = os.environ["PIP_FIND_LINKS"]
    # with all its requirements: TensorBoard 1.15 and 2.0 do not start where an entry point's distribution lacks one
    session.install(*TENSORBOARDS[name][1], "pytest", "pytest-timeout", "setuptools<80", "-e", ".")
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/tab",
                env={"KSE_TENSORBOARD": name})


for name, (python, _) in TENSORBOARDS.items():
    nox.session(test_tensorboard, python=interpreter(python), name="tensorboard-" + name, tags=["families", "ci"])


@nox.session(python=False)
def table(session):
    """Writes docs/families.md from the rows of all members; a member without rows is an error."""
    session.run(sys.executable, os.path.join("tests", "families", "table.py"), ROWS, *session.posargs)
