"""The Session tab as one page that needs no server: the same modules, and the data beside them."""

import json
import os
import re
from typing import Any, Dict, Iterable, List, Union

from keras_session_ext import files
from keras_session_ext.arguments import LocalPath, PathOrUrl, local_path
from keras_session_ext.errors import ConfigError
from keras_session_ext.lifecycle.read_timeline import read_timeline
from keras_session_ext.lifecycle.slim import slim

STATIC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static")
#: of the data on a page, and the least of one run among many
_DATA_BYTES, _RUN_BYTES = 1400000, 100000
_IMPORT = re.compile(r"^import .*$\n?", re.MULTILINE)
_FROM = re.compile(r"""^import .* from ["']\./([\w.]+)["'];?$""", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data:">
<title>@title@</title>
<style>
body { margin: 0 }
@style@
</style>
</head>
<body>
<div id="root"></div>
<script type="application/json" id="session-data">@data@</script>
<script type="module">
@script@
mount(document.getElementById("root"), embeddedSource(document));
</script>
</body>
</html>
"""


def build(stories: List[Dict[str, Any]]) -> str:
    """The page as text.

    Args:
        stories: what `lifecycle.timeline.timeline` made of each run.
    """
    timelines: Dict[str, Any] = {}
    for story in stories:
        name, number = story["run"], 2
        while name in timelines:  # runs of one name in several folders
            name, number = "{} ({})".format(story["run"], number), number + 1
        timelines[name] = slim(dict(story, run=name), max(_RUN_BYTES, _DATA_BYTES // len(stories)))
    data = {"runs": [{"name": name, "headline": story["headline"]} for name, story in timelines.items()],
            "timelines": timelines}
    parts = {"title": _text("Session: " + ", ".join(timelines)), "style": _read("style.css"), "script": _script(),
             "data": _json(data)}
    return re.sub("@(title|style|script|data)@", lambda match: parts[match.group(1)], _PAGE)


def _script() -> str:
    """The modules behind view.js in one, those that are imported first."""
    done: List[str] = []
    sources: List[str] = []

    def add(name: str) -> None:
        if name in done:
            return
        done.append(name)
        text = _read(name)
        for other in _FROM.findall(text):
            add(other)
        sources.append(_EXPORT.sub("", _IMPORT.sub("", text)))

    add("view.js")
    return "\n".join(sources)


def _read(name: str) -> str:
    return files.read_all(os.path.join(STATIC, name)).decode("utf-8")


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever its texts say."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def report(directory: Union[PathOrUrl, Iterable[PathOrUrl]], path: LocalPath) -> str:
    """Writes the life of a run as one HTML file that needs nothing else: the view of TensorBoard's Session tab.

    Args:
        directory: the run directory or its URL, or several to compare.
        path: the file to write, such as "run.html"; one that is there is replaced.

    Returns:
        The path, as text.

    Raises:
        CheckpointNotFound: there is no journal in a directory.
        ConfigError: the path cannot be used.

    Examples:
        >>> # report("runs/a", "run.html")
    """
    path = os.path.abspath(local_path(path, "path"))
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path)):
        raise ConfigError(
            "Cannot write the report to {}. Expected the name of a file in a folder that is there.".format(path))
    if not _several(directory):
        raise ConfigError("There is no run to report. Expected a run directory, or several. Received: {!r}".format(
            directory))
    text = build([read_timeline(one) for one in _several(directory)])
    temporary = "{}.tmp-{}".format(path, os.urandom(4).hex())
    files.write_new(temporary, text.encode("utf-8", "replace"), 0o644)
    files.replace(temporary, path)
    return path


def _several(directory: Union[PathOrUrl, Iterable[PathOrUrl]]) -> List[PathOrUrl]:
    return [directory] if isinstance(directory, (str, os.PathLike)) else list(directory)
