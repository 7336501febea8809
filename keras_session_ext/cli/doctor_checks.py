"""What `doctor` looks at. Each function returns `Check`s and changes nothing that stays."""

import importlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from keras_session_ext import __version__, file_locks, files, remote_files, urls
from keras_session_ext.backend import installed
from keras_session_ext.cli import readable
from keras_session_ext.errors import ConfigError
from keras_session_ext.store.find_runs import runs_below
from keras_session_ext.store.run_directory import RunDirectory

OK, WARNING, PROBLEM = "ok", "warning", "problem"
_REQUIRED = ("click", "h5py", "jsonschema", "numpy", "PyYAML", "rich", "tensorboard", "xxhash")
_OPTIONAL = (("safetensors", "export to .safetensors"), ("matplotlib", "plot_timeline"))
_IMPORT_SECONDS = 300
_TRIES = 5
_LITTLE_BYTES = 1 << 30
#: file systems that deserve a word
_WORDS = {
    "tmpfs": "it lies in memory: gone when the machine goes", "ramfs": "it lies in memory: gone when the machine goes",
    "overlay": "it belongs to a container: gone with it", "nfs": "locks work only if the server offers them",
    "nfs4": "locks work only if the server offers them", "cifs": "locks work only if the server offers them"}


class Check(NamedTuple):
    """One thing that was looked at.

    Attributes:
        section: where it belongs.
        name: what it is.
        value: what was found.
        state: "ok", "warning" or "problem".
        advice: what to do about it, or where to read on.
    """

    section: str
    name: str
    value: str
    state: str = OK
    advice: str = ""


def python() -> Iterator[Check]:
    yield Check("here", "keras_session_ext", __version__)
    yield Check("here", "python", "{} ({})".format(platform.python_version(), sys.executable))
    windows = os.name == "nt"
    yield Check("here", "platform", platform.platform(), WARNING if windows else OK,
                "On Windows there are no locks: see docs/guarantees.md." if windows else "")


def dependencies() -> Iterator[Check]:
    for package in _REQUIRED + (() if importlib.util.find_spec("tomllib") else ("tomli",)):
        version = installed.version_of(package)
        yield Check("dependencies", package, version or "missing", OK if version else PROBLEM,
                    "" if version else "pip install {}".format(package))
    yield from _old_tensorboard()
    for package, purpose in _OPTIONAL:
        yield Check("dependencies", package, installed.version_of(package) or "not installed; only for " + purpose)


def _old_tensorboard() -> Iterator[Check]:
    """Before 2.5 it ends where any requirement of a package with a tab is missing or of a wrong version.

    https://github.com/tensorflow/tensorboard/pull/4762
    """
    version = installed.version_of("tensorboard")
    if not version or installed.numbers(version) >= (2, 5):
        return
    try:
        importlib.import_module("pkg_resources").require("keras_session_ext")
        yield Check("dependencies", "of the tab", "as TensorBoard {} wants them".format(version))
    except Exception as error:  # one of pkg_resources', which may itself be missing
        yield Check("dependencies", "of the tab", " ".join(str(error).split()), PROBLEM, "TensorBoard {} does not "
                    "start while this is so; 2.5 and later do. pip install what it names.".format(version))


def frameworks() -> Iterator[Check]:
    """What is installed, and the Kerases that this makes."""
    found = installed.versions()
    for name in ("keras", "tf_keras", *installed.ENGINES):
        yield Check("frameworks", name, found.get(name, "not installed"))
    usable = [one for one in installed.kerases(found) if not one.problem]
    for one in installed.kerases(found):
        yield Check("Kerases", _name(one), one.problem or "family " + one.family,
                    OK if not one.problem else WARNING if usable else PROBLEM)
    if not usable:
        yield Check("Kerases", "supported", "none", PROBLEM, "pip install 'keras_session_ext[jax]', or [tensorflow], "
                    "or [torch]")
    yield from _engine([one.engine for one in usable if one.family == "keras3"])


