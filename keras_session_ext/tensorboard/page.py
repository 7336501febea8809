"""The Session tab as one page that needs no server: the same modules, and the data beside them."""

import json
import os
import re
from typing import Any, Dict, List

from keras_session_ext import files

STATIC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static")
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
    timelines = {}
    for story in stories:
        name, number = story["run"], 2
        while name in timelines:  # runs of one name in several folders
            name, number = "{} ({})".format(story["run"], number), number + 1
        timelines[name] = dict(story, run=name)
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
