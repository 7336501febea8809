"""What is uploaded to an index: a wheel and a source distribution, whole, with metadata that an index takes."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

pytestmark = pytest.mark.slow

MADE = ("build", "dist", "runs", "site", "__pycache__")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def call(*command):
    made = subprocess.run([sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=600)
    assert made.returncode == 0, made.stdout
    return made.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Of a copy, for the build writes beside the sources; the wheel is made of the source distribution."""
    folder, copy = str(tmp_path_factory.mktemp("dist")), str(tmp_path_factory.mktemp("copy"))
    for name in sources():
        os.makedirs(os.path.dirname(os.path.join(copy, name)), exist_ok=True)
        shutil.copy(os.path.join(ROOT, name), os.path.join(copy, name))
    call("build", "--outdir", folder, copy)
    return {name.rsplit(".", 1)[1]: os.path.join(folder, name) for name in os.listdir(folder)}


def sources():
    """The files of the project, without what was made of them, and without hidden ones."""
    found = set()
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if not name.startswith(".") and name not in MADE
                    and not name.endswith(".egg-info")]
        found |= {os.path.relpath(os.path.join(folder, name), ROOT) for name in names
                  if not name.startswith(".") and not name.endswith(".pyc")}
    return found


def test_an_index_takes_them(dist):
    assert "FAILED" not in call("twine", "check", "--strict", dist["whl"], dist["gz"])


def test_the_wheel_holds_the_package_and_nothing_else(dist):
    names = {name for name in zipfile.ZipFile(dist["whl"]).namelist() if ".dist-info/" not in name}
    assert names == {name for name in sources() if name.startswith("keras_session_ext/")}


def test_the_source_distribution_holds_all_that_a_distributor_needs(dist):
    with tarfile.open(dist["gz"]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert sources() - names == set()
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_metadata_says_what_it_is_for(dist):
    with zipfile.ZipFile(dist["whl"]) as archive:
        text = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    head = text.split("\n\n")[0].split("\n")
    for line in ("Classifier: Typing :: Typed", "Classifier: Programming Language :: Python :: 3.7",
                 "Classifier: Programming Language :: Python :: 3.13", "Requires-Python: >=3.7",
                 "License-File: LICENSE", "Description-Content-Type: text/markdown",
                 "Author: The keras_session_ext authors"):
        assert line in head, line
    assert [one for one in head if one.startswith("Keywords: keras")]
