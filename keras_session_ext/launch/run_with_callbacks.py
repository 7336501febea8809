"""Runs a script as `python script.py` would, with the session's callbacks added to what it trains.

    python -m keras_session_ext.launch.run_with_callbacks TIE SETTINGS SCRIPT ARGUMENTS…

Started by supervisor.py. TIE is the number of the socket to the supervisor,
SETTINGS are JSON: `config`, the effective configuration of the session, or
`proof`, what proof/note_states.py needs; `module`, whether SCRIPT is the name of
a module, as for `python -m`; and `loops`, whether its own loops are wrapped.
"""

import json
import logging
import os
import runpy
import signal
import socket
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from keras_session_ext import files, urls
from keras_session_ext.backend.hooks import frame_scopes
from keras_session_ext.backend.hooks.patch_fit_on_import import Done, intercept
from keras_session_ext.backend.hooks.watch_updates import watch_updates
from keras_session_ext.errors import SessionError
from keras_session_ext.lifecycle import events

if TYPE_CHECKING:
    from keras_session_ext.launch.loops.wrapped_loops import RewriteOnImport, ScriptLoops

logger = logging.getLogger("keras_session_ext")

#: how long a script whose supervisor is gone may take to save and end
_GRACE_SECONDS = 120.0
_UNSAVED = """{where}: {what} outside of fit: nothing of what it trains is saved.
  Start the script with `keras-session {command} --loops`, which wraps its loops; or write into it
      import keras_session_ext as kse
      loop = kse.SessionLoop({directory!r})
      for epoch in loop.epochs(…):         # was: range(…)
          for batch in loop.batches(…):    # was: the dataset; loop.enumerate(…) for enumerate(…)"""
_UNWRAPPED = """{where}: {what} outside of the loops that are wrapped: it is made anew at every start, and \
nothing of it is saved."""


class Tie:
    """The socket to the supervisor."""

    def __init__(self, number: int):
        self._socket = socket.socket(fileno=number)
        self._socket.set_inheritable(False)
        threading.Thread(target=self._watch, name="keras-session-tie", daemon=True).start()

    def tell(self, kind: str, **message: Any) -> None:
        try:
            self._socket.sendall(json.dumps(dict(message, kind=kind)).encode() + b"\n")
        except OSError:
            pass  # the supervisor is gone; _watch sees it, too

    def _watch(self) -> None:
        try:
            while self._socket.recv(4096):
                pass
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)


