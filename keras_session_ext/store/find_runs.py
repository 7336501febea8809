"""Run directories below a directory."""

import os
from typing import List

from keras_session_ext import files
from keras_session_ext.lifecycle import journal
from keras_session_ext.store.run_directory import RunDirectory

#: how far below a directory runs are looked for, and in how many folders
_DEPTH, _MOST_FOLDERS = 3, 5000


def is_run(path: str) -> bool:
    """Whether a run was or is at home in a directory."""
    checkpoints = os.path.join(path, "checkpoints")
    return (os.path.isfile(os.path.join(path, journal.NAME)) or bool(RunDirectory(path).paths())
            or (os.path.isdir(checkpoints) and files.exists(os.path.join(path, "LOCK"))))


def runs_below(path: str) -> List[str]:
    """The run directories below a directory."""
    found, folders = [], [(path, 0)]
    for folder, depth in folders:
        for name in _names(folder):
            one = os.path.join(folder, name)
            if name.startswith(".") or os.path.islink(one) or not os.path.isdir(one):
                continue
            if is_run(one):
                found.append(one)
            elif depth + 1 < _DEPTH and len(folders) < _MOST_FOLDERS:
                folders.append((one, depth + 1))
    return sorted(found)


def _names(folder: str) -> List[str]:
    try:
        return files.names(folder)
    except OSError:
        return []  # not ours to read


