"""Values of a loop's variables: stored and made again, with the classes and attributes that they had."""

import collections
import functools
import types

import numpy as np
import pytest

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.hooks.frame_scopes import Scope
from keras_session_ext.state import callable_parts, iteration_starts, nested_tensors, plain_values

Pair = collections.namedtuple("Pair", "left right")


class Table(dict):
    """The script's own, with attributes."""


class PlainEngine:
    unsealed = Engine.unsealed


class PlainFamily:
    """Without tensors."""

    engine = PlainEngine()

    def as_array(self, value):
        return None


FAMILY = PlainFamily()


def again(value, live=None):
    stored = plain_values.copy(nested_tensors.pack(value, FAMILY).plain())
    return nested_tensors.unpack(stored, live, FAMILY)


@pytest.mark.parametrize("value", [
    collections.Counter("aab"), collections.OrderedDict([("b", 1), ("a", 2)]), collections.deque([1, Pair(1, 2)], 3),
    collections.defaultdict(list, {"a": [1]}), [Pair(1, (2, 3))], {"inner": {"deep": collections.Counter([1])}},
    (1, [2.5, None], {3})])
def test_a_container_keeps_its_class(value):
    made = again(value)
    assert made == value and repr(made) == repr(value)
    assert nested_tensors.fingerprint(nested_tensors.pack(made, FAMILY).plain()) == nested_tensors.fingerprint(
        nested_tensors.pack(value, FAMILY).plain())


def test_attributes_of_a_container_are_a_part_of_it():
    one, live = Table(a=1), Table(b=2)
    one.hits, live.misses = 3, 4
    made = again(one, live)
    assert made is live and made == {"a": 1} and vars(made) == {"hits": 3}
    other = Table(a=1)
    assert nested_tensors.fingerprint(nested_tensors.pack(one, FAMILY).plain()) != nested_tensors.fingerprint(
        nested_tensors.pack(other, FAMILY).plain())


def test_what_only_the_script_can_make_is_not_made():
    with pytest.raises(TypeError, match="Table"):
        again(Table(a=1))
    with pytest.raises(TypeError, match="defaultdict"):
        again(collections.defaultdict(lambda: 0, a=1))


def test_a_container_of_another_class_is_not_filled():
    live = collections.Counter(a=1)
    made = again({"a": 2}, live)
    assert type(made) is dict and live == collections.Counter(a=1)


def test_an_iteration_begins_with_what_it_began_with():
    class Trainer:
        pass

    trainer = Trainer()
    trainer.todo, values = ["a", "b"], {"todo": [1, 2], "large": np.zeros(100_000), "trainer": trainer}
    scopes = [Scope("", values, values, True)]
    begun, todo = iteration_starts.take(scopes, {}, FAMILY), values["todo"]
    assert sorted(begun) == ["todo", "trainer.todo"]
    todo.pop(0)
    trainer.todo.pop(0)
    values["large"][0] = 1
    iteration_starts.put(begun, scopes, {}, FAMILY)
    assert values["todo"] is todo and todo == [1, 2] and trainer.todo == ["a", "b"] and values["large"][0] == 1


def test_what_an_iteration_did_not_change_is_the_scripts_to_say():
    values = {"rate": 0.5, "todo": [1], "noise": np.zeros(2)}
    scopes = [Scope("", values, values, True)]
    script = iteration_starts.take(scopes, {}, FAMILY)
    values["todo"].append(2)
    changed, same = iteration_starts.changed(iteration_starts.take(scopes, {}, FAMILY), script)
    assert sorted(changed) == ["noise", "todo"] and same == ["rate"]


def test_what_a_callable_leads_to(monkeypatch):
    monkeypatch.setattr(callable_parts, "is_of_script", lambda module: True)
    one, other, third = object(), object(), object()

    def function(value=one):
        return other, value

    class Holder:
        inside = third

        def method(self):
            return self

    def parts(value):
        return [item for _, _, _, item in callable_parts.parts_of(value, [globals()])]

    assert parts(function) == [other, one]
    assert parts(functools.partial(function, third)) == [function, third]
    holder = Holder()
    assert parts(holder.method)[0] is holder and third in parts(Holder)
    module = types.ModuleType("helper")
    module.model = one
    assert one in parts(module) and parts([one]) == []
