"""Runs a script as `python script.py` would, with the session's callbacks added to what it trains.

    python -m keras_session_ext.launch.run_with_callbacks TIE SETTINGS SCRIPT ARGUMENTS…

Started by supervisor.py. TIE is the number of the socket to the supervisor,
SETTINGS are JSON: `config`, the effective configuration of the session, or
`proof`, what proof/note_states.py needs; and `module`, whether SCRIPT is the name of
a module, as for `python -m`.
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
from typing import Any, Dict, List, Optional, Tuple

from keras_session_ext import files
from keras_session_ext.backend.hooks.patch_fit_on_import import Done, intercept
from keras_session_ext.errors import SessionError
from keras_session_ext.lifecycle import events

logger = logging.getLogger("keras_session_ext")

#: how long a script whose supervisor is gone may take to save and end
_GRACE_SECONDS = 120.0


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

    def around(self, kind: str, model: Any, callbacks: List[Any]) -> Tuple[Optional[List[Any]], Done]:
        """See `backend.intercept`."""
        if os.getpid() != self._pid:  # a forked child: its fits are no stages of the script
            self._tell_once("What the script trains in child processes is left as it is: it is not saved.")
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

            self._proof = Trace(self._settings["proof"], self._tie.tell)
            return [self._proof.checkpoint]
        from keras_session_ext.config.make_callbacks import callbacks_from_config

        return callbacks_from_config(self._settings["config"], env=False)

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
        if event.kind == "checkpoint_saved" and os.getpid() == self._pid:
            self._tie.tell("saved", step=event.figures.get("step", 0))

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            print("keras-session: " + text, file=sys.stderr)


def run_script(script: str, arguments: List[str], is_module: bool, tie: Tie) -> None:
    """Runs `script` as the main module; what it raises goes on without our own frame in the traceback."""
    sys.argv = [script] + arguments
    if not is_module:
        sys.path[0] = os.path.dirname(os.path.realpath(script))
        script = os.path.abspath(script)  # so is __file__ from Python 3.9 on: bpo-20443
        code = compile(files.read_stream(script), script, "exec")
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
    launch = Launch(made, tie)
    events.listen(launch.heard)
    intercept(launch.around)
    run_script(script, arguments, made["module"], tie)


if __name__ == "__main__":
    main()
