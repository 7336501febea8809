"""The page about configs, docs/config.md, made from the schema.

    python -m keras_session_ext.config.config_page > docs/config.md
"""

import json
import re
import sys
from typing import Any, Dict, Iterator, List

from keras_session_ext.config import parse_yaml
from keras_session_ext.config.effective_settings import effective_of
from keras_session_ext.config.schema_file import properties, session_schema
from keras_session_ext.errors import ConfigError

EXAMPLE = """\
# yaml-language-server: $schema=config.schema.json
session:
  directory: runs/a                # the folder of the run
  save:                            # any of these is enough
    every_steps: 500
    every_epochs: 1
    every: 10m
    overhead: {share: 0.01}        # as often as one percent of the training time allows
    on_best: val_loss              # or {monitor: val_f1, mode: max}
    on_signal: [SIGTERM, SIGUSR1]
  keep:                            # what any of these wants stays
    last: 3
    best: {monitor: val_loss, n: 2}
    every_epochs: 10
    every: 6h
    size: 20GB
  restore: auto                    # or must, never, a checkpoint's id or path
  background: true
  on_error: warn                   # or raise
  verbose: 1
  group: false
  tensorboard: runs/a/tensorboard  # absent: no SessionLogger
"""

WRONG = """\
session:
  directory: runs/a
  save:
    every_stepz: 500
    every: 10:30
  every_epochs: 1
  background: on
  keep: {last: 0}
"""

_OPENING = """\
# Configs

```python
import keras_session_ext as kse

model.fit(x, y, epochs=20, callbacks=kse.callbacks_from_config("train.yaml"))
```

`train.yaml`:

```yaml
{example}```

`directory` or `tensorboard` is enough; what is absent has the default of `SessionCheckpoint`. `null` means: as if it
were not there, so `save: null` is the default, and `session: null` returns no callbacks. The settings that are in
effect, with all defaults, are written to `config.json` in the run directory.

This page is made from the schema by `python -m keras_session_ext.config.config_page`.
"""

_RULES = """\
## Sources

| source | |
|---|---|
| path | of a `.yaml`, `.yml`, `.json` or `.toml` file, of at most 1 MiB |
| mapping | any, nested |
| OmegaConf's `DictConfig` | interpolations are resolved where a setting is looked at; the rest is left alone |
| dataclass instance | nested, too; a field that is `None` is off |

Relative paths in a config begin where the script was started. Durations are `500ms`, `90s`, `10m`, `1h30m`, `2d` or
numbers of seconds; sizes `500MB`, `20GB` (powers of 1000), `1GiB` (powers of 1024) or numbers of bytes.

The settings stand under `session` or, where there is no such key, at the top. `key="trainer.session"` names another
part. The rest of the file is not looked at and may hold anything, but for settings at the top: there every other key is
an error.

## Overrides and the environment

```python
kse.callbacks_from_config("train.yaml", key="trainer.session", overrides=["save.every_steps=100", "keep.best=null"])
```

```sh
KERAS_SESSION__SAVE__EVERY_STEPS=100 python train.py
```

Names begin below `session`; in the environment two underscores stand for a dot, and case does not matter. Values are
read as YAML, an empty one is `null`. Overrides win over the environment, and that over the config. Mappings are
merged, anything else is replaced: `save={every_steps: 5}` leaves the other occasions as they are; `save=null` before
it takes them away. What `session: null` switches off stays off, unless a layer gives `directory` or `tensorboard`.
`env=False` ignores the environment.

## Hydra and Lightning

Their spellings of our own names are read as well, as one entry, in a list, or by name, where `null` switches one off:

```yaml
checkpoint:
  _target_: keras_session_ext.SessionCheckpoint
  directory: runs/a
  save:
    - {_target_: keras_session_ext.EverySteps, n: 500}
    - {_target_: keras_session_ext.OnBest, monitor: val_loss}
  keep: {_target_: keras_session_ext.KeepLast, n: 3}
logger: null
```

```yaml
- class_path: keras_session_ext.SessionCheckpoint
  init_args:
    directory: runs/a
    save: {class_path: EveryEpochs}
- class_path: keras_session_ext.SessionLogger
  init_args: {log_dir: runs/a/tensorboard}
```

Only names of this package are taken, and nothing is imported or run because a config says so: a `_target_` of others
is an error. Keep our entries in a part of their own, or name one: `key="callbacks.checkpoint"`. Overrides are in the
canonical form here, too: `save.every_steps=100`.

In a script of Hydra: `kse.callbacks_from_config(cfg.session)`, or `kse.callbacks_from_config(cfg, key="callbacks")`.

## YAML

Read as YAML 1.2 says, so that what looks like a number is one and what looks like text is text:

| written | is | PyYAML alone reads |
|---|---|---|
| `1e-4` | 0.0001 | text |
| `on` `off` `yes` `no` | text; where true or false is expected, an error that says so | true, false |
| `10:30` | text; where a duration is expected, an error that says `10m30s` | 630 |
| `012` | 12 | 10 |
| `2024-01-01` | text | a date |
| a key that stands twice | an error that names both lines | the last one |
| `!!python/object…`, any other tag | an error; nothing is made by a tag | an error |

Anchors, aliases and `<<` work. One document per file. JSON and TOML files obey the same rules: no duplicate keys, no
NaN.

## Errors

All are told at once, as one `ConfigError`, each with its place; `error.problems` is the list. Of

```text
{wrong}```

is said

```text
{said}
```

Names of other libraries are understood in suggestions: `every_n_train_steps`, `max_to_keep`, `save_total_limit` and
others.

## In an editor

```sh
keras-session schema > config.schema.json
```

and this as the file's first line gives completion, descriptions and checks in every editor that runs
[yaml-language-server](https://github.com/redhat-developer/yaml-language-server):

```text
# yaml-language-server: $schema=config.schema.json
```

The schema (draft-07) knows the canonical form, with the settings under `session`.
"""


