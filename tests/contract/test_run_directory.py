"""The run directory: one owner, generations, publication, retention; real files and real processes."""

import errno
import fcntl
import json
import logging
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest
from files_of_ours import EMPTY_VIEW, fields, small_tensors, write

import keras_session_ext
from keras_session_ext import CheckpointCorrupt, DirectoryBusy, SessionError, files, list_checkpoints, verify_checkpoint
from keras_session_ext.checkpoint.encoder import Encoder
from keras_session_ext.policies.keep import KeepAll, KeepLast, Plan
from keras_session_ext.run.background_writer import BackgroundWriter
from keras_session_ext.store.contract import Image
from keras_session_ext.store.local import save_file, temporary_name, write_file
from keras_session_ext.store.run_directory import RunDirectory

ENVIRONMENT = dict(os.environ, PYTHONPATH=os.pathsep.join([
    os.path.dirname(os.path.dirname(keras_session_ext.__file__)), os.path.dirname(os.path.abspath(__file__))]))


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run")


@pytest.fixture
def owned(path):
    made = RunDirectory(path)
    made.acquire()
    yield made
    made.release()


def save(directory, step, finished=False, encoder=None):
    """One save, as the session does it."""
    id = directory.new_id(step)
    made = fields(id=id, generation=directory.generation, finished=finished)
    made["progress"] = dict(made["progress"], step=step)
    directory.publish(id, (encoder or Encoder()).encode(made, small_tensors(), EMPTY_VIEW))
    return directory.path_of(id)


