"""`keras-session diff`."""

from typing import Any, List, Optional, Tuple

import click

from keras_session_ext.checkpoint import reader
from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.output import Output, command
from keras_session_ext.cli.tables import Column

_TENSORS = (Column("tensor", wide="fold"), Column("difference"), Column("elements", right=True),
            Column("largest", right=True), Column("relative", right=True), Column("", wide="cut"))
_SCALARS = (Column("value", wide="fold"), Column("A", wide="fold"), Column("B", wide="fold"))


@command()
@click.argument("a", type=path_arguments.PATH_OR_URL)
@click.argument("b", type=path_arguments.PATH_OR_URL)
@path_arguments.in_directory
@click.option("--atol", type=click.FloatRange(min=0), default=0.0, metavar="X",
              help="Numbers that differ by no more than this are the same.")
@click.option("--rtol", type=click.FloatRange(min=0), default=0.0, metavar="X",
              help="… and by no more than this part of the larger one, on top.")
@click.option("--all", "everything", is_flag=True, help="Show what is the same, too.")
def diff(out: Output, a: str, b: str, directory: Optional[str], atol: float, rtol: float, everything: bool) -> int:
    """Compares checkpoints A and B: every tensor, and what else a training goes on from.

    A and B are files, run directories (their newest), DIRECTORY/ID, or ids with
    --directory. Every tensor is verified on the way. Exit status 1 if anything
    differs. What only names a file and its origin is not compared.
    """
    from keras_session_ext.cli import checkpoint_differences  # NumPy

    paths = [path_arguments.locate(name, directory) for name in (a, b)]
    with reader.Opened(paths[0]) as one, reader.Opened(paths[1]) as other:
        both = one.head.info.size_bytes + other.head.info.size_bytes
        found: List[Any] = []
        with out.progress("comparing", both) as told:
            for difference in checkpoint_differences.tensors(one, other, atol, rtol):
                told(both // (len(one.head.rows) + 1))
                found.append(difference)
        scalars = [(name, x, y, _same(x, y, atol, rtol))
                   for name, x, y in checkpoint_differences.scalars(one.head, other.head)]
    same = all(each.what == "same" for each in found) and all(equal for _, _, _, equal in scalars)
    out.value({
        "same": same, "a": one.path, "b": other.path,
        "tensors": [each._asdict() for each in found if everything or each.what != "same"],
        "scalars": [{"name": name, "a": x, "b": y, "same": equal} for name, x, y, equal in scalars
                    if everything or not equal],
        "compared": {"tensors": len(found), "scalars": len(scalars)}})
    if not out.json:
        _draw(out, found, scalars, everything)
    return 0 if same else 1


def _same(x: Any, y: Any, atol: float, rtol: float) -> bool:
    if x == y and type(x) is type(y):
        return True
    if not (isinstance(x, float) and isinstance(y, (float, int)) and (atol or rtol)):
        return False
    return abs(x - y) <= atol + rtol * max(abs(x), abs(y))


def _draw(out: Output, found: List[Any], scalars: List[Tuple[str, Any, Any, bool]], everything: bool) -> None:
    shown = [each for each in found if everything or each.what != "same"]
    out.table(_TENSORS, [(each.name, each.what, "{:,} of {:,}".format(each.different, each.elements),
                          "" if each.most is None else readable.figure(each.most),
                          "" if each.relative is None else readable.figure(each.relative), each.detail)
                         for each in shown])
    rows = [(name, _shown(x), _shown(y)) for name, x, y, equal in scalars if everything or not equal]
    if shown and rows:
        out.line()
    out.table(_SCALARS, rows)
    if shown or rows:
        out.line()
    apart = sum(each.what != "same" for each in found)
    others = sum(not equal for _, _, _, equal in scalars)
    out.line("{} and {} compared: {}".format(
        readable.count(len(found), "tensor"), readable.count(len(scalars), "other value"),
        "all the same" if not apart and not others else "{} and {} differ".format(
            readable.count(apart, "tensor"), readable.count(others, "other value"))))


def _shown(value: Any) -> str:
    return "–" if value is None else readable.figure(value)
