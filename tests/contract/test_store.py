"""What every store promises: one suite over all of them."""

import os
import threading

import pytest
import stores

from keras_session_ext.store.choose import store_of
from keras_session_ext.store.contract import Image

#: the places; in a new one a store is made in an empty folder
PLACES = ["local", "mirrored", *stores.SERVERS]


class Bytes(Image):
    """Bytes in pieces, the last one first."""

    def __init__(self, data, pieces=3, size=None):
        self._data, self._count, self.size_bytes = data, pieces, len(data) if size is None else size

    def pieces(self):
        step = max(1, len(self._data) // self._count)
        for at in reversed(range(0, len(self._data), step)):
            yield at, self._data[at:at + step]


class Breaking(Bytes):
    """A source that fails behind its first piece."""

    def pieces(self):
        yield next(super().pieces())
        raise OSError("the source broke")


def unchecked():
    """Lets every put pass."""


def read(store, name):
    file = store.open(name)
    try:
        data = bytearray(file.size_bytes())
        assert file.read(data, 0) == len(data)
        return bytes(data)
    finally:
        file.close()


@pytest.fixture(scope="module", params=PLACES)
def place(request):
    with stores.place("memory" if request.param in ("local", "mirrored") else request.param) as made:
        yield request.param, made


@pytest.fixture
def fresh(place, tmp_path):
    """A store in which nothing is, and whose place is not made."""
    kind, made = place
    folder = str(tmp_path / "run")
    if kind == "mirrored":
        return store_of(folder, mirror=made.url())
    return store_of(folder if kind == "local" else made.url(), staging=str(tmp_path / "staging"))


@pytest.fixture
def store(fresh):
    fresh.prepare()
    yield fresh
    fresh.lock.give_back()


def test_before_it_is_prepared(fresh):
    assert fresh.names() == [] and fresh.describe() in fresh.path_of("a.h5") and fresh.path in fresh.describe()
    assert not fresh.exists() and fresh.lock.holder() is None and fresh.lock.read() == {}


def test_what_was_put_can_be_read(store):
    data = os.urandom(100_000)
    store.put("a.h5", Bytes(data), unchecked)
    assert store.names() == ["a.h5"] and read(store, "a.h5") == data
    store.prepare()  # twice is once
    assert read(store, "a.h5") == data


def test_what_no_piece_covers_is_zero(store):
    store.put("a.h5", Bytes(b"abc", size=10), unchecked)
    assert read(store, "a.h5") == b"abc" + bytes(7)


def test_parts_of_a_file(store):
    store.put("a.h5", Bytes(b"0123456789"), unchecked)
    file, part = store.open("a.h5"), bytearray(4)
    assert file.read(part, 3) == 4 and part == b"3456"
    assert file.read(part, 8) == 2 and part[:2] == b"89"
    assert file.read(part, 10) == 0
    file.close()


@pytest.mark.parametrize("size", [4, 100_000])
def test_an_open_file_is_itself_when_its_name_is_removed(store, size):
    kept = os.urandom(size)
    store.put("a.h5", Bytes(kept), unchecked)
    file, data = store.open("a.h5"), bytearray(size)
    store.remove(["a.h5"], unchecked)
    try:
        assert file.read(data, 0) == size and data == kept
    except OSError:
        assert store.is_far and size > 65536
    file.close()


def test_all_of_a_large_file(store):
    kept = os.urandom((20 << 20) + 7)
    store.put("a.h5", Bytes(kept), unchecked)
    file, data = store.open("a.h5"), bytearray(len(kept))
    file.expect_all()
    at = 0
    for step in (1, 65536, 9 << 20, 3, len(kept)):  # ranges begin and end anywhere
        part = memoryview(data)[at:at + step]
        assert file.read(part, at) == len(part)
        at += len(part)
    assert data == kept and at == len(kept)
    file.close()


def test_an_empty_file(store):
    store.put("a.h5", Bytes(b""), unchecked)
    file = store.open("a.h5")
    file.expect_all()
    assert file.size_bytes() == 0 and file.read(bytearray(5), 0) == 0
    file.close()


@pytest.mark.parametrize("name", ["a b.h5", "ü漢.h5", "100%.h5", "%41.h5", "a+b.h5", "a&b=c.h5", "'a\"b.h5", "..h5",
                                  "a~b.h5", "[a].h5", "a*.h5"])
def test_names_of_all_kinds(store, name):
    other = store.path_of("a.h5")
    store.put(name, Bytes(name.encode()), unchecked)
    assert store.names() == [name] and read(store, name) == name.encode() and store.path_of(name) != other
    with pytest.raises(FileExistsError):
        store.put(name, Bytes(b"another"), unchecked)
    assert store.remove([name], unchecked) == [name] and store.names() == []


def test_a_staged_file_can_be_tried_again(store):
    staged = store.stage("a.h5", Bytes(b"0123456789"))
    assert store.names() == [] or store.is_far is False

    def refuse():
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError, match="not now"):
        staged.publish(refuse)
    staged.publish(unchecked)
    staged.discard()
    staged.discard()
    assert staged.size_bytes == 10 and store.names() == ["a.h5"] and read(store, "a.h5") == b"0123456789"


