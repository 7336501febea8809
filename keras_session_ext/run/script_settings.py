"""The settings of a script: what a later one says differently."""

from typing import Any, Dict, Iterator, List, Tuple

from keras_session_ext import state
from keras_session_ext.backend.constructor_arguments import is_object_setting, is_told_late
from keras_session_ext.state import attribute_changes, walk_objects

#: settings that make another training of it, beside those of the optimizer
_DECISIVE = ("model", "loss", "loss_weights", "jit_compile", "run_eagerly", "data.source",
             "data.batch_size", "data.samples", "data.steps_per_epoch", "data.shuffle", "layout")
#: what a setting is that nobody tells
_UNTOLD = {"layout": "one device"}


#: what is a variable in every Keras, as long as it is a number
_RATES = (".learning_rate", ".lr")


def describe_script(run: state.Run, epochs: int, before: Dict[str, Any]) -> Dict[str, Any]:
    """Settings of model, data and callbacks, for finding what a later script says differently.

    Args:
        run: the live run.
        epochs: that fit is to have.
        before: what was said of this stage when it was tried before in this process: training has moved the
            optimizer's settings since then.
    """
    made = dict(run.family.script(run.model), epochs=epochs)
    made.update({name: value for name, value in before.items() if name.startswith("optimizer.") and name in made})
    made.update({"data." + name: value for name, value in run.feed.describe().items()})
    for label, key, peer, skipped in _peers(run):
        values = attribute_changes.look(peer, skipped, run).values
        said = run.baseline.get(key, values)  # without what `on_train_begin` set
        made.update({"{}.{}".format(label, attribute): value for attribute, value in values.items()
                     if not attribute.startswith("_") and isinstance(value, (bool, int, float, str))
                     and value == value and attribute in said})
    return _as_texts(dict(made, **_of_callbacks(run)))


def settings_in_use(run: state.Run) -> Dict[str, Any]:
    """What the model and the callbacks say of themselves, once the state is restored."""
    return _as_texts(dict(run.family.script(run.model), **_of_callbacks(run)))


def _of_callbacks(run: state.Run) -> Dict[str, Any]:
    """What the script made its callbacks with, as far as it may change the training."""
    return {"{}.{}".format(label, name): value for label, _, peer, _ in _peers(run)
            for name, value in run.family.callback_settings(peer).items()}


def _peers(run: state.Run) -> Iterator[Tuple[str, str, Any, set]]:
    """Each callback that has settings: the name of its class, its key, itself, and which attributes are none."""
    for key, peer in walk_objects.keyed(run.peers):
        skipped = run.family.skipped_attributes(peer)
        if skipped is not None:
            kind, number = key.rsplit(" ", 1)
            yield kind.rsplit(".", 1)[-1] + (" " + number if number != "0" else ""), key, peer, skipped


def _as_texts(made: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value if isinstance(value, (bool, int, str, type(None))) else repr(value)
            for name, value in made.items()}


def compare(then: Dict[str, Any], now: Dict[str, Any], strictly: bool = True) -> List[str]:
    """Every setting that differs, one line each; or only of those that both Kerases tell, and by more than rounding."""
    if strictly:
        return [_line(name, then, now) for name in _changed(then, now)]
    names = sorted(name for name in set(then) & set(now) - {"data.batches"} if not is_object_setting(name))
    return [_line(name, then, now) for name in names if then[name] != now[name] and not _alike(then[name], now[name])]


def _changed(then: Dict[str, Any], now: Dict[str, Any]) -> List[str]:
    """The names of settings that differ; what an object says only where it is there at both starts."""
    told = [{name.split(".")[0] for name in settings} for settings in (then, now)]
    names = sorted(name for name in set(then) | set(now) if then.get(name) != now.get(name))
    return [name for name in names if not is_object_setting(name) or (
        name in then and name in now if is_told_late(name) else all(name.split(".")[0] in one for one in told))]


def settle(then: Dict[str, Any], script: Dict[str, Any], used: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """What becomes of the settings that a script says differently, once the state is restored.

    Args:
        then: the settings at the checkpoint.
        script: those of this start. What the restored state overrides is set back, so that later starts are told, too.
        used: what the model and the callbacks say of themselves now.

    Returns:
        A line for each that differs, and why the rest of the run is not what it would have been.
    """
    changes, reasons = [], []
    for name in _changed(then, script):
        whose, setting = (name.split(".", 1) + [""])[:2]
        is_optimizers, was, now = name.startswith("optimizer"), then.get(name), script.get(name)
        # of an object or a callback, told by both; what is used tells nothing of the data
        made_with = is_object_setting(name) or (bool(setting) and name in used and name in then and not is_optimizers)
        if (made_with or (setting and is_optimizers and name in then)) and used.get(name, now) != now:
            changes.append("{}: the script says {}; what is used is the checkpoint's {}. A callback can change it, in "
                           "on_epoch_begin".format(name, _figure(now), _figure(used[name])))
            script[name] = was
            continue
        changes.append(_line(name, then, script))
        if made_with:
            who = whose if is_object_setting(name) else "callback " + whose
            reasons.append("{}: {} {} → {}".format(who, setting, _figure(was), _figure(now)))
        elif name.endswith(_RATES) and _is_number(now):
            continue  # the checkpoint's: a callback had brought it to what the script says now
        elif is_optimizers or name in _DECISIVE:
            reasons.append("{} is {} now and was {}".format(name, *(
                _figure(settings.get(name, _UNTOLD.get(name, "nothing"))) for settings in (script, then))))
    return changes, reasons


def cause(then: Dict[str, Any], script: Dict[str, Any], problems: List[str]) -> str:
    """What keeps a checkpoint from fitting, in one line."""
    for name in ("model", "optimizer"):
        if then.get(name) != script.get(name):
            return "the {} is {} now and was {}".format(name, script.get(name, "none"), then.get(name, "none"))
    lacking = [problem for problem in problems if ", missing in " in problem]
    more = len(problems) - 1
    return (lacking or problems)[0] + ("; and {} more".format(more) if more else "")


def _line(name: str, then: Dict[str, Any], now: Dict[str, Any]) -> str:
    return "{}: {} at the checkpoint, {} now".format(name, *(
        _figure(settings.get(name, _UNTOLD.get(name, "nothing"))) for settings in (then, now)))


def _figure(value: Any) -> str:
    """A setting as people write it: a float32 of 0.001 is 0.0010000000474974513 otherwise."""
    text = str(value)
    try:
        return "{:.6g}".format(float(text)) if "." in text or "e-" in text else text
    except ValueError:
        return text


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _alike(one: Any, other: Any) -> bool:
    try:
        return abs(float(one) - float(other)) <= 1e-6 * abs(float(one))
    except (TypeError, ValueError):
        return False
