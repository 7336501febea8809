"""`keras-session doctor`."""

from typing import List, Sequence

import click

from keras_session_ext.cli import doctor_checks, path_arguments
from keras_session_ext.cli.doctor_checks import PROBLEM, WARNING, Check
from keras_session_ext.cli.output import Output, command

_STYLES = {PROBLEM: "red", WARNING: "yellow"}
_MARKS = {PROBLEM: "✗", WARNING: "!"}


@command()
@click.argument("directory", default=".", type=path_arguments.PATH_OR_URL)
@click.option("--import", "importing", is_flag=True,
              help="Import every Keras for real, each in a process of its own; it takes seconds.")
def doctor(out: Output, directory: str, importing: bool) -> int:
    """Looks at what is installed and at the file system of DIRECTORY, and says what will work and what will be exact.

    No framework is imported without --import. A few small files are made in
    DIRECTORY, to try it, and removed again. Exit status 1 if something stands
    in the way.
    """
    found: List[Check] = []
    for part in (doctor_checks.python, doctor_checks.dependencies, doctor_checks.frameworks, doctor_checks.exactness):
        found += part()
    if importing:
        found += doctor_checks.imports()
    found += doctor_checks.file_system(directory)
    problems = [one for one in found if one.state == PROBLEM]
    out.value({"checks": [one._asdict() for one in found], "problems": len(problems),
               "warnings": sum(one.state == WARNING for one in found)})
    if not out.json:
        _draw(out, found)
    return 1 if problems else 0


def _draw(out: Output, found: Sequence[Check]) -> None:
    width = max(len(one.name) for one in found)
    section = ""
    for one in found:
        if one.section != section:
            if section:
                out.line()
            out.line(one.section)
            section = one.section
        style = _STYLES.get(one.state)
        out.line("{} {:<{}}  {}".format(_MARKS.get(one.state, " "), one.name, width, one.value), style)
        if one.advice:
            out.line("  {:<{}}  → {}".format("", width, one.advice), style)
    problems = sum(one.state == PROBLEM for one in found)
    out.line()
    out.line("{} in the way".format("nothing stands" if not problems else "one thing stands" if problems == 1
                                    else "{} things stand".format(problems)))
