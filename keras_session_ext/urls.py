"""URLs of stores: told from paths, checked, put together; nothing is opened here."""

import os
import re
from typing import Optional

#: a pathlib.Path makes one slash of two; one letter before the colon is a drive of Windows
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
#: what a URL may begin with -> what must be installed for it; an object of these is there whole or not at all
EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs",
    "az": "azure", "abfs": "azure", "abfss": "azure", "adl": "azure",
    "memory": "",
}


def is_url(path: str) -> bool:
    """Whether a path is a URL, whatever it leads to.

    Examples:
        >>> is_url("s3://bucket/run"), is_url("runs/a"), is_url("C:/runs"), is_url("s3:/bucket/of/pathlib")
        (True, False, False, True)
    """
    return _URL.match(path) is not None


def normalised(path: str) -> str:
    """A URL with two slashes and none at its end; `file://` and what is none are paths.

    Examples:
        >>> normalised("s3:/bucket/run/"), normalised("file:///runs/a"), normalised("runs/a/")
        ('s3://bucket/run', '/runs/a', 'runs/a/')
    """
    found = _URL.match(path)
    if found is None:
        return path
    scheme, rest = found.group(1).lower(), found.group(2)
    if scheme == "file":
        return os.path.normpath("/" + rest)
    return "{}://{}".format(scheme, rest.strip("/"))


def problem(path: str, may_be_bucket: bool = False) -> Optional[str]:
    """Why a URL cannot be used, or None where nothing is wrong with it, or it is a path.

    Args:
        path: a URL, or a path.
        may_be_bucket: a whole bucket will do, where runs are looked for and nothing is made.

    Examples:
        >>> problem("s3://bucket/run") is None, problem("runs/a") is None
        (True, True)
        >>> problem("sftp://host/run")
        'a run cannot live behind sftp://, only behind s3://, gs://, az:// or abfs://; name a folder that is mounted'
    """
    if not is_url(path):
        return None
    url = normalised(path)
    if not is_url(url):
        return None
    scheme, rest = url.split("://", 1)
    if scheme not in EXTRAS:
        return ("a run cannot live behind {}://, only behind s3://, gs://, az:// or abfs://; name a folder that is "
                "mounted".format(scheme))
    place, _, name = rest.partition("/")
    if ":" in place or ("@" in place and not scheme.startswith("abfs")):
        return ("it holds a user or a password, which would stand in messages and files: give them by the environment "
                "or the configuration of the store's client")
    if not place or (scheme != "memory" and not name and not may_be_bucket):
        return "it names no folder: expected {}://BUCKET/FOLDER".format(scheme)
    if any(part in ("", ".", "..") for part in name.split("/") if name):
        return "a store has no '.' and '..', and no empty names: name the folder itself"
    if "?" in rest or "#" in rest or any(ord(letter) < 32 or letter == "\x7f" for letter in rest):
        return "a '?', a '#' or a control character stands in it, which stores and their tools read in different ways"
    return None


def join(url: str, *names: str) -> str:
    """The URL of something below another.

    Examples:
        >>> join("s3://bucket/run", "checkpoints", "a.h5")
        's3://bucket/run/checkpoints/a.h5'
    """
    return "/".join((url.rstrip("/"),) + names)


def without_secrets(text: str) -> str:
    """A message of a store's client without what it may have told of its user.

    Examples:
        >>> without_secrets("GET https://host/b?X-Amz-Signature=abc: Forbidden; AccountKey=xyz;")
        'GET https://host/b?…: Forbidden; AccountKey=…'
    """
    text = re.sub(r"\?[^\s'\"<>]+?(?=[:,.]?(?:[\s'\"<>]|$))", "?…", text)
    text = re.sub(r"//[^/\s@]+:[^/\s@]+@", "//…@", text)
    text = re.sub(r"(?i)(authorization['\"]?\s*[=:]\s*['\"]?)[^\r\n,'\"}]+", r"\1…", text)
    text = re.sub(r"(?i)(<\w*(?:key|secret|token|signature|password)\w*>)[^<]*", r"\1…", text)
    return re.sub(r"(?i)((?:key|secret|token|sig|signature|password|credential)\w*['\"]?\s*[=:]\s*['\"]?)[^\s,'\"}]+",
                  r"\1…", text)
