"""The folder that a script is started in, as it was before: for a script that cannot be started twice in one."""

import os
import shutil
from typing import List, Set

#: a folder that holds more is not copied
MOST_BYTES, MOST_FILES = 256 << 20, 20000


class WorkingCopies:
    """Keeps the working directory, and gives each process a copy of its own.

    Args:
        folder: where the copies are made; it is left out of them.

    Attributes:
        is_kept: whether there is something to copy; not where it holds too much, or cannot be read.
    """

    def __init__(self, folder: str):
        self._folder = os.path.abspath(folder)
        self._kept = os.path.join(self._folder, "as-it-was")
        self._count = 0
        self.is_kept = False

    def keep(self) -> None:
        """Copies the working directory as it is now, if it is no larger than what can be copied for each process."""
        here = os.getcwd()
        if os.path.realpath(self._folder) == os.path.realpath(here) or not self._is_small(here):
            return
        try:
            shutil.copytree(here, self._kept, symlinks=True, ignore=self._left_out)
            self.is_kept = True
        except (OSError, shutil.Error):  # sockets, devices, what others may not read
            self.is_kept = False

    def fresh(self) -> str:
        """A new copy of what was kept."""
        self._count += 1
        path = os.path.join(self._folder, "work-{}".format(self._count))
        shutil.copytree(self._kept, path, symlinks=True)
        return path

    def _left_out(self, folder: str, names: List[str]) -> Set[str]:
        return {name for name in names if os.path.join(os.path.realpath(folder), name) == os.path.realpath(
            self._folder) or name == ".git"}

    def _is_small(self, here: str) -> bool:
        total, count = 0, 0
        for folder, folders, names in os.walk(here):
            left_out = self._left_out(folder, folders)
            folders[:] = [name for name in folders if name not in left_out]
            for name in names:
                count += 1
                try:
                    total += os.lstat(os.path.join(folder, name)).st_size
                except OSError:
                    return False
            if total > MOST_BYTES or count > MOST_FILES:
                return False
        return True
