"""Real trainings on this member, real SIGKILL, and SHA-256 over every tensor against the uninterrupted run."""

import os
import shutil

import pytest
from harness import assert_same, finish, keep_only, killed_like, resume_copies, start
from members import MEMBERS, current

from keras_session_ext import list_checkpoints

pytestmark = pytest.mark.slow

NAME = current()
MEMBER = MEMBERS[NAME]
GRAPH = MEMBER.family == "graph"
#: older Kerases know no .weights.h5
PEERS = {"more_peers": True, "best": "best.weights.h5" if MEMBER.family == "keras3" else "best.h5"}
MOMENTS = {"mid-epoch": "batch:14", "validation": "validation:2", "write": "write:4"}

#: sources beside arrays, and why the report must say that a resume is not exact
SOURCES = {
    "validation_split": "", "sample_weight": "", "class_weight": "", "Sequence": "",
    "tf.data": "no one can read" if GRAPH else "",
    "tf.data in order": "",
    "tf.data of unknown length": "draw for batches of unknown size" if GRAPH else "",
    "generator": "cannot be checked" if GRAPH or NAME == "tf21" else "",
    "generator, global NumPy": "cannot be checked" if GRAPH or NAME == "tf21" else (
        "runs ahead of training" if MEMBER.family == "eager" else ""),
}
MODELS = ["convolution", "recurrent", "functional", "deep"]
if NAME != "torch":  # where plain Keras cannot train a stateful layer: its states are changed in place before backward
    MODELS += ["stateful"]
if NAME in ("tf210", "tf215-v1", "tensorflow"):
    MODELS += ["wide"]
if MEMBER.family == "eager":
    MODELS += ["subclassed", "run_eagerly", "nadam run_eagerly", "counts in build", "LossScaleOptimizer"]
if NAME == "mirrored-tf_keras":  # Keras 3.15 cannot fit so under a strategy
    MODELS += ["steps_per_execution"]
if NAME in ("tf215", "tf_keras", "tensorflow"):
    MODELS += ["jit_compile", "untracked variable"]
if NAME == "tf21":
    MODELS += ["experimental_run_tf_function=False"]
if NAME in ("tf213", "tf215", "tf_keras"):
    MODELS += ["optimizers.legacy"]
if NAME in ("tf210", "tf213", "tf215", "tf_keras"):
    MODELS += ["enable_tf_random_generator"]
if NAME == "keras225":
    NEVER = "does not repeat a run by itself"  # shown by test_plain_runs_differ
else:
    NEVER = ""
if (MEMBER.engine != "tensorflow" and not MEMBER.devices) or (GRAPH and MEMBER.keras == "keras"):
    # standalone Keras knows no tf.data; jax and torch have no TensorFlow
    SOURCES = {name: why for name, why in SOURCES.items() if not name.startswith("tf.data")}
if NAME == "mirrored":  # plain runs differ, too
    SOURCES = {name: "replicas read ahead" if name.startswith("generator") else why for name, why in SOURCES.items()}
if NAME.startswith("mirrored"):  # Keras itself cannot: the batch of a replica is half of it
    MODELS = [name for name in MODELS if name != "stateful"]
if NAME == "jax-mesh":  # JAX cuts no batch that the mesh does not divide
    SOURCES = {name: why for name, why in SOURCES.items() if name != "tf.data of unknown length"}


def check(reference, resumed, why):
    """The same end, or an honest report."""
    why = NEVER or why
    assert [change for change in resumed["changes"] if not change.startswith("Killer.")] == []
    if why:
        assert not resumed["exact"]
        assert why in " ".join(resumed["reasons"])
        return
    assert resumed["exact"], resumed["reasons"]
    assert resumed["diverged_at"] is None
    assert_same(reference, resumed)


def show(cell, column, why=""):
    why = NEVER or why
    cell(column, "no: " + why if why else "yes")


def test_arrays_with_dropout(tmp_path, cell):
    """Plain `fit(x, y, shuffle=True)`: killed in an epoch, in validation and in a write; resumed from copies."""
    task = dict(PEERS)
    reference, resumed = killed_like(NAME, task, str(tmp_path), MOMENTS.values(), seeded=True)
    check(reference, resumed, "")
    show(cell, "mid-epoch exact")
    seen = set()
    for info, copy in resume_copies(NAME, task, str(tmp_path), 3):
        if NEVER:
            continue
        assert copy["exact"], copy["reasons"]
        for name in ("sha256", "history", "epochs"):
            assert copy[name] == reference[name], "{} differs after a resume from {}".format(name, info.progress)
        seen.add(bool(info.progress.batch))
    assert NEVER or seen == {True, False}
    show(cell, "epoch exact")


@pytest.mark.variant
@pytest.mark.parametrize("source", SOURCES)
def test_sources(source, tmp_path, cell):
    reference, resumed = killed_like(NAME, {"source": source}, str(tmp_path), ["batch:14"], seeded=True)
    check(reference, resumed, SOURCES[source])
    show(cell, "source: " + source, SOURCES[source])


