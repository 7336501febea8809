"""docs/cli.md, made from the commands: `python -m keras_session_ext.cli.commands_page > docs/cli.md`."""

import inspect
from typing import Any, Iterator, List

import click

from keras_session_ext.cli.main import COMMANDS, NAME, load
from keras_session_ext.cli.output import STATUSES

_HEAD = """# The command `{name}`

<!-- made by `python -m keras_session_ext.cli.commands_page > docs/cli.md`; a test compares -->

Looks at the checkpoints of resumable trainings, and works with them, where no framework needs to be installed.

```sh
keras-session ls runs                              # every run below a directory
keras-session ls runs/a                            # its checkpoints
keras-session log runs/a --follow                  # what happens to it
keras-session diff runs/a runs/b --atol 1e-6       # their newest checkpoints, value by value
keras-session prune runs/a --keep-last 3 --keep-best 1 --monitor val_loss --dry-run
```

{table}

Where a CHECKPOINT is asked for, name a file, a run directory (its newest checkpoint), `DIRECTORY/ID`,
`DIRECTORY/best` or `DIRECTORY/best:METRIC` (the best of those kept), or an id with `--directory`. A DIRECTORY is what
`SessionCheckpoint` was given.

- Data go to stdout, messages to stderr. Every command takes `--json`, and then an error is JSON on stdout, too:
  `{{"error": {{"type": "CheckpointNotFound", "message": "…"}}}}`, with the same exit status.
- Off a terminal there are no colours, no bars and no questions, and tables are plain aligned text. On one, `NO_COLOR`
  and `TERM=dumb` switch colours off.
- What a terminal would obey (escapes, control characters, text that runs backwards) in names, metrics or reasons is
  shown as escapes such as `\\x1b`.

| exit status | |
|---:|---|
{statuses}

Completion of commands and options, for bash, zsh and fish (bash needs version 4.4):

```sh
eval "$(_KERAS_SESSION_COMPLETE=bash_source keras-session)"      # in ~/.bashrc
eval "$(_KERAS_SESSION_COMPLETE=zsh_source keras-session)"       # in ~/.zshrc
_KERAS_SESSION_COMPLETE=fish_source keras-session | source       # in ~/.config/fish/completions/keras-session.fish
```
"""


def page() -> str:
    """The whole page."""
    table = "\n".join(["| | |", "|---|---|"] + [
        "| [`{0}`](#{1}-{0}) | {2} |".format(name, NAME, text) for name, text in COMMANDS.items()])
    statuses = "\n".join("| {} | {} |".format(number, text) for number, text in STATUSES)
    parts = [_HEAD.format(name=NAME, table=table, statuses=statuses)]
    parts += ["\n".join(_section(name, load(name))) for name in COMMANDS]
    return "\n".join(parts)


def _section(name: str, command: click.Command) -> Iterator[str]:
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option) and one.name != "json"]
    yield "## {} {}\n".format(NAME, name)
    yield "```text\n{}\n```\n".format(" ".join(
        [NAME, name] + (["[OPTIONS]"] if options else []) + [_argument(one) for one in arguments]))
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    if options:
        yield "| option | |\n|---|---|"
        for option in options:
            yield "| `{}` | {} |".format(_option(option).replace("|", "\\|"), _help(option).replace("|", "\\|"))
        yield ""


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b"):  # click's mark of lines that stay as they are
            yield "```\n{}\n```\n".format(paragraph.lstrip("\b\n"))
        else:
            yield paragraph + "\n"


def _argument(argument: click.Argument) -> str:
    if argument.metavar:
        return argument.metavar
    text = str(argument.name).upper() + ("..." if argument.nargs < 0 else "")
    return text if argument.required else "[{}]".format(text)


def _option(option: click.Option) -> str:
    names: List[str] = sorted(option.opts, key=len)
    if option.is_flag:
        return ", ".join(names)
    kind: Any = option.type
    name = "|".join(kind.choices) if isinstance(kind, click.Choice) else kind.name.split()[0].upper()
    return "{} {}".format(", ".join(names), option.metavar or name)


def _help(option: click.Option) -> str:
    shown = option.show_default and isinstance(option.default, (int, float, str))
    return (option.help or "").replace("<", "&lt;") + (" Default: {}.".format(option.default) if shown else "")


if __name__ == "__main__":
    print(page(), end="")
