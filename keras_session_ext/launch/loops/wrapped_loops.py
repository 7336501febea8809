"""What a script that rewrite_loops.py has rewritten calls: its loops are levels of one SessionLoop, where they can be.

Where one cannot, it is told with its line, and runs as Python runs it. A loop
that is left alone outermost is left alone with all that stands within it: levels
whose surroundings begin anew would stand elsewhere after a resume.
"""

import ast
import builtins
import contextlib
import importlib.abc
import importlib.util
import itertools
import os
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set

from keras_session_ext import files
from keras_session_ext.backend import choose, imported
from keras_session_ext.backend.hooks import frame_scopes
from keras_session_ext.errors import ConfigError, StateMismatch, UnsupportedBackend
from keras_session_ext.launch.loops.rewrite_loops import NAME, Place, rewrite
from keras_session_ext.loop import LevelLoop, SessionLoop
from keras_session_ext.run.loop import LoopDriver

_NO_KERAS = "the script has imported no Keras; set KERAS_BACKEND to the engine that it trains with"


class ScriptLoops:
    """The loops of one script.

    Args:
        make: makes the SessionLoop, when the first of them begins.
        tell: takes a line for the user.
        begins: is called when an outermost loop begins.

    Attributes:
        places: the loops that were rewritten.
    """

    def __init__(self, make: Callable[[], SessionLoop], tell: Callable[[str], None], begins: Callable[[], None]):
        self._make, self._tell, self._begins = make, tell, begins
        self.places: List[Place] = []
        self._made: Optional[SessionLoop] = None
        self._owner = os.getpid(), threading.get_ident()
        self._alone = 0  # open loops that are left alone
        self._outermost = -1  # its number
        self.drawing = 0  # levels that are asking what they read for its next item
        self._told: Set[Any] = set()

    @property
    def is_open(self) -> bool:
        """Whether a level is."""
        driver = self._driver
        return driver is not None and bool(driver.levels) and not driver._broken

    @property
    def _driver(self) -> Optional[LoopDriver]:
        return None if self._made is None else self._made._driver

    # -- what the rewritten script calls

    def level(self, number: int, source: Any, start: Optional[int] = None) -> Any:
        """What a `for` iterates over.

        Args:
            number: of the loop in `places`.
            source: what it iterated over; None: it is a `while`.
            start: the first number, of an `enumerate`.
        """
        if type(source).__name__.startswith("tqdm") and hasattr(source, "iterable"):  # a bar that was made before
            inner = source.iterable
            source.iterable = _Level(self, number, inner.source if isinstance(inner, _Level) else inner, start)
            return source
        return _Level(self, number, source, start)

    def over(self, number: int) -> None:
        """Behind a loop that ended, or was left by `break`: if it was the outermost one, it is finished.

        One that was left by `return` is not, as its value stands in no variable: it is trained from its last checkpoint
        at the next start, and left again.
        """
        driver = self._driver
        if driver is None or not self._is_ours() or number != self._outermost:
            return
        if driver._broken and self.comes_back():
            raise StateMismatch("{} was left where the checkpoint was taken within it: what it was left by has changed "
                                "since that iteration began. Start in a new directory, and let the loop be left behind "
                                "the loops within it.".format(driver.levels[0].name))
        driver.finish()

    def comes_back(self) -> bool:
        """Whether a `while` begins an iteration that the checkpoint was taken within: its condition held then."""
        feed = None if self._driver is None else self._driver._feed
        return feed is not None and feed.stored is not None and len(feed.stored["levels"]) > len(feed.levels)

    def iterator(self, source: Any) -> Iterator[Any]:
        """What `iter(source)` is, for next()."""
        line = frame_scopes.caller().f_lineno
        made: Iterator[Any]
        try:
            if self._why_alone():
                return iter(source)
            made = self._loop().iterator(source)
        except (ConfigError, UnsupportedBackend) as error:
            self._tell_of("line {}".format(line), error)
            made = iter(source)
        return made

    # -- whether a loop can be a level

    def _is_ours(self) -> bool:
        return self._owner == (os.getpid(), threading.get_ident())

    def _why_alone(self) -> str:
        """Why a loop that begins now is no level; it is the script's own business, or told once."""
        if self._alone or self.drawing or not self._is_ours():
            return "it stands in a loop, a thread or a process that is left alone, or makes what a loop reads"
        if not imported() and "KERAS_BACKEND" not in os.environ:
            return _NO_KERAS
        family = choose()
        if family.engine.is_tracing():
            return "it is traced"
        return "it stands in a fit" if family.fit_running(frame_scopes.caller()) else ""

    def _loop(self) -> SessionLoop:
        if self._made is None:
            self._made = self._make()
        return self._made

    def open(self, level: "_Level") -> Optional[LevelLoop]:
        """The level of a SessionLoop that it is to be, or None."""
        try:
            why = self._why_alone()
            if why:
                if why == _NO_KERAS:
                    self._tell_of(_line(level.place), why)
                return None
            loop = self._loop()
            word = "epochs" if not self.is_open and level.place.nested else "batches"
            if not self.is_open:
                self._outermost = level.number
                self._begins()
            return loop.epochs() if level.source is None and word == "epochs" else loop._loop(
                word, itertools.count() if level.source is None else level.source, level.start)
        except (ConfigError, UnsupportedBackend) as error:
            self._tell_of(_line(level.place), error)
            return None

    def left_alone(self, level: "_Level", error: Optional[Exception] = None) -> Iterator[Any]:
        """Iterates as Python does."""
        if error is not None:
            self._tell_of(_line(level.place), error)
        yield from self.alone(level.plain())

    def alone(self, source: Any) -> Iterator[Any]:
        """Iterates as Python does; if no loop is around it, all that stands within it is left alone, too."""
        outermost = not self.is_open and self._is_ours()
        self._alone += outermost
        try:
            yield from source
        finally:
            self._alone -= outermost

    def _tell_of(self, where: str, why: Any) -> None:
        if (where, str(why)) not in self._told:
            self._told.add((where, str(why)))
            self._tell("{}: this loop is not saved: {}".format(where, why))


