"""What functions close over."""

from typing import Any, Iterator, Sequence


def callables_within(functions: Sequence[Any]) -> Iterator[Any]:
    """These functions, and what they close over."""
    for function in functions:
        yield function
        for cell in getattr(function, "__closure__", None) or ():
            yield cell.cell_contents
