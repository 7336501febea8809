"""How every command speaks: data on stdout, messages on stderr, JSON where it is asked for."""

import contextlib
import json
import os
import sys
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import click

from keras_session_ext.cli.formatting import clean
from keras_session_ext.errors import SessionError

#: every exit status and what it says
STATUSES = (
    (0, "all is well"),
    (1, "the answer is no, or it failed: a damaged checkpoint, tensors that differ, a run that is not exact"),
    (2, "wrong usage, or a setting that cannot be used"),
    (3, "there is no such checkpoint, run or directory"),
    (4, "the directory is in use by a live process"),
    (130, "interrupted by Ctrl-C"),
    (141, "nobody reads the output any more, as with `| head`"),
)
END_STATUSES = {"interrupted": 130, "output closed": 141}
#: less than this is done before a bar can be seen
_BAR_BYTES = 1 << 25
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


class Output:
    """Where a command says what it has to say.

    Args:
        json: whether the data are JSON; then `line` and `table` say nothing, and `value` does.

    Attributes:
        terminal: whether a person reads stdout.
    """

    def __init__(self, json: bool = False):
        self.json = json
        self.terminal = not json and _is_terminal(sys.stdout)

    def value(self, value: Any) -> None:
        """The data as JSON; nothing without --json."""
        if self.json:
            click.echo(json.dumps(plain(value), indent=2 if _is_terminal(sys.stdout) else None))

    def line(self, text: str = "", style: Optional[str] = None) -> None:
        """A line of data; nothing with --json."""
        if not self.json:
            self._echo(clean(text), style, err=False)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
        """A table of data; nothing with --json."""
        if self.json or not rows:
            return
        if self.terminal:
            _draw(columns, rows)
        else:
            click.echo("\n".join(_aligned(columns, rows)))

    def fields(self, pairs: Sequence[Tuple[str, Cell]]) -> None:
        """Names and values, one line each; nothing with --json."""
        width = max([len(clean(name)) for name, _ in pairs] + [0])
        for name, value in pairs:
            self.line("  {:<{}}  {}".format(clean(name), width, _text(value)), getattr(value, "style", None))

    def note(self, text: str, style: Optional[str] = None) -> None:
        """A message, on stderr."""
        for line in str(text).split("\n"):
            self._echo(clean(line), style, err=True)

    def _echo(self, text: str, style: Optional[str], err: bool) -> None:
        if style and _has_colour(sys.stderr if err else sys.stdout):
            text = click.style(text, fg=style)
        click.echo(text, err=err)

    def error(self, error: Exception) -> None:
        """What went wrong: on stdout with --json, else on stderr."""
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        if self.json:
            self.value({"error": {"type": type(error).__name__, "message": message}})
            return
        context = getattr(error, "ctx", None)
        if context is not None:
            self.note("{}\nTry '{} --help' for help.\n".format(context.get_usage(), context.command_path))
        if status_of(error) is not None:  # others are faults of ours, and told by a traceback
            self.note("Error: " + message, "red")

    def ask(self, question: str) -> bool:
        """Asks a person; where there is none the answer has to be given beforehand.

        Raises:
            UsageError: there is nobody to ask.
        """
        if self.json or not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
            raise click.UsageError("There is nobody to ask {!r} here. Give --yes, or --dry-run.".format(question))
        return click.confirm(clean(question), err=True)

    @contextlib.contextmanager
    def progress(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """A bar with bytes and speed on a terminal, nothing elsewhere; the block is given a function to count with."""
        if self.json or total_bytes < _BAR_BYTES or not _is_terminal(sys.stderr):
            yield lambda nbytes: None
            return
        from rich import progress
        from rich.console import Console

        bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False), progress.BarColumn(),
            progress.DownloadColumn(), progress.TransferSpeedColumn(), progress.TimeRemainingColumn(),
            console=Console(stderr=True), transient=True)
        with bar:
            task = bar.add_task(clean(label), total=total_bytes)
            yield lambda nbytes: bar.advance(task, nbytes)


def status_of(error: BaseException) -> Optional[int]:
    """The exit status of an error; None for one that nobody foresaw."""
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, SessionError):
        return error.exit_status
    if type(error) is FileNotFoundError:
        return 3
    return 1 if isinstance(error, OSError) else None


class Command(click.Command):
    """A command with `--json`, whose function is given an `Output` first."""

    def __init__(self, *arguments: Any, **more: Any):
        super().__init__(*arguments, **more)
        self.params.append(click.Option(["--json"], is_flag=True, help="Print JSON, errors included."))

    def invoke(self, ctx: click.Context) -> Any:
        as_json = bool(ctx.params.pop("json", False))
        if isinstance(ctx.obj, dict):
            ctx.obj["json"] = as_json  # how an error is told
        ctx.params["out"] = Output(as_json)
        return super().invoke(ctx)


def command(name: Optional[str] = None, **settings: Any) -> Callable[[Callable], Command]:
    """`click.command` for a function that takes an `Output` as `out`, and its arguments."""
    return click.command(name, cls=Command, **settings)


# -- texts


def plain(value: Any) -> Any:
    """A value as JSON can hold it; what is not finite becomes text.

    Example:
        >>> plain({"loss": float("nan"), "shape": (2, 3)})
        {'loss': 'nan', 'shape': [2, 3]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return repr(value) if isinstance(value, float) and value - value != 0 else value


def _text(cell: Cell) -> str:
    return clean(cell.text if isinstance(cell, Styled) else cell)


def _is_terminal(stream: Any) -> bool:
    return bool(stream) and not stream.closed and stream.isatty()


def _has_colour(stream: Any) -> bool:
    return _is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _aligned(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> List[str]:
    """A table as lines of text."""
    texts = [[column.name for column in columns]] + [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in texts) for index in range(len(columns))]
    return ["  ".join(text.rjust(width) if column.right else text.ljust(width)
                      for text, width, column in zip(row, widths, columns)).rstrip() for row in texts]


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """A table on a terminal; cells are `Text`, so that no markup in them is obeyed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, no_color=not _has_colour(sys.stdout))
    shown = _fitting(columns, rows, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in (columns[index] for index in shown):
        table.add_column(column.name, justify="right" if column.right else "left", no_wrap=column.wide == "keep",
                         overflow="ellipsis" if column.wide == "cut" else "fold")
    for row in rows:
        table.add_row(*[Text(_text(row[index]), style=getattr(row[index], "style", ""),
                             no_wrap=columns[index].wide == "cut") for index in shown])
    console.print(table)


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> List[int]:
    """The columns that a terminal has room for: the last of those that may be cut go first."""
    needed = [max([len(column.name)] + [len(_text(row[index])) for row in rows]) if column.wide == "keep"
              else _LEAST_WIDTH for index, column in enumerate(columns)]
    shown = list(range(len(columns)))
    for index in reversed(range(len(columns))):
        if columns[index].wide == "cut" and sum(needed[one] + 2 for one in shown) - 2 > width:
            shown.remove(index)
    return shown