if SOURCES.get("tf.data of unknown length") == "":
    def test_the_last_batch_of_an_epoch_of_unknown_length(tmp_path):
        """Behind it Keras asks for another, and a resume does not know that there is none."""
        task = {"source": "tf.data of unknown length", "every": 1}
        whole = dict(task, directory=str(tmp_path / "whole"), result=str(tmp_path / "whole.json"))
        reference = finish(NAME, whole)
        infos = [info for info in list_checkpoints(whole["directory"]) if info.progress.batch]
        last = {info.progress.epoch: info for info in sorted(infos, key=lambda info: info.progress.batch)}
        assert len(last) == 3
        for info in last.values():
            copy = str(tmp_path / "copy")
            shutil.copytree(whole["directory"], copy)
            keep_only(copy, info)
            check(reference, finish(NAME, dict(task, directory=copy, result=copy + ".json")), "")
            shutil.rmtree(copy)


# standalone Keras knows no tf.data; jax and torch have no TensorFlow
@pytest.mark.members(*(name for name in MEMBERS if MEMBERS[name].engine == "tensorflow" and not (
    MEMBERS[name].family == "graph" and MEMBERS[name].keras == "keras")))
def test_a_shuffle_behind_another(tmp_path):
    """Keras 3 makes iterators that it never reads: for them the first shuffle draws no order, the second one does."""
    task = {"source": "tf.data, shuffled twice"}
    why = SOURCES["tf.data"] or ("shuffled twice" if NAME in ("tf21", "tf24", "tf26") else "")
    if NAME.startswith("mirrored"):
        why = "replicas read ahead"
    reference, resumed = killed_like(NAME, task, str(tmp_path), ["batch:14", "validation:2"], seeded=True)
    check(reference, resumed, why)
    for _, copy in resume_copies(NAME, task, str(tmp_path), 3):
        check(reference, copy, why)


def test_variables_that_a_callback_holds(tmp_path, cell):
    """A metric of its own, and on TensorFlow a variable by hand, which the loss may read, too."""
    task = dict(PEERS, holds=True)
    reference, resumed = killed_like(NAME, task, str(tmp_path), ["batch:14"], seeded=True)
    check(reference, resumed, "")
    assert NEVER or resumed["held"] == reference["held"]
    show(cell, "callbacks that hold variables")


def test_a_model_that_fit_builds(tmp_path, cell):
    reference, resumed = killed_like(NAME, {"model": "unbuilt"}, str(tmp_path), ["batch:14"], seeded=True)
    check(reference, resumed, "")
    show(cell, "model: unbuilt")


@pytest.mark.variant
@pytest.mark.parametrize("model", MODELS)
def test_models(model, tmp_path, cell):
    task = {"model": model, "source": "whole batches" if model == "stateful" else "arrays"}
    reference, resumed = killed_like(NAME, task, str(tmp_path), ["batch:14"], seeded=True)
    why = {"experimental_run_tf_function=False": "hidden in its kernels",  # built with the layers
           "untracked variable": "variables that the model does not list"}.get(model, "")
    if model == "counts in build" and not resumed["exact"]:  # exact where each step is traced once
        why = "Counting.calls changed, and then a step was traced again"
    check(reference, resumed, why)
    if model != "counts in build":  # which it is depends on when the kill comes
        show(cell, "model: " + model, why)


@pytest.mark.variant
def test_several_outputs(tmp_path, cell):
    """Each has a loss of its own in the history."""
    task = {"model": "two outputs", "source": "two targets"}
    reference, resumed = killed_like(NAME, task, str(tmp_path), ["batch:14"], seeded=True)
    check(reference, resumed, "")
    show(cell, "model: two outputs")


def test_unseeded(tmp_path, cell):
    """A script without seeds: exact where the order and the random ops are our own, else the report says why not."""
    why = "have no seed" if GRAPH and MEMBER.keras != "keras" else (
        "the seeds of the model's random ops are others" if GRAPH else "")
    reference, resumed = killed_like(NAME, {"seed": None}, str(tmp_path), ["batch:14"], seeded=False)
    check(reference, resumed, why)
    show(cell, "unseeded", why)


@pytest.mark.parametrize("place", [0, 3, 6])
def test_place_in_the_list(place, tmp_path, cell):
    reference, resumed = killed_like(NAME, dict(PEERS, place=place), str(tmp_path),
                                     ["batch:14"], seeded=True)
    check(reference, resumed, "")
    show(cell, "callbacks")


@pytest.mark.members("keras225", "keras231")
def test_plain_runs_differ(tmp_path):
    """What the report says of standalone Keras is true: plain runs without this package differ, too."""
    task = {"without": True, "threads": 1 if NAME == "keras225" else 0, "epochs": 6}
    ends = set()
    for number in range(12):
        ends.add(finish(NAME, dict(task, directory=str(tmp_path), result=str(tmp_path / "r.json")))["sha256"])
        if len(ends) > 1:
            return
    raise AssertionError("{} runs ended alike: take the sentence out of the report".format(number + 1))


@pytest.mark.members("keras231")
def test_several_threads_are_reported(tmp_path):
    task = {"threads": 0, "directory": str(tmp_path / "run"), "result": str(tmp_path / "r.json")}
    assert start(NAME, dict(task, kill="batch:20"))[0] < 0
    resumed = finish(NAME, task)
    assert not resumed["exact"] and "on several threads" in resumed["reasons"][0]
    assert os.path.isdir(str(tmp_path / "run"))
