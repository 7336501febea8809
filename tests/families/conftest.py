"""The tests of one member: KSE_FAMILY says which; `nox` runs all of them.

What they show is kept as one small file per cell in the folder KSE_ROWS, from
which table.py makes docs/families.md.
"""

import json
import os
import sys
import zlib

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [path for path in (HERE, os.path.dirname(HERE)) if path not in sys.path]

import devices
import harness
import members

os.environ.update(harness.environment(members.current()))  # this process computes as its children do
members.prepare()
harness.Server.script = os.path.join(HERE, "train.py")


def pytest_report_header(config):
    return "member: {}".format(members.current())


def pytest_configure(config):
    config.addinivalue_line("markers", "variant: another source or model; CI runs these on one member per family")
    config.addinivalue_line("markers", "members(*names): what only these members have to show")


def pytest_collection_modifyitems(config, items):
    """Takes out what other members have to show, nothing is skipped; what takes long begins first."""
    here = members.current()
    others = [item for item in items for mark in item.iter_markers("members") if here not in mark.args]
    if members.MEMBERS[here].devices:  # what else a Keras does it does on one device
        others += [item for item in items if item.fspath.purebasename not in ("test_kill", "test_plain")
                   and item not in others]
    config.hook.pytest_deselected(items=others)
    items[:] = sorted((item for item in items if item not in others),
                      key=lambda item: item.fspath.purebasename != "test_scripts")


@pytest.fixture(scope="session")
def member():
    return members.current()


@pytest.fixture(scope="session")
def keras():
    """The member's Keras, in this process."""
    keras = members.load()
    devices.use(members.MEMBERS[members.current()].devices, keras)
    return keras


@pytest.fixture
def cell(member):
    """Writes a cell of docs/families.md: `cell(column, value)`."""
    def write(column, value):
        folder = os.environ.get("KSE_ROWS")
        if folder:
            os.makedirs(folder, exist_ok=True)
            name = "{}-{:08x}.json".format(member, zlib.crc32(column.encode()))
            with open(os.path.join(folder, name), "w") as handle:
                json.dump([member, column, value], handle)

    return write
