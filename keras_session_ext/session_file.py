"""Saving and restoring a model outside `fit`."""

import os
import time
from types import ModuleType
from typing import Any, Dict, Sequence

from keras_session_ext import backend, state
from keras_session_ext.arguments import LocalPath, PathOrUrl, local_path, path_or_url
from keras_session_ext.backend.hooks import frame_scopes
from keras_session_ext.backend.layers_and_variables import weights_of
from keras_session_ext.checkpoint import reader
from keras_session_ext.checkpoint.encoder import Encoder
from keras_session_ext.errors import ConfigError, StateMismatch, UnsupportedBackend
from keras_session_ext.progress import Progress, ResumeReport
from keras_session_ext.run.lineage import Candidate, read
from keras_session_ext.run.resume import cross
from keras_session_ext.run.snapshot import take_snapshot
from keras_session_ext.run.stateless_loop import refuse_stale
from keras_session_ext.state.loop_view import LoopView
from keras_session_ext.store.local import save_file

_KINDS: Sequence[ModuleType] = (state.variables, state.optimizer, state.model_objects, state.random)


def _run(model: Any, optimizers: Any) -> state.Run:
    family = backend.choose(model)
    family.check_model(model)
    if not weights_of(model):  # a layer that draws has its seed before that
        raise UnsupportedBackend(
            "The model {!r} has no variables yet. Build it first: call it on a batch, or model.build(shape).".format(
                getattr(model, "name", model)))
    family.check_whole(model)
    run = state.Run(family, model, [])
    if optimizers is not None:  # named, as objects are that a loop names
        named = _named(optimizers)
        run.loop = LoopView(run, lambda: [], named, lambda: [])
        found = run.loop.look()
        for name, value in named.items():
            if not {"state." + name} & {*found.objects, *found.owns, *found.aliases} and value not in family.optimizers(
                    model):
                raise ConfigError("Invalid value for argument `optimizers`. Expected optimizers of Keras or torch. "
                                  "Received: {}: {!r}".format(name, value))
    return run


def _named(optimizers: Any) -> Dict[str, Any]:
    if isinstance(optimizers, dict):
        return {str(name): value for name, value in optimizers.items()}
    if isinstance(optimizers, (list, tuple)):
        return {"optimizer {}".format(number): value for number, value in enumerate(optimizers)}
    return {"optimizer": optimizers}


def save_session(model: Any, path: LocalPath, optimizers: Any = None) -> str:
    """Saves a model with optimizer and random state to one file, outside `fit`.

    The file is an ordinary Keras `.h5` file, too: `keras.models.load_model` and
    `load_weights` open it without this package.

    Args:
        model: a built Keras model.
        path: a new `.h5` file, or one that this package wrote, which is then
            replaced at once and never left half written.
        optimizers: what trains the model and is no attribute of it: an
            optimizer of Keras or torch, a list of such, or a dict by name.

    Returns:
        The path, as text.

    Raises:
        ConfigError: the path cannot be used; the message says why.
        StateMismatch: on JAX, a variable of the script holds a newer state
            than model and optimizer, as a stateless loop makes it.
        UnsupportedBackend: the model is not built, or not of this Keras, or
            this process holds only a part of it.

    Examples:
        >>> # save_session(model, "model.h5")
    """
    path = local_path(path, "path")
    if not path.endswith((".h5", ".hdf5")) or path.endswith(".weights.h5"):
        why = " Keras reads the suffix .weights.h5 in another layout." if str(path).endswith(".weights.h5") else ""
        raise ConfigError("Invalid value for argument `path`. Expected a name that ends in .h5.{} "
                          "Received: {!r}".format(why, path))
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ConfigError("Cannot save to {}: there is no directory {}. Make it first.".format(path, folder))
    if os.path.isdir(path) or (os.path.lexists(path) and not reader.is_ours(path)):
        raise ConfigError("Cannot save to {}: it exists and is no checkpoint of this package. Choose another name, "
                          "or remove it.".format(path))
    run = _run(model, optimizers)
    refuse_stale(run, list(_named([] if optimizers is None else optimizers).values()),
                 frame_scopes.frame_of_script(frame_scopes.caller()))
    name = os.path.splitext(os.path.basename(path))[0]
    fields = {
        "id": name, "parent": None, "run": os.urandom(8).hex(), "branch_of": None, "generation": 0,
        "progress": Progress()._asdict(), "created": time.time(), "reason": "save_session", "metrics": {},
        "finished": False, "reasons": ["it was saved outside fit: no data position, callbacks and history"],
    }
    with run.family.inside(model):
        run.family.build_optimizers(model)  # or a model that was never trained could not be restored from its own file
        snapshot = take_snapshot(run, _kinds(run), fields)
    save_file(path, snapshot.image(Encoder()))
    return path


