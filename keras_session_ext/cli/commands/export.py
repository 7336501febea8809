"""`keras-session export`."""

import os
from typing import Any, Dict, Optional

import click

from keras_session_ext import files
from keras_session_ext.checkpoint import reader
from keras_session_ext.cli import path_arguments, readable
from keras_session_ext.cli.output import Output, command
from keras_session_ext.errors import ConfigError
from keras_session_ext.store.local import temporary_name

_BY_SUFFIX = {".h5": "model", ".hdf5": "model", ".safetensors": "safetensors", ".npz": "npz"}
_FORMATS = ("model", "weights", "safetensors", "npz")


@command()
@click.argument("checkpoint", type=path_arguments.PATH_OR_URL)
@click.argument("output", type=path_arguments.LOCAL_PATH)
@path_arguments.in_directory
@click.option("-f", "--format", "form", type=click.Choice(_FORMATS),
              help="What to write. Default: by the suffix of OUTPUT: .h5 (model), .safetensors, .npz.")
@click.option("--all", "everything", is_flag=True,
              help="All tensors of the session, not the model's variables only (safetensors, npz).")
@click.option("--force", is_flag=True, help="Replace OUTPUT if it is there.")
def export(out: Output, checkpoint: str, output: str, directory: Optional[str], form: Optional[str],
           everything: bool, force: bool) -> None:
    """Writes the model in CHECKPOINT to OUTPUT, for programs that know nothing of sessions. No framework is needed.

    \b
    model        .h5 with architecture and weights: keras.models.load_model(OUTPUT, compile=False)
    weights      .h5 with the weights alone: model.load_weights(OUTPUT)
    safetensors  the model's variables under Keras's names
    npz          the same, for NumPy

    A checkpoint itself is such an .h5 file already, with the session on top:
    this one is smaller. The suffix .weights.h5 is refused, since Keras 3 reads
    it in a layout that only Keras can write.
    """
    form = _form(output, form, everything)
    path = os.path.abspath(output)
    _check_output(path, force)
    with reader.Opened(path_arguments.locate(checkpoint, directory)) as opened:
        temporary = temporary_name(path)
        try:
            told = _write(out, opened, temporary, form, everything)
            if force:
                files.replace(temporary, path)
            else:
                files.publish(temporary, path)
        except BaseException:
            if files.exists(temporary):
                files.remove(temporary)
            raise
    files.sync_directory(os.path.dirname(path))
    size = os.path.getsize(path)
    out.value(dict(told, path=path, format=form, checkpoint=opened.head.info.id, size_bytes=size))
    out.line("{}  {}, {} of {}".format(path, readable.size(size), readable.count(told["tensors"], "tensor"),
                                       opened.head.info.id))


def _form(output: str, form: Optional[str], everything: bool) -> str:
    if output.endswith(".weights.h5"):
        raise ConfigError(
            "Cannot export to {}: Keras 3 reads the suffix .weights.h5 in a layout of its own. Write x.h5, which "
            "load_weights reads in every Keras; or let Keras write it: keras.models.load_model({!r}, "
            "compile=False).save_weights({!r}).".format(output, "x.h5", output))
    form = form or _BY_SUFFIX.get(os.path.splitext(output)[1].lower())
    if form is None:
        raise click.UsageError("{} has none of the suffixes {}. Give --format.".format(
            output, ", ".join(_BY_SUFFIX)))
    if everything and form in ("model", "weights"):
        raise click.UsageError("--all goes with safetensors and npz. The whole session as .h5 is the checkpoint "
                               "itself.")
    return form


def _check_output(path: str, force: bool) -> None:
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path)):
        raise ConfigError("Cannot export to {}. Expected the name of a file in a folder that is there.".format(path))
    if files.exists(path) and not force:
        raise ConfigError("{} is there already. Choose another name, or give --force.".format(path))


def _write(out: Output, opened: reader.Opened, temporary: str, form: str, everything: bool) -> Dict[str, Any]:
    """Writes the new file; returns what is worth telling."""
    from keras_session_ext.checkpoint import export_formats as writing  # NumPy and h5py

    if form in ("model", "weights"):
        total = sum(row.nbytes for row in opened.head.rows if row.kind == "variables")
        with out.progress("writing", total) as told:
            count = writing.write_keras(opened, temporary, form == "model", told)
        return {"tensors": count, "widened": []}
    tensors = writing.chosen(opened, everything)
    widened = []
    with out.progress("reading", sum(row.nbytes for row in tensors.values())) as told:
        if form == "npz":
            widened = writing.write_npz(opened, temporary, tensors, told)
        else:
            writing.write_safetensors(opened, temporary, tensors, told)
    if widened:
        out.note("NumPy files cannot name the dtypes of {}; they were widened: {}".format(
            readable.count(len(widened), "tensor"), ", ".join(widened)), "yellow")
    return {"tensors": len(tensors), "widened": widened}