def test_an_answer_that_was_lost_is_no_failure(store):
    """The store has it, and the client tries again."""
    staged = store.stage("a.h5", Bytes(b"0123456789"))
    staged.publish(unchecked)
    if store.is_far:  # a file system's answers are not lost
        staged.publish(unchecked)
    staged.discard()
    assert store.names() == ["a.h5"]


def test_a_staged_file_that_is_given_up_leaves_nothing(store):
    staged = store.stage("a.h5", Bytes(b"0123456789"))
    staged.discard()
    assert store.names() == []
    if staged.waits_in is not None:
        assert not os.path.exists(staged.waits_in)




def test_a_put_takes_no_others_place(store):
    store.put("a.h5", Bytes(b"first"), unchecked)
    with pytest.raises(FileExistsError):
        store.put("a.h5", Bytes(b"second"), unchecked)
    assert store.names() == ["a.h5"] and read(store, "a.h5") == b"first"


def test_the_check_comes_last_and_can_refuse(store):
    def refuse():
        assert "a.h5" not in store.names()
        raise RuntimeError("another run")

    with pytest.raises(RuntimeError, match="another run"):
        store.put("a.h5", Bytes(b"data"), refuse)
    assert store.names() == []


def test_a_put_that_fails_leaves_nothing(store):
    with pytest.raises(OSError, match="the source broke"):
        store.put("a.h5", Breaking(b"0123456789"), unchecked)
    assert store.names() == []


def test_a_claim_is_given_once(store):
    won = []
    others = [store_of(store.path, mirror=store.mirror_url or None) for _ in range(8)]
    threads = [threading.Thread(target=lambda one=one: won.append(one.claim("g000001.claim"))) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True] and store.names() == ["g000001.claim"]
    for one in others:
        one.lock.give_back()


def test_removal_says_what_was_there(store):
    for name in ("a.h5", "b.h5", "c.h5"):
        store.put(name, Bytes(b"x"), unchecked)
    assert store.remove(["a.h5", "never.h5", "c.h5"], unchecked) == ["a.h5", "c.h5"]
    assert store.names() == ["b.h5"] and store.remove([], unchecked) == []


def test_a_file_that_is_not_there(store):
    with pytest.raises(FileNotFoundError):
        store.open("never.h5")


def test_leftovers_are_asked_for(store):
    store.put("a.h5", Bytes(b"x"), unchecked)
    store.claim("g000001.claim")
    asked = []
    store.clear_leftovers(lambda name, unfinished: asked.append((name, unfinished)) or name.endswith(".claim"))
    assert sorted(set(asked)) == [("a.h5", False), ("g000001.claim", False)] and store.names() == ["a.h5"]


def test_the_lock_knows_its_last_holder(store):
    assert store.lock.take() == {}
    assert store.claim("g000001.claim")
    store.lock.note(step=5)
    assert store.lock.read()["step"] == 5 and store.lock.holder() == os.getpid()
    assert store.lock.take() == {}, "it is ours already"
    store.lock.give_back()
    store.lock.give_back()
    store.lock.note(step=6)  # not ours any more: nothing happens
    assert store.lock.take()["step"] == 5
    store.lock.give_back()


def test_notes_are_replaced(store):
    assert store.read_note("config.json") is None
    store.write_note("config.json", b"one")
    store.write_note("config.json", b"two")
    assert store.names() == [] and store.read_note("config.json") == b"two" and store.exists()
    store.write_note("config.json", b"x" * 70000 + b"y")
    assert store.read_note("config.json") == b"x" * 65535 + b"y"
