"""Durations and sizes as people write them."""

import re
from fractions import Fraction
from typing import Any, Union

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": Fraction(1, 1000), "": 1}
_BYTES = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_PART = re.compile(r"([0-9.]+) *([A-Za-z]*)")
_CLOCK = re.compile(r"(?:([0-9]{1,9}):)?([0-9]{1,9}):([0-9]{1,2})")
#: a duration and a size as configs, commands and arguments take them; the schema has the same patterns
DURATION = re.compile(
    r"^(?=[^1-9]*[1-9])(?:[0-9]{1,9}(?:\.[0-9]{1,6})?|(?:[0-9]{1,9}(?:\.[0-9]{1,6})?d)?(?:[0-9]{1,9}(?:\.[0-9]{1,6})?h)?"
    r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?m)?(?:[0-9]{1,9}(?:\.[0-9]{1,6})?s)?(?:[0-9]{1,9}(?:\.[0-9]{1,6})?ms)?)$")
SIZE = re.compile(r"^(?=[^1-9]*[1-9])[0-9]{1,18}(?:\.[0-9]{1,6})? ?(?:B|[kKMGT]B|[KMGT]iB)?$")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kmgt])(i?)b?", re.IGNORECASE)


def _sum(text: str, factors: Any) -> Fraction:
    return sum((Fraction(number) * factors[unit] for number, unit in _PART.findall(text)), Fraction(0))


def seconds(value: Union[int, float, str]) -> Union[int, float]:
    """A duration that fits the schema, in seconds.

    Examples:
        >>> seconds("1h30m"), seconds("500ms"), seconds(90.0), seconds("90")
        (5400, 0.5, 90, 90)
    """
    exact = _sum(value, _SECONDS) if isinstance(value, str) else Fraction(value)
    return int(exact) if exact == int(exact) else float(exact)


def size_bytes(value: Union[int, float, str]) -> int:
    """A size that fits the schema, in bytes.

    Examples:
        >>> size_bytes("20GB"), size_bytes("1.5 KiB"), size_bytes(5)
        (20000000000, 1536, 5)
    """
    return int(_sum(value, _BYTES) if isinstance(value, str) else value)


def duration_hint(text: str) -> str:
    """What a text of the form 10:30 may have meant.

    Examples:
        >>> duration_hint("10:30")
        'YAML reads 10:30 as text or as 630; write 10m30s'
    """
    found = _CLOCK.fullmatch(text)
    if not found:
        return ""
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    written = "".join("{}{}".format(count, unit) for count, unit in
                      ((hours, "h"), (minutes, "m"), (rest, "s")) if count)
    return "YAML reads {} as text or as {}; write {}".format(
        text, hours * 3600 + minutes * 60 + rest, written or "1s")


def size_hint(text: str) -> str:
    """What a text of the form 20g may have meant.

    Examples:
        >>> size_hint("20g"), size_hint("20gib")
        ('write 20GB or 20GiB', 'write 20GiB')
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or not found.group(1).strip("0."):
        return ""
    number, letter = found.group(1), found.group(2).upper()
    binary = "{}{}iB".format(number, letter)
    if found.group(3):
        return "write " + binary
    decimal = "{}{}B".format(number, letter)
    return "write {} or {}".format(decimal, binary) if text.strip()[-1] not in "bB" else "write " + decimal
