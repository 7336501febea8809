"""The Session tab: serves the timelines of runs, and the page that draws them.

https://github.com/tensorflow/tensorboard/blob/2.21.0/ADDING_A_PLUGIN.md
"""

import json
import mimetypes
import os
import re
from typing import Any, Callable, Dict, List, Tuple

from tensorboard import plugin_util, version
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from keras_session_ext import files
from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.journal import Reading, parse
from keras_session_ext.lifecycle.slim import slim
from keras_session_ext.lifecycle.timeline import timeline
from keras_session_ext.tensorboard.plugin_names import BEFORE_TAG, PLUGIN_NAME, TAG
from keras_session_ext.tensorboard.report_page import STATIC

_HEADERS = [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
_HOST = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+)?\](:[0-9]{1,5})?")
_STORY_BYTES = 8000000  # of a run, as it is sent at every reload
_NAME_CHARACTERS = 4096  # of a run: what a path may have


def _route(answer: Callable[..., wrappers.Response]) -> Any:
    """A route that reads: other methods, and hosts that are none, are sent away before anything is looked at.

    Whatever is a host is served: behind a proxy TensorBoard is called by names that it cannot know.
    """
    def checked(self: Any, request: wrappers.Request) -> wrappers.Response:
        if request.method not in ("GET", "HEAD"):
            refused = _json({"message": "The Session tab answers GET and HEAD only."}, 405)
            refused.headers["Allow"] = "GET, HEAD"
            return refused
        if not _HOST.fullmatch(request.environ.get("HTTP_HOST", "localhost")):
            return _json({"message": "The Host of this request is none."}, 400)
        return answer(self, request)

    application: Any = wrappers.Request.application  # its type knows functions only; a method comes with its object
    return application(checked)


class SessionPlugin(base_plugin.TBPlugin):
    """The tab.

    Args:
        context: TensorBoard's.
    """

    plugin_name = PLUGIN_NAME

    def __init__(self, context: Any):
        self._context = context
        self._known: Dict[str, Tuple[Any, Reading]] = {}  # run -> what it was read from, and its events

    def get_plugin_apps(self) -> Dict[str, Callable[..., Any]]:
        """The routes, below data/plugin/session."""
        routes = {"/" + name: self._static for name in files.names(STATIC)}
        return dict(routes, **{"/runs": self._runs, "/timeline": self._timeline})

    def is_active(self) -> bool:
        """Whether there is a run to show, for TensorBoards that do not find out by the plugin's name."""
        return self._provider is None and bool(self._names(None))

    def data_plugin_names(self) -> Tuple[str, ...]:
        return (PLUGIN_NAME,)

    def frontend_metadata(self) -> Any:
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="Session")

    # -- reading: by the data provider, or by the multiplexer of older TensorBoards

    @property
    def _provider(self) -> Any:
        provider = getattr(self._context, "data_provider", None)
        return provider if hasattr(provider, "list_plugins") and hasattr(plugin_util, "context") else None

    def _names(self, request: Any) -> List[str]:
        if self._provider is not None:
            found = self._provider.list_tensors(
                plugin_util.context(request.environ), plugin_name=PLUGIN_NAME,
                experiment_id=plugin_util.experiment_id(request.environ))
        elif getattr(self._context, "multiplexer", None) is not None:
            found = self._context.multiplexer.PluginRunToTagToContent(PLUGIN_NAME)
        else:
            raise RuntimeError("This TensorBoard ({}) hands its plugins no tensors; the Session tab needs 1.15 or "
                               "later.".format(version.VERSION))
        return sorted(run for run, tags in found.items() if TAG in tags)

    def _lines(self, request: Any, run: str, tag: str = TAG) -> List[bytes]:
        """The events of a run, as JSON."""
        if self._provider is None:
            try:
                events = self._context.multiplexer.Tensors(run, tag)
            except KeyError:  # a run of one file has nothing before it
                return []
            read = [value for event in events for value in list(event.tensor_proto.string_val)[:1] or [b"no text"]]
        else:
            from tensorboard.data import provider

            found = self._provider.read_tensors(
                plugin_util.context(request.environ), plugin_name=PLUGIN_NAME, downsample=1 << 30,
                experiment_id=plugin_util.experiment_id(request.environ),
                run_tag_filter=provider.RunTagFilter(runs=[run], tags=[tag]))
            read = [_only(datum) for datum in found.get(run, {}).get(tag, ())]
        return [line if isinstance(line, bytes) else str(line).encode() for line in read]

    # -- the routes

    @_route
    def _static(self, request: wrappers.Request) -> wrappers.Response:
        name = os.path.basename(request.path)
        kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
        return wrappers.Response(files.read_all(os.path.join(STATIC, name)), content_type="{}; charset=utf-8".format(
            kind), headers=_HEADERS)

    @_route
    def _runs(self, request: wrappers.Request) -> wrappers.Response:
        try:
            return _json([{"name": run, "headline": self._story(request, run)["headline"]}
                          for run in self._names(request)])
        except Exception as error:  # whatever the loaders met: a sentence, never a blank tab
            return _json({"message": "{}: {}".format(type(error).__name__, error)}, 501)

    @_route
    def _timeline(self, request: wrappers.Request) -> wrappers.Response:
        run = request.args.get("run", "")
        if len(run) > _NAME_CHARACTERS or run not in self._names(request):
            return _json({"message": "There is no run {!r} here.".format(run[:_NAME_CHARACTERS])}, 404)
        return _json(slim(self._story(request, run), _STORY_BYTES))

    def _story(self, request: Any, run: str) -> Dict[str, Any]:
        try:
            return self._timeline_of(request, run)
        except Exception as error:  # one damaged run must not take the others away
            return dict(timeline([], name=run), message="The events of this run cannot be read: {}: {}".format(
                type(error).__name__, error))

    def _timeline_of(self, request: Any, run: str) -> Dict[str, Any]:
        lines, before = self._lines(request, run), self._lines(request, run, BEFORE_TAG)
        mark = (len(lines), lines[-1:], len(before))
        if run not in self._known or self._known[run][0] != mark:
            self._known[run] = (mark, _behind(parse(before).events, parse(lines)))
        events, skipped = self._known[run][1]
        return timeline(events, name=run, skipped=skipped)


def _behind(before: List[LifecycleEvent], reading: Reading) -> Reading:
    """The events, behind what stands in figures of those in files that are gone."""
    first = reading.events[0].seq if reading.events else 0
    missing = [event for event in before if event.kind == "summary" and event.seq < first]
    return Reading(missing[-1:] + reading.events, reading.skipped)


def _only(datum: Any) -> Any:
    """The one text of an event; anything else is a line that cannot be read."""
    array = datum.numpy
    return array.item() if array is not None and array.size == 1 else b"no text"


def _json(value: Any, status: int = 200) -> wrappers.Response:
    return wrappers.Response(json.dumps(value), status=status, content_type="application/json", headers=_HEADERS)
