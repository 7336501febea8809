"""The errors of the package: one class per decision a caller can take.

```
SessionError
├── CheckpointNotFound   there is nothing to restore        → start fresh, or name another checkpoint
├── CheckpointCorrupt    a file is damaged or not ours      → use an older checkpoint, or verify the disk
├── StateMismatch        a checkpoint of another script     → undo the change, or start in a new directory
├── DirectoryBusy        another live run owns the place    → stop that run, or choose another directory
├── UnsupportedBackend   this Keras cannot be served        → change what the message names
└── ConfigError          an argument or setting is wrong    → correct it
```

Each message says what failed, what was received, what was expected and what
to do next, with the path.
"""

from typing import Iterable


class SessionError(Exception):
    """Anything this package raises on purpose.

    Attributes:
        exit_status: of a command or a script that ends by it.
    """

    exit_status = 1


class CheckpointNotFound(SessionError, FileNotFoundError):
    """No checkpoint answers to the name, or the directory holds none."""

    exit_status = 3

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


class CheckpointCorrupt(SessionError, ValueError):
    """A checkpoint file is truncated, altered, foreign or of a newer format."""


_MOST = 20  # differences in a message


class StateMismatch(SessionError, ValueError):
    """The checkpoint does not fit the script that wants to restore it.

    Attributes:
        problems: every difference found, one line each.
    """

    def __init__(self, headline: str, problems: Iterable[str] = (), advice: str = ""):
        self.problems = list(problems)
        lines = [headline] + ["  - " + problem for problem in self.problems[:_MOST]]
        if len(self.problems) > _MOST:
            lines.append("  - and {} more: the exception's `problems`".format(len(self.problems) - _MOST))
        super().__init__("\n".join(lines + ([advice] if advice else [])))


class DirectoryBusy(SessionError, RuntimeError):
    """Another live run writes to the directory, or took it over."""

    exit_status = 4


class UnsupportedBackend(SessionError, RuntimeError):
    """The Keras, engine or strategy found cannot be served."""


class ConfigError(SessionError, ValueError):
    """An argument or setting has a value that cannot be used.

    Attributes:
        problems: of a config, everything that is wrong with it, one line each.

    Examples:
        >>> print(ConfigError("The config has 1 problem:", ["train.yaml:3:5: verbose: expected 0 or 1; received 7"]))
        The config has 1 problem:
          - train.yaml:3:5: verbose: expected 0 or 1; received 7
    """

    exit_status = 2

    def __init__(self, headline: str = "", problems: Iterable[str] = ()):
        self.problems = list(problems)
        super().__init__("\n".join([headline] + ["  - " + problem for problem in self.problems]))
