"""Changes the modules of a framework at the moment they are imported; those that are there already at once.

So the script may import whichever Keras it likes, and none is imported for it.
"""

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Mapping, Optional, Sequence


def change_on_import(changes: Mapping[str, Callable[[Any], None]]) -> None:
    """Calls a function with each of these modules once it is executed.

    Args:
        changes: name of a module -> what changes it.
    """
    for name in set(changes) & set(sys.modules):
        changes[name](sys.modules[name])
    sys.meta_path.insert(0, _Changes(changes))


class _Changes(importlib.abc.MetaPathFinder):
    """Finds nothing by itself: it lets what was found be changed behind its execution."""

    def __init__(self, changes: Mapping[str, Callable[[Any], None]]):
        self._changes = changes
        self._looking: set = set()

    def find_spec(self, name: str, path: Optional[Sequence[str]] = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        if name not in self._changes or name in self._looking:
            return None
        self._looking.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking.discard(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._changes[name](module)

            # on the loader itself, which stays what inspect and linecache ask for the source
            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
