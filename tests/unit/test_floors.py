"""Imports go down the floors, frameworks stay in backend/, and the public names are what they say."""

import ast
import os
import subprocess
import sys

import pytest

import keras_session_ext

PACKAGE = os.path.dirname(keras_session_ext.__file__)
FILES = sorted(os.path.relpath(os.path.join(folder, name), PACKAGE)
               for folder, _, names in os.walk(PACKAGE) for name in names if name.endswith(".py"))

FLOORS = {"errors": 0, "arguments": 0.2, "progress": 0, "files": 0, "lifecycle": 0.5, "policies": 1, "backend": 1,
          "checkpoint": 1, "signals": 1, "tensorboard": 1, "state": 2, "lineage": 3, "snapshot": 4, "resume": 5,
          "saves": 5, "session": 6, "callbacks": 7, "outside": 7, "views": 7, "config": 8,
          "supervise": 1, "proof": 9, "launch": 9.5, "cli": 10}
#: an island may not import another; capture and restore need the dtypes and the fs calls of checkpoint
FRAMEWORKS = {"tensorflow", "keras", "tf_keras", "jax", "torch"}
LOC = 400


def imports(path):
    with open(os.path.join(PACKAGE, path)) as handle:
        tree = ast.parse(handle.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.module == "keras_session_ext":
                for alias in node.names:
                    yield "keras_session_ext." + alias.name
            else:
                yield node.module


def floor(module):
    return FLOORS[module.split(".")[0]]


@pytest.mark.parametrize("path", [path for path in FILES if path != "__init__.py"])
def test_imports_go_down(path):
    here = path[:-3].replace(os.sep, ".")
    for name in imports(path):
        if not name.startswith("keras_session_ext."):
            continue
        other = name[len("keras_session_ext."):]
        if other == "__version__" or other.split(".")[0] == here.split(".")[0]:
            continue
        assert floor(other) < floor(here), "{} imports {}".format(here, other)


@pytest.mark.parametrize("path", FILES)
def test_frameworks_and_h5py_stay_where_they_belong(path):
    for name in imports(path):
        root = name.split(".")[0]
        assert root not in FRAMEWORKS or path.startswith("backend"), "{} imports {}".format(path, name)
        assert root != "h5py" or path == os.path.join("checkpoint", "layout.py")
        assert root not in ("tensorboard", "werkzeug") or path.startswith("tensorboard"), path
        assert root != "matplotlib" or path == "views.py"
        assert root not in ("yaml", "jsonschema", "tomllib", "tomli") or path.startswith("config"), path
        assert root not in ("click", "rich") or path.startswith("cli"), path
        assert root not in ("pickle", "marshal", "shelve", "zipfile")


@pytest.mark.parametrize("path", FILES)
def test_file_system_calls_stay_in_files(path):
    if path == "files.py":
        return
    with open(os.path.join(PACKAGE, path)) as handle:
        tree = ast.parse(handle.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "open", path
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in ("open", "unlink", "remove", "rename", "replace", "link", "mkdir", "makedirs",
                                     "rmdir", "fsync", "ftruncate", "listdir", "scandir"), path
        assert not (isinstance(node, ast.Attribute) and node.attr == "rmtree"), path


@pytest.mark.parametrize("path", FILES)
def test_the_grammar_of_python_37(path):
    with open(os.path.join(PACKAGE, path)) as handle:
        ast.parse(handle.read(), feature_version=(3, 7))


@pytest.mark.parametrize("path", FILES)
def test_files_hold_one_idea(path):
    with open(os.path.join(PACKAGE, path)) as handle:
        assert len(handle.read().splitlines()) <= LOC


def test_importing_the_package_imports_no_framework():
    script = "import sys, keras_session_ext; print([m for m in {} if m in sys.modules])".format(
        sorted(FRAMEWORKS | {"h5py", "numpy"}))
    assert subprocess.check_output([sys.executable, "-c", script]).strip() == b"[]"


def test_public_names():
    for name in keras_session_ext.__all__:
        assert getattr(keras_session_ext, name) is not None
        assert name in dir(keras_session_ext)
    with pytest.raises(AttributeError, match="no attribute 'Chekpoint'"):
        keras_session_ext.Chekpoint


def test_public_docstrings_have_examples_that_run():
    import doctest
    import importlib

    for path in FILES:
        name = "keras_session_ext." + path[:-3].replace(os.sep, ".")
        if path.startswith("backend") or path == "__init__.py":
            continue
        module = importlib.import_module(name.replace(".__init__", ""))
        failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
        assert not failed, name