class Launch:
    """What is added to the calls of a script.

    Args:
        settings: see the module.
        tie: the socket to the supervisor.
    """

    def __init__(self, settings: Dict[str, Any], tie: Tie):
        self._settings = settings
        self._tie = tie
        self._pid = os.getpid()
        self._callbacks: Any = None
        self._proof: Any = None
        self._fits = 0
        self._told: set = set()
        self._calls: Any = None
        self.loops: Optional["ScriptLoops"] = None
        self._has_loop_of_its_own = False

    def follow(self, script: str) -> Optional["RewriteOnImport"]:
        """Begins to look at what is imported; returns what rewrites the script, if it is to be."""
        self._calls = intercept(self.around)
        watch_updates(self.updates)
        events.listen(self.heard)
        if not self._settings.get("loops"):
            return None
        from keras_session_ext.launch.loops.wrapped_loops import RewriteOnImport, ScriptLoops, known_as

        self.loops = ScriptLoops(self._make_loop, self.tell, lambda: self._tie.tell("loop"))
        known_as(self.loops)
        folder = os.getcwd() if self._settings["module"] else os.path.dirname(os.path.realpath(script))
        made = RewriteOnImport(self.loops, folder, self.tell)
        sys.meta_path.insert(0, made)
        return made

    def updates(self, what: str) -> bool:
        """See `watch_updates`."""
        if self._calls.running or self._has_loop_of_its_own or os.getpid() != self._pid:
            return True
        if self.loops is not None and self.loops.is_open:
            return True
        frame = frame_scopes.frame_of_script(frame_scopes.caller())
        where = "training" if frame is None else "{}, line {}".format(
            os.path.basename(frame.f_code.co_filename), frame.f_lineno)
        text = _UNSAVED if self.loops is None else _UNWRAPPED
        self.tell(text.format(where=where, what=what, command="prove" if "proof" in self._settings else "run",
                              directory=self._settings.get("config", {}).get("directory", "runs/a")))
        return False

    def around(self, kind: str, model: Any, callbacks: List[Any]) -> Tuple[Optional[List[Any]], Done]:
        """See `backend.intercept`."""
        if os.getpid() != self._pid:  # a forked child: its fits are no stages of the script
            self._tell_once("What the script trains in child processes is left as it is: it is not saved.")
            return None, lambda result, error: None
        if self.loops is not None and self.loops.is_open:  # a fit is no stage there: the loop saves what it trains
            return None, lambda result, error: None
        if kind == "fit":
            self._fits += 1
            self._tie.tell("fit", number=self._fits)
        if self._callbacks is None:
            self._callbacks = self._make()
        joined = self._join(callbacks)
        return joined, lambda result, error: self._done(kind, model, result, error, joined)

    def _make(self) -> List[Any]:
        if "proof" in self._settings:
            from keras_session_ext.proof.note_states import Trace

            self._proof = Trace(self._beside_loops(self._settings["proof"]), self._tie.tell)
            return [self._proof.checkpoint]
        from keras_session_ext.config.make_callbacks import callbacks_from_config

        return callbacks_from_config(self._beside_loops(self._settings["config"]), env=False)

    def _make_loop(self) -> Any:
        if "proof" in self._settings:
            from keras_session_ext.proof.note_loops import LoopTrace

            return LoopTrace(self._settings["proof"], self._tie.tell).loop
        from keras_session_ext.config.make_callbacks import loop_from_config

        return loop_from_config(self._settings["config"])

    def _beside_loops(self, settings: Dict[str, Any]) -> Dict[str, Any]:
        """The settings for fits outside of loops that are wrapped: a directory holds the stages of one kind."""
        if self.loops is None or "directory" not in settings:
            return settings
        made = dict(settings, directory=_below(settings["directory"], "fits"))
        if made.get("tensorboard"):
            made["tensorboard"] = dict(made["tensorboard"], log_dir=_below(made["tensorboard"]["log_dir"], "fits"))
        return made

    def _join(self, callbacks: List[Any]) -> List[Any]:
        from keras_session_ext.callbacks import SessionCheckpoint, SessionLogger

        own = [one for one in callbacks if isinstance(one, (SessionCheckpoint, SessionLogger))]
        if own and self._proof is None:
            self._tell_once("The script has callbacks of keras_session_ext itself; they are used, and none is added.")
            return callbacks
        rivals = [one for one in callbacks if any(base.__name__ == "BackupAndRestore" for base in type(one).__mro__)]
        if rivals:
            self._tell_once("BackupAndRestore is left out: the session restores all it does, and more.")
        return [one for one in callbacks if one not in own and one not in rivals] + self._callbacks

    def _done(self, kind: str, model: Any, result: Any, error: Optional[BaseException], joined: List[Any]) -> None:
        if kind != "fit":
            return
        if error is not None:
            for one in self._callbacks:
                if one in joined and hasattr(one, "give_up"):
                    one.give_up()
        elif self._proof is not None:
            self._proof.fitted(model, result)

    def heard(self, event: events.LifecycleEvent) -> None:
        """See `lifecycle.events.listen`; a checkpoint is what the supervisor takes for progress."""
        wrapped = self.loops is not None and self.loops.is_open
        if event.kind == "fit_started" and not self._calls.running and not wrapped:
            self._has_loop_of_its_own = True
            self._tie.tell("loop")
        if event.kind == "checkpoint_saved" and os.getpid() == self._pid:
            self._tie.tell("saved", step=event.figures.get("step", 0))

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.tell(text)

    @staticmethod
    def tell(text: str) -> None:
        """Prints a line for the user."""
        print("keras-session: " + text, file=sys.stderr, flush=True)


def _below(place: str, name: str) -> str:
    return "{}/{}".format(place.rstrip("/"), name) if urls.is_url(place) else os.path.join(place, name)


def run_script(script: str, arguments: List[str], is_module: bool, tie: Tie,
               rewriting: Optional["RewriteOnImport"] = None) -> None:
    """Runs `script` as the main module; what it raises goes on without our own frame in the traceback."""
    sys.argv = [script] + arguments
    if not is_module:
        sys.path[0] = os.path.dirname(os.path.realpath(script))
        script = os.path.abspath(script)  # so is __file__ from Python 3.9 on: bpo-20443
        source = files.read_stream(script)
        code = compile(source, script, "exec") if rewriting is None else rewriting.code(source, script)
        main = types.ModuleType("__main__")
        main.__dict__.update(__file__=script, __builtins__=__builtins__, __spec__=None, __cached__=None)
        sys.modules["__main__"] = main
    try:
        if is_module:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            # the file of the command line, as `python file` runs it; runpy.run_path takes __main__ away at its end
            exec(code, main.__dict__)  # noqa: S102
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        error.__traceback__ = trace.tb_next if trace is not None else None
        sys.last_value = error  # the journal tells of it
        if isinstance(error, KeyboardInterrupt):
            raise
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, SessionError):  # another start would meet it again
            tie.tell("refused", error=type(error).__name__)
            sys.exit(error.exit_status)
        sys.exit(1)


def main() -> None:
    number, settings, script, *arguments = sys.argv[1:]
    tie = Tie(int(number))
    made = json.loads(settings)
    run_script(script, arguments, made["module"], tie, Launch(made, tie).follow(script))


if __name__ == "__main__":
    main()