def python(script, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", script] + list(map(str, arguments)), env=ENVIRONMENT,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)


def steps(directory):
    return [info.progress.step for info in list_checkpoints(directory)]


# -- generations and names


def test_every_start_claims_the_next_generation(path):
    for expected in (1, 2, 3):
        directory = RunDirectory(path)
        directory.acquire()
        assert directory.generation == expected
        assert os.listdir(directory.checkpoints) == ["g{:06d}.claim".format(expected)]
        directory.release()


def test_a_claim_says_who_made_it(owned):
    with open(os.path.join(owned.checkpoints, "g000001.claim")) as handle:
        assert json.load(handle) == {"pid": os.getpid(), "host": socket.gethostname()}


def test_generations_go_on_from_checkpoints_alone(path):
    os.makedirs(path + "/checkpoints")
    write(path + "/checkpoints/g000041-s0000000001-00000000.h5")
    directory = RunDirectory(path)
    directory.acquire()
    assert directory.generation == 42
    directory.release()


def test_generations_and_steps_outgrow_their_digits(path):
    os.makedirs(path + "/checkpoints")
    write(path + "/checkpoints/g999999-s0000000001-00000000.h5", generation=999999)
    directory = RunDirectory(path)
    directory.acquire()
    assert directory.generation == 1000000
    save(directory, 12345678901)
    save(directory, 9)
    assert steps(path) == [12345678901, 9, 12]
    assert [os.path.basename(one)[:9] for one in directory.paths()] == ["g1000000-", "g1000000-", "g999999-s"]
    directory.release()


def test_two_starts_at_once_claim_different_generations(path):
    claim = ("import sys; from keras_session_ext import files\n"
             "from keras_session_ext.store.run_directory import RunDirectory\n"
             "files.make_directory(sys.argv[1] + '/checkpoints')\n"
             "d = RunDirectory(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
             "d._claim(); print(d.generation, flush=True)")
    children = [python(claim, path) for _ in range(6)]
    for child in children:
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        child.stdin.write(b"\n")
        child.stdin.flush()
    claimed = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sorted(claimed) == [1, 2, 3, 4, 5, 6]


def test_who_comes_second_to_a_claim_takes_the_next(path, monkeypatch):
    faster = python(HOLD, path)
    try:
        assert faster.stdout.readline() == b"1\n"
        seen = [[]]  # by a start that looked before the faster one claimed, where no lock held it off
        directory = RunDirectory(path)
        listed = directory._generations
        monkeypatch.setattr(directory, "_generations", lambda: seen.pop() if seen else listed())
        directory._claim()
        assert directory.generation == 2
    finally:
        faster.communicate(b"\n\n", timeout=60)


def test_a_second_fit_of_one_process_keeps_its_generation(owned):
    owned.release()
    owned.acquire()
    assert owned.generation == 1
    save(owned, 1)


def test_names_and_modes(owned):
    final = save(owned, 7)
    name = os.path.basename(final)
    assert name.startswith("g000001-s0000000007-") and len(name) == len("g000001-s0000000007-12345678.h5")
    assert stat.S_IMODE(os.stat(final).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(owned.checkpoints).st_mode) == 0o700
    assert sorted(os.listdir(owned.path)) == ["LOCK", "checkpoints"]
    assert sorted(os.listdir(owned.checkpoints)) == ["g000001-" + name[8:], "g000001.claim"]
    assert verify_checkpoint(final).id == name[:-3]


def test_a_group_shares_everything(path):
    previous = os.umask(0o027)
    try:
        directory = RunDirectory(path, group=True)
        directory.acquire()
        final = save(directory, 1)
        directory.release()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(os.stat(final).st_mode) == 0o660
    for folder in (directory.path, directory.checkpoints):
        assert stat.S_IMODE(os.stat(folder).st_mode) & 0o770 == 0o770, folder
    assert stat.S_IMODE(os.stat(os.path.join(path, "LOCK")).st_mode) & 0o660 == 0o660


def test_the_path_does_not_follow_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory = RunDirectory("run")
    directory.acquire()
    monkeypatch.chdir("/")
    save(directory, 1)
    directory.release()
    assert steps(tmp_path / "run") == [1]


# -- the fence


def test_an_older_generation_cannot_publish(path):
    old = RunDirectory(path)
    old.acquire()
    first = save(old, 10)
    old.release()
    new = RunDirectory(path)
    new.acquire()
    with pytest.raises(DirectoryBusy, match="generation 1 of this process") as caught:
        save(old, 20)
    assert "pid {}".format(os.getpid()) in str(caught.value) and socket.gethostname() in str(caught.value)
    assert sorted(os.listdir(new.checkpoints)) == sorted([os.path.basename(first), "g000002.claim"]), "no leftovers"
    save(new, 11)
    new.release()
    assert steps(path) == [11, 10]


def test_a_newer_checkpoint_alone_is_a_fence(owned):
    write(owned.checkpoints + "/g000005-s0000000001-00000000.h5")
    with pytest.raises(DirectoryBusy, match=r"g000005-s0000000001-00000000\.h5 is newer"):
        save(owned, 1)


def test_an_older_generation_cannot_delete(path):
    old = RunDirectory(path)
    old.acquire()
    for step in (1, 2, 3):
        save(old, step)
    plan = KeepLast(1).plan(list_checkpoints(path))
    old.release()
    new = RunDirectory(path)
    new.acquire()
    with pytest.raises(DirectoryBusy):
        old.retain(plan)
    new.release()
    assert steps(path) == [3, 2, 1]


def test_an_older_generation_cannot_acquire_again(path):
    old, new = RunDirectory(path), RunDirectory(path)
    old.acquire()
    old.release()
    new.acquire()
    new.release()
    with pytest.raises(DirectoryBusy):
        old.acquire()
    new.acquire()  # and it gave the lock back
    new.release()


# -- the lock

HOLD = ("import sys; from keras_session_ext.store.run_directory import RunDirectory\n"
        "d = RunDirectory(sys.argv[1]); d.acquire(); print(d.generation, flush=True); sys.stdin.readline()\n"
        "d.release(); print('released', flush=True); sys.stdin.readline()")


def test_a_directory_held_by_another_process(path):
    holder = python(HOLD, path)
    try:
        assert holder.stdout.readline() == b"1\n"
        second = RunDirectory(path)
        for _ in range(2):
            with pytest.raises(DirectoryBusy) as caught:
                second.acquire()
            assert "process {} on {}".format(holder.pid, socket.gethostname()) in str(caught.value)
            assert path in str(caught.value)
        assert second.generation == 0 and os.listdir(path + "/checkpoints") == ["g000001.claim"]
        assert steps(path) == [], "whoever only looks needs no lock"
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"released\n"
        second.acquire()  # its process still lives
        assert second.generation == 2
        second.release()
    finally:
        holder.communicate(b"\n", timeout=60)


def test_a_killed_process_holds_nothing(path):
    holder = python(HOLD, path)
    assert holder.stdout.readline() == b"1\n"
    holder.kill()
    holder.communicate(timeout=60)
    directory = RunDirectory(path)
    directory.acquire()
    assert directory.generation == 2
    directory.release()


def test_a_worker_that_outlives_the_training_holds_nothing(path):
    """A forked child inherits the descriptor; flock would stay held by it."""
    script = ("import os, sys, time\nfrom keras_session_ext.store.run_directory import RunDirectory\n"
              "d = RunDirectory(sys.argv[1]); d.acquire()\n"
              "reading, writing = os.pipe()\n"
              "worker = os.fork()\n"
              "if not worker:\n    os.write(writing, b'1'); os.close(1); sys.stdin.readline(); os._exit(0)\n"
              "os.read(reading, 1); print(worker, flush=True); os._exit(0)")
    parent = python(script, path)
    assert int(parent.stdout.readline()) > 0
    assert parent.wait(60) == 0
    directory = RunDirectory(path)
    directory.acquire()
    directory.release()
    parent.communicate(b"\n", timeout=60)


def test_a_forked_child_does_not_own_the_parents_lock(owned):
    script = ("import os, sys\nfrom keras_session_ext.store.run_directory import RunDirectory\n"
              "from keras_session_ext.errors import DirectoryBusy\n"
              "RunDirectory(sys.argv[1]).acquire()\n"
              "child = os.fork()\n"
              "if not child:\n"
              "    try:\n        RunDirectory(sys.argv[1]).acquire()\n"
              "    except DirectoryBusy:\n        os._exit(7)\n"
              "    os._exit(0)\n"
              "sys.exit(os.waitpid(child, 0)[1] >> 8)")
    other = os.path.join(owned.path, "other")
    child = python(script, other)
    child.communicate(timeout=60)
    assert child.returncode == 7


def test_two_callbacks_of_one_process_share_the_lock(path):
    first, second = RunDirectory(path), RunDirectory(os.path.join(path, "..", "run"))
    first.acquire()
    second.acquire()
    first.release()
    child = python(HOLD, path, stderr=subprocess.PIPE)
    _, errors = child.communicate(timeout=60)
    assert b"DirectoryBusy" in errors, "still held by the second"
    second.release()
    second.release()
    child = python(HOLD, path)
    assert child.communicate(b"\n\n", timeout=60)[0].endswith(b"released\n")


def test_looking_does_not_give_the_lock_away(owned):
    """Closing any descriptor of a file drops this process's POSIX locks on it."""
    list_checkpoints(owned.path)
    save(owned, 1)
    again = RunDirectory(owned.path)
    again.acquire()
    again.release()
    child = python(HOLD, owned.path, stderr=subprocess.PIPE)
    assert b"DirectoryBusy" in child.communicate(timeout=60)[1]


def test_a_copy_of_the_directory_does_not_give_the_lock_away(owned, tmp_path):
    shutil.copytree(owned.path, str(tmp_path / "copy"))
    child = python(HOLD, owned.path, stderr=subprocess.PIPE)
    assert b"DirectoryBusy" in child.communicate(timeout=60)[1]
    assert RunDirectory(owned.path).holder() == os.getpid()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL],
                         ids=errno.errorcode.get)