def reference() -> str:
    """The page as Markdown.

    Examples:
        >>> reference().splitlines()[0]
        '# Configs'
    """
    said = "\n".join(_said(WRONG, "train.yaml"))
    parts = [_OPENING.replace("{example}", EXAMPLE), *_tables(),
             _RULES.replace("{wrong}", WRONG).replace("{said}", said)]
    return "\n".join(parts)


def _said(text: str, name: str) -> List[str]:
    try:
        effective_of(lambda: parse_yaml.parse(text, name), None, (), {})
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _tables() -> Iterator[str]:
    """One table for what stands at the top, and one for each part with more in it."""
    everything = list(properties(session_schema()))
    yield _table("session", session_schema(), [(path, one) for path, one in everything if len(path) == 1])
    for part in ("save", "keep", "tensorboard"):
        schema = session_schema()["properties"][part]
        yield _table(part, schema, [(path[1:], one) for path, one in everything if path[0] == part and len(path) > 1])


def _table(title: str, schema: Dict[str, Any], rows: Any) -> str:
    lines = ["## `{}`".format(title), "", schema["description"], "",
             "| name | what | expected | default | example |", "|---|---|---|---|---|"]
    for path, one in rows:
        default = "`{}`".format(flow(one["default"])) if "default" in one else ""
        examples = " ".join("`{}`".format(flow(example)) for example in one["examples"])
        lines.append("| `{}` | {} | {} | {} | {} |".format(
            ".".join(path), one["description"], one["expected"], default, examples))
    return "\n".join(lines) + "\n"


def flow(value: Any) -> str:
    """A value as one would write it in YAML, on one line.

    Examples:
        >>> flow({"last": 3, "best": "val_loss", "all": True})
        '{last: 3, best: val_loss, all: true}'
    """
    if isinstance(value, dict):
        return "{{{}}}".format(", ".join("{}: {}".format(key, flow(one)) for key, one in value.items()))
    if isinstance(value, list):
        return "[{}]".format(", ".join(map(flow, value)))
    if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value):
        return value
    return json.dumps(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
