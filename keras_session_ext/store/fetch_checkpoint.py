"""A checkpoint of a store as a file of this machine."""

import os

from keras_session_ext import files
from keras_session_ext.arguments import LocalPath, PathOrUrl, local_path, path_or_url
from keras_session_ext.checkpoint import reader
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound, ConfigError, SessionError
from keras_session_ext.store.choose import open_file
from keras_session_ext.store.contract import Image, Pieces, StoredFile
from keras_session_ext.store.local import give_name, quietly_remove, temporary_name, write_file
from keras_session_ext.store.run_directory import RunDirectory

_PIECE_BYTES = 8 << 20


def fetch_checkpoint(url: PathOrUrl, path: LocalPath) -> str:
    """Copies a checkpoint to this machine, every byte of it verified: for programs that take a file.

    Args:
        url: of a checkpoint, such as `CheckpointInfo.path`, or of a run: its newest valid one.
        path: of the file to write, such as "model.h5"; a checkpoint that is there is replaced.

    Returns:
        The path, as text.

    Raises:
        CheckpointNotFound: there is none.
        CheckpointCorrupt: it is damaged.
        ConfigError: an argument cannot be used.

    Examples:
        >>> # fetch_checkpoint("s3://bucket/run", "model.h5")
        >>> # keras.models.load_model("model.h5", compile=False)
    """
    source, path = path_or_url(url, "url"), local_path(path, "path")
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise ConfigError("Cannot write {}. Expected the name of a file in a folder that is there.".format(path))
    if os.path.lexists(path) and not reader.is_ours(path):
        raise ConfigError("Cannot write {}: it exists and is no checkpoint of this package. Choose another name, or "
                          "remove it.".format(path))
    if not source.endswith(".h5"):
        known = RunDirectory(source).infos()
        if not known:
            raise CheckpointNotFound("There is no checkpoint in {}.".format(source))
        source = known[0].path
    try:
        file = open_file(source)
    except FileNotFoundError:
        raise CheckpointNotFound("There is no checkpoint {}.".format(source))
    except OSError as error:
        raise SessionError("Cannot read {}: {}.".format(source, error)) from error
    temporary = temporary_name(os.path.abspath(path))
    try:
        write_file(temporary, _Copy(file))
        try:
            reader.verify(temporary)
        except CheckpointCorrupt as error:
            raise CheckpointCorrupt(str(error).replace(temporary, source))
        give_name(temporary, os.path.abspath(path))
    except OSError as error:
        raise SessionError("Cannot copy {} to {}: {}.".format(source, path, error)) from error
    finally:
        file.close()
        if files.exists(temporary):
            quietly_remove(temporary)
    return path


class _Copy(Image):
    """What stands in another file."""

    def __init__(self, file: StoredFile):
        self._file, self.size_bytes = file, file.size_bytes()

    def pieces(self) -> Pieces:
        self._file.expect_all()
        for offset in range(0, self.size_bytes, _PIECE_BYTES):
            piece = bytearray(min(_PIECE_BYTES, self.size_bytes - offset))
            if self._file.read(piece, offset) != len(piece):
                raise OSError("the file ends too early")
            yield offset, piece
