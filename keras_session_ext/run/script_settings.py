"""The settings of a script: what a later one says differently."""

from typing import Any, Dict, List, Tuple

from keras_session_ext import state
from keras_session_ext.state import attribute_changes, walk_objects

#: settings that make another training of it, beside those of the optimizer
_DECISIVE = ("model", "loss", "loss_weights", "jit_compile", "run_eagerly", "data.source",
             "data.batch_size", "data.samples", "data.steps_per_epoch", "data.shuffle")


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
    for key, peer in walk_objects.keyed(run.peers):
        skipped = run.family.skipped_attributes(peer)
        if skipped is None:
            continue
        values = attribute_changes.look(peer, skipped, run).values
        said = run.baseline.get(key, values)  # without what `on_train_begin` set
        name = key.split(" ")[0].rsplit(".", 1)[-1]
        made.update({"{}.{}".format(name, attribute): value for attribute, value in values.items()
                     if not attribute.startswith("_") and isinstance(value, (bool, int, float, str))
                     and value == value and attribute in said})
    return {name: value if isinstance(value, (bool, int, str, type(None))) else repr(value)
            for name, value in made.items()}


def compare(then: Dict[str, Any], now: Dict[str, Any], strictly: bool = True) -> List[str]:
    """Every setting that differs, one line each; or only of those that both Kerases tell, and by more than rounding."""
    names = sorted(set(then) | set(now) if strictly else set(then) & set(now) - {"data.batches"})
    return [_line(name, then, now)
            for name in names if then.get(name) != now.get(name) and (strictly or not _alike(then[name], now[name]))]


def settle(then: Dict[str, Any], script: Dict[str, Any], used: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """What becomes of the settings that a script says differently, once the state is restored.

    Args:
        then: the settings at the checkpoint.
        script: those of this start. What the restored state overrides is set back, so that later starts are told, too.
        used: what the model says of itself now.

    Returns:
        A line for each that differs, and why the rest of the run is not what it would have been.
    """
    changes, reasons = [], []
    for name in sorted(set(then) | set(script)):
        if then.get(name) == script.get(name):
            continue
        if name.startswith("optimizer.") and name in then and used.get(name, script.get(name)) != script.get(name):
            changes.append("{}: the script says {}; what is used is the checkpoint's {}. A callback can change it, in "
                           "on_epoch_begin".format(name, _figure(script.get(name)), _figure(used[name])))
            script[name] = then[name]
            continue
        changes.append(_line(name, then, script))
        if name.endswith(_RATES) and _is_number(script.get(name)):
            continue  # the checkpoint's: a callback had brought it to what the script says now
        if name.startswith("optimizer") or name in _DECISIVE:
            reasons.append("{} is {} now and was {}".format(name, *(
                _figure(settings.get(name, "nothing")) for settings in (script, then))))
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
        _figure(settings.get(name, "nothing")) for settings in (then, now)))


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
