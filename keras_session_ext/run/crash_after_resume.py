"""What is said behind an exception that ends a process right after a resume: that it may come from there."""

import sys
from types import TracebackType
from typing import Optional, Type


class AfterResume:
    """From a restore until the first step is over.

    Args:
        path: the checkpoint that was restored.
        directory: where the run lives.

    Examples:
        >>> after = AfterResume("runs/a/checkpoints/x.h5", "runs/a")
        >>> after.over()
    """

    def __init__(self, path: str, directory: str):
        self._text = ("Session: this came right after a resume from {}, before its first step was over. To start "
                      "without it, pass restore='never', or another directory than {}.".format(path, directory))
        self._before = sys.excepthook
        self._hook = self._excepthook  # a bound method is another one each time it is asked for
        sys.excepthook = self._hook

    def _excepthook(self, kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        self._before(kind, error, trace)
        if self._text and not isinstance(error, KeyboardInterrupt):
            print(self._text, file=sys.stderr, flush=True)

    def over(self) -> None:
        """The first step is over: what comes now is no business of the resume."""
        if sys.excepthook is self._hook:
            sys.excepthook = self._before
        self._text = ""
