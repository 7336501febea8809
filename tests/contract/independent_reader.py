"""A second reader of checkpoint files, written from docs/format.md alone.

It uses the standard library and NumPy and imports nothing of keras_session_ext.
"""

import hashlib
import json
import re

import numpy as np

try:
    import xxhash
except ImportError:  # the header is checked even so; the tensors are not
    xxhash = None

LINE = re.compile(rb"KSESSION ([0-9]{4}) ([0-9]{12}) ([0-9]{12}) ([0-9a-f]{64})\n")


def read(path):
    """Returns the header's fields and the tensors, in the order of the table, as (name, array)."""
    with open(path, "rb") as handle:
        data = handle.read()
    match = LINE.fullmatch(data[:105])
    assert match and match.group(1) == b"0001", "not a checkpoint of format version 1"
    block, length = int(match.group(2)), int(match.group(3))
    assert hashlib.sha256(data[105:block]).hexdigest().encode() == match.group(4), "the header was altered"
    fields = json.loads(data[105 : 105 + length].decode())
    assert fields["size_bytes"] == len(data), "the file was cut or extended"
    tensors, between, end = [], [], block
    for row in sorted(fields["tensors"], key=lambda row: row["offset"]):
        if row["nbytes"]:
            assert row["offset"] >= end, "two tensors overlap"
            between.append(data[end : row["offset"]])
            end = row["offset"] + row["nbytes"]
    between.append(data[end:])
    _check(b"".join(between), fields["hdf5"], "the HDF5 structure")
    for row in fields["tensors"]:
        stored = data[row["offset"] : row["offset"] + row["nbytes"]]
        _check(stored, row["checksum"], row["name"])
        tensors.append((row["name"], np.frombuffer(stored, _dtype(row)).reshape(row["shape"])))
    return fields, tensors


def _check(stored, expected, what):
    assert xxhash is None or xxhash.xxh3_128_hexdigest(stored) == expected, what + " was altered"


def _dtype(row):
    """NumPy's own dtype; for bfloat16, float8 and int4 the bits as unsigned integers."""
    try:
        return np.dtype(row["dtype"]).newbyteorder("<")
    except TypeError:
        return np.dtype("<u2" if row["dtype"] == "bfloat16" else "u1")
