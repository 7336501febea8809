"""Every code block of README and docs/ is run: what is shown works when it is pasted."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import stores
from commands import COMMAND, finish
from harness import environment

from keras_session_ext import remote_files
from keras_session_ext.config.effective_settings import effective_config

pytestmark = pytest.mark.xdist_group("docs")  # what a reader has is made once

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["README.md", *sorted("docs/" + name for name in os.listdir(os.path.join(ROOT, "docs"))
                              if name.endswith(".md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
ID = re.compile(r"g[0-9]{6}-s[0-9]{10}-[0-9a-f]{8}")

#: what a reader has before he pastes: a model, data, and a run
PRELUDE = """
import keras
import numpy as np
import keras_session_ext as kse
keras.utils.set_random_seed(1)
x, y = np.random.normal(size=(64, 4)).astype("float32"), np.zeros((64, 1), "float32")
base = keras.layers.Dense(3)
model = keras.Sequential([keras.Input((4,)), base, keras.layers.Dense(1)])
model.compile("adam", "mse")
"""
TRAIN = PRELUDE + """
model.fit(x, y, epochs=2, verbose=0, validation_split=0.2)
"""
#: run by .ci/run itself, or by other tests: what is named has to exist
ELSEWHERE = ("pip install", "nox", "tensorboard --logdir")


def blocks(page, *languages):
    with open(os.path.join(ROOT, page)) as handle:
        return [text for language, text in BLOCK.findall(handle.read()) if language in languages]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The variables of the environment for a store with a bucket that is called so, and a run in it."""
    with stores.place("s3") as place:
        remote_files.client("s3://bucket/run")[0].mkdir("bucket")
        folder = tmp_path_factory.mktemp("cloud")
        (folder / "train.py").write_text(TRAIN)
        status, _, err = finish(["run", "--set", "verbose=0", "-d", "s3://bucket/run", "train.py"], folder)
        assert status == 0, err
        yield dict(place.variables)


@pytest.fixture
def variables(request):
    """What a text needs besides the machine it is pasted on."""
    return lambda text: request.getfixturevalue("bucket") if "s3://" in text else {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with two runs, a script and a config, as someone has who read the README."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "train.py").write_text(TRAIN)
    for name in ("a", "b"):
        status, _, err = finish(["run", "--set", "verbose=0", "-d", "runs/" + name, "train.py"], folder)
        assert status == 0, err
    return folder


def test_every_page_and_every_block_is_known():
    known = {"python", "sh", "yaml", "json", "text", "hexdump", ""}
    for page in PAGES:
        with open(os.path.join(ROOT, page)) as handle:
            text = handle.read()
        assert text.count("```") == 2 * len(BLOCK.findall(text)), page
        assert {language for language, _ in BLOCK.findall(text)} <= known, page


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_blocks(page, trained, variables, tmp_path):
    subprocess.run(["cp", "-r", str(trained) + "/.", str(tmp_path)], check=True)
    for config in blocks(page, "yaml")[:1]:
        (tmp_path / "train.yaml").write_text("trainer:\n" + "".join("  " + line + "\n" for line in config.split("\n"))
                                             + config)
    newest = max(name for name in os.listdir(str(tmp_path / "runs" / "a" / "checkpoints")) if name.endswith(".h5"))
    # the page's own training gives older checkpoints up
    shutil.copytree(str(tmp_path / "runs" / "a" / "checkpoints"), str(tmp_path / "kept"))
    code = PRELUDE + "".join("\n" + ID.sub(newest[:-3], text).replace('"runs/a/checkpoints/', '"kept/')
                             for text in blocks(page, "python"))
    (tmp_path / "pasted.py").write_text(code)
    done = subprocess.run([sys.executable, "pasted.py"], cwd=str(tmp_path), env=dict(
        environment("jax"), MPLBACKEND="agg", **variables(code)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()


def shell_lines():
    """Every line once, with the first page it stands on."""
    found = {}
    for page in PAGES:
        for text in blocks(page, "sh"):
            for line in text.strip().split("\n"):
                if line.strip() and not line.startswith("#"):
                    found.setdefault(line, page)
    return sorted((page, line) for line, page in found.items())


@pytest.mark.slow
@pytest.mark.parametrize("page, line", shell_lines())
def test_shell_lines(page, line, trained, variables, tmp_path):
    if line.startswith(ELSEWHERE):
        for name in re.findall(r"python (\S+\.py)", line):
            assert os.path.exists(os.path.join(ROOT, name))
        return
    subprocess.run(["cp", "-r", str(trained) + "/.", str(tmp_path)], check=True)
    newest = max(name for name in os.listdir(str(tmp_path / "runs" / "a" / "checkpoints")) if name.endswith(".h5"))
    if page == "docs/format.md":  # its file is made by its own Python
        subprocess.run([sys.executable, "-c", "\n".join(blocks(page, "python"))], cwd=str(tmp_path), check=True)
    shell = "fish" if "| source" in line else "zsh" if "zsh_source" in line else "bash"
    if shell != "bash":
        line = re.search(r"_KERAS\S+ keras-session", line).group(0)  # no such shell here: what it is fed with
    line = ID.sub(newest[:-3], line)
    if "--follow" in line:
        line = "timeout -s INT 4 " + line.split("#")[0] + " || [ $? = 124 ] || [ $? = 130 ]"
    made = dict(environment("jax"), **variables(line))
    made.update(PATH=os.path.dirname(COMMAND) + os.pathsep + os.environ["PATH"])
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=str(tmp_path), env=made, timeout=300,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    allowed = {0, 1} if line.startswith("keras-session diff") else {0}
    assert done.returncode in allowed, done.stdout.decode()


@pytest.mark.parametrize("page, text", [(page, text) for page in PAGES for text in blocks(page, "yaml")])
def test_yaml_blocks(page, text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    assert effective_config(str(tmp_path / "c.yaml"), env=False)


@pytest.mark.parametrize("page, text", [(page, text) for page in PAGES for text in blocks(page, "json")])
def test_json_blocks(page, text):
    assert json.loads(text)


def test_links_lead_somewhere():
    for page in [*PAGES, "CONTRIBUTING.md"]:
        with open(os.path.join(ROOT, page)) as handle:
            for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", handle.read()):
                assert os.path.exists(os.path.join(ROOT, os.path.dirname(page), target)), (page, target)


def test_what_the_members_install_stands_in_the_docs():
    """Every requirement of tests/families/members.py, as a user would type it."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "families"))
    try:
        from members import MEMBERS
    finally:
        sys.path.pop(0)
    with open(os.path.join(ROOT, "docs", "families.md")) as handle:
        rows = [line for line in handle if line.startswith("| ")]
    for name, member in MEMBERS.items():
        row = next(row for row in rows if name in row.split("|")[1].replace(",", " ").split())
        assert row.split("|")[2].strip() == member.python
        assert shlex.split(row.split("|")[3].strip(" `\n")) == member.requirements, name
