"""Run directories below a directory, or below the URL of one."""

import os
from typing import List

from keras_session_ext import files, remote_files, urls
from keras_session_ext.errors import SessionError
from keras_session_ext.lifecycle import journal
from keras_session_ext.store.run_directory import RunDirectory

#: how far below a directory runs are looked for, and in how many folders
_DEPTH, _MOST_FOLDERS = 3, 5000


def is_folder(path: str) -> bool:
    """Whether something stands below a path; a store has no folders but those."""
    return bool(_entries(path)) if urls.is_url(path) else os.path.isdir(path)


def is_run(path: str) -> bool:
    """Whether a run was or is at home in a directory."""
    if urls.is_url(path):
        return any(not one.is_folder for one in _entries(urls.join(path, "checkpoints")))
    checkpoints = os.path.join(path, "checkpoints")
    return (os.path.isfile(os.path.join(path, journal.NAME)) or bool(RunDirectory(path).paths())
            or (os.path.isdir(checkpoints) and files.exists(os.path.join(path, "LOCK"))))


def runs_below(path: str) -> List[str]:
    """The run directories below a directory."""
    found, folders = [], [(path, 0)]
    for folder, depth in folders:
        for one in _below(folder):
            if is_run(one):
                found.append(one)
            elif depth + 1 < _DEPTH and len(folders) < _MOST_FOLDERS:
                folders.append((one, depth + 1))
    return sorted(found)


def _below(folder: str) -> List[str]:
    """The folders right below one."""
    if urls.is_url(folder):
        return [urls.join(folder, one.name) for one in _entries(folder) if one.is_folder]
    try:
        names = files.names(folder)
    except OSError:
        return []  # not ours to read
    paths = [os.path.join(folder, name) for name in names if not name.startswith(".")]
    return [path for path in paths if os.path.isdir(path) and not os.path.islink(path)]


def _entries(url: str) -> List[remote_files.Entry]:
    try:
        return remote_files.entries(url)
    except OSError as error:
        raise SessionError("Cannot read {}: {}.".format(url, error)) from error
