"""Nested plain values go through JSON and come back the same, to the bit."""

import collections
import datetime
import enum
import json
import math
import random
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_session_ext.checkpoint.header import DTYPES
from keras_session_ext.state import plain_values
from keras_session_ext.state.plain_values import NotPlain

NAN = float("nan")
SMALL = [name for name in DTYPES if name not in np.sctypeDict]


def round_trip(value):
    """Through JSON text, and the arrays through bytes, as in a file."""
    encoded, arrays = plain_values.flatten(value)
    text = json.dumps(encoded, allow_nan=False)
    stored = [(array.dtype, array.shape, np.ascontiguousarray(array).tobytes()) for _, array in arrays]
    return plain_values.decode(
        json.loads(text), lambda n: np.frombuffer(stored[n][2], stored[n][0]).reshape(stored[n][1]))


def same(a, b):
    """Equal in type, value and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and all(map(same, sorted(a, key=repr), sorted(b, key=repr)))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(one, other) for one, other in zip(a.items(), b.items()))
    return a == b


HARD = {
    "none": None, "true": True, "false": False, "zero": 0, "one": 1, "minus": -1,
    "exact limit": 2**53 - 1, "past it": 2**53, "past it below": -(2**53), "odd past it": 2**53 + 1, "2**63": 2**63,
    "2**64": 2**64 - 1, "googol": 10**100, "minus googol": -(10**100), "thousands of bits": 1 << 9999,
    "nan": NAN, "inf": math.inf, "-inf": -math.inf, "-0.0": -0.0, "0.0": 0.0, "smallest": 5e-324, "largest": 1.7e308,
    "one float": 1.0, "0.1": 0.1, "empty text": "", "text": "ä\u2028\0\"\\", "half a pair": "\ud800",
    "empty bytes": b"", "bytes": bytes(range(256)), "list": [], "tuple": (), "set": set(), "frozenset": frozenset(),
    "dict": {}, "nested": [[], [[]], ({},), {"": {}}], "pair": (1, [2, (3,)]), "numbers": {1, 2, 3},
    "mixed set": {1, "1", (1, b"1"), None, frozenset({2.5})}, "frozen in set": {frozenset({1}), frozenset()},
    "empty key": {"": 1}, "int keys": {1: "a", -2: "b"}, "one and one": {1: "int", "1": "text"},
    "bool keys": {True: 1, False: 0}, "none key": {None: 1}, "tuple keys": {(1, "a"): [1], (): []},
    "bytes keys": {b"x": 1}, "float keys": {0.5: 1, -math.inf: 2}, "mixed keys": {"a": 1, 2: "b", (3,): "c"},
    "order": {"z": 1, "a": 2, "m": 3}, "order of others": {3: 1, 1: 2, 2: 3},
    "$": {"$": 1}, "$int": {"$int": "5"}, "$array": {"$array": 0}, "$unknown": {"$unknown": 1},
    "$tuple and more": {"$tuple": [1], "b": 2}, "$dict": {"$dict": [[1, 2]]}, "$$": {"$$": {"$": {}}},
    "tag as value": ["$int", "$nan"], "bool and int": [True, 1, False, 0, 1.0, 0.0],
}


@pytest.mark.parametrize("name", HARD)
def test_hard_values(name):
    assert same(round_trip(HARD[name]), HARD[name])


def test_all_hard_values_at_once():
    assert same(round_trip(HARD), HARD)
    assert same(plain_values.copy(HARD), HARD)


def test_an_int_of_any_length():
    assert round_trip(10**5000 + 7) == 10**5000 + 7


def test_plain_json_stays_as_it_is():
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": []}}
    assert plain_values.flatten(value) == (value, [])


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**200), 2**200), st.floats(), st.text(), st.binary())
keys = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.floats(allow_nan=False),
                 st.tuples(st.integers(), st.text()), st.sampled_from(["$int", "$", "$array", "$dict", "$tuple"]))
arrays = st.builds(
    lambda dtype, shape, seed: np.random.RandomState(seed).randint(0, 2, shape).astype(dtype),
    st.sampled_from(["bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64"]),
    st.lists(st.integers(0, 3), max_size=3).map(tuple), st.integers(0, 99))
plain = st.recursive(
    st.one_of(scalars, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=4), st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4)),
    max_leaves=25)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(plain)
def test_any_plain_value(value):
    assert same(round_trip(value), value)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(plain)
def test_copies_are_equal_and_have_one_fingerprint(value):
    copied = plain_values.copy(value)
    assert same(copied, value)
    assert plain_values.fingerprint(copied) == plain_values.fingerprint(value)


# -- NumPy


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 3), (2, 0, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_arrays_of_every_dtype(dtype, shape):
    made = np.dtype(getattr(ml_dtypes, dtype) if dtype in SMALL else dtype)
    count = int(np.prod(shape, dtype=int))
    array = np.arange(count).astype("float32").reshape(shape).astype(made)
    back = round_trip({"x": array})["x"]
    assert same(back, array) and back.dtype.name == dtype
    assert same(plain_values.copy(array), array)
    if count:
        scalar = array.reshape(-1)[0]
        assert same(round_trip([scalar])[0], scalar)


@pytest.mark.parametrize("bits", [0x7FC00001, 0xFFC12345, 0x7F800001, 0x80000000, 0x00000001])
def test_arrays_keep_every_bit(bits):
    array = np.array([bits], np.uint32).view(np.float32)
    assert round_trip(array).view(np.uint32)[0] == bits
    assert np.asarray(round_trip(array[0])).view(np.uint32) == bits


@pytest.mark.parametrize("array", [
    np.arange(12).reshape(3, 4).T, np.arange(24).reshape(2, 3, 4)[:, ::-1, ::2], np.asfortranarray(np.eye(3)),
    np.broadcast_to(np.float32(3), (4, 5)), np.arange(5, dtype=">i4"), np.array([1.5, -0.0], ">f8"),
], ids=["transposed", "strided", "fortran", "broadcast", "big-endian int", "big-endian float"])
def test_arrays_of_any_memory_layout(array):
    back = round_trip([array])[0]
    assert back.shape == array.shape and np.array_equal(back, array)


def test_scalars_stay_scalars_and_arrays_arrays():
    back = round_trip([np.float32(1), np.array(1, np.float32), np.bool_(True), True])
    assert [type(one) for one in back] == [np.float32, np.ndarray, np.bool_, bool]


def test_numpy_scalars_are_keys_and_members_too():
    value = {"keys": {np.int64(1): "a", np.int64(2): "b"}, "members": {np.float32(1.5), np.float32(2.5)}}
    back = round_trip(value)
    assert back == value and {type(key) for key in back["keys"]} == {np.int64}


def test_flatten_names_every_array():
    encoded, found = plain_values.flatten({"a": [np.zeros(1), {"b": np.float32(2)}], 3: (np.ones(2),)}, "top")
    assert [path for path, _ in found] == ["top/'a'/0", "top/'a'/1/b", "top/3/0"]
    assert encoded == {"$dict": [["a", [{"$array": 0}, {"b": {"$scalar": 1}}]], [3, {"$tuple": [{"$array": 2}]}]]}


def test_a_copy_shares_nothing():
    value = {"a": np.zeros(2), "b": [np.zeros(1)], "c": random.Random(1)}
    copied = plain_values.copy(value)
    value["a"][0] = value["b"][0][0] = 7
    value["b"].append(1)
    before = copied["c"].getstate()
    value["c"].random()
    assert copied["a"][0] == 0 and len(copied["b"]) == 1 and copied["b"][0][0] == 0
    assert copied["c"].getstate() == before


# -- random generators


@pytest.mark.parametrize("drawn", [0, 1, 3, 700])
@pytest.mark.parametrize("make, draw", [
    (lambda: random.Random(5), lambda r: r.random()),
    (lambda: random.Random(5), lambda r: r.gauss(0, 1)),  # keeps every second value for later
    (lambda: np.random.RandomState(5), lambda r: r.rand()),
    (lambda: np.random.RandomState(5), lambda r: r.randn()),  # so does this one
    (lambda: np.random.Generator(np.random.PCG64(5)), lambda r: r.standard_normal()),
    (lambda: np.random.Generator(np.random.PCG64(5)), lambda r: r.integers(0, 9, dtype=np.uint32)),  # halves a word
    (lambda: np.random.Generator(np.random.PCG64DXSM(5)), lambda r: r.random()),
    (lambda: np.random.Generator(np.random.MT19937(5)), lambda r: r.random()),
    (lambda: np.random.Generator(np.random.Philox(5)), lambda r: r.random()),
    (lambda: np.random.Generator(np.random.SFC64(5)), lambda r: r.random()),
])
def test_generators_go_on_where_they_were(make, draw, drawn):
    live = make()
    for _ in range(drawn):
        draw(live)
    back = round_trip({"rng": live})["rng"]
    assert type(back) is type(live)
    assert [draw(back) for _ in range(50)] == [draw(live) for _ in range(50)]


def test_the_state_of_a_generator_is_plain_as_well():
    live = random.Random(3)
    live.gauss(0, 1)
    assert same(round_trip(live.getstate()), live.getstate())
    assert same(round_trip(np.random.RandomState(3).get_state(legacy=False)),
                np.random.RandomState(3).get_state(legacy=False))
    legacy = round_trip(np.random.RandomState(3).get_state())
    assert same(legacy, np.random.RandomState(3).get_state())


# -- what is refused


class Color(enum.IntEnum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


class Text(str):
    pass


@pytest.mark.parametrize("value, name", [
    (object(), "object"), (lambda: 1, "function"), (int, "type"), (iter([]), "list_iterator"), (range(3), "range"),
    (1j, "complex"), (bytearray(b"x"), "bytearray"), (datetime.datetime(2020, 1, 1), "datetime"), (Color.RED, "Color"),
    (Point(1, 2), "Point"), (Text("x"), "Text"), (np.array(["a"]), "ndarray"), (np.array([object()]), "ndarray"),
    (np.array(["2020"], "M8[D]"), "ndarray"), (np.zeros(2, [("a", int)]), "ndarray"), (np.str_("x"), "str_"),
    (np.datetime64("2020"), "datetime64"), (np.random.PCG64(1), "PCG64"), (json, "module"),
    ((i for i in ()), "generator"),
    (random.SystemRandom(), "SystemRandom"), (memoryview(b"x"), "memoryview"), (NotImplemented, "NotImplementedType"),
], ids=lambda value: value if isinstance(value, str) else None)
def test_what_is_not_plain_is_refused_with_its_path_and_type(value, name):
    with pytest.raises(NotPlain) as caught:
        plain_values.flatten(value)
    assert str(caught.value) == "value ({})".format(name)
    for nested, path in (({"a": [0, value]}, "a/1"), ({"a": {"b": (value,)}}, "a/b/0"), ({"x": {3: value}}, "x/3")):
        with pytest.raises(NotPlain) as caught:
            plain_values.flatten(nested)
        assert str(caught.value) == "{} ({})".format(path, name)
        with pytest.raises(NotPlain):
            plain_values.copy(nested)
        with pytest.raises(NotPlain):
            plain_values.fingerprint(nested)


def test_not_plain_is_a_type_error():
    assert issubclass(NotPlain, TypeError)


UNSTORABLE = [np.zeros(3, "V8"), np.zeros(2, np.dtype("V3"))]
UNSTORABLE += [np.zeros(3, np.longdouble), np.longdouble(1)] if np.dtype(np.longdouble).name not in DTYPES else []
UNSTORABLE += [np.zeros(3, getattr(ml_dtypes, name)) for name in (
    "float8_e3m4", "float8_e8m0fnu", "float4_e2m1fn", "int2", "uint2")
    if name not in DTYPES and hasattr(ml_dtypes, name)]


@pytest.mark.parametrize("array", UNSTORABLE, ids=lambda array: array.dtype.name)
def test_a_dtype_that_a_file_cannot_hold_is_refused(array):
    """Else the save is acknowledged and its file refused afterwards."""
    with pytest.raises(NotPlain):
        plain_values.flatten({"a": array})


def test_an_array_with_more_than_its_numbers_is_refused():
    with pytest.raises(NotPlain):
        plain_values.flatten({"a": np.ma.masked_array([1, 2, 3], [False, True, False])})


# -- fingerprints


def test_fingerprints_tell_values_apart():
    values = [0, 1, True, 1.0, "1", b"1", [1], (1,), {1}, frozenset({1}), {"1": 1}, {1: 1}, None, [], (), {}, -0.0, 0.0,
              NAN, math.inf, [0, 1], [1, 0], np.float32(1), np.float64(1), np.array([1.0]), np.array([[1.0]]),
              np.array(1.0), np.array([1]), np.zeros(0), np.zeros((0, 1)), np.zeros(2), np.zeros(3), 2**53, 2**53 + 1,
              [np.zeros(1), np.ones(1)], [np.ones(1), np.zeros(1)], random.Random(1), random.Random(2)]
    assert len({plain_values.fingerprint(value) for value in values}) == len(values)


def test_fingerprints_do_not_depend_on_the_order_of_keys():
    assert plain_values.fingerprint({"a": 1, "b": 2}) == plain_values.fingerprint({"b": 2, "a": 1})


def test_unknown_tags_are_left_alone():
    assert plain_values.decode({"$later": [1, {"$int": "2"}]}, None) == {"$later": [1, 2]}
