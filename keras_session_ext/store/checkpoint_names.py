"""Names of checkpoints and claims: they hold the order of a run."""

import os
import re
from typing import Tuple

CHECKPOINT = re.compile(r"g([0-9]{6,})-s([0-9]{10,})-([0-9a-f]{8})\.h5")
CLAIM = re.compile(r"g([0-9]{6,})\.claim")


def claim_of(generation: int) -> str:
    """The name of the claim of a start.

    Examples:
        >>> claim_of(3)
        'g000003.claim'
    """
    return "g{:06d}.claim".format(generation)


def new_id(generation: int, step: int) -> str:
    """A name for the checkpoint of a step, which nothing else has, without its suffix."""
    return "g{:06d}-s{:010d}-{}".format(generation, step, os.urandom(4).hex())


def place(name: str) -> Tuple[int, int, str]:
    """Where a checkpoint stands in the order of its run.

    Examples:
        >>> place("g000003-s0000001234-1a2b3c4d.h5")
        (3, 1234, '1a2b3c4d')
    """
    match = CHECKPOINT.fullmatch(name)
    return (0, 0, name) if match is None else (int(match.group(1)), int(match.group(2)), match.group(3))