def _engine(engines: List[str]) -> Iterator[Check]:
    """Which engine Keras 3 will take, as far as the environment says."""
    chosen = os.environ.get("KERAS_BACKEND", "")
    if not engines:
        return
    if chosen and chosen not in engines:
        yield Check("Kerases", "KERAS_BACKEND", chosen, PROBLEM, "It is not installed, or not supported. Set it to {}."
                    .format(" or ".join(engines)))
    elif not chosen and "tensorflow" not in engines and not os.path.exists(os.path.expanduser("~/.keras/keras.json")):
        yield Check("Kerases", "KERAS_BACKEND", "not set", WARNING, "Keras takes tensorflow then, which is not "
                    "installed. Set it to {}.".format(" or ".join(engines)))


def exactness() -> Iterator[Check]:
    """What will be bit-identical here after a resume, and what will not."""
    told: Dict[Tuple[str, str, str], List[str]] = {}
    for one in installed.kerases(installed.versions()):
        if not one.problem:
            told.setdefault(_exact(one), []).append(_name(one))
    for (value, state, advice), names in told.items():
        for name in names:
            yield Check("exact", name, value, state, advice if name == names[-1] else "")
    if files.exists("/dev/nvidia0") or files.exists("/dev/kfd") or shutil.which("nvidia-smi"):
        yield Check("exact", "on the GPU", "not tested", WARNING, "Kernels may add in another order each time. Ask for "
                    "others: tf.config.experimental.enable_op_determinism(), "
                    "torch.use_deterministic_algorithms(True), XLA_FLAGS=--xla_gpu_deterministic_ops=true.")
    yield Check("exact", "several replicas", "in one process; several processes are refused before training", OK,
                "See docs/devices.md.")


def _exact(one: installed.Installed) -> Tuple[str, str, str]:
    if one.limits.startswith("it "):
        return "no: " + one.limits, WARNING, "See docs/families.md."
    if one.limits:
        return one.limits, OK, "See docs/families.md."
    return "yes, on CPUs", OK, ("Which sources of data are: docs/exactness.md." if one.family == "keras3"
                                else "How: docs/families.md.")


def _name(one: installed.Installed) -> str:
    return one.keras + (" on " + one.engine if one.family == "keras3" and one.engine else "")


def imports() -> Iterator[Check]:
    """Imports every Keras in a process of its own, and asks the package which one it sees."""
    for one in installed.kerases(installed.versions()):
        if one.problem:
            continue
        began = time.monotonic()
        good, text = _import(one)
        yield Check("imports", _name(one), "{} ({})".format(text, readable.spell(time.monotonic() - began)),
                    OK if good else PROBLEM)


def _import(one: installed.Installed) -> Tuple[bool, str]:
    script = ("import importlib, json; importlib.import_module({!r}); from keras_session_ext import backend; "
              "print(json.dumps(backend.describe()))".format(one.module))
    environment = dict(os.environ, **({"KERAS_BACKEND": one.engine} if one.family == "keras3" else {}))
    try:
        done = subprocess.run([sys.executable, "-c", script], env=environment,  # noqa: S603 (a script of ours)
                              capture_output=True, timeout=_IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return False, "no answer after {} s".format(_IMPORT_SECONDS)
    lines = (done.stderr if done.returncode else done.stdout).decode("utf-8", "replace").strip().splitlines()
    if done.returncode:
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]  # advice may stand behind it
        return False, (errors or lines or ["it ended with status {}".format(done.returncode)])[-1]
    seen = json.loads(lines[-1])
    return seen["family"] == one.family, " ".join("{}={}".format(*pair) for pair in seen.items())


# -- the file system