def _kinds(run: state.Run) -> Sequence[ModuleType]:
    return _KINDS if run.loop is None else (*_KINDS, state.loop_variables)


def restore_session(model: Any, path: PathOrUrl, optimizers: Any = None) -> ResumeReport:
    """Restores a model from a checkpoint, outside `fit`.

    Everything is checked before the first variable is assigned.

    Args:
        model: a built Keras model of the same structure.
        path: a file of `save_session` or of `SessionCheckpoint`, or its URL.
        optimizers: those that `save_session` was given, in the same form.

    Returns:
        A `ResumeReport`.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointCorrupt: the file is damaged or foreign.
        StateMismatch: it is a checkpoint of another model; every difference is listed.

    Examples:
        >>> # report = restore_session(model, "model.h5")
    """
    candidate = read(path_or_url(path, "path"))
    run = _run(model, optimizers)
    with run.family.inside(model):
        return _restore(candidate, run, model, path)


def _is_file(candidate: Candidate) -> bool:
    return bool(candidate.fields["reason"] == "save_session")


def _check_optimizers(candidate: Candidate, run: state.Run, path: PathOrUrl) -> None:
    if run.loop is None:
        return
    run.loop.is_complete = True
    stored = candidate.states.get(state.loop_variables.NAME) if _is_file(candidate) else None
    held = sorted(name[len("state."):] for part in ("objects", "own") for name in (stored or {}).get(part, ()))
    found = run.loop.look()
    given = sorted(name[len("state."):] for name in [*found.objects, *found.owns])
    if held != given:
        raise StateMismatch("The checkpoint {} holds {} of argument `optimizers`, and restore_session was given {}. "
                            "Pass what save_session was given.".format(path, ", ".join(held) or "none",
                                                                  ", ".join(given) or "none"))


def _restore(candidate: Candidate, run: state.Run, model: Any, path: PathOrUrl) -> ResumeReport:
    states = dict(candidate.states)
    states.setdefault(state.model_objects.NAME, state.model_objects.NOTHING)
    run.report = report = ResumeReport(candidate.info.id, candidate.info.progress)
    run.meet(candidate.fields["versions"])
    run.family.build_optimizers(model, state.optimizer.tables(states["optimizer"], run))
    _check_optimizers(candidate, run, path)
    problems = [problem for kind in _kinds(run) if kind.NAME != "optimizer" or run.family.optimizers(model)
                for problem in kind.check(states[kind.NAME], run)]
    if problems:
        raise StateMismatch("The checkpoint {} is of another model:".format(path), problems)
    for kind in _kinds(run):
        if kind.NAME == "optimizer" and not run.family.optimizers(model):
            report.kinds[kind.NAME] = "not restored: the model is not compiled"
            continue
        if kind.NAME in ("random", "objects") and run.foreign:
            report.kinds[kind.NAME] = "not restored: it is of " + run.foreign
            continue
        if not (run.foreign and kind.NAME == "optimizer"):
            kind.restore(states[kind.NAME], run)
            report.kinds[kind.NAME] = "restored"
    if run.foreign:
        cross(states, run, report)
    for kind in state.KINDS:
        report.kinds.setdefault(kind.NAME, "not restored: it belongs to fit")
    if state.loop_variables.NAME in states and run.loop is None:
        report.kinds[state.loop_variables.NAME] = "not restored: " + (
            "pass optimizers=, as to save_session" if _is_file(candidate) else "it belongs to a SessionLoop")
    report.because("outside fit neither data position nor callbacks are restored; use SessionCheckpoint in fit")
    return report
