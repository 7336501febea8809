"""What two runs of a script say about each other: pure values."""

import json

import pytest

from keras_session_ext.proof import run_differences
from keras_session_ext.proof.run_differences import Note


def note(step, at="step", **states):
    made = {"variables/w": "w{}".format(step), "random/host/python": "r{}".format(step), "data/feed/chain": "c"}
    made.update({name.replace("__", "/"): value for name, value in states.items()})
    return Note(at, (0, 0, step), step, made)


WHOLE = [note(step) for step in range(1, 9)]


def test_equal_runs():
    assert run_differences.first_difference(WHOLE, WHOLE[3:]) is None
    assert run_differences.first_difference(WHOLE, [note(99)]) is None, "what the other never noted is no difference"
    assert run_differences.first_difference(WHOLE, []) is None


def test_the_first_moment_counts_and_the_cause_before_what_follows():
    other = [note(4), note(5, variables__w="x", data__feed__chain="d"),
             note(6, variables__w="y", random__host__python="z")]
    found = run_differences.first_difference(WHOLE, other)
    assert found.note.step == 5 and found.first == "data/feed/chain"
    assert str(found) == "data/feed/chain at step 5: c in the uninterrupted run, d in the other"
    assert found.paths == {"variables": ["variables/w"], "data": ["data/feed/chain"]}


def test_states_that_come_and_go_are_differences():
    gone = note(3)
    del gone.states["variables/w"]
    assert "not there in the other" in str(run_differences.first_difference(WHOLE, [gone]))
    more = note(3, callbacks__Mine__count="1")
    assert "not there in the uninterrupted run" in str(run_differences.first_difference(WHOLE, [more]))


def test_a_kind_that_is_not_known_here_is_a_difference_too():
    found = run_differences.first_difference(WHOLE, [note(5, later__thing="1")])
    assert found.first == "later/thing" and run_differences.explain(found, [])


@pytest.mark.parametrize("states, reasons, repeats, expected", [
    ({"variables__w": "x"}, ["the generator did not repeat its batches"], None, "the generator did not"),
    ({"variables__w": "x"}, [], False, "two resumes from one checkpoint differ from each other"),
    ({"variables__w": "x"}, [], True, "a non-deterministic op, or state that Python code keeps"),
    ({"random__host__python": "x", "variables__w": "x"}, [], True, "something draws random numbers"),
    ({"data__feed__chain": "x"}, [], True, "make what the batches come from depend"),
    ({"objects__values__Mine__calls": "4", "variables__w": "x"}, [], True, "keep 'objects/values/Mine/calls' in a"),
    ({"callbacks__Timer__started": "1.5"}, [], True, "pass --ignore 'callbacks/Timer/started'"),
])
def test_explanations(states, reasons, repeats, expected):
    found = run_differences.first_difference(WHOLE, [note(5, **states)])
    assert expected in run_differences.explain(found, reasons, repeats)[0]


@pytest.mark.parametrize("other, expected", [
    (note(0, at="begin", variables__w="x"), "set_random_seed"),
    (note(1, variables__w="x"), "set_random_seed"),
    (note(1, variables__w="x", data__content__training="x"), "its data are others"),
    (note(4, variables__w="x"), "a non-deterministic op"),
    (note(4, random__host__python="x"), "set_random_seed"),
])
def test_why_two_fresh_starts_differ(other, expected):
    whole = [note(0, at="begin"), *WHOLE]
    assert expected in run_differences.explain_fresh(run_differences.first_difference(whole, [other]))


def test_ignored_states():
    other = [note(5, callbacks__Timer__started="1.5")]
    assert run_differences.first_difference(WHOLE, run_differences.ignoring(other, ["Timer"])) is None


def test_torn_and_foreign_lines_are_passed_over():
    line = json.dumps(WHOLE[0]._asdict()).encode()
    assert run_differences.read([line, line[:20], b"", b"[]", b"\xff", b'{"at": 1}']) == [WHOLE[0]]


def test_the_end_is_the_last_of_every_state():
    assert run_differences.final(WHOLE)["stage 0/variables/w"] == "w8"