def file_system(directory: str) -> Iterator[Check]:
    """Tries the place with small files that are removed again."""
    if urls.is_url(directory):
        yield from _store(directory)
        return
    place = os.path.abspath(directory)
    while not os.path.isdir(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    missing = "" if place == os.path.abspath(directory) else " ({} is not there yet)".format(directory)
    yield Check("file system", "directory", place + missing)
    kind = _kind(place)
    yield Check("file system", "type", kind, WARNING if kind in _WORDS or kind.startswith("fuse") else OK,
                _WORDS.get(kind, "hard links and locks may be missing" if kind.startswith("fuse") else ""))
    yield _space(place)
    yield from _tried(place)


def _store(url: str) -> Iterator[Check]:
    """Tries a store with a small object."""
    yield Check("store", "URL", url)
    trial = urls.join(url, ".doctor-{}".format(os.urandom(4).hex()))
    try:
        runs = runs_below(url)
        yield Check("store", "readable", "yes, {} below it".format(readable.count(len(runs), "run")))
        remote_files.create(trial, b"1")
        try:
            try:
                remote_files.create(trial, b"2")
                yield Check("store", "conditional writes", "no: an object is made in the place of another", PROBLEM,
                            "Update its client (pip install -U s3fs gcsfs adlfs), or use a gateway that knows "
                            "If-None-Match.")
            except FileExistsError:
                yield Check("store", "conditional writes", "yes")
            yield Check("store", "reads by ranges", "yes" if remote_files.read(trial, 0, 1) == b"1" else "no")
        finally:
            remote_files.remove(trial)
        yield Check("store", "writable", "yes")
    except (OSError, ConfigError) as error:
        yield Check("store", "usable", "no: {}".format(error), PROBLEM, "Look at the URL, the credentials in the "
                    "environment and what this user may do there.")


def _kind(place: str) -> str:
    """The type of the file system, where the kernel tells it."""
    try:
        lines = files.read_stream("/proc/self/mountinfo").decode("utf-8", "replace").splitlines()
    except OSError:
        return "unknown"
    found, place = ("", "unknown"), os.path.realpath(place)
    for line in lines:
        before, _, behind = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        if os.path.commonpath([point, place]) == point and len(point) >= len(found[0]):
            found = (point, behind.split(" ")[0])
    return found[1]


def _space(place: str) -> Check:
    free = shutil.disk_usage(place).free
    largest = max([info.size_bytes for info in RunDirectory(place).infos()] + [0])
    little = free < max(_LITTLE_BYTES, 3 * largest)
    return Check("file system", "free", readable.size(free), WARNING if little else OK,
                 "A save needs the space of a whole checkpoint beside those that are kept." if little else "")


def _tried(place: str) -> Iterator[Check]:
    base = os.path.join(place, ".doctor-{}".format(os.urandom(4).hex()))
    try:
        yield from _try_writes(base)
        yield _try_lock(base + ".LOCK")
    except OSError as error:
        yield Check("file system", "writable", "no: {}".format(error), PROBLEM,
                    "Choose a directory that this user can write to.")
    finally:
        for suffix in (".tmp", ".file", ".LOCK"):
            if files.exists(base + suffix):
                files.remove(base + suffix)


def _try_writes(base: str) -> Iterator[Check]:
    fd = files.create(base + ".tmp")
    try:
        yield Check("file system", "writable", "yes")
        seconds = sorted(_sync_seconds(fd, number) for number in range(_TRIES))[_TRIES // 2]
    finally:
        files.close(fd)
    slow = seconds > 0.1
    yield Check("file system", "fsync", readable.spell(seconds) if seconds >= 0.0005 else "less than 1 ms",
                WARNING if slow else OK, "Every save waits for it a few times, behind training." if slow else "")
    linked = files.publish(base + ".tmp", base + ".file")
    yield Check("file system", "hard links", "yes" if linked else "no: files are renamed to their names instead")


def _sync_seconds(fd: int, number: int) -> float:
    files.write_at(fd, bytes(4096), 4096 * number)
    began = time.monotonic()
    files.sync(fd)
    return time.monotonic() - began


def _try_lock(name: str) -> Check:
    """Whether another process is sent away by a lock."""
    fd: Any = file_locks.lock(name)
    script = "import sys; from keras_session_ext import file_locks; sys.exit(file_locks.lock(sys.argv[1]) is not None)"
    try:
        child = subprocess.run([sys.executable, "-c", script, name], stderr=subprocess.DEVNULL)  # noqa: S603 (ours)
        works = child.returncode == 0
    finally:
        files.close(fd)
    return Check("file system", "locks", "yes" if works else "no", OK if works else WARNING,
                 "" if works else "Two runs in one directory are not told apart at once; the newer one wins.")
