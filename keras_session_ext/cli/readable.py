"""Figures as people read them."""

import time
from typing import Any, Dict

from keras_session_ext.lifecycle.timeline import spell


def size(nbytes: float) -> str:
    """A size, in the units of the tab: "4.2 MiB".

    Examples:
        >>> size(512), size(163984), size(25_000_000_000)
        ('512 bytes', '160 KiB', '23.3 GiB')
    """
    if nbytes < 1024:
        return "{:.0f} bytes".format(nbytes)
    for unit in ("KiB", "MiB", "GiB"):
        nbytes /= 1024
        if nbytes < 1023.5:
            return "{:.{}f} {}".format(nbytes, 1 if nbytes < 99.95 else 0, unit)
    return "{:.1f} TiB".format(nbytes / 1024)


def when(seconds: float) -> str:
    """A moment in local time."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return repr(seconds)


def age(seconds: float) -> str:
    """How long ago a moment was."""
    gone = time.time() - seconds
    return " ".join(spell(gone).split(" ")[:2]) if 0 <= gone < 1e10 else when(seconds)


def figure(value: Any) -> str:
    """A number in few digits, anything else as it is."""
    return "{:.6g}".format(value) if isinstance(value, float) else str(value)


def metrics(values: Dict[str, Any]) -> str:
    """Metrics in one line.

    Examples:
        >>> metrics({"loss": 0.25, "val_loss": 1 / 3})
        'loss=0.25 val_loss=0.333333'
    """
    return " ".join("{}={}".format(name, figure(value)) for name, value in values.items())


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return "{:,} {}{}".format(number, noun, "" if number == 1 else "s")


def clean(text: Any) -> str:
    """A text without anything that a terminal obeys: such characters are written as escapes.

    Examples:
        >>> print(clean("loss\\x1b[31m"))
        loss\\x1b[31m
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


