"""What every store promises: one suite over all of them."""

import os
import threading

import pytest

from keras_session_ext.store.contract import Image
from keras_session_ext.store.local import LocalStore

#: name -> makes a store in an empty folder; every new one stands here
STORES = {"local": lambda folder: LocalStore(os.path.join(folder, "run"))}


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


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    made = STORES[request.param](str(tmp_path))
    made.prepare()
    return made


def test_before_it_is_prepared(tmp_path):
    for make in STORES.values():
        made = make(str(tmp_path))
        assert made.names() == [] and made.describe() in made.path_of("a.h5")


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


def test_an_open_file_outlives_its_name(store):
    store.put("a.h5", Bytes(b"kept"), unchecked)
    file, data = store.open("a.h5"), bytearray(4)
    store.remove(["a.h5"], unchecked)
    assert file.read(data, 0) == 4 and data == b"kept"
    file.close()


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
    threads = [threading.Thread(target=lambda: won.append(store.claim("g000001.claim"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True] and store.names() == ["g000001.claim"]


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
    assert sorted(asked) == [("a.h5", False), ("g000001.claim", False)] and store.names() == ["a.h5"]


def test_the_lock_knows_its_last_holder(store):
    assert store.lock.take() == {}
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
    assert store.names() == [] and store.read_note("config.json") == b"two"
    store.write_note("config.json", b"x" * 70000 + b"y")
    assert store.read_note("config.json") == b"x" * 65535 + b"y"
