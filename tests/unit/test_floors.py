"""Imports go down the floors, frameworks stay in backend/, and the public names are what they say."""

import ast
import os
import subprocess
import sys

import pytest
from architecture import (
    BACKEND_FLOORS,
    FILES,
    FLOORS,
    ISLANDS,
    PACKAGE,
    ROOT,
    between_rooms,
    drawing,
    height,
    imports,
    module_of,
    own_imports,
    room,
)

import keras_session_ext

FRAMEWORKS = {"tensorflow", "keras", "tf_keras", "jax", "torch"}
LOC = 400


@pytest.mark.parametrize("path", [path for path in FILES if os.path.basename(path) != "__init__.py"])
def test_imports_go_down(path):
    here = room(module_of(path))
    assert here is not None, "{} stands on no floor: give it one in tests/architecture.py".format(path)
    for other in own_imports(path):
        there = room(other)
        if there is not None and there != here:
            assert height(there) < height(here), "{} imports {}".format(path, other)


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("backend")])
def test_imports_go_down_within_the_backend(path):
    def inside(module):
        return room(module[len("backend."):], BACKEND_FLOORS)

    here = inside(module_of(path))
    assert here is not None, path
    for other in own_imports(path):
        if other.startswith("backend.") and other != "backend.__init__":
            there = inside(other)
            assert there == here or height(there, BACKEND_FLOORS) < height(here, BACKEND_FLOORS), other


def test_islands_stay_islands():
    assert all(any(name in floor for floor in FLOORS) for name in ISLANDS)
    assert [(one, other) for one, other in between_rooms() if one in ISLANDS and other in ISLANDS] == []


def test_no_import_leads_back():
    """No module imports itself by way of others, not even inside functions."""
    graph = {module_of(path): {other for other in own_imports(path) if not other.endswith("__init__")}
             for path in FILES}
    done, walked = set(), []

    def visit(module):
        assert module not in walked, " -> ".join([*walked[walked.index(module):], module])
        if module not in done and module in graph:
            walked.append(module)
            for other in sorted(graph[module]):
                visit(other)
            done.add(walked.pop())

    for module in sorted(graph):
        visit(module)


def test_the_drawing_shows_the_imports():
    with open(os.path.join(ROOT, "docs", "images", "architecture.svg")) as handle:
        assert handle.read() == drawing(), "python tests/architecture.py > docs/images/architecture.svg"


@pytest.mark.parametrize("path", FILES)
def test_frameworks_and_h5py_stay_where_they_belong(path):
    for name in imports(path):
        root = name.split(".")[0]
        assert root not in FRAMEWORKS or path.startswith("backend"), "{} imports {}".format(path, name)
        assert root != "h5py" or path == os.path.join("checkpoint", "hdf5_layout.py")
        assert root not in ("tensorboard", "werkzeug") or path.startswith("tensorboard"), path
        assert root != "matplotlib" or path == os.path.join("lifecycle", "plot.py")
        assert root not in ("yaml", "jsonschema", "tomllib", "tomli") or path.startswith("config"), path
        assert root not in ("fsspec", "s3fs", "gcsfs", "adlfs") or path == "remote_files.py", path
        assert root not in ("click", "rich") or path.startswith("cli"), path
        assert root not in ("pickle", "marshal", "shelve", "zipfile")


@pytest.mark.parametrize("path", FILES)
def test_file_system_calls_stay_in_files(path):
    if path in ("files.py", "file_locks.py"):
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


def test_type_checkers_see_the_public_names():
    with open(os.path.join(PACKAGE, "__init__.py")) as handle:
        tree = ast.parse(handle.read())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == dict({name: "keras_session_ext." + module for name, module in keras_session_ext._NAMES.items()},
                        backend="keras_session_ext")


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
