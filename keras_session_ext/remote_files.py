"""Every call to a store behind a URL goes through here, as every one to a file system through files.py.

The engine is fsspec, with the user's own credentials and options: environment,
configuration files of the store's client, or fsspec's own configuration
(https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration).
Every call ends within a limit, and every failure is an `OSError` that names the
URL and tells no secret.
"""

import contextlib
import errno
import inspect
import os
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from keras_session_ext import urls
from keras_session_ext.errors import ConfigError

#: how long a call may take
CALL_SECONDS = 60.0
#: how long an upload may go without a byte having moved
STALL_SECONDS = 120.0
#: parts of an upload; S3 takes no smaller ones than 5 MiB, and 10,000 of them
_PART_BYTES, _MOST_PARTS = 8 << 20, 9000
#: an upload that cannot tell how far it is may be as slow as this
_SLOWEST_BYTES_PER_SECOND = 50_000
#: a file that was uploaded is read back whole up to a size, and else from its begin, middle and end
_WHOLE_BYTES, _SAMPLE_BYTES = 1 << 20, 1 << 16
_PAGES = 20
#: between the tries of a call, besides those that the client makes itself
_PAUSES = (0.5, 2.0, 5.0)
#: what another try does not help against
_FINAL = (errno.EACCES, errno.EPERM, errno.ETIMEDOUT)

_clients: Dict[Tuple[str, int], Any] = {}  # by protocol and process: a client is not for a forked child
_guard = threading.RLock()
_is_used = False


def _forked() -> None:
    """A child makes clients of its own; the guard may be held by a thread that it does not have."""
    global _guard
    _guard = threading.RLock()
    _clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Entry(NamedTuple):
    """What a folder holds.

    Attributes:
        name: without the folder.
        is_folder: whether it has entries of its own.
        size_bytes: of an object.
    """

    name: str
    is_folder: bool
    size_bytes: int


def client(url: str) -> Tuple[Any, str]:
    """The client for a URL, and what it calls the place.

    Raises:
        ConfigError: the package for it is not installed, or refuses its options.
    """
    scheme, rest = url.split("://", 1)
    with _guard:
        key = (scheme, os.getpid())
        if key not in _clients:
            _clients[key] = _make_client(scheme)
        made = _clients[key]
    if scheme == "memory":
        return made, "/" + rest
    return made, url if scheme.startswith("abfs") else rest


def is_used() -> bool:
    """Whether this process has ever made a client."""
    return _is_used


def _make_client(scheme: str) -> Any:
    global _is_used
    _is_used = True
    extra = urls.EXTRAS.get(scheme, "")
    if extra == "gcs" and os.environ.get("STORAGE_EMULATOR_HOST"):
        # it asks by gRPC what an emulator does not know, and waits a minute for the answer
        # https://github.com/fsspec/gcsfs/blob/2026.10.1/gcsfs/extended_gcsfs.py
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        import fsspec

        return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise ConfigError("{}:// needs a package that is not installed ({}), and Python 3.9 or newer: pip install "
                          "'keras_session_ext[{}]'".format(scheme, error, extra or "s3")) from error
    except Exception as error:  # whatever a client says of its options
        raise ConfigError("The client for {}:// cannot be made: {}".format(
            scheme, urls.without_secrets(str(error)) or type(error).__name__)) from error


# -- calls within limits

class StoreError(OSError):
    """A store could not be asked, or has said no: what it holds is not known. It is no missing or damaged file."""


def _call(url: str, function: Callable[[Any, str], Any], nbytes: int = 0) -> Any:
    """Makes one call, again where it may have been a passing trouble; what comes of it comes within the limit.

    Args:
        url: of what is asked for.
        function: given the client, and what it calls the place.
        nbytes: so many go over a network that may be slow.
    """
    fs, path = client(url)
    limit = CALL_SECONDS + nbytes / _SLOWEST_BYTES_PER_SECOND
    end = time.monotonic() + limit
    for pause in (*_PAUSES, None):
        thread = _Call(lambda: function(fs, path))
        thread.begin()
        thread.wait(max(1.0, end - time.monotonic()))
        try:
            return thread.outcome(url, limit)
        except StoreError as error:
            if pause is None or error.errno in _FINAL or time.monotonic() + pause > end:
                raise
            time.sleep(pause)