def test_a_file_system_without_locks(path, monkeypatch, number):
    def refuse(*arguments):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)
    made = RunDirectory(path)
    made.acquire()
    save(made, 1)
    assert steps(path) == [1] and made.holder() is not None
    made.release()


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for a few files."""
    folder = str(tmp_path / "disk")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
@pytest.mark.parametrize("full_of", ["bytes", "files"])
def test_a_start_on_a_full_disk_begins_and_saves_once_there_is_space(small_disk, full_of, caplog):
    path = os.path.join(small_disk, "run")
    before = RunDirectory(path)
    before.acquire()
    save(before, 1)
    before.release()
    stuffed = []
    with pytest.raises(OSError):
        for number in range(1000):
            stuffed.append(os.path.join(small_disk, str(number)))
            with open(stuffed[-1], "wb") as handle:
                handle.write(bytes(4096) if full_of == "bytes" else b"")
    for _ in range(3):
        made = RunDirectory(path)
        made.acquire()
        with pytest.raises(OSError) as caught:
            save(made, 2)
        assert caught.value.errno == errno.ENOSPC
        made.release()
        assert steps(path) == [1]
    for name in stuffed:
        if os.path.exists(name):
            os.remove(name)
    made.acquire()
    save(made, 2)
    made.release()
    assert steps(path) == [2, 1]
    assert len([name for name in os.listdir(before.checkpoints) if name.endswith(".claim")]) <= 2
    assert "is full" in caplog.text or full_of == "bytes"


def test_a_link_that_is_pointed_elsewhere_leads_nothing_there(tmp_path):
    link, here, there = (str(tmp_path / name) for name in ("link", "here", "there"))
    os.mkdir(here)
    os.symlink(here, link)
    made = RunDirectory(link)
    made.acquire()
    save(made, 1)
    os.mkdir(there)
    os.remove(link)
    os.symlink(there, link)
    save(made, 2)
    made.release()
    assert steps(here) == [2, 1] and os.listdir(there) == []


def test_a_dangling_link(tmp_path):
    link = str(tmp_path / "link")
    os.symlink(str(tmp_path / "not mounted"), link)
    with pytest.raises(SessionError, match="is a link to .*not mounted, which is not there; mount or make that"):
        RunDirectory(link).acquire()
    assert not os.path.exists(str(tmp_path / "not mounted"))


def test_another_directory_in_the_place_of_ours_gets_nothing(path):
    made = RunDirectory(path)
    made.acquire()
    save(made, 1)
    os.rename(path, path + "-away")
    other = RunDirectory(path)
    other.acquire()
    other.release()
    os.rename(os.path.join(other.checkpoints, "g000001.claim"), os.path.join(other.checkpoints, "g000000.claim"))
    with pytest.raises(OSError, match="not the directory that this run began in, g000001.claim is gone"):
        save(made, 2)
    assert steps(path) == [] and steps(path + "-away") == [1]
    made.release()


def test_an_unreadable_owner_is_called_unknown(path):
    holder = python(HOLD, path)
    assert holder.stdout.readline() == b"1\n"
    for content in ("", "{", "[1]", "[" * 100_000, "{}"):
        with open(path + "/LOCK", "w") as handle:
            handle.write(content)
        with pytest.raises(DirectoryBusy, match="process unknown on an unknown host"):
            RunDirectory(path).acquire()
    holder.communicate(b"\n\n", timeout=60)


# -- leftovers


def test_leftovers_go_and_foreign_files_stay(path):
    folder = path + "/checkpoints"
    os.makedirs(folder + "/.tmp-0123abcd-g000001-s0000000001-aaaaaaaa.h5.d")
    ours = [".tmp-0123abcd-g000001-s0000000001-aaaaaaaa.h5", ".del-0123abcd-g000001-s0000000001-bbbbbbbb.h5",
            "g000001.claim", "g000002.claim"]
    foreign = ["model.h5", "notes.txt", ".tmp-x", ".tmp-0123abcd-model.h5", ".del-0123abcd", "g1.claim",
               "g000001.claims",
               "tmp-0123abcd-g000001-s0000000001-aaaaaaaa.h5", ".tmp-0123ABCD-g000001-s0000000001-aaaaaaaa.h5",
               ".tmp-0123abcd-g000001-s0000000001-aaaaaaaa.h5.bak", "g000001-s0000000001-aaaaaaaa.h5.bak",
               "g000001-s0000000001-AAAAAAAA.h5", "g000001-s1-aaaaaaaa.h5", ".nfs0001", ".tmp-0123abcd-\n.h5"]
    for name in ours + foreign:
        with open(os.path.join(folder, name), "w") as handle:
            handle.write("x")
    with open(path + "/LOCK.txt", "w") as handle:
        handle.write("x")
    directory = RunDirectory(path)
    directory.acquire()
    save(directory, 1)
    directory.retain(Plan([], list_checkpoints(path), {}))
    directory.release()
    assert sorted(os.listdir(folder)) == sorted(
        foreign + [".tmp-0123abcd-g000001-s0000000001-aaaaaaaa.h5.d", "g000003.claim"])
    assert sorted(os.listdir(path)) == ["LOCK", "LOCK.txt", "checkpoints"]


def test_a_leftover_that_cannot_be_removed_stops_nothing(path, caplog):
    leftover = path + "/checkpoints/.tmp-0123abcd-g000001-s0000000001-aaaaaaaa.h5"
    os.makedirs(leftover + "/inside")
    directory = RunDirectory(path)
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        directory.acquire()
    directory.release()
    assert "Cannot remove the leftover" in caplog.text and os.path.isdir(leftover + "/inside")


def test_a_leftover_link_is_removed_and_not_followed(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    os.makedirs(path + "/checkpoints")
    os.symlink(str(victim), path + "/checkpoints/.tmp-0123abcd-g000001-s0000000001-aaaaaaaa.h5")
    directory = RunDirectory(path)
    directory.acquire()
    directory.release()
    assert victim.read_text() == "mine" and os.listdir(path + "/checkpoints") == ["g000001.claim"]


# -- publication


class New(Image):
    size_bytes = 3

    def pieces(self):
        yield 0, b"new"


NEW = New()


def unfinished(directory):
    return [name for name in os.listdir(directory.checkpoints) if name.startswith(".")]


@pytest.fixture(params=["hard links", "EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK"])
def links(request, monkeypatch):
    """A file system with hard links, and some without."""
    if request.param != "hard links":
        number = getattr(errno, request.param)

        def refuse(source, target, **options):
            raise OSError(number, os.strerror(number), source, None, target)

        monkeypatch.setattr(os, "link", refuse)
    return request.param


def test_publish_gives_the_file_its_name(owned, links):
    final = save(owned, 5)
    assert verify_checkpoint(final).progress.step == 5
    assert os.stat(final).st_nlink == 1
    assert sorted(os.listdir(owned.checkpoints)) == sorted([os.path.basename(final), "g000001.claim"])


def test_publish_never_overwrites(owned, links):
    id = owned.new_id(1)
    final = owned.path_of(id)
    with open(final, "wb") as handle:
        handle.write(b"old")
    with pytest.raises(FileExistsError):
        owned.publish(id, NEW)
    with open(final, "rb") as handle:
        assert handle.read() == b"old"
    assert unfinished(owned) == []


def test_publish_does_not_follow_a_link_at_the_final_name(owned, links):
    id = owned.new_id(1)
    final = owned.path_of(id)
    os.symlink(os.path.join(owned.path, "elsewhere"), final)
    with pytest.raises(FileExistsError):
        owned.publish(id, NEW)
    assert os.path.islink(final) and not os.path.exists(os.path.join(owned.path, "elsewhere"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_an_error_of_link_is_an_error(owned, monkeypatch, number):
    id = owned.new_id(1)

    def refuse(source, target, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError) as caught:
        owned.publish(id, NEW)
    assert caught.value.errno == number
    assert not os.path.lexists(owned.path_of(id)) and unfinished(owned) == []


def test_a_temporary_file_that_vanished(owned):
    class Vanishing(New):
        def pieces(self):
            yield from super().pieces()
            name, = unfinished(owned)
            os.unlink(os.path.join(owned.checkpoints, name))

    with pytest.raises(FileNotFoundError):
        owned.publish(owned.new_id(1), Vanishing())
    assert steps(owned.path) == []


def test_an_unpublished_file_is_never_listed(owned):
    temporary = temporary_name(owned.path_of(owned.new_id(1)))
    write_file(temporary, Encoder().encode(fields(), small_tensors(), EMPTY_VIEW))
    assert list_checkpoints(owned.path) == [] and owned.paths() == []


# -- retention


def test_retention_removes_what_the_plan_says(owned):
    for step in range(1, 6):
        save(owned, step)
    plan = KeepLast(2).plan(list_checkpoints(owned.path))
    assert owned.retain(plan) == [info.id for info in plan.remove]
    assert steps(owned.path) == [5, 4]
    assert len(os.listdir(owned.checkpoints)) == 3, "no tombstone stays"
    owned.retain(plan)  # a second time: nothing is left to do
    assert steps(owned.path) == [5, 4]


def test_retention_goes_through_a_tombstone_and_a_sync(owned, monkeypatch):
    for step in (1, 2, 3):
        save(owned, step)
    calls = []
    for name in ("rename", "sync_directory", "remove"):
        real = getattr(files, name)
        monkeypatch.setattr(files, name, lambda *a, name=name, real=real: calls.append((name,) + a) or real(*a))
    owned.retain(KeepLast(1).plan(list_checkpoints(owned.path)))
    assert [call[0] for call in calls] == ["rename", "rename", "sync_directory", "remove", "remove"]
    assert [call[2] for call in calls[:2]] == [call[1] for call in calls[3:]]
    assert all(os.path.basename(call[1]).startswith(".del-") for call in calls[3:])


def test_a_tombstone_is_no_checkpoint_and_goes_at_the_next_start(path, monkeypatch):
    first = RunDirectory(path)
    first.acquire()
    save(first, 1)
    save(first, 2)

    def refuse(name):
        raise OSError(errno.EIO, "no", name)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        assert len(first.retain(KeepLast(1).plan(list_checkpoints(path)))) == 1, "given up, whatever is left of it"
    assert steps(path) == [2] and len(os.listdir(first.checkpoints)) == 3
    first.release()
    second = RunDirectory(path)
    second.acquire()
    assert len(os.listdir(second.checkpoints)) == 2 and steps(path) == [2]
    second.release()


def test_a_run_that_takes_over_in_the_middle_of_a_removal_finds_all_again(path, monkeypatch):
    old, new = RunDirectory(path), RunDirectory(path)
    old.acquire()
    for step in (1, 2, 3):
        save(old, step)
    plan, rename = KeepLast(1).plan(list_checkpoints(path)), files.rename

    def take_over(source, target):
        if not new.generation:
            new.acquire()
        rename(source, target)

    monkeypatch.setattr(files, "rename", take_over)  # behind the first check, before anything is gone
    with pytest.raises(DirectoryBusy):
        old.retain(plan)
    assert steps(path) == [3, 2, 1]
    new.release()
    old.release()


def test_retention_touches_only_checkpoints_of_this_directory(owned, tmp_path):
    final = save(owned, 1)
    (info,) = list_checkpoints(owned.path)
    elsewhere = write(tmp_path / "g000001-s0000000001-aaaaaaaa.h5")
    mine = write(os.path.join(owned.checkpoints, "mine.h5"))
    name = "g000001-s0000000001-bbbbbbbb.h5"
    write(os.path.join(owned.path, name))
    nested = os.path.join(owned.checkpoints, "..", name)
    victims = [info._replace(path=one) for one in (elsewhere, mine, nested, owned.path + "/LOCK", "/", "")]
    assert owned.retain(Plan([], victims, {})) == []
    assert all(os.path.exists(one) for one in (final, elsewhere, mine, nested, owned.path + "/LOCK"))


def test_a_checkpoint_that_someone_removed_by_hand(owned):
    paths = [save(owned, step) for step in (1, 2, 3)]
    plan = KeepLast(1).plan(list_checkpoints(owned.path))
    os.unlink(paths[0])
    owned.retain(plan)
    assert steps(owned.path) == [3]


def test_a_plan_that_removes_nothing_does_nothing(owned):
    save(owned, 1)
    before = os.stat(owned.checkpoints).st_mtime_ns
    assert owned.retain(KeepAll().plan(list_checkpoints(owned.path))) == []
    assert os.stat(owned.checkpoints).st_mtime_ns == before


# -- what cannot be written


def test_a_directory_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SessionError, match="Choose a directory") as caught:
        RunDirectory(str(tmp_path / "file" / "run")).acquire()
    assert str(tmp_path / "file" / "run") in str(caught.value) and not isinstance(caught.value, DirectoryBusy)
    assert list_checkpoints(tmp_path / "file" / "run") == [] and list_checkpoints(tmp_path / "file") == []


@pytest.mark.parametrize("name, make", [
    ("checkpoints", lambda at: open(at, "w").close()), ("LOCK", os.mkdir), ("LOCK", os.mkfifo),
    ("LOCK", lambda at: os.symlink("/etc/hostname", at)), ("checkpoints", lambda at: os.symlink("nowhere", at)),
])
def test_a_directory_whose_names_are_taken(path, name, make):
    os.mkdir(path)
    make(os.path.join(path, name))
    directory = RunDirectory(path)
    with pytest.raises(SessionError, match="Cannot write checkpoints to"):
        directory.acquire()
    assert directory.generation == 0 or name == "checkpoints"


def test_nothing_to_list(tmp_path):
    assert list_checkpoints(tmp_path) == [] and list_checkpoints(tmp_path / "none") == []
    assert list_checkpoints(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


FULL = """
import os, resource, sys
import numpy as np
from files_of_ours import EMPTY_VIEW, fields
from keras_session_ext import files
from keras_session_ext.store.find_checkpoints import list_checkpoints, verify_checkpoint
from keras_session_ext.store.run_directory import RunDirectory
from keras_session_ext.checkpoint.encoder import Encoder, Tensor

