"""Which variables the rest of a run reads: seen from inside a running loop, on whatever Python this is."""

import sys

import pytest

from keras_session_ext.backend.hooks import frame_scopes
from keras_session_ext.backend.hooks.live_names import liveness_of, names_read


class Look:
    """Notes what is live each time it is asked for an item."""

    def __init__(self, count, act=lambda frame, number: None):
        self.count, self.act, self.number, self.seen, self.loops = count, act, 0, [], []

    def __iter__(self):
        return self

    def __next__(self):
        frame = sys._getframe(1)
        own = {*frame.f_code.co_varnames, *frame.f_code.co_cellvars, *frame.f_code.co_freevars}
        self.seen.append(set(liveness_of(frame.f_code).at(frame.f_lasti)) & own)
        self.loops.append(frame_scopes.is_loop(frame))
        self.act(frame, self.number)
        if self.number == self.count:
            raise StopIteration
        self.number += 1
        return self.number


def test_what_is_overwritten_first_is_dead():
    look = Look(2)

    def train():
        total, batch, gradients = 0, None, None
        for item in look:
            batch = item * 2
            gradients = batch + 1
            total = total + gradients
        return total

    assert train() == 8
    assert look.seen == [{"look", "total"}] * 3 or look.seen == [{"total"}] * 3
    assert look.loops == [True] * 3


def test_what_only_some_ways_read_is_live():
    look = Look(3)

    def train():
        best = note = None
        for item in look:
            if item > 1:
                best = item if best is None else max(best, item)
            if item == 3:
                note = best
                break
        return note

    assert train() == 3
    assert all({"best", "note"} <= one for one in look.seen)


def test_a_handler_reads_what_stood_before_the_block():
    look = Look(2)

    def train():
        count, text = 0, "none"
        for item in look:
            try:
                count += 1
                text = [0][item]
            except IndexError:
                count += len(text)
            finally:
                count += 10
        return count

    train()
    assert all({"count", "text"} <= one for one in look.seen)


def test_what_an_inner_function_shares_is_live():
    look = Look(1)

    def train():
        value, other = 1, 2

        def read():
            return value

        for item in look:
            found = read()
            value = item
            other = item
        return found, other

    train()
    assert all({"value", "read", "other"} <= one for one in look.seen)


def test_nested_loops_and_continue():
    outer, inner = Look(2), [Look(2), Look(2)]

    def train():
        total = 0
        for number in outer:
            running = 0
            for item in inner[number - 1]:
                if item == 1:
                    continue
                running += item
            total += running
        return total

    assert train() == 4
    assert all("running" not in one and "total" in one for one in outer.seen)
    assert all({"running", "total"} <= one for look in inner for one in look.seen)


def test_a_comprehension_of_the_same_name_hides_nothing():
    look = Look(2)

    def train():
        i, found = 7, []
        for item in look:
            found = [i + 1 for i in range(item)]
        return i, found

    assert train() == (7, [1, 2])
    assert all("i" in one for one in look.seen)


def test_what_functions_read_of_a_module():
    text = "def f(self):\n    def g():\n        return one(two.three)\n    return [four for _ in self.five]"
    code = compile(text, "", "exec")
    assert names_read(code) == {"one", "two", "four"}


@pytest.mark.parametrize("shared", [False, True])
def test_variables_of_a_running_function_can_be_assigned(shared):
    def act(frame, number):
        if number == 2:
            scope = frame_scopes.scopes([frame])[-1]
            assert scope.prefix == "train." and scope.values["total"] == 2
            scope.holder["total"] = 1000

    look = Look(4, act)

    def plain():
        def train():
            total = 0
            for item in look:
                total += 1
            return total
        return train

    def sharing():
        def train():
            total = 0

            def read():
                return total
            for item in look:
                total += 1
            return read()
        return train

    assert (sharing() if shared else plain())() == 1002


def test_frames_from_the_outermost_loop_to_the_innermost():
    frames = []

    def inner():
        frames.extend(frame_scopes.frames_between(outer_frame, sys._getframe()))

    outer_frame = sys._getframe()
    inner()
    assert [one.f_code.co_name for one in frames] == [outer_frame.f_code.co_name, "inner"]
