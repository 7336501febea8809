"""What bad input gets: an error that says what to write; and what the words of a loop do."""

import os
import subprocess
import sys

import pytest
from harness import HERE, environment

pytestmark = pytest.mark.slow


def said(case, engine="jax"):
    done = subprocess.run([sys.executable, os.path.join(HERE, "loop_scripts", "words.py"), case],
                          env=environment(engine), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("case, kind, advice", [
    ("bare_enumerate", "ConfigError", "Write loop.enumerate(…)"),
    ("enumerate_within", "ConfigError", "Write loop.enumerate(data)"),
    ("bare_zip", "ConfigError", "leave it by `break`"),
    ("bare_islice", "ConfigError", "leave it by `break`"),
    ("opened_twice", "ConfigError", "anew for each `for`"),
    ("read_by_next", "ConfigError", "loop.iterator(…) for next()"),
    ("nothing_to_iterate", "ConfigError", "Expected a number or something to iterate over"),
    ("a_fraction_of_an_epoch", "ConfigError", "Expected a number or something to iterate over"),
    ("a_text_in_the_log", "ConfigError", "Expected a number, or a tensor with few. Received: 'low'"),
    ("unknown_argument", "TypeError", "state={'name': object}"),
    ("within_a_fit", "ConfigError", "Leave the loop out"),
    ("another_loop", "StateMismatch", "Undo the change"),
    ("a_fit_in_the_place_of_a_loop", "StateMismatch", "was a loop, and is a fit now"),
    ("a_smaller_source", "StateMismatch", "the data ended after 3"),
])
def test_an_error_says_what_to_write(case, kind, advice):
    text = said(case)
    assert text.startswith("ERROR " + kind) and advice in text, text


def test_replicas_are_refused():
    text = said("under_a_strategy", "tensorflow")
    assert text.startswith("ERROR UnsupportedBackend") and "several replicas" in text, text


def test_what_a_save_of_large_variables_costs_is_told_once():
    told = [line for line in said("large_variables").splitlines() if "each save holds" in line]
    assert len(told) == 1 and "of which large_variables.replay has" in told[0] and "save by time" in told[0]


@pytest.mark.parametrize("case, out", [
    ("without_looking", "OUT 3 6"), ("a_break_and_its_stages", "OUT True 13"), ("a_counted_iterator", "OUT True"),
    ("numbers_of_numpy", "OUT 4 5"), ("hostile_attributes", "OUT hostile_attributes.hostile (Hostile"),
    ("a_view_of_an_array", "OUT ([3.0, 12.0, 0.0, 0.0], [3.0, 12.0], True)"),
    ("a_bounded_loop_that_was_finished", "OUT [0, 1, 2, 0, 1, 2]"),
    ("a_save_that_was_asked_for", "OUT ['loop.save()', 'loop.save()', 'the end of the stage']")])
def test_what_the_words_do(case, out):
    assert said(case) == out
