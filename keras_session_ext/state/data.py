"""The data: passes begun, batches trained on, and the state of the source itself."""

from typing import Any, Dict, List

from keras_session_ext.state import attributes, tree

NAME = "data"

_POSITION = ("source", "batch_size", "samples", "batches", "steps_per_epoch", "shuffle")


def begin(run) -> None:
    """Remembers what the user's source looks like before training."""
    source = run.feed.user_source
    if source is not None and attributes.own_state(source) is None:
        run.source_baseline = attributes.look(source, set(), run.family).fingerprints()


def epoch_start(run) -> None:
    """Captures the source's state before it is asked for the epoch's batches."""
    run.source_state = _source_state(run)


def _source_state(run) -> Any:
    source = run.feed.user_source
    if source is None:
        return None
    own = attributes.own_state(source)
    if own is not None:
        return {"own": tree.copy(own[0]())}
    values, large = attributes.changed(attributes.look(source, set(), run.family), run.source_baseline)
    return {"values": values, "large": large}


def restore_source(state: Dict[str, Any], run) -> None:
    """Gives the source the state it had at the start of the epoch, or now between epochs."""
    saved, source = state["source_state"], run.feed.user_source
    if not saved or source is None:
        return
    own = attributes.own_state(source)
    if "own" in saved:
        if own is not None:
            own[1](tree.copy(saved["own"]))
    else:
        attributes.put_back(source, saved["values"], set(), run.family)
        for name in saved["large"]:
            run.report.because("the {}'s attribute {} is too large to be captured; offer get_state and "
                               "set_state".format(run.feed.source, name))


def capture(run) -> Dict[str, Any]:
    between = not run.mid_epoch
    return {
        "feed": run.feed.capture(at_epoch_end=between),
        "describe": run.feed.describe(),
        "source_state": _source_state(run) if between else run.source_state,
        "validation_iterators": run.validation_iterators,
        "epoch_over": run.epoch_over,
    }


def why_not_exact(run) -> List[str]:
    """Reasons why the rest of the run could not be replayed from here."""
    reasons = list(run.feed.why_not_exact())
    if run.validation is not None:
        if run.validation.source == "generator":
            reasons.append("validation_data is a generator, whose place between epochs is lost; use arrays, a "
                           "tf.data.Dataset or a PyDataset")
        reasons += ["in validation_data: " + reason for reason in run.validation.why_not_exact()
                    if run.validation.source != "generator"]
    return reasons


def check(state: Dict[str, Any], run) -> List[str]:
    if not (run.mid_epoch or (state["feed"]["open"] and state["feed"]["consumed"])):
        return []
    then, now = state["describe"], run.feed.describe()
    problems = ["{}: {} at the checkpoint, {} now; the place in the epoch has no meaning".format(
        name, then[name], now[name]) for name in _POSITION if then[name] != now[name]]
    if run.progress.batch % now["steps_per_execution"] and not run.epoch_over:
        problems.append("steps_per_execution: {} does not divide the {} batches that are done".format(
            now["steps_per_execution"], run.progress.batch))
    return problems


def restore(state: Dict[str, Any], run) -> None:
    run.validation_iterators = state["validation_iterators"]
    run.feed.resume(state["feed"], run.progress.batch, run.epoch_over)
    restore_source(state, run)
