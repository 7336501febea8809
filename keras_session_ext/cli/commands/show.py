"""`keras-session show`."""

from typing import Any, Dict, List, Optional, Tuple

import click

from keras_session_ext.backend.constructor_arguments import is_object_setting
from keras_session_ext.checkpoint import reader
from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.output import Output, command
from keras_session_ext.cli.tables import Cell, Column, Styled

_TENSORS = (Column("tensor", wide="fold"), Column("kind"), Column("dtype"), Column("shape"), Column("size", right=True))
_KINDS = (Column("kind"), Column("tensors", right=True), Column("size", right=True))


@command()
@click.argument("checkpoint", type=path_arguments.PATH_OR_URL)
@path_arguments.in_directory
@click.option("--tensors", is_flag=True, help="Show every tensor.")
def show(out: Output, checkpoint: str, directory: Optional[str], tensors: bool) -> None:
    """Shows what is in CHECKPOINT: a file, a run directory (its newest), DIRECTORY/ID, or an id with --directory.

    Only the header is read; `verify` reads every byte.
    """
    damaged: List[str] = []
    head = reader.read_header(path_arguments.locate(checkpoint, directory, damaged))
    for message in damaged:
        out.note("Damaged, and passed over: " + message, "red")
    out.value(_value(head, tensors))
    if not out.json:
        _draw(out, head, tensors)


def _value(head: reader.Header, tensors: bool) -> Dict[str, Any]:
    fields = head.fields
    made = path_arguments.described(head.info)
    made.update({name: fields.get(name) for name in _MORE}, kinds=_kinds(head), lacks=_lacks(fields))
    if tensors:
        made["tensors"] = [row._asdict() for row in head.rows]
    return made


#: what files of a training hold besides, see docs/format.md
_MORE = ("witnessed", "diverged_at", "epochs", "stopped", "script", "policies", "versions", "package")


def _lacks(fields: Dict[str, Any]) -> List[str]:
    view = fields.get("keras_view")
    lacks = view.get("lacks") if isinstance(view, dict) else None
    return [str(one) for one in lacks] if isinstance(lacks, list) else []


def _kinds(head: reader.Header) -> Dict[str, Dict[str, int]]:
    found: Dict[str, Dict[str, int]] = {}
    for row in head.rows:
        kind = found.setdefault(row.kind, {"tensors": 0, "size_bytes": 0})
        kind["tensors"] += 1
        kind["size_bytes"] += row.nbytes
    return found


def _draw(out: Output, head: reader.Header, tensors: bool) -> None:
    info, fields = head.info, head.fields
    out.line(info.id)
    out.fields(_about(head))
    for title, values in (("metrics", info.metrics), ("versions", fields.get("versions")),
                          ("script", fields.get("script")), ("save policies", fields.get("policies"))):
        if isinstance(values, dict) and values:
            out.line()
            out.line(title)
            shown = [(name, readable.figure(value)) for name, value in values.items() if not is_object_setting(name)]
            more = len(values) - len(shown)
            out.fields(shown + ([("of layers, losses, metrics", "{} settings; --json has them".format(more))] if more
                                else []))
    lacks = _lacks(fields)
    if lacks:
        out.line()
        out.line("plain Keras will not find")
        for one in lacks:
            out.line("  " + one)
    out.line()
    out.table(_KINDS, [(kind, str(sums["tensors"]), readable.size(sums["size_bytes"]))
                       for kind, sums in _kinds(head).items()])
    if tensors:
        out.line()
        out.table(_TENSORS, [(row.name, row.kind, row.dtype, "×".join(map(str, row.shape)) or "scalar",
                              readable.size(row.nbytes)) for row in head.rows])


def _about(head: reader.Header) -> List[Tuple[str, Cell]]:
    info, fields = head.info, head.fields
    rows: List[Tuple[str, Cell]] = [
        ("file", info.path), ("size", "{} ({:,} bytes)".format(readable.size(info.size_bytes), info.size_bytes)),
        ("created", "{} ({} ago)".format(readable.when(info.created), readable.age(info.created))),
        ("progress", str(info.progress)), ("in fit", readable.spell(info.progress.elapsed_seconds)),
        ("epochs", str(fields.get("epochs", ""))), ("saved for", info.reason),
        ("finished", "yes, the end of stage {}".format(info.progress.stage) if info.finished else "no"),
        ("generation", str(info.generation)), ("run", info.run), ("parent", str(info.parent or "none"))]
    if info.branch_of:
        rows.append(("branch of", str(info.branch_of)))
    rows.append(("exact", "yes" if info.exact else Styled("no, because " + "; ".join(info.reasons), "yellow")))
    if fields.get("diverged_at") is not None:
        rows.append(("diverged at", Styled("step {}".format(fields["diverged_at"]), "red")))
    elif fields.get("witnessed"):
        rows.append(("witnessed", "{} steps were trained again, all as before".format(fields["witnessed"])))
    return rows
