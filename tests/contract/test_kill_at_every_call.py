"""SIGKILL and failing calls at every system call of a save, by strace.

`one_save.py` saves twice and keeps one. It is run under strace once to see
which calls touch its directory, and then once per call: killed there, or with
that call failing. After each run the directory is looked at.
"""

import collections
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import one_save
import pytest

import keras_session_ext
from keras_session_ext import verify_checkpoint
from keras_session_ext.checkpoint.encoder import Encoder
from keras_session_ext.policies.keep import KeepLast
from keras_session_ext.store.run_directory import RunDirectory

HERE = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(keras_session_ext.__file__)),
                   PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
FIRST, SECOND = one_save.STEPS
MARKS = ["{}-{}".format(what, step) for step in one_save.STEPS for what in ("begin", "saved", "end")]
#: the digits are counted in one_save.py
NAMES = ["g000001.claim", "g000001-s0000000010-00000001.h5", ".tmp-00000002-g000001-s0000000010-00000001.h5",
         "g000001-s0000000020-00000003.h5", ".tmp-00000004-g000001-s0000000020-00000003.h5",
         ".del-00000005-g000001-s0000000010-00000001.h5"]

Call = collections.namedtuple("Call", "name number text")


class Outcome(collections.namedtuple("Outcome", "status output calls")):
    """What became of one run; `calls` touch its directory, in order."""

    @property
    def acknowledged(self):
        return [int(line.split()[1]) for line in self.output.splitlines() if line.startswith("ACK ")]


