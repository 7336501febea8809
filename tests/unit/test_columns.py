"""Long lists of alike items, as one array for each place in an item."""

import collections
import random

import numpy as np
import pytest

from keras_session_ext.state import plain_values
from keras_session_ext.state.columns import FROM, Columns, columns_of


def transition(number):
    return (np.full(4, number, "float32"), number, number / 7, {"over": number % 2 == 0, "info": [np.float64(number)]})


def same(one, other):
    """To the bit, and of the same kinds."""
    return type(one) is type(other) and plain_values.fingerprint(one, ordered=True) == plain_values.fingerprint(
        other, ordered=True)


def back(columns):
    """By JSON and arrays, as through a file."""
    encoded, arrays = plain_values.flatten(columns)
    return plain_values.decode(encoded, lambda number: np.array(arrays[number][1]))


@pytest.mark.parametrize("item", [
    transition, float, lambda n: -0.0 if n % 2 else float("nan"), lambda n: n % 3 == 0, lambda n: -n * 2 ** 40,
    lambda n: np.int8(n % 100), lambda n: np.array(n), lambda n: np.zeros((2, 0, 3)), lambda n: [n, (n, [n])],
    lambda n: {"b": n, "a": np.full((2, 3), n, "complex64")}])
def test_a_list_comes_back_to_the_bit(item):
    items = [item(number) for number in range(FROM + 3)]
    columns = columns_of(items)
    assert columns is not None
    assert same(back(columns).items(), items)
    assert plain_values.fingerprint(columns) == plain_values.fingerprint(back(columns))
    changed = [*items[:-1], item(5)]
    assert same(changed, items) or plain_values.fingerprint(columns_of(changed)) != plain_values.fingerprint(columns)


def test_arrays_that_come_back_have_memory_of_their_own():
    made = back(columns_of([np.zeros(3)] * FROM)).items()
    made[0][:] = 1
    assert made[1].sum() == 0 and made[0].base is None


def test_a_deque_is_as_a_list():
    held = collections.deque((transition(number) for number in range(1000)), maxlen=FROM)
    assert same(columns_of(held).items(), list(held))


@pytest.mark.parametrize("items", [
    [1] * (FROM - 1), [1] * FROM + [True], [1] * FROM + [1.0], [1] * FROM + [2 ** 63], [None] * FROM, ["a"] * FROM,
    [()] * FROM, [{}] * FROM, [(1,)] * FROM + [(1, 2)], [{"a": 1}] * FROM + [{"b": 1}], [{1: 1}] * FROM,
    [{"a": 1, "b": 2}] * FROM + [{"b": 2, "a": 1}], [np.zeros(2)] * FROM + [np.zeros(3)],
    [np.zeros(2)] * FROM + [np.zeros(2, "float32")], [np.zeros(2, ">f4")] * FROM, [np.array(["a"])] * FROM,
    [np.ma.masked_array([1])] * FROM, [[[[[[1]]]]]] * FROM, [collections.Counter(a=1)] * FROM,
    [random.Random(1)] * FROM])
def test_what_is_not_alike_or_no_value_stays_a_list(items):
    assert columns_of(items) is None


@pytest.mark.parametrize("count, spec", [
    (2, ["int", 0]), (3, ["int", 1]), (3, ["int", -1]), (3, ["int", True]), (3, ["other", 0]), (3, ["int"]), (3, None),
    (3, []), (3, ["tuple", []]), (3, ["tuple", [["int", 0], ["int", 0]]]), (3, ["dict", [[1, ["int", 0]]]]),
    (3, ["dict", [["a"]]]), (3, ["tuple", [["tuple", [["tuple", [["tuple", [["int", 0]]]]]]]]]), (-3, ["int", 0]),
    ("3", ["int", 0]), (3, [["int"], 0])])
def test_columns_that_lie_are_refused(count, spec):
    with pytest.raises(ValueError, match="no columns of a list"):
        Columns(count, spec, [np.arange(3)])


def test_columns_without_any_column_take_no_memory():
    with pytest.raises(ValueError, match="no columns of a list"):
        Columns(10 ** 12, ["tuple", []], [])
