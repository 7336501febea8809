"""SIGKILL at every request of a start, a save, a retention, an end and a restore in a store, and every wrong answer.

saves_in_a_store.py runs once to see what it asks for, and then once per case,
through a proxy before the server of S3. After each run the store is looked at,
and the next start of the script saves.
"""

import multiprocessing
import os
import random
import signal
import sys
import time

import one_save
import pytest
import saves_in_a_store
import store_proxy
import stores

from keras_session_ext import remote_files, verify_checkpoint
from keras_session_ext.checkpoint.encoder import Encoder
from keras_session_ext.policies.keep import KeepLast
from keras_session_ext.store.run_directory import RunDirectory

FIRST, SECOND = one_save.STEPS
#: how many of the cases, drawn anew each week; all of them, where the environment says so
KILLS, CASES = (10 ** 6, 10 ** 6) if os.environ.get("KSE_REQUESTS") == "all" else (12, 24)
DRAW = random.Random(time.strftime("%G-%V"))
TROUBLES = [403, 404, 409, 412, 429, 500, 503, "cut", "late", "lost", "half"]
_LIMIT_SECONDS = 60

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["saves_in_a_store", "s3fs", "numpy"])


def _run(url, staging, mirrored, variables, output, limit):
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.update(variables)
    remote_files.CALL_SECONDS = limit
    saves_in_a_store.main(url, staging, mirrored)
    sys.stdout.flush()


