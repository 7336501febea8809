"""The schema: what may stand in a config. Its own words, beside those of draft-07:

```
expected    what a value must be, for messages: "a positive whole number"
also        what others call it; for "did you mean"
shorthand   the property that a plain text stands for; "" where it is the one item of a list
reads_as    what text is converted to: seconds, bytes
off         a value that, like null, means: not there
```
"""

import functools
import json
import os
from typing import Any, Dict, Iterator, Tuple

from keras_session_ext import files

_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "config.schema.json")


@functools.lru_cache(maxsize=None)
def schema_text() -> str:
    """The JSON schema of a config file, as text, for editors.

    Examples:
        >>> schema_text().splitlines()[1]
        '  "$schema": "http://json-schema.org/draft-07/schema#",'
    """
    return files.read_foreign(_PATH, 1 << 20).decode("utf-8")


def schema() -> Dict[str, Any]:
    """The JSON schema of a config file.

    Examples:
        >>> list(schema()["properties"])
        ['session']
    """
    return json.loads(schema_text())


@functools.lru_cache(maxsize=None)
def session_schema() -> Dict[str, Any]:
    """The part about the session's settings; not to be changed."""
    return schema()["properties"]["session"]


def within(part: Dict[str, Any], path: Tuple) -> Dict[str, Any]:
    """The schema of what stands under `path`; an unknown one has none."""
    for key in path:
        part = part.get("items", {}) if isinstance(key, int) else part.get("properties", {}).get(key, {})
    return part


def properties(part: Dict[str, Any], path: Tuple[str, ...] = ()) -> Iterator[Tuple[Tuple[str, ...], Dict[str, Any]]]:
    """All properties at all depths, each with its path."""
    for name, inside in part.get("properties", {}).items():
        yield (*path, name), inside
        yield from properties(inside, (*path, name))
