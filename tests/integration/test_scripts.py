"""`keras-session prove` on scripts that know nothing of this package, and on scripts with a planted fault."""

import os

import pytest
from commands import SCRIPTS, prove

ENGINES = ("jax", "torch", "tensorflow")
UNCHANGED = ("functional_classifier.py", "custom_train_step.py", "vae.py", "timeseries_rnn.py")
#: what CI runs: every script, the engines in turn
SELECTION = [(script, ENGINES[number % 3]) for number, script in enumerate(UNCHANGED)]


def run_row(script, engine, folder, kills):
    status, verdict, err = prove(script, folder, engine, kills)
    assert status == 0 and verdict["exact"], (verdict, err)
    assert len(verdict["killed"]) == kills and len(verdict["resumed"]) >= kills, "it was really killed and resumed"
    assert not verdict["fresh"], "these scripts are seeded"
    for kind in ("variables", "optimizer", "history", "random", "data", "returned"):
        one, other = verdict["rows"][kind]
        assert len(one) == 64 and one == other, kind


@pytest.mark.slow
@pytest.mark.parametrize("script, engine", SELECTION)
def test_selection(script, engine, tmp_path):
    run_row(script, engine, tmp_path, kills=2)


@pytest.mark.matrix
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("script", UNCHANGED)
def test_every_script_on_every_engine(script, engine, tmp_path):
    run_row(script, engine, tmp_path, kills=5)


@pytest.mark.slow
@pytest.mark.parametrize("script, engine, named", [
    ("unseeded_shuffle.py", "jax", "the arrays given to fit for training are not those of the checkpoint; seed what "
                                   "makes them"),
    ("random_generator.py", "tensorflow", "the generator did not repeat its batches"),
])
def test_a_planted_fault_is_named(script, engine, named, tmp_path):
    status, verdict, err = prove(os.path.join("faults", script), tmp_path, engine, 2)
    assert status == 1 and not verdict["exact"], (verdict, err)
    assert named in verdict["reasons"][0], verdict
    assert " at step " in verdict["difference"], verdict


@pytest.mark.slow
def test_a_counter_in_a_layer_is_part_of_the_session(tmp_path):
    """Its class is the script's own, and the step runs its Python code each time."""
    status, verdict, err = prove(os.path.join("faults", "hidden_counter.py"), tmp_path, "torch", 2)
    assert status == 0 and verdict["exact"], (verdict, err)


@pytest.mark.slow
def test_a_script_without_any_seed_resumes_exactly(tmp_path):
    status, verdict, err = prove(os.path.join("faults", "no_seed.py"), tmp_path, "jax", 2)
    assert status == 0 and verdict["exact"], (verdict, err)
    assert "set_random_seed" in verdict["fresh"] and "Two fresh starts differ" in err


def test_the_scripts_know_nothing_of_this_package():
    for folder, _, names in os.walk(SCRIPTS):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(folder, name)) as handle:
                    assert "keras_session" not in handle.read()


@pytest.mark.slow
@pytest.mark.parametrize("script", ["three_fits.py", "long_validation.py"])
def test_what_was_called_not_exact_and_is(script, tmp_path):
    status, verdict, err = prove(os.path.join("faults", script), tmp_path, "torch", 3)
    assert status == 0 and verdict["exact"], (verdict, err)
