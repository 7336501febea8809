"""Starts, staging and takeovers of a run in a store, one step at a time; the store is in this process's memory."""

import errno
import json
import os
import time

import one_save
import pytest
import stores
from files_of_ours import EMPTY_VIEW, fields, small_tensors

from keras_session_ext import DirectoryBusy, SessionError, files, remote_files
from keras_session_ext.checkpoint.encoder import Encoder
from keras_session_ext.run.uploads import Upload, Uploads
from keras_session_ext.store import process_identity, remote_lock
from keras_session_ext.store.contract import Staged
from keras_session_ext.store.run_directory import RunDirectory

ELSEWHERE = {"pid": 1, "host": "elsewhere", "machine": "another", "began": "5"}


@pytest.fixture(scope="module")
def place():
    with stores.place("memory") as made:
        yield made


@pytest.fixture
def url(place):
    return place.url()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(remote_lock, "SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(remote_lock, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(remote_lock, "BEAT_SECONDS", 0.1)


def another_process(monkeypatch):
    """From here on this is a process of another machine, as far as notes tell."""
    mine = dict(process_identity.this_process(), machine=os.urandom(4).hex())
    monkeypatch.setattr(remote_lock, "this_process", lambda: mine)
    monkeypatch.setattr(remote_lock, "is_this_process", lambda owner: owner.get("machine") == mine["machine"])


def claim(url, number, **owner):
    name = "{}/checkpoints/g{:06d}.claim".format(url, number)
    remote_files.replace(name, json.dumps(dict(ELSEWHERE, **owner)).encode())


def stage(directory, step, generation=None, **changes):
    id = directory.new_id(step)
    if generation is not None:
        id = "g{:06d}{}".format(generation, id[7:])
    made = fields(id=id, generation=generation or directory.generation, **changes)
    made["progress"] = dict(made["progress"], step=step)
    return directory.stage(id, Encoder().encode(made, small_tensors(), EMPTY_VIEW))


def ids(url):
    return [info.id[:19] for info in RunDirectory(url).infos()]


def start(url, tmp_path):
    made = RunDirectory(url, staging=str(tmp_path))
    made.acquire()
    return made


# -- who trains


def test_a_claim_that_came_between_is_judged_first(url, tmp_path, monkeypatch):
    """Two starts have judged the same old claim; the second must not claim behind the first."""
    claim(url, 3, ended=True)
    late = RunDirectory(url, staging=str(tmp_path))
    late._lock()
    another_process(monkeypatch)
    first = RunDirectory(url, staging=str(tmp_path / "other"))
    first.acquire()
    another_process(monkeypatch)
    with pytest.raises(DirectoryBusy, match="in use by another run"):
        late._claim()
    first._check_fence()
    assert first.generation == 4
    first.release()


def test_a_claim_that_is_gone_is_not_a_silent_one(url, tmp_path, monkeypatch):
    claim(url, 3)
    late = RunDirectory(url, staging=str(tmp_path))
    real, other = late._store.lock._read, []

    def read(name):
        if not other:  # between the listing and the reading another start has taken over
            another_process(monkeypatch)
            other.append(RunDirectory(url, staging=str(tmp_path / "other")))
            other[0].acquire()
            another_process(monkeypatch)
        return real(name)

    monkeypatch.setattr(late._store.lock, "_read", read)
    with pytest.raises(DirectoryBusy):
        late.acquire()
    other[0]._check_fence()
    other[0].release()


def test_who_gives_signs_of_life_is_left_alone_and_who_does_not_is_followed(url, tmp_path):
    claim(url, 1, beat=1)
    directory = start(url, tmp_path)
    assert directory.generation == 2 and directory.left["host"] == "elsewhere"
    directory.release()


def test_a_start_that_failed_begins_anew(url, tmp_path, monkeypatch):
    directory, real = RunDirectory(url, staging=str(tmp_path)), remote_files.read
    seen = []

    def bring(generation, check):
        seen.append(generation)
        if len(seen) == 1:
            raise OSError(errno.ECONNRESET, "not now")

    monkeypatch.setattr(directory._store, "bring", bring)
    with pytest.raises(SessionError, match="not now"):
        directory.acquire()
    directory.acquire()
    assert seen == [1, 2] and directory.generation == 2 and remote_files.read is real
    directory.release()


# -- what waits on this machine


def test_what_waits_is_sent_and_older_files_go(url, tmp_path):
    directory = start(url, tmp_path)
    stage(directory, 10)
    newest = stage(directory, 20)
    (tmp_path / os.path.basename(directory.here) / ".tmp-1234-g1.h5").write_bytes(b"half")
    directory.release()
    again = start(url, tmp_path)
    assert ids(url) == ["g000001-s0000000020"] and again.generation == 2
    assert not [name for name in files.names(again.here) if name.endswith(".h5") or name.startswith(".tmp-")]
    assert not os.path.exists(newest.waits_in)
    again.release()


def test_what_waits_for_another_server_with_such_a_url_is_kept_from_this_one(url, tmp_path):
    directory = start(url, tmp_path)
    one_save.save(directory, Encoder(), 5)
    staged = stage(directory, 20, parent="g000001-s0000000010-0a1b2c3d", run="0123456789abcdef")
    directory.release()
    again = start(url, tmp_path)
    assert ids(url) == ["g000001-s0000000005"]
    assert os.path.exists(staged.waits_in + ".aside") and not os.path.exists(staged.waits_in)
    again.release()


def test_a_run_that_was_removed_does_not_come_back(url, tmp_path):
    directory = start(url, tmp_path)
    stage(directory, 500, generation=3)
    directory.release()
    for one in remote_files.entries(url + "/checkpoints"):
        remote_files.remove(url + "/checkpoints/" + one.name)
    fresh = start(url, tmp_path)
    assert ids(url) == [] and fresh.generation == 1
    one_save.save(fresh, Encoder(), 5)
    fresh.release()
    for _ in range(4):  # nor when the generations have grown past it
        later = start(url, tmp_path)
        later.release()
    assert ids(url) == ["g000001-s0000000005"]
    assert [name for name in files.names(later.here) if name.endswith(".h5.aside")]


def test_what_cannot_be_read_just_now_is_kept(url, tmp_path, monkeypatch, caplog):
    directory = start(url, tmp_path)
    staged = stage(directory, 10)
    directory.release()
    with monkeypatch.context() as patched:
        def refuse(path):
            raise OSError(errno.EMFILE, "too many open files")

        patched.setattr(files, "open_read", refuse)
        patched.setattr("keras_session_ext.lifecycle.journal.files.open_read", refuse)
        again = RunDirectory(url, staging=str(tmp_path))
        monkeypatch.setattr(again._store, "bring", lambda generation, check: None)
        again.acquire()
        again.release()
    assert os.path.exists(staged.waits_in + ".aside") and "put aside" in caplog.text


def test_an_upload_in_the_foreground_that_fails_stays(url, tmp_path, monkeypatch):
    directory = start(url, tmp_path)

    def refuse(*arguments):
        raise OSError(errno.ECONNRESET, "not now")

    with monkeypatch.context() as patched:
        patched.setattr(remote_files, "upload", refuse)
        with pytest.raises(OSError, match="not now"):
            one_save.save(directory, Encoder(), 7)
    directory.release()
    start(url, tmp_path).release()
    assert ids(url) == ["g000001-s0000000007"]


# -- uploads


class Waiting(Staged):
    def __init__(self, size=1):
        self.size_bytes, self.discarded = size, 0

    def publish(self, check):
        """Not asked for here."""

    def discard(self):
        self.discarded += 1


def test_what_is_up_is_not_sent_again_for_what_follows():
    """A keep policy that raises is no failed upload."""
    sent, told = [], []

    def acknowledge():
        raise ValueError("a policy of the user's")

    uploads = Uploads(lambda upload, error, ends: told.append((str(error), ends)))
    uploads.submit(Upload(1, Waiting(), lambda: sent.append(1), acknowledge))
    assert uploads.drain(10) and sent == [1] and told == [("a policy of the user's", True)]


def test_a_failed_upload_is_tried_again_and_given_up_for_a_newer_one():
    tries, told, up = [], [], []
    first, second = Waiting(), Waiting()

    def fail():
        tries.append(time.monotonic())
        raise OSError("no network")

    uploads = Uploads(lambda upload, error, ends: told.append(ends))
    uploads.submit(Upload(1, first, fail, lambda: up.append(1)))
    while len(tries) < 2:
        time.sleep(0.05)
    uploads.submit(Upload(2, second, lambda: None, lambda: up.append(2)))
    assert uploads.drain(20) and up == [2] and not any(told) and len(tries) >= 2
    assert first.discarded and second.discarded


def test_a_run_that_was_taken_over_is_not_sent():
    told, lost = [], Waiting()

    def fenced():
        raise DirectoryBusy("another run")

    uploads = Uploads(lambda upload, error, ends: told.append(ends))
    uploads.submit(Upload(1, lost, fenced, lambda: None))
    assert uploads.drain(10) and told == [True] and lost.discarded
