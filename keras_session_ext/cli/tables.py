"""Tables on a terminal and in a file: columns, cells, and what fits."""

import os
import sys
from typing import Any, List, NamedTuple, Sequence, Union

from keras_session_ext.cli.readable import clean

#: what a column that may be cut or folded has at least
_LEAST_WIDTH = 12


class Styled(NamedTuple):
    """A text with a colour."""

    text: str
    style: str


Cell = Union[str, Styled]


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: what stands at its head.
        right: whether its cells stand right.
        wide: what becomes of cells a terminal has no room for: "keep", "fold" or "cut".
    """

    name: str
    right: bool = False
    wide: str = "keep"


def text_of(cell: Cell) -> str:
    return clean(cell.text if isinstance(cell, Styled) else cell)


def aligned(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> List[str]:
    """A table as lines of text."""
    texts = [[clean(column.name) for column in columns]] + [[text_of(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in texts) for index in range(len(columns))]
    return ["  ".join(text.rjust(width) if column.right else text.ljust(width)
                      for text, width, column in zip(row, widths, columns)).rstrip() for row in texts]


def draw(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """A table on a terminal; cells are `Text`, so that no markup in them is obeyed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, no_color=not has_colour(sys.stdout))
    shown = _fitting(columns, rows, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in (columns[index] for index in shown):
        table.add_column(Text(clean(column.name)), justify="right" if column.right else "left",
                         no_wrap=column.wide == "keep", overflow="ellipsis" if column.wide == "cut" else "fold")
    for row in rows:
        table.add_row(*[Text(text_of(row[index]), style=getattr(row[index], "style", ""),
                             no_wrap=columns[index].wide == "cut") for index in shown])
    console.print(table)


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> List[int]:
    """The columns that a terminal has room for: the last of those that may be cut go first."""
    needed = [max([len(clean(column.name))] + [len(text_of(row[index])) for row in rows]) if column.wide == "keep"
              else _LEAST_WIDTH for index, column in enumerate(columns)]
    shown = list(range(len(columns)))
    for index in reversed(range(len(columns))):
        if columns[index].wide == "cut" and sum(needed[one] + 2 for one in shown) - 2 > width:
            shown.remove(index)
    return shown


def has_colour(stream: Any) -> bool:
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: Any) -> bool:
    return bool(stream) and not stream.closed and stream.isatty()
