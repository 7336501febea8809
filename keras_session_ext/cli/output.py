"""How every command speaks: data on stdout, messages on stderr, JSON where it is asked for."""

import contextlib
import json
import sys
from typing import Any, Callable, Iterator, Optional, Sequence, Tuple

import click

from keras_session_ext.cli.readable import clean
from keras_session_ext.cli.tables import Cell, Column, aligned, draw, has_colour, is_terminal, text_of
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


class Output:
    """Where a command says what it has to say.

    Args:
        json: whether the data are JSON; then `line` and `table` say nothing, and `value` does.

    Attributes:
        terminal: whether a person reads stdout.
    """

    def __init__(self, json: bool = False):
        self.json = json
        self.terminal = not json and is_terminal(sys.stdout)

    def value(self, value: Any) -> None:
        """The data as JSON; nothing without --json."""
        if self.json:
            click.echo(json.dumps(plain(value), indent=2 if is_terminal(sys.stdout) else None))

    def line(self, text: str = "", style: Optional[str] = None) -> None:
        """A line of data; nothing with --json."""
        if not self.json:
            self._echo(clean(text), style, err=False)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
        """A table of data; nothing with --json."""
        if self.json or not rows:
            return
        if self.terminal:
            draw(columns, rows)
        else:
            click.echo("\n".join(aligned(columns, rows)))

    def fields(self, pairs: Sequence[Tuple[str, Cell]]) -> None:
        """Names and values, one line each; nothing with --json."""
        width = max([len(clean(name)) for name, _ in pairs] + [0])
        for name, value in pairs:
            self.line("  {:<{}}  {}".format(clean(name), width, text_of(value)), getattr(value, "style", None))

    def note(self, text: str, style: Optional[str] = None) -> None:
        """A message, on stderr."""
        for line in str(text).split("\n"):
            self._echo(clean(line), style, err=True)

    def _echo(self, text: str, style: Optional[str], err: bool) -> None:
        if style and has_colour(sys.stderr if err else sys.stdout):
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
        if self.json or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
            raise click.UsageError("There is nobody to ask {!r} here. Give --yes, or --dry-run.".format(question))
        return click.confirm(clean(question), err=True)

    @contextlib.contextmanager
    def progress(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """A bar with bytes and speed on a terminal, nothing elsewhere; the block is given a function to count with."""
        if self.json or total_bytes < _BAR_BYTES or not is_terminal(sys.stderr):
            yield lambda nbytes: None
            return
        from rich import progress
        from rich.console import Console

        bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False), progress.BarColumn(),
            progress.DownloadColumn(binary_units=True), progress.TimeRemainingColumn(),
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

    Examples:
        >>> plain({"loss": float("nan"), "shape": (2, 3)})
        {'loss': 'nan', 'shape': [2, 3]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return repr(value) if isinstance(value, float) and value - value != 0 else value


