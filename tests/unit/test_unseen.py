"""What a look at a loop's variables does not keep, and names."""

import collections
import fractions
import pathlib
import sys
import types

import numpy as np
import pytest

from keras_session_ext.backend.hooks.frame_scopes import Scope
from keras_session_ext.state import unseen
from keras_session_ext.state.live_names import Found


def reasons(before, after, captured=()):
    """What is said where variables were these when a loop began, and are those now."""
    found = Found()
    found.values = dict.fromkeys(captured)
    scope = lambda values: [Scope("", values, values, True)]
    begun = unseen.begin(found, scope(before), {})
    return unseen.why_not_exact(begun, found, scope(after), {})


def one_list_twice():
    one = [1]
    return {"a": one, "b": one}


def a_view():
    buffer = np.zeros(4)
    return {"buffer": buffer, "head": buffer[:2]}


def collided():
    """A set whose items come in another order when it is made of them anew: two have one place in its table."""
    value = {8}
    value.add(0)
    return value


A, B, C = [1], [2], fractions.Fraction(1, 2)


@pytest.mark.parametrize("before, after, words", [
    ({"a": A, "b": B}, {"a": A, "b": A}, "a and b are one object"),
    (one_list_twice(), {"a": A, "b": B}, "a and b are one object"),
    ({"a": {"inner": A}, "b": B}, {"a": {"inner": B}, "b": B}, "a.inner and b are one object"),
    ({"buffer": np.zeros(4), "head": np.zeros(2)}, a_view(), "share their memory"),
    (a_view(), {"buffer": np.zeros(4), "head": np.zeros(2)}, "share their memory"),
    ({"step": len}, {"step": max}, "step (builtin_function_or_method) is another"),
    ({"path": pathlib.Path("a")}, {"path": pathlib.Path("b")}, "is another"),
    ({"kind": int}, {"kind": float}, "kind (type) is another"),
    ({"seen": set()}, {"seen": {"a", "b"}}, "sorted(seen)"),
    ({"seen": set()}, {"seen": collided()}, "sorted(seen)"),
    ({"halves": [C]}, {"halves": [C / 2]}, "halves.0 (Fraction)")])
def test_what_is_no_longer_as_the_script_made_it(before, after, words, monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    said = reasons(before, after, captured=[
        name for name in after if isinstance(after[name], (list, dict, set, np.ndarray))])
    assert len(said) == 1 and words in said[0], said


@pytest.mark.parametrize("values", [
    {"numbers": {1, 2, (3, 4.5)}}, one_list_twice(), a_view(), {"rows": list(np.zeros((3, 2)))},
    {"a": A, "b": B}, {"step": len, "kind": int}, {"seen": {1}}, {"halves": [C]},
    {"deque": collections.deque([1], 3), "arrays": [np.zeros(2), np.ones(2)]}])
def test_what_is_as_it_was_is_no_reason(values):
    assert reasons(values, values, captured=[name for name in values if not callable(values[name])]) == []


def test_numbers_come_in_the_order_of_their_hashes():
    assert reasons({"seen": set()}, {"seen": set(range(100))}, captured=["seen"]) == []
    grown = set(range(1000))
    grown.difference_update(range(3, 1000))  # its table is still that of a thousand
    assert len(reasons({"seen": set()}, {"seen": grown}, captured=["seen"])) == 1


def test_what_comes_later_is_compared_with_nothing():
    assert reasons({}, {"losses": [1.0], "best": np.zeros(3)}, captured=["losses", "best"]) == []


def test_a_loop_that_leads_to_itself_ends():
    value = []
    value.append(value)
    reasons({"value": value}, {"value": value}, captured=["value"])


def test_variables_of_modules_of_the_script(monkeypatch, tmp_path):
    helper = types.ModuleType("helper_of_the_script")
    helper.__file__, helper.rate, helper.log, helper.other = str(tmp_path / "helper.py"), 1.0, [], np.zeros(3)
    monkeypatch.setitem(sys.modules, helper.__name__, helper)
    scopes, found = [Scope("", {}, {}, True)], Found()
    begun = unseen.begin(found, scopes, {})
    assert unseen.why_not_exact(begun, found, scopes, {}) == []
    helper.rate = 0.5
    helper.log.append(1)
    said = unseen.why_not_exact(begun, found, scopes, {})
    assert [one.split(" is ")[0] for one in said] == ["helper_of_the_script.rate", "helper_of_the_script.log"], said
