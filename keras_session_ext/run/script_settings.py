"""The settings of a script: what a later one says differently."""

from typing import Any, Dict, List

from keras_session_ext import state
from keras_session_ext.state import attribute_changes, walk_objects


def describe_script(run: state.Run, epochs: int) -> Dict[str, Any]:
    """Settings of model, data and callbacks, for finding what a later script says differently."""
    made = dict(run.family.script(run.model), epochs=epochs)
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
    return ["{}: {} at the checkpoint, {} now".format(name, then.get(name, "nothing"), now.get(name, "nothing"))
            for name in names if then.get(name) != now.get(name) and (strictly or not _alike(then[name], now[name]))]


def _alike(one: Any, other: Any) -> bool:
    try:
        return abs(float(one) - float(other)) <= 1e-6 * abs(float(one))
    except (TypeError, ValueError):
        return False