def strace(run, *options, arguments=()):
    """Runs `one_save.py run` under strace, looking at calls on the paths of the run only."""
    program = shutil.which("strace")
    if program is None:
        pytest.fail("strace is not installed, and this test needs it to stop a process at a system call. Install it: "
                    "`apt-get install strace`, `dnf install strace` or `apk add strace` (Linux).")
    folder = os.path.join(run, "checkpoints")
    paths = [os.path.dirname(run), run, os.path.join(run, "LOCK"), folder]
    paths += [os.path.join(folder, name) for name in NAMES] + [os.path.join(run, name) for name in MARKS]
    trace = run + ".trace"
    command = [program, "-f", "-y", "-s", "16", "-o", trace]
    for path in paths:
        command += ["-P", path]
    command += list(options) + [sys.executable, os.path.join(HERE, "one_save.py"), run, *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=120)
    with open(trace) as handle:
        lines = handle.read().splitlines()
    calls, counts = [], collections.Counter()
    for line in lines:
        match = re.match(r"[0-9]+ +([a-z0-9_]+)\((.*)", line)
        if match:
            counts[match.group(1)] += 1
            calls.append(Call(match.group(1), counts[match.group(1)], match.group(2)))
    errors = "\n".join(line for line in done.stderr.decode().splitlines() if "Requested path" not in line)
    return Outcome(done.returncode, done.stdout.decode() + errors, calls)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The calls of a run that nothing disturbs."""
    run = str(tmp_path_factory.mktemp("undisturbed") / "run")
    outcome = strace(run, "-e", "trace=%file,%desc")
    assert outcome.status == 0 and outcome.output == "ACK 10\nACK 20\nEND\n", (
        "strace could not run the script (is ptrace allowed here?):\n" + outcome.output)
    look_at(run, [FIRST, SECOND])
    return outcome.calls


def position(calls, what):
    """Where the name `what` is first looked at."""
    return next(number for number, call in enumerate(calls) if what + '"' in call.text)


def between(calls, begin, end):
    return calls[position(calls, begin) : position(calls, end) + 1]


def look_at(run, acknowledged, must_hold=()):
    """The promises, and the next start of the script."""
    directory, rejected = RunDirectory(run), []
    found = directory.infos(rejected)
    assert rejected == [], "under a checkpoint's name there is a complete file or none"
    steps = [verify_checkpoint(info.path).progress.step for info in found]
    assert not acknowledged or max(steps) >= max(acknowledged), "an acknowledged save was lost: {}".format(steps)
    assert set(must_hold) <= set(steps), steps
    directory.acquire()
    try:
        names = os.listdir(directory.checkpoints)
        assert not [name for name in names if name.startswith(".")], "leftovers: {}".format(names)
        assert [name for name in names if name.endswith(".claim")] == ["g{:06d}.claim".format(directory.generation)]
        new = one_save.save(directory, Encoder(), 30)
        directory.retain(KeepLast(1).plan(directory.infos()))
    finally:
        directory.release()
    assert [verify_checkpoint(info.path).id for info in directory.infos()] == [new.id]
    assert len(os.listdir(directory.checkpoints)) == 2


def run_all(cases, check):
    """Runs `check(case)` for all cases, two at a time; returns what failed."""
    def attempt(case):
        try:
            check(case)
        except AssertionError as error:
            return "{}: {}".format(case, error)

    with ThreadPoolExecutor(2) as pool:
        return [failure for failure in pool.map(attempt, cases) if failure]


def test_the_trace_shows_the_saves(undisturbed):
    """Else the tests below would look at the wrong calls, or at none."""
    second = [call.name for call in between(undisturbed, "begin-20", "end-20")]
    assert second.count("pwrite64") == 2 and second.count("fsync") == 3
    assert "fcntl" in second, "its tensors went past the page cache"
    assert {"openat", "fsync", "close", "getdents64"} <= set(second)
    assert {"link", "linkat"} & set(second) and {"rename", "renameat", "renameat2"} & set(second)
    assert second.count("unlink") + second.count("unlinkat") == 2


def test_killed_at_every_call(undisturbed, tmp_path):
    """From the first touch of the directory to the end of the process."""
    def check(case):
        name, number = case
        run = str(tmp_path / "{}-{}".format(name, number))
        outcome = strace(run, "-e", "trace=" + name, "-e", "inject={}:signal=KILL:when={}".format(name, number))
        assert outcome.status == -signal.SIGKILL, outcome.output
        assert len(outcome.calls) == number, "killed at another call: {}".format(outcome.calls)
        if os.path.isdir(run):
            look_at(run, outcome.acknowledged)
        else:
            assert not outcome.acknowledged
        counted.append(tuple(outcome.acknowledged))

    counted = []
    cases = [(call.name, call.number) for call in undisturbed]
    assert len(cases) > 60
    assert run_all(cases, check) == []
    assert set(counted) == {(), (FIRST,), (FIRST, SECOND)}, "kills fell before, between and behind the saves"


#: strace counts the calls of each thread: what has a number that the main thread never comes to is the other one
WRITES_OF_MAIN, WRITES_BEHIND = 6, 20


def behind(tmp_path, effect, number):
    """A second save that is written by a thread of its own, and its write of a number is disturbed."""
    run = str(tmp_path / str(number))
    return run, strace(run, "-e", "trace=pwrite64", "-e", "inject=pwrite64:{}:when={}".format(effect, number),
                       arguments=["behind"])


def test_killed_at_every_write_of_the_thread_that_writes(tmp_path):
    def check(number):
        run, outcome = behind(tmp_path, "signal=KILL", number)
        assert outcome.status == -signal.SIGKILL and outcome.acknowledged == [FIRST], outcome.output
        look_at(run, [FIRST], [FIRST])

    assert run_all(range(WRITES_OF_MAIN + 1, WRITES_BEHIND + 1), check) == []
    _, outcome = behind(tmp_path, "signal=KILL", WRITES_BEHIND + 1)
    assert outcome.status == 0 and outcome.acknowledged == [FIRST, SECOND], "there are no more"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_every_write_of_the_thread_that_writes_fails(tmp_path, number):
    def check(count):
        run, outcome = behind(tmp_path, "error=" + errno.errorcode[number], count)
        assert outcome.status == 0
        assert outcome.output.splitlines() == ["ACK 10", "OSError {}".format(number), "END"], outcome.output
        look_at(run, [FIRST], [FIRST])

    assert run_all(range(WRITES_OF_MAIN + 1, WRITES_BEHIND + 1), check) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_every_call_of_a_save_fails(undisturbed, tmp_path, number):
    """The process gets an `OSError` or goes on, and the checkpoint before stays valid."""
    def check(case):
        name, count = case
        run = str(tmp_path / "{}-{}".format(name, count))
        outcome = strace(run, "-e", "trace=" + name, "-e", "inject={}:error={}:when={}".format(
            name, errno.errorcode[number], count))
        assert outcome.status == 0, "it died: {} {}".format(outcome.status, outcome.output)
        assert outcome.calls[count - 1].text.endswith("(INJECTED)"), outcome.calls
        lines = outcome.output.splitlines()
        assert lines[0] == "ACK 10" and lines[-1] == "END", lines
        told = "OSError {}".format(number) in lines
        assert told or "ACK 20" in lines, lines
        told_of.append((name, told))
        look_at(run, outcome.acknowledged, () if "ACK 20" in lines else (FIRST,))

    told_of = []
    window = between(undisturbed, "begin-20", "end-20")
    window = [call for call in window if not any(mark in call.text for mark in MARKS)]
    assert len(window) > 20
    assert run_all([(call.name, call.number) for call in window], check) == []
    for name in ("pwrite64", "fsync", "fallocate", "openat"):
        told = [told for one, told in told_of if one == name]
        assert all(told), "an error of {} was swallowed".format(name)


# -- the order that a power cut sees


def where(calls, names, text):
    found = [number for number, call in enumerate(calls) if call.name in names and text in call.text]
    assert found, (names, text)
    return found


@pytest.mark.parametrize("step, temporary, final", [
    (FIRST, NAMES[2], NAMES[1]), (SECOND, NAMES[4], NAMES[3])])
def test_data_is_synced_before_it_is_named_and_the_name_before_it_is_acknowledged(undisturbed, step, temporary, final):
    calls = between(undisturbed, "begin-{}".format(step), "saved-{}".format(step))
    written = where(calls, ("pwrite64",), temporary)
    synced = where(calls, ("fsync", "fdatasync"), temporary)
    named = where(calls, ("link", "linkat"), final)
    folder = [number for number in where(calls, ("fsync",), "/checkpoints>") if number > named[0]]
    assert max(written) < synced[0] < named[0] < folder[0] < len(calls) - 1
    assert len(synced) == 1


def test_a_victim_is_renamed_and_that_is_synced_before_it_is_unlinked(undisturbed):
    calls = between(undisturbed, "saved-20", "end-20")
    renamed = where(calls, ("rename", "renameat", "renameat2"), NAMES[1])
    synced = where(calls, ("fsync",), "/checkpoints>")
    removed = where(calls, ("unlink", "unlinkat"), NAMES[5])
    assert renamed[0] < synced[0] < removed[0]


def test_new_directories_are_durable_before_the_first_save_is_acknowledged(undisturbed):
    """A file in a directory whose own name was lost is lost as well."""
    calls = undisturbed[: position(undisturbed, "saved-10")]
    for made in where(calls, ("mkdir", "mkdirat"), "/run"):
        path = re.search('"([^"]+)"', calls[made].text).group(1)
        synced = where(calls[made:], ("fsync",), "<{}>".format(os.path.dirname(path)))
        assert synced, path


def test_the_claim_is_durable_before_the_first_save(undisturbed):
    calls = undisturbed[: position(undisturbed, "begin-10")]
    made = where(calls, ("fsync",), NAMES[0])
    assert max(where(calls, ("fsync",), "/checkpoints>")) > made[0] > max(where(calls, ("pwrite64",), NAMES[0]))
