"""docs/families.md and what compares it with the members' tests."""

import importlib
import json
import os
import subprocess
import sys

import pytest

FAMILIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "families")


@pytest.fixture
def table(monkeypatch):
    """The module that makes and checks the table."""
    monkeypatch.syspath_prepend(FAMILIES)
    return importlib.import_module("table")


@pytest.fixture
def rows(tmp_path, table):
    """What the members show, as the page has it: one file per cell, as their tests write them."""
    def write(changes=None):
        with open(table.PAGE) as handle:
            lines = handle.read().partition(table.MARK)[2].splitlines()
        for line in lines[3:3 + len(table.MEMBERS)]:
            name, *values = (cell.strip() for cell in line.strip("|").split("|"))
            values = ["no: because" if value.startswith("no [") else value for value in values]
            for column, value in dict(zip(table.COLUMNS, values), **(changes or {})).items():
                with open(str(tmp_path / "{}-{}.json".format(name, column.replace(" ", "-"))), "w") as handle:
                    json.dump([name, column, value], handle)
        return str(tmp_path)

    return write


def check(folder):
    done = subprocess.run([sys.executable, os.path.join(FAMILIES, "table.py"), folder, "--check"],
                          stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stderr


def test_the_page_names_every_member(rows, table):
    assert set(table.rows(rows())) == set(table.MEMBERS)


def test_the_page_is_found_to_say_what_was_shown(rows):
    assert check(rows()) == (0, "")


def test_what_the_page_does_not_say_is_told(rows, table):
    for column in table.COLUMNS:
        status, said = check(rows({column: "otherwise"}))
        assert status == 1 and "docs/families.md does not say of " in said and "'otherwise'" in said


def test_a_member_that_showed_too_little_makes_no_table(rows):
    folder = rows()
    os.remove(os.path.join(folder, "tf115-restore.json"))
    status, said = check(folder)
    assert status == 1 and "these showed nothing: tf115: restore" in said
