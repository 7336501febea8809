"""`keras-session`: its commands are imported one by one, when they are called.

A command is a function that is given an `Output` and its arguments, and
returns the exit status (None is 0). `@command()` of output.py makes it one:

```python
@command()
@click.argument("directory", default=".")
def ls(out: Output, directory: str) -> None:
    \"\"\"Lists the checkpoints of a run.\"\"\"
    out.value({"directory": directory})     # with --json
    out.line(directory)                     # without
```
"""

import importlib
import os
import sys
from typing import Any, Dict, List, Optional

import click

from keras_session_ext import __version__
from keras_session_ext.cli.output import END_STATUSES, Output, status_of

NAME = "keras-session"
#: name -> what it does; its function stands in commands/, in a file of its name, and `--help` imports none of them
COMMANDS = {
    "ls": "List the checkpoints of a run, newest first, or the runs below a directory.",
    "show": "Show what is in a checkpoint.",
    "log": "Show what happened to a run.",
    "verify": "Check every byte of checkpoints.",
    "diff": "Compare two checkpoints: every tensor, and what else is in them.",
    "prune": "Remove checkpoints that no policy wants to keep.",
    "mirror": "Copy what a run has to a store.",
    "export": "Write a checkpoint's model for other programs.",
    "run": "Run a training script until it is finished, whatever kills it.",
    "prove": "Prove that a training script resumes exactly.",
    "report": "Write the life of runs as one HTML page.",
    "schema": "Print the JSON Schema of configs.",
    "doctor": "Look at what is installed here, and say what will work.",
}


class Commands(click.Group):
    """The commands of the table, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> List[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> Optional[click.Command]:
        return load(name) if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> List[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(name, help=text) for name, text in COMMANDS.items()
                if name.startswith(incomplete)] + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(self, ctx: click.Context, args: List[str]) -> Any:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=2, cutoff=0.5)
            ctx.fail("There is no command {!r}.{}".format(
                name, " Did you mean {}?".format(" or ".join(near)) if near else ""))
        return super().resolve_command(ctx, args)


def load(name: str) -> click.Command:
    """Imports a command of the table."""
    made: click.Command = getattr(importlib.import_module("keras_session_ext.cli.commands." + name), name)
    made.short_help = COMMANDS[name]
    return made


@click.command(cls=Commands, invoke_without_command=True, epilog="""\
Every command takes --json and -h. Completion for your shell: eval "$(_KERAS_SESSION_COMPLETE=bash_source
keras-session)", or zsh_source, or fish_source.""", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name=NAME, message="%(prog)s %(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Looks at the checkpoints of resumable Keras trainings, and works with them."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Optional[List[str]] = None) -> None:
    """Runs a command and ends the process with its status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if "_KERAS_SESSION_COMPLETE" in os.environ:
        commands.main(arguments, prog_name=NAME)  # click's own; it ends the process
    status = _run(arguments)
    try:
        if not sys.stdout.closed:
            sys.stdout.flush()
    except BrokenPipeError:
        status = _nobody_reads()
    sys.exit(status)


def _run(arguments: List[str]) -> int:
    asked: Dict[str, Any] = {}
    try:
        with commands.make_context(NAME, arguments, obj=asked) as context:
            return commands.invoke(context) or 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except BrokenPipeError:
        return _nobody_reads()
    except (KeyboardInterrupt, click.Abort):
        return END_STATUSES["interrupted"]
    except Exception as error:
        return _failed(error, Output(json=asked.get("json", wants_json(arguments))))


def _failed(error: Exception, out: Output) -> int:
    try:
        out.error(error)
    except BrokenPipeError:
        return _nobody_reads()
    if status_of(error) is None:
        import traceback

        traceback.print_exc()  # a fault of ours
    return status_of(error) or 1


def wants_json(arguments: List[str]) -> bool:
    """Whether the arguments ask for JSON, as far as that can be seen where they are wrong."""
    return "--json" in (arguments[:arguments.index("--")] if "--" in arguments else arguments)


def _nobody_reads() -> int:
    """The reader of the output is gone, as with `| head`: not worth a word."""
    try:
        sys.stdout.close()
    except OSError:
        pass  # what is left to write goes nowhere
    return END_STATUSES["output closed"]