class Runner:
    """Runs the script through a proxy."""

    def __init__(self, place, proxy, folder):
        self.place, self.proxy, self._folder = place, proxy, folder
        self._number = 0
        self.mirrored = ""

    def run(self, url, trouble=lambda number, method, path: None, limit=20.0):
        """Returns (exit status, output); `trouble` may name `self.process`."""
        self._number += 1
        output = os.path.join(self._folder, "{}.txt".format(self._number))
        variables = dict(self.place.variables, AWS_ENDPOINT_URL=self.proxy.url)
        self.process = _processes.Process(
            target=_run, args=(url, os.path.join(self._folder, "staging-{}".format(self._number)), self.mirrored,
                               variables, output, limit))
        self.proxy.asked, self.proxy.trouble = [], trouble
        self.process.start()
        self.process.join(_LIMIT_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            pytest.fail("it hangs")
        self.proxy.trouble = lambda number, method, path: None
        with open(output) as handle:
            return self.process.exitcode, handle.read()


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    with stores.place("s3") as place, store_proxy.before(place.variables["AWS_ENDPOINT_URL"],
                                                         late_seconds=0.3) as proxy:
        yield Runner(place, proxy, str(tmp_path_factory.mktemp("requests")))


@pytest.fixture(scope="module", params=["", "mirror"], ids=["run", "mirror"])
def undisturbed(runner, request):
    """What a run asks for that begins where another has ended, as a restart does; or on a new disk, its mirror."""
    url, runner.mirrored = runner.place.url(), request.param
    said = "SAVED 10\nACK 10\nSAVED 20\nACK 20\nEND\n" if request.param else "ACK 10\nACK 20\nEND\n"
    for found in ("FOUND\n", "FOUND 20\n"):
        status, output = runner.run(url)
        assert (status, output) == (0, found + said)
        asked = list(runner.proxy.asked)
    methods = [method for method, _ in asked]
    assert methods.count("PUT") >= 5 and methods.count("DELETE") >= 2 and methods.count("GET") > 10, asked
    runner.begun = _objects(url)
    return len(asked)


def _objects(url):
    fs, path = remote_files.client(url)
    return [(name[len(path):], fs.cat_file(name)) for name in fs.find(path)]


def chosen(cases, count):
    cases = list(cases)
    return cases if count >= len(cases) else sorted(DRAW.sample(cases, count), key=cases.index)


def acknowledged(output):
    return [int(line.split()[1]) for line in output.splitlines() if line.startswith("ACK ")]


def look_at(url, output, before=()):
    """The promises, and the next start of the script."""
    directory, rejected = RunDirectory(url), []
    found = directory.infos(rejected)
    assert rejected == [], "under a checkpoint's name there is a complete file or none"
    steps = [verify_checkpoint(info.path).progress.step for info in found]
    known = [*before, *acknowledged(output)]
    assert not known or known[-1] in steps, "an acknowledged save was lost: {} of {}".format(steps, known)
    directory.acquire()
    try:
        names = remote_files.names(directory.checkpoints)
        claims = [name for name in names if not name.endswith(".h5")]
        assert claims == ["g{:06d}.claim".format(directory.generation)], "leftovers: {}".format(names)
        new = one_save.save(directory, Encoder(), 30)
        directory.retain(KeepLast(1).plan(directory.infos()))
    finally:
        directory.release()
    assert [info.id for info in directory.infos()] == [new.id]
    assert unfinished(url) == []


def unfinished(url):
    fs, path = remote_files.client(url)
    bucket, _, key = path.partition("/")
    return [one["Key"] for one in fs.call_s3("list_multipart_uploads", Bucket=bucket).get("Uploads") or ()
            if one["Key"].startswith(key)]


def started(runner):
    """The URL of a run that was trained before, whose newest checkpoint is of step 20."""
    url = runner.place.url()
    for name, data in runner.begun:
        remote_files.create(url + name, data)
    return url


@pytest.mark.parametrize("arrives", [False, True])
def test_killed_at_every_request(runner, undisturbed, arrives):
    for number in chosen(range(undisturbed), KILLS):
        url = started(runner)

        def killed(current, method, path, number=number):
            if current < number:
                return None
            if current == number and arrives:
                return lambda: os.kill(runner.process.pid, signal.SIGKILL)
            os.kill(runner.process.pid, signal.SIGKILL)
            return "cut"

        status, output = runner.run(url, killed)
        assert status == -signal.SIGKILL or (number >= undisturbed - 5 and status == 0), (number, status, output)
        look_at(url, output, before=[20])


def test_every_answer_goes_wrong_once(runner, undisturbed):
    """One request in trouble is no trouble for the training, or is told; nothing acknowledged is lost."""
    failures = []
    for number, trouble in chosen([(number, trouble) for number in range(undisturbed) for trouble in TROUBLES], CASES):
        url = started(runner)
        status, output = runner.run(url, lambda current, method, path, number=number, trouble=trouble:
                                    trouble if current == number else None)
        try:
            assert status == 0 and "Traceback" not in output, output
            assert output.endswith("END\n") or output.splitlines()[-1].startswith("REFUSED"), output
            look_at(url, output, before=[20])
        except AssertionError as error:
            failures.append("request {}, {}: {}".format(number, trouble, error))
    assert failures == []


@pytest.mark.parametrize("trouble", [403, 503, "cut"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6])
def test_a_store_that_goes_away_for_good(runner, undisturbed, trouble, part):
    url = started(runner)
    status, output = runner.run(url, lambda current, method, path:
                                trouble if current >= part * undisturbed else None, limit=2.0)
    assert status == 0 and "Traceback" not in output, output
    assert output.endswith("END\n") or output.splitlines()[-1].startswith(("REFUSED", "keras_session")), output
    assert part or ("REFUSED" in output and url in output)
    look_at(url, output, before=[20])


def test_killed_in_the_middle_of_a_large_upload(runner, tmp_path):
    """Its parts are in no listing and cost money: the next start throws them away."""
    url, directory = runner.place.url(), None
    directory = RunDirectory(url, staging=str(tmp_path))
    directory.acquire()
    fs, path = remote_files.client(url)
    bucket, _, key = path.partition("/")
    name = "{}/checkpoints/{}.h5".format(key, directory.new_id(5))
    made = fs.call_s3("create_multipart_upload", Bucket=bucket, Key=name)
    fs.call_s3("upload_part", Bucket=bucket, Key=name, PartNumber=1, UploadId=made["UploadId"], Body=bytes(5 << 20))
    foreign = fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key + "/checkpoints/of-someone-else")
    directory.release()
    assert len(unfinished(url)) == 2
    again = RunDirectory(url)
    again.acquire()
    again.release()
    assert unfinished(url) == [key + "/checkpoints/of-someone-else"]
    fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key + "/checkpoints/of-someone-else",
               UploadId=foreign["UploadId"])
