"""`keras-session run`."""

import os
import sys
from typing import Any, Dict, List, Tuple

import click

from keras_session_ext import urls
from keras_session_ext.cli import path_arguments
from keras_session_ext.cli import script_argument as scripts
from keras_session_ext.cli.output import Output, command
from keras_session_ext.launch import supervisor

#: what lets a script save, and the default of a SessionCheckpoint, which leaves Ctrl-C alone
_SIGNALS, _CALLBACKS_DEFAULT = ("SIGTERM", "SIGINT", "SIGHUP"), ["SIGTERM"]


@command(context_settings={"allow_interspersed_args": False})
@click.option("--config", "-c", type=path_arguments.LOCAL_PATH, help="A config; `session` in it is what counts. "
              "Without one, the callbacks' defaults in a directory below runs/ that is named after the script and its "
              "arguments.")
@click.option("--key", help="Where in the config the session stands, such as trainer.session.")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE",
              help="A setting that goes before the config's, such as save.every_steps=100. May be given again.")
@click.option("--directory", "-d", type=path_arguments.PATH_OR_URL,
              help="Where the run lives: short for --set directory=…")
@click.option("--max-restarts", type=click.IntRange(0), default=10, show_default=True,
              help="How often the script is started again when it crashes or is killed, with no new checkpoint in "
              "between.")
@click.option("--requeue", is_flag=True, help="On SIGUSR1 save, and put the job back into SLURM's queue: for sbatch "
              "--signal=B:USR1@120.")
@scripts.loops_option
@scripts.module_option
@click.argument("script", type=click.Path())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(out: Output, config: Any, key: Any, overrides: Tuple[str, ...], directory: Any, max_restarts: int,
        requeue: bool, loops: bool, is_module: bool, script: str, arguments: Tuple[str, ...]) -> int:
    """Runs a training SCRIPT until it is finished, whatever kills it.

    The script stays as it is: SessionCheckpoint and SessionLogger are added to
    its fit, evaluate and predict calls. Each fit is a stage; started again,
    finished ones are passed over with the state they left. Options for the
    script stand behind its name. With --loops, loops of the script's own that
    train are saved, too; without, the first update outside of fit is told.

    The script is started again when it ends with an error or by a signal, each
    time after a longer pause. It is not after SIGTERM, SIGINT, SIGHUP or
    SIGQUIT to this command, which are handed on; the first three let it save
    first. It is not when the session does not fit the script, when it ends
    with status 2, fails twice before a fit or a loop began, or three times without a new
    checkpoint.

    The exit status is the script's; a signal that ended the script ends this
    command. With --json the script's output goes to stderr, and the outcome to
    stdout.
    """
    scripts.check(script, is_module)
    name = scripts.run_name(script, arguments, is_module)
    effective = _effective(config, key, overrides, directory, name)
    if requeue:
        effective["save"].setdefault("requeue_on_signal", ["SIGUSR1"])
    if loops and "directory" not in effective:
        raise click.UsageError("--loops saves, and the config has no directory. Name one: --directory runs/a.")
    settings = {"config": effective, "module": is_module, "loops": loops}
    outcome = supervisor.supervise(scripts.command(settings, script, list(arguments)), max_restarts,
                                  lambda text: out.note("keras-session: " + text),
                                  output=sys.stderr.fileno() if out.json else None)
    if outcome.status == 0 and not {"fit", "loop"} & set(outcome.told):
        out.note("keras-session: {} never called fit{}, so nothing was saved.{}".format(script, *(
            (", and came to no loop that trains", "") if loops else
            ("", " Training loops of its own are saved by run --loops, a SessionLoop, or save_session."))))
    out.value({"script": script, "directory": effective.get("directory"), "status": outcome.status,
               "restarts": outcome.restarts, "fits": outcome.told.get("fit", {}).get("number", 0)})
    sys.stdout.flush()
    supervisor.die_like(outcome.status)
    return outcome.status


def _effective(config: Any, key: Any, overrides: Tuple[str, ...], directory: Any, name: str) -> Dict[str, Any]:
    """The configuration, checked before anything starts; everything absolute, as the script may change directory."""
    from keras_session_ext.config.effective_settings import effective_config

    given: List[str] = list(overrides)
    if directory is not None:
        given.append("directory={}".format(_quoted(directory)))
    if config is None:
        place = directory if directory is not None else os.path.join("runs", name)
        config = {"directory": place, "tensorboard": {"log_dir": os.path.join(place, "tensorboard")}}
    made = effective_config(config, key, given)
    if not made:
        raise click.UsageError("The config switches the session off: there is nothing to do for run. Start the script "
                               "with python.")
    save = made.setdefault("save", {})
    if save.get("on_signal", _CALLBACKS_DEFAULT) == _CALLBACKS_DEFAULT:
        save["on_signal"] = list(_SIGNALS)
    for settings in (made, made.get("tensorboard") or {}):
        for name in ("directory", "log_dir"):
            if name in settings and not urls.is_url(settings[name]):
                settings[name] = os.path.abspath(settings[name])
    if made.get("staging", "memory") != "memory":
        made["staging"] = os.path.abspath(made["staging"])
    return made


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)  # YAML reads it as text
