"""Work that repeats behind training, and what is copied of a folder."""

import logging
import threading
import time

from keras_session_ext.remote_copies import Repeated, folder_for

_LONG = 60.0


class Work:
    def __init__(self):
        self.count, self.fails = 0, False
        self.done = threading.Semaphore(0)

    def __call__(self):
        self.count += 1
        self.done.release()
        if self.fails:
            raise OSError("no network")


def repeated(every=_LONG):
    work = Work()
    return work, Repeated("It cannot be done", work, every)


def test_it_is_done_at_once_when_asked_and_when_it_is_time():
    work, one = repeated()
    one.begin()
    assert work.done.acquire(timeout=10)
    one.ask()
    assert work.done.acquire(timeout=10) and work.count == 2
    one.end()
    often, other = repeated(0.01)
    other.begin(at_once=False)
    assert all(often.done.acquire(timeout=10) for _ in range(3))
    other.end()


def test_not_at_once_is_later():
    work, one = repeated()
    one.begin(at_once=False)
    assert not work.done.acquire(timeout=0.2)
    one.flush(10)
    assert work.count == 1
    one.end()


def test_a_flush_waits_for_work_that_begins_behind_it():
    work, one = repeated()
    one.begin()
    for number in range(20):
        one.flush(10)
        assert work.count > number
    one.end()
    before = work.count
    one.flush(0.1)  # nobody is there: it is not waited for without a limit
    assert work.count == before


def test_ended_and_begun_again():
    work, one = repeated()
    for _ in range(20):
        one.begin()
        one.flush(10)
        one.end()
    assert work.count >= 20
    one.begin()
    before = work.count
    one.flush(10)
    assert work.count > before
    one.end()


def test_a_failure_is_told_once_until_it_works_again(caplog):
    work, one = repeated()
    work.fails = True
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        one.begin()
        one.flush(10)
        one.flush(10)
        assert caplog.text.count("It cannot be done: no network") == 1
        work.fails = False
        one.flush(10)
        work.fails = True
        one.flush(10)
    assert caplog.text.count("no network") == 2
    one.end()


def test_before_it_has_begun_nothing_is_waited_for():
    work, one = repeated()
    began = time.monotonic()
    one.flush(30)
    one.ask()
    one.end()
    assert work.count == 0 and time.monotonic() - began < 10


def test_the_folder_of_a_url_is_found_again_and_is_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one, other = folder_for("s3://bucket/a"), folder_for("s3://bucket/b")
    assert one == folder_for("s3://bucket/a") != other and one.startswith(str(tmp_path))
    assert folder_for("s3://bucket/a", str(tmp_path / "mine")).startswith(str(tmp_path / "mine"))


def test_a_folder_that_others_can_change_is_not_used(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shared = folder_for("s3://bucket/a").rsplit("/", 1)[0]
    (tmp_path / shared).chmod(0o777)
    elsewhere = folder_for("s3://bucket/a")
    assert not (elsewhere + "/").startswith(shared + "/") and "not this user's alone" in caplog.text
