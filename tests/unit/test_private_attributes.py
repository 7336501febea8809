"""Foreign private attributes and versions: only in backend/, and every name in its table."""

import ast
import os

import pytest
from architecture import FILES, PACKAGE

from keras_session_ext.backend.private_attributes import PRIVATE

ROOT = os.path.dirname(PACKAGE)
_NAMED_TUPLES = {"_replace", "_asdict", "_fields"}


def tree(path):
    with open(os.path.join(PACKAGE, path)) as handle:
        return ast.parse(handle.read())


def own_names(node):
    """What a file of the package defines: functions, classes, variables, attributes of self."""
    for one in ast.walk(node):
        if isinstance(one, (ast.FunctionDef, ast.ClassDef)):
            yield one.name
        elif isinstance(one, (ast.Attribute, ast.Name)) and isinstance(one.ctx, ast.Store):
            if isinstance(one, ast.Name):
                yield one.id
            elif isinstance(one.value, ast.Name) and one.value.id in ("self", "cls"):
                yield one.attr


OWN = {name for path in FILES for name in own_names(tree(path))} | _NAMED_TUPLES


def foreign(path):
    """Private names of others that a file uses, as attributes or by getattr and hasattr."""
    for node in ast.walk(tree(path)):
        name = None
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr", "setattr"):
            name = getattr(node.args[1], "value", getattr(node.args[1], "s", None))
        if isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name not in OWN:
            yield name


@pytest.mark.parametrize("path", [path for path in FILES if not path.startswith("backend")])
def test_no_foreign_private_attribute_outside_backend(path):
    documented = {"_getframe", "_exit"}
    # Python's own libraries use it; tests/integration/test_remote.py guards it: the journal's last event is "finished"
    assert set(foreign(path)) - documented <= ({"_register_atexit"} if path == "remote_copies.py" else set())


@pytest.mark.parametrize("path", [path for path in FILES if not path.startswith("backend")])
def test_no_version_is_compared_outside_backend(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr in ("__version__", "version_info"):
            raise AssertionError("{} looks at {}".format(path, node.attr))


def test_the_table_is_complete_and_nothing_in_it_is_unused():
    used = {name for path in FILES if path.startswith("backend") for name in foreign(path)} - {"_getframe"}
    assert used - set(PRIVATE) - {"_keras_session_ext"} == set(), "add these to backend/private_attributes.py"
    assert set(PRIVATE) - used == set(), "take these out of backend/private_attributes.py"


@pytest.mark.parametrize("name", PRIVATE)
def test_the_guarding_test_is_there(name):
    assert os.path.exists(os.path.join(ROOT, PRIVATE[name][2]))
