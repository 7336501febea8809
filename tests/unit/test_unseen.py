"""What a look at a loop's variables does not keep, and names."""

import collections
import fractions
import pathlib
import sys
import types

import numpy as np
import pytest

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.hooks.frame_scopes import Scope
from keras_session_ext.state import shared_objects, unseen
from keras_session_ext.state.live_names import Found


class PlainEngine:
    """An engine whose tensors carry nothing beside their values."""

    tensors_carry_more = False
    memory_of = Engine.memory_of


def scopes_of(values):
    return [Scope("", values, values, True)]


def now_of(values, captured=(), **more):
    found = Found()
    found.values = dict.fromkeys(captured)
    return unseen.Now(found, scopes_of(values), shared_objects.walk(scopes_of(values), {}, PlainEngine()),
                      PlainEngine(), **more)


def reasons(before, after, captured=(), **more):
    """What is said where variables were these when a loop began, and are those now."""
    return unseen.why_not_exact(unseen.begin(now_of(before, captured)), now_of(after, captured, **more))


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


class Idle:
    pass


class Busy:
    pass


class Model:
    """As of a framework."""


Model.__module__ = "keras.models"
ROWS = np.zeros((2, 3))
A, B, C = [1], [2], fractions.Fraction(1, 2)


@pytest.mark.parametrize("before, after, words", [
    ({"buffer": np.zeros(4), "head": np.zeros(2)}, a_view(), "share their memory"),
    ({"model": Model()}, {"model": Model()}, "model (Model) is another"),
    ({"phase": Idle()}, {"phase": Busy()}, "phase (Busy) is another"),
    ({"phase": None}, {"phase": Busy()}, "phase (Busy) is another"),
    ({"inner": {"step": len}}, {"inner": {"step": max}}, "inner.step (builtin_function_or_method) is another"),
    ({"row": ROWS[0], "rows": ROWS}, {"row": ROWS[1], "rows": ROWS}, "share their memory"),
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
    {"a": A, "b": B}, {"step": len, "kind": int, "model": Model(), "append": A.append}, {"seen": {1}}, {"halves": [C]},
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


def test_what_the_body_has_made_it_makes_again():
    before = {"model": Model(), "row": np.zeros(3), "rows": ROWS}
    after = dict(before, model=Model(), row=ROWS[1])
    made = [after["model"], after["row"]]
    is_remade = lambda path, value: any(value is one for one in made)
    assert reasons(before, after, ["row", "rows"], is_remade=is_remade) == []
    assert len(reasons(before, after, ["row", "rows"])) == 2


def test_what_was_moved_leads_to_it_again():
    """Variables that the loop has swapped, in a process where they are as the script has made them."""
    one, other, values = Idle(), Busy(), {}
    values.update(a=one, b=other, both=[one, other])
    walk = lambda: shared_objects.walk(scopes_of(values), {}, PlainEngine())
    things = shared_objects.things(walk())
    values.update(a=other, b=one, both=[one, one])
    moved, shared = things.moved(walk()), [sorted(paths) for paths in shared_objects.groups(walk())]
    values.update(a=one, b=other, both=[one, other])
    things.put(moved, walk())
    shared_objects.part(shared, [], walk(), PlainEngine(), {})
    shared_objects.join(shared, walk())
    assert values["a"] is other and values["b"] is one and values["both"][1] is one
    assert list(shared_objects.differences(shared, walk())) == []


def test_what_is_one_object_and_was_not_becomes_two():
    one = [1]
    values = {"a": one, "b": one, "c": [2]}
    walk = lambda: shared_objects.walk(scopes_of(values), {}, PlainEngine())
    assert len(list(shared_objects.differences([["b", "c"]], walk()))) == 2
    shared_objects.part([["b", "c"]], [], walk(), PlainEngine(), {})
    shared_objects.join([["b", "c"]], walk())
    assert values["a"] is not values["b"] and values["b"] is values["c"]


def test_a_loop_that_leads_to_itself_ends():
    value = []
    value.append(value)
    reasons({"value": value}, {"value": value}, captured=["value"])


def test_variables_of_modules_of_the_script(monkeypatch, tmp_path):
    helper = types.ModuleType("helper_of_the_script")
    helper.__file__, helper.rate, helper.log, helper.other = str(tmp_path / "helper.py"), 1.0, [], np.zeros(3)
    monkeypatch.setitem(sys.modules, helper.__name__, helper)
    begun = unseen.begin(now_of({}))
    assert unseen.why_not_exact(begun, now_of({})) == []
    helper.rate = 0.5
    helper.log.append(1)
    said = unseen.why_not_exact(begun, now_of({}))
    assert [one.split(" is ")[0] for one in said] == ["helper_of_the_script.rate", "helper_of_the_script.log"], said