class _Level:
    """What a rewritten `for` iterates over, each time anew.

    Args:
        loops: of the script.
        number: of the loop.
        source: as of `ScriptLoops.level`.
        start: as of `ScriptLoops.level`.

    Attributes:
        number, place: of the loop.
    """

    def __init__(self, loops: ScriptLoops, number: int, source: Any, start: Optional[int]):
        self._loops, self.source, self.start = loops, source, start
        self.number, self.place = number, loops.places[number]

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Any]:
        if self.source is not None and not hasattr(self.source, "__iter__") and not hasattr(self.source, "__getitem__"):
            return self.plain()  # Python says what is wrong
        made = self._loops.open(self)
        return self._loops.left_alone(self) if made is None else _Opened(self._loops, self, iter(made))

    def plain(self) -> Iterator[Any]:
        """What Python would iterate over."""
        source = itertools.count() if self.source is None else self.source
        return iter(source) if self.start is None else enumerate(source, self.start)


class _Opened:
    """Asks a level of a SessionLoop for items; what is refused when it opens, is left alone."""

    def __init__(self, loops: ScriptLoops, level: _Level, items: Iterator[Any]):
        self._loops, self._level, self._items = loops, level, items
        self._is_new = True

    def __iter__(self) -> "_Opened":
        return self

    def __next__(self) -> Any:
        self._loops.drawing += 1
        try:
            return next(self._items)
        except (ConfigError, UnsupportedBackend) as error:
            if not self._is_new:
                raise
            self._items = self._loops.left_alone(self._level, error)
        finally:
            self._loops.drawing -= 1
            self._is_new = False
        return next(self._items)


def _line(place: Place) -> str:
    return "{}, line {}".format(os.path.basename(place.path), place.line)


class RewriteOnImport(importlib.abc.MetaPathFinder):
    """Rewrites modules that stand beside the script, and the script's own, when they are imported.

    Args:
        loops: of the script.
        folder: that of the script.
        tell: takes a line for the user.
    """

    def __init__(self, loops: ScriptLoops, folder: str, tell: Callable[[str], None]):
        self._loops, self._folder, self._tell = loops, os.path.abspath(folder), tell
        self._looking: Set[str] = set()
        self._trees: Dict[str, Any] = {}

    def find_spec(self, name: str, package: Optional[Sequence[str]] = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        if name in self._looking or self._file(self._folder, name) is None:
            return None
        self._looking.add(name)
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, AttributeError, ValueError):
            return None
        finally:
            self._looking.discard(name)
        path = None if spec is None else spec.origin
        if spec is None or not path or not self._is_beside(path):
            return None
        spec.loader.get_code = lambda _: self.code(files.read_all(path), path)  # type: ignore[union-attr]
        return spec

    def _is_beside(self, path: str) -> bool:
        return path.endswith(".py") and os.path.abspath(path).startswith(self._folder + os.sep) and (
            not frame_scopes.is_installed_path(path))

    def code(self, source: Any, path: str) -> Any:
        """The code of a rewritten file."""
        before = len(self._loops.places)
        made = rewrite(source, path, self._loops.places, lambda name, level: self._tree(name, level, path))
        lines = sorted(place.line for place in self._loops.places[before:])
        if lines:
            self._tell("{}: wrapped are the loops in line {}".format(
                os.path.basename(path), ", ".join(map(str, lines))))
        for line, text in made.told:
            self._tell("{}, line {}: not saved: {}".format(os.path.basename(path), line, text))
        return compile(made.tree, path, "exec")

    def _tree(self, name: str, level: int, path: str) -> Any:
        """The tree of a module beside a file; None where there is none, or it is no Python."""
        folder = self._folder
        if level:
            folder = os.path.dirname(os.path.abspath(path))
            for _ in range(level - 1):
                folder = os.path.dirname(folder)
        found = self._file(folder, name)
        if found is None:
            return None
        if found not in self._trees:
            self._trees[found] = None
            with contextlib.suppress(OSError, SyntaxError, ValueError):
                self._trees[found] = ast.parse(files.read_all(found), found)
        return self._trees[found]

    @staticmethod
    def _file(folder: str, name: str) -> Optional[str]:
        place = os.path.join(folder, *name.split("."))
        return next((one for one in (place + ".py", os.path.join(place, "__init__.py")) if os.path.isfile(one)), None)


def known_as(loops: ScriptLoops) -> None:
    """Lets every rewritten module find the loops under their name."""
    setattr(builtins, NAME, loops)