class _Call(threading.Thread):
    """A call that may never return; the thread is a daemon, and is left then."""

    def __init__(self, function: Callable[[], Any]):
        super().__init__(name="keras-session-store", daemon=True)
        self._function = function
        self._result: Any = None
        self._error: Optional[BaseException] = None
        self._done = False  # without a thread

    def begin(self) -> None:
        """Starts it; at the end of the process Python gives no thread, and it is done here.

        https://github.com/python/cpython/issues/113964
        """
        try:
            self.start()
        except RuntimeError:
            self._done = True
            self.run()

    def wait(self, seconds: float) -> None:
        if not self._done:
            self.join(seconds)

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error

    def outcome(self, url: str, limit_seconds: float) -> Any:
        if not self._done and self.is_alive():
            raise StoreError(errno.ETIMEDOUT, "the store has not answered for {:.0f} s".format(limit_seconds), url)
        if self._error is not None:
            raise _plain(url, self._error)
        return self._result


def _plain(url: str, error: BaseException) -> BaseException:
    """The error of a client as one of a file system."""
    text = urls.without_secrets(" ".join(str(error).split()))[:400] or type(error).__name__
    for kind, number in ((FileNotFoundError, errno.ENOENT), (FileExistsError, errno.EEXIST)):
        if isinstance(error, kind):
            return kind(number, text, url)
    if not isinstance(error, Exception):
        return error
    for other, number in ((PermissionError, errno.EACCES), (TimeoutError, errno.ETIMEDOUT)):
        if isinstance(error, other):
            return StoreError(number, text, url)
    number = error.errno if isinstance(error, OSError) and error.errno is not None else errno.EIO
    if "credential" in type(error).__name__.lower() or "credential" in text.lower():
        number = errno.EACCES
    return StoreError(number, "{}: {}".format(type(error).__name__, text), url)


# -- looking

def entries(url: str) -> List[Entry]:
    """What stands right below a folder; nothing where there is no such folder.

    Raises:
        OSError: the store cannot be asked, or says no.
    """
    def listed(fs: Any, path: str) -> Any:
        with contextlib.suppress(AttributeError):
            fs.invalidate_cache()
        return fs.ls(path, detail=True)

    try:
        found = _call(url, listed)
    except (FileNotFoundError, NotADirectoryError):
        return []
    made = {}
    for one in found:
        name = one["name"].rstrip("/").rsplit("/", 1)[-1]
        if one["name"].strip("/") == url.split("://", 1)[1].strip("/"):
            continue  # the folder itself, where it was made as an object
        made[name] = Entry(name, one.get("type") == "directory", int(one.get("size") or 0))
    return list(made.values())


def names(url: str) -> List[str]:
    """The names of the objects right below a folder."""
    return [one.name for one in entries(url) if not one.is_folder]


def size_bytes(url: str) -> int:
    """Of an object.

    Raises:
        FileNotFoundError: there is none.
    """
    found = _call(url, lambda fs, path: fs.info(path))
    if found.get("type") == "directory":
        raise FileNotFoundError(errno.ENOENT, "it is a folder", url)
    return int(found["size"])


def read(url: str, begin: int = 0, end: Optional[int] = None) -> bytes:
    """The bytes of an object from one offset up to another, which may lie behind its end; an empty one has none."""
    # by their names: the second argument of s3fs is the version
    return _call(url, lambda fs, path: bytes(fs.cat_file(path, start=begin or None, end=end)),
                 _PART_BYTES if end is None else end - begin)


def changed(url: str) -> Optional[float]:
    """When an object was written last, in seconds of the store's clock; None where it does not tell."""
    try:
        return float(_call(url, lambda fs, path: fs.modified(path).timestamp()))
    except (NotImplementedError, AttributeError, FileNotFoundError):
        return None
    except OSError as error:
        if "NotImplementedError" in str(error):
            return None
        raise


# -- changing

def create(url: str, data: bytes) -> None:
    """Makes a small object.

    Raises:
        FileExistsError: the name is taken.
    """
    with _one_at_a_time(url):
        _call(url, lambda fs, path: fs.pipe_file(path, data, mode="create"))


def replace(url: str, data: bytes) -> None:
    """Makes a small object, or puts it in the place of another."""
    _call(url, lambda fs, path: fs.pipe_file(path, data), len(data))


def remove(url: str) -> bool:
    """Removes an object; False where it was not there, if the store tells."""
    try:
        _call(url, lambda fs, path: fs.rm_file(path))
    except FileNotFoundError:
        return False
    return True


