"""Writes the table of docs/families.md from what the members' tests showed.

    python tests/families/table.py ROWS [--check]

ROWS is the folder the tests wrote to (KSE_ROWS). `--check` only compares the
members found there with the table that stands, for CI, which runs some of them.
"""

import json
import os
import re
import sys

from members import MEMBERS as ALL

#: those on several devices run the tests of trainings only; docs/devices.md says what they show
MEMBERS = {name: member for name, member in ALL.items() if not member.devices}
COLUMNS = ["session access", "run", "capture", "restore", "mid-epoch exact", "epoch exact", "callbacks",
           "evaluate and predict hooks", "load_model on the file"]
MARK = "<!-- made by the tests of the families -->"
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "families.md")


def rows(folder):
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as handle:
            member, column, value = json.load(handle)
        if member not in MEMBERS:
            continue
        found.setdefault(member, {})[column] = value
    return found


def lines_of(found):
    """Two tables: what the members can do, and which sources and models resume exactly."""
    more = sorted({column for row in found.values() for column in row} - set(COLUMNS))
    notes = []

    def cell(member, column):
        value = found[member].get(column)
        if value is None:
            return "–"
        if value.startswith("no: "):
            why = value[4:]
            if why not in notes:
                notes.append(why)
            return "no [{}]".format(notes.index(why) + 1)
        return value

    lines = []
    for columns, by_member in ((COLUMNS, True), (more, False)):
        members = [name for name in MEMBERS if name in found]
        if by_member:
            lines += ["| member | {} |".format(" | ".join(columns)), "|---" * (len(columns) + 1) + "|"]
            lines += ["| {} | {} |".format(name, " | ".join(cell(name, column) for column in columns))
                      for name in members]
        else:
            lines += ["", "| exact: | {} |".format(" | ".join(members)), "|---" * (len(members) + 1) + "|"]
            lines += ["| {} | {} |".format(column, " | ".join(cell(name, column) for name in members))
                      for column in columns]
    return lines + [""] + ["{}. The report says: … {} …".format(number, why) for number, why in enumerate(notes, 1)]


def main(folder, check):
    found = rows(folder)
    missing = [name for name in MEMBERS if name not in found]
    incomplete = ["{}: {}".format(name, column) for name in found for column in COLUMNS if column not in found[name]]
    if incomplete or (missing and not check):
        sys.exit("No table: these showed nothing: {}".format(", ".join(missing + incomplete)))
    with open(PAGE) as handle:
        above, _, table = handle.read().partition(MARK)
    if check:
        for name in found:
            shown = ["no" if found[name][column].startswith("no: ") else found[name][column] for column in COLUMNS]
            line = next((line for line in table.splitlines() if line.startswith("| {} |".format(name))), "")
            stands = [re.sub(r" \[\d+\]", "", one.strip()) for one in line.split("|")[2:-1]]
            if shown != stands:
                sys.exit("docs/families.md does not say of {} what was shown.\nshown:  {}\nstands: {}".format(
                    name, shown, stands))
        return
    with open(PAGE, "w") as handle:
        handle.write(above + MARK + "\n" + "\n".join(lines_of(found)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], "--check" in sys.argv)