directory, limit = RunDirectory(sys.argv[1]), int(sys.argv[2])
if sys.argv[3] == "late":  # a file system that cannot take the space beforehand meets the limit while writing
    os.ftruncate, os.posix_fallocate = lambda fd, size: None, lambda fd, at, size: None
directory.acquire()
encoder = Encoder()
small, large = np.zeros(10), np.zeros(1 << 20)
def save(array, step):
    image = encoder.encode(fields(generation=1), [Tensor("a", "variables", array)], EMPTY_VIEW)
    directory.publish(directory.new_id(step), image)
save(small, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    save(large, 2)
except OSError as error:
    print("OSError", error.errno, flush=True)
else:
    print("saved", flush=True)
save(small, 3)
for info in list_checkpoints(sys.argv[1]):
    verify_checkpoint(info.path)
print(sorted(len(name) for name in os.listdir(directory.checkpoints)), flush=True)
"""


@pytest.mark.parametrize("when", ["early", "late"])
@pytest.mark.parametrize("limit", [20_000, 1 << 20, 8 << 20])
def test_a_full_disk(path, limit, when):
    """The limit of a file's size acts like a full disk, for every user."""
    child = python(FULL, path, limit, when)
    lines = child.communicate(timeout=60)[0].decode().splitlines()
    assert child.returncode == 0 and lines == ["OSError {}".format(errno.EFBIG), "[13, 31, 31]"]


@pytest.mark.parametrize("name", ["reserve", "write_at", "sync", "close"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_step_leaves_nothing_and_harms_nothing(owned, monkeypatch, name, number):
    first = save(owned, 1)
    real = getattr(files, name)

    def fail(*arguments):
        if name == "close":
            real(*arguments)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(files, name, fail)
        with pytest.raises(OSError) as caught:
            save(owned, 2)
        assert caught.value.errno == number
    assert sorted(os.listdir(owned.checkpoints)) == sorted([os.path.basename(first), "g000001.claim"])
    verify_checkpoint(first)
    save(owned, 3)
    assert steps(owned.path) == [3, 1]


def test_a_failed_sync_is_not_tried_again(owned, monkeypatch):
    calls = []

    def fail(fd):
        calls.append(fd)
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        save(owned, 1)
    assert len(calls) == 1


@pytest.mark.parametrize("most", [1, 1000, 4096])
def test_short_writes_and_reads_are_continued(path, monkeypatch, most):
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, memoryview(data)[:most], at))
    monkeypatch.setattr(os, "preadv", lambda fd, into, at: preadv(fd, [into[0][:most]], at))
    directory = RunDirectory(path)
    directory.acquire()
    final = save(directory, 1)
    directory.release()
    assert verify_checkpoint(final).progress.step == 1


def test_a_file_system_without_fallocate(owned, monkeypatch):
    def refuse(fd, at, size):
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    assert verify_checkpoint(save(owned, 1)).progress.step == 1


# -- listing


def test_listing_is_newest_first_by_generation_and_step(path):
    made = []
    for generation, at in ((1, (5, 900, 30)), (2, (7, 2))):
        directory = RunDirectory(path)
        directory.acquire()
        made += [save(directory, step) for step in at]
        directory.release()
    for age, one in enumerate(made):
        os.utime(one, (1e9 - age * 1e6, 1e9 - age * 1e6))
    found = list_checkpoints(path)
    assert [(info.generation, info.progress.step) for info in found] == [(2, 7), (2, 2), (1, 900), (1, 30), (1, 5)]
    assert [info.path for info in found] == directory.paths()


def test_listing_leaves_damaged_files_out_and_names_them(owned, caplog):
    good = save(owned, 1)
    with open(good, "rb") as handle:
        data = handle.read()
    spoiled = {
        "empty": b"", "cut": data[:-1], "header": data[:200] + b"?" + data[201:], "foreign": b"x" * 9000,
        "newer": data[:9] + b"0002" + data[13:], "long": data + b"x",
    }
    names = {}
    for number, (what, content) in enumerate(spoiled.items()):
        names[what] = os.path.join(owned.checkpoints, "g000001-s{:010d}-{:08x}.h5".format(100 + number, number))
        with open(names[what], "wb") as handle:
            handle.write(content)
    names["directory"] = os.path.join(owned.checkpoints, "g000001-s0000000200-00000000.h5")
    os.mkdir(names["directory"])
    names["pipe"] = os.path.join(owned.checkpoints, "g000001-s0000000201-00000000.h5")
    os.mkfifo(names["pipe"])
    names["link"] = os.path.join(owned.checkpoints, "g000001-s0000000202-00000000.h5")
    os.symlink(good, names["link"])
    with caplog.at_level(logging.WARNING, "keras_session_ext"):
        assert steps(owned.path) == [1]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(names)
    for what, name in names.items():
        assert sum(name in message for message in messages) == 1, what
        assert os.path.lexists(name), "a damaged file is left as it is"
    assert "newer keras_session_ext" in caplog.text


def test_listing_reads_headers_only(owned, caplog):
    final = save(owned, 1)
    with open(final, "r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        last = handle.read(1)
        handle.seek(-1, os.SEEK_END)
        handle.write(bytes([last[0] ^ 1]))
    assert steps(owned.path) == [1]
    with pytest.raises(CheckpointCorrupt):
        verify_checkpoint(final)


def test_listing_while_another_process_saves_and_removes(path):
    script = ("import os, sys\nimport test_run_directory as t\nfrom keras_session_ext.policies.keep import KeepLast\n"
              "d = t.RunDirectory(sys.argv[1]); d.acquire(); encoder = t.Encoder()\n"
              "for step in range(150):\n    t.save(d, step, encoder=encoder)\n"
              "    d.retain(KeepLast(2).plan(t.list_checkpoints(sys.argv[1])))\n    print(step, flush=True)\n")
    child = python(script, path)
    child.stdout.readline()
    looked = 0
    while child.poll() is None and looked < 2000:
        found = list_checkpoints(path)
        assert 1 <= len(found) <= 4
        verified = 0
        for info in found:
            try:
                verify_checkpoint(info.path)
                verified += 1
            except keras_session_ext.CheckpointNotFound:
                pass  # removed in between
        looked += 1
    child.communicate(timeout=60)
    assert child.returncode == 0 and looked > 3
    assert steps(path) == [149, 148]


# -- saving to a path of the user's choice


def test_save_file_makes_and_replaces(tmp_path):
    path = str(tmp_path / "model.h5")
    for number in (1, 2):
        save_file(path, Encoder().encode(fields(generation=number), small_tensors(), EMPTY_VIEW))
        assert verify_checkpoint(path).generation == number
        assert os.listdir(str(tmp_path)) == ["model.h5"]


def test_save_file_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = str(tmp_path / "model.h5")
    save_file(path, Encoder().encode(fields(), small_tensors(), EMPTY_VIEW))
    for name in ("write_at", "sync", "replace"):
        with monkeypatch.context() as patched:
            def fail(*arguments):
                raise OSError(errno.EIO, "no")

            patched.setattr(files, name, fail)
            with pytest.raises(OSError):
                save_file(path, Encoder().encode(fields(generation=2), small_tensors(), EMPTY_VIEW))
        assert os.listdir(str(tmp_path)) == ["model.h5"] and verify_checkpoint(path).generation == 1


def test_save_file_below_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file("model.h5", Encoder().encode(fields(), small_tensors(), EMPTY_VIEW))
    assert verify_checkpoint("model.h5").generation == 1


# -- the thread behind training


def test_the_newest_waiting_save_wins():
    writer, started, go, done = BackgroundWriter(), threading.Event(), threading.Event(), []

    def slow():
        started.set()
        assert go.wait(30)
        done.append(0)

    writer.submit(slow)
    assert started.wait(30)
    for number in range(1, 6):
        writer.submit(lambda number=number: done.append(number))
    go.set()
    assert writer.drain(30)
    assert done == [0, 5]


def test_no_save_is_dropped_for_a_preparation():
    writer, started, go, done = BackgroundWriter(), threading.Event(), threading.Event(), []

    def slow():
        started.set()
        assert go.wait(30)

    writer.submit(slow, if_free=True)
    assert started.wait(30)
    writer.submit(lambda: done.append("a save"))
    writer.submit(lambda: done.append("a preparation"), if_free=True)
    go.set()
    assert writer.drain(30)
    assert done == ["a save"]


def test_drain_has_a_limit():
    writer, go = BackgroundWriter(), threading.Event()
    assert writer.drain(0.0), "nothing is in flight"
    writer.submit(lambda: go.wait(30))
    begun = time.monotonic()
    assert writer.drain(0.2) is False
    assert 0.2 <= time.monotonic() - begun < 5
    go.set()
    assert writer.drain(30)


def test_a_save_behind_training_never_blocks_it():
    writer, go = BackgroundWriter(), threading.Event()
    begun = time.monotonic()
    for _ in range(100):
        writer.submit(lambda: go.wait(30))
    assert time.monotonic() - begun < 5
    go.set()
    assert writer.drain(30)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_raises_does_not_stop_the_next():
    writer, done = BackgroundWriter(), []

    def fail():
        raise RuntimeError("no")

    for number in range(3):
        writer.submit(fail)
        assert writer.drain(30)
        time.sleep(0.05)
        writer.submit(lambda number=number: done.append(number))
        assert writer.drain(30)
    assert done == [0, 1, 2]


def test_one_save_at_a_time():
    writer, inside, most = BackgroundWriter(), [], []

    def job():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()

    for _ in range(50):
        writer.submit(job)
        time.sleep(0.001)
    assert writer.drain(30) and max(most) == 1 and len(most) > 2


def test_the_thread_is_a_daemon_and_the_last_job_is_dropped_from_memory():
    import gc
    import weakref

    class Big:
        pass

    writer, big = BackgroundWriter(), Big()
    reference = weakref.ref(big)
    writer.submit(lambda big=big: None)
    del big
    assert writer.drain(30)
    gc.collect()
    assert reference() is None
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "keras-session-writer")