def upload(url: str, source: Union[str, bytes], told: Callable[[int], None]) -> None:
    """Makes an object of a local file, or of bytes; under its name it is whole, or is not.

    Args:
        url: of the object.
        source: the file's path, or the bytes.
        told: is given the number of bytes that have gone out, as far as the client tells.

    Raises:
        FileExistsError: the name is taken.
        OSError: it failed; the parts that went out are no object.
    """
    fs, place = client(url)
    size = len(source) if isinstance(source, bytes) else os.path.getsize(source)
    name = "pipe_file" if isinstance(source, bytes) else "put_file"
    known = inspect.signature(getattr(fs, "_" + name, getattr(fs, name))).parameters
    moved = _Moved(told, size)
    options: Dict[str, Any] = {"mode": "create"}
    if "chunksize" in known:
        options["chunksize"] = max(_PART_BYTES, (size // _MOST_PARTS >> 18) + 1 << 18)
    if "consistency" in known:
        options["consistency"] = "md5"  # of gcsfs, which compares nothing if it is not asked to
    if "callback" in known:
        options["callback"] = moved.callback()
    thread = _Call(lambda: fs.pipe_file(place, source, **options) if isinstance(source, bytes)
                   else fs.put_file(source, place, **options))
    with _one_at_a_time(url):
        thread.begin()
        limit = STALL_SECONDS
        while thread.is_alive():
            thread.wait(1.0)
            limit = STALL_SECONDS if moved.tells else STALL_SECONDS + size / _SLOWEST_BYTES_PER_SECOND
            if moved.seconds_since() > limit:
                break
    thread.outcome(url, limit)


class _Moved:
    """How far an upload is."""

    def __init__(self, told: Callable[[int], None], size: int):
        self.tells = False
        self._told, self._total = told, size
        self._last = time.monotonic()

    def callback(self) -> Any:
        from fsspec.callbacks import Callback

        moved = self

        class Told(Callback):
            def call(self, *arguments: Any, **keywords: Any) -> None:
                if self.value and moved._total:
                    moved.tells = moved.tells or self.value < moved._total
                    moved._last = time.monotonic()
                    moved._told(min(self.value, moved._total))

        return Told()

    def seconds_since(self) -> float:
        return time.monotonic() - self._last


@contextlib.contextmanager
def _one_at_a_time(url: str) -> Iterator[None]:
    """fsspec's store in memory looks and makes in two steps, and is this process's alone."""
    if url.startswith("memory://"):
        with _guard:
            yield
    else:
        yield


def is_same(url: str, size: int, piece: Callable[[int, int], bytes]) -> bool:
    """Whether an object is what was to be uploaded, as far as its size and what is read back of it tell.

    What went wrong on the way the client's own checksums tell, and every byte is verified when it is restored.

    Args:
        url: of the object.
        size: in bytes, that it is to have.
        piece: gives the bytes that are to stand from one offset up to another.
    """
    if size_bytes(url) != size:
        return False
    places = [(0, size)] if size <= _WHOLE_BYTES else [
        (begin, begin + _SAMPLE_BYTES) for begin in (0, (size - _SAMPLE_BYTES) // 2, size - _SAMPLE_BYTES)]
    return all(read(url, begin, end) == piece(begin, end) for begin, end in places if end > begin)


def _s3(url: str, name: str, arguments: Dict[str, Any]) -> Any:
    return _call(url, lambda fs, path: fs.call_s3(name, **arguments))


def abort_uploads(url: str, is_meant: Callable[[str], bool]) -> None:
    """Throws away parts of uploads that were never completed; they are in no listing, and cost money on S3.

    On the others they go by themselves after a week.

    Args:
        url: of the folder.
        is_meant: is asked for each, with the name it was for.
    """
    fs, path = client(url)
    if not hasattr(fs, "call_s3"):
        return
    bucket, _, key = path.partition("/")
    marks: Dict[str, str] = {}
    for _ in range(_PAGES):
        asked = dict(Bucket=bucket, Prefix=key + "/", **marks)
        found = _s3(url, "list_multipart_uploads", asked)
        for one in found.get("Uploads") or ():
            if is_meant(one["Key"].rsplit("/", 1)[-1]):
                _s3(url, "abort_multipart_upload", dict(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"]))
        if not found.get("IsTruncated"):
            return
        marks = {"KeyMarker": found.get("NextKeyMarker") or "", "UploadIdMarker": found.get("NextUploadIdMarker") or ""}
