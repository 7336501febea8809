"""The data: passes begun, batches trained on, and the state of the source itself."""

from typing import Any, Dict, Iterator, List, Tuple

from keras_session_ext.state import attribute_changes, plain_values, set_attributes, walk_objects
from keras_session_ext.state.live_run import Run

NAME = "data"

_POSITION = ("source", "batch_size", "samples", "batches", "steps_per_epoch", "shuffle")


#: what to do where data did not come again
SEED_IT = ("make it depend on nothing but seeds that the script sets, such as np.random.default_rng(1), which "
           "set_random_seed does not reach")
_BEHIND = ("the generator was given to an earlier fit, which was finished and drew nothing from it this time; make a "
           "new one for every fit")
_behind: List[Any] = []  # generators not where the uninterrupted run has them; a zip takes no weak reference


def begin(run: Run) -> None:
    """Remembers what the user's sources look like before training."""
    if run.generator is not None and any(one is run.generator for one in _behind):
        run.report.because(_BEHIND)
    run.source_baseline = {}
    for name, source in _sources(run):
        if walk_objects.own_state(source) is None:
            run.source_baseline[name] = attribute_changes.baseline(attribute_changes.look(source, set(), run), {})


def _sources(run: Run) -> Iterator[Tuple[str, Any]]:
    """The user's own objects that batches come from, training's and validation's."""
    if run.feed.user_source is not None:
        yield "training", run.feed.user_source
    if run.family.is_py_dataset(run.validation_data):
        yield "validation", run.validation_data


def epoch_start(run: Run) -> None:
    """Captures the source's state before it is asked for the epoch's batches."""
    if run.feed.begins_pass:
        run.source_state = _state(run, "training")


def _state(run: Run, name: str) -> Any:
    source = dict(_sources(run)).get(name)
    if source is None:
        return None
    own = walk_objects.own_state(source)
    if own is not None:
        return {"own": plain_values.copy(own[0]())}
    baseline = run.source_baseline.get(name, {})
    values, large = attribute_changes.changed(attribute_changes.look(source, set(), run), baseline)
    return {"values": values, "large": large, "baseline": baseline}


def restore_source(state: Dict[str, Any], run: Run, name: str = "training") -> None:
    """Gives a source the state it had at the start of the pass, or now between epochs."""
    saved, source = state[name + "_source"], dict(_sources(run)).get(name)
    if not saved or source is None:
        return
    own = walk_objects.own_state(source)
    if "own" in saved:
        if own is not None:
            own[1](plain_values.copy(saved["own"]))
        return
    set_attributes.put_back(source, saved["values"], set(), run)
    kind = type(source).__name__
    for large in saved["large"]:
        run.report.because("{}'s attribute {} cannot be captured; offer get_state and set_state".format(kind, large))
    live = run.source_baseline.get(name, {})
    for attribute, print_ in saved["baseline"].items():
        if attribute not in saved["values"] and live.get(attribute, print_) != print_:
            run.report.because("{}'s attribute {} is not what it was; make it from a seed".format(kind, attribute))


def capture(run: Run) -> Dict[str, Any]:
    between = not run.mid_epoch
    return {
        "feed": run.feed.capture(at_epoch_end=between),
        "describe": run.feed.describe(),
        "training_source": run.source_state if run.feed.in_pass(between) else _state(run, "training"),
        "validation_source": _state(run, "validation"),
        "content": run.content,
        "validation_iterators": run.validation_iterators, "validation_unread": run.validation_unread,
        "epoch_over": run.epoch_over,
        "epoch_logs": _epoch_logs(run),
    }


def _epoch_logs(run: Run) -> Dict[str, Any]:
    """What the loop has of the epoch's logs, where a resume from here may not make any of its steps."""
    may_be_over = run.epoch_over or (run.mid_epoch and run.progress.batch and run.feed.may_end_anywhere)
    return run.family.epoch_logs(run.model, run.epoch_over) if may_be_over else {}


def pass_over(state: Dict[str, Any], run: Run) -> None:
    """A finished fit is not trained again: its generator is brought to where that fit left it, where this is known."""
    if run.generator is None:
        return
    verified = run.feed.pass_over(state["feed"])
    if not verified:
        _behind.append(run.generator)
    if verified is False:
        run.report.because("the generator did not repeat its batches; " + SEED_IT)


def why_not_exact(run: Run) -> List[str]:
    """Reasons why the rest of the run could not be replayed from here."""
    reasons = list(run.feed.why_not_exact()) + run.feed.shares_shuffle(run.validation_data)
    if run.validation is not None:
        if run.validation.source == "generator":
            reasons.append("validation_data is a generator, whose place between epochs is lost; use arrays, a "
                           "tf.data.Dataset or a PyDataset")
        reasons += ["in validation_data: " + reason for reason in run.validation.why_not_exact()
                    if run.validation.source != "generator"]
    return reasons


def check(state: Dict[str, Any], run: Run) -> List[str]:
    if not (run.mid_epoch or (state["feed"]["open"] and state["feed"]["consumed"])):
        return []
    then, now = state["describe"], run.feed.describe()
    problems = ["{}: {} at the checkpoint, {} now; the place in the epoch has no meaning".format(
        name, then[name], now[name]) for name in _POSITION if then[name] != now[name]]
    if run.progress.batch % now["steps_per_execution"] and not run.epoch_over:
        problems.append("steps_per_execution: {} does not divide the {} batches that are done".format(
            now["steps_per_execution"], run.progress.batch))
    return problems


def restore(state: Dict[str, Any], run: Run) -> None:
    run.validation_iterators, run.validation_unread = state["validation_iterators"], state.get("validation_unread", 0)
    run.feed.resume(state["feed"], run.progress.batch, run.epoch_over, run.stopped)
    restore_source(state, run)
    restore_source(state, run, "validation")
    for name, checksum in state["content"].items():
        if run.content.get(name) != checksum:
            what = "the data in the dataset" if name.endswith("dataset") else "the arrays given to fit for " + name
            run.report.because(what + " are not those of the checkpoint; seed what makes them")
