"""Checkpoint files for the contract tests, and ways to spoil them."""

import hashlib
import json
import os

import numpy as np

from keras_session_ext.checkpoint import hdf5_layout
from keras_session_ext.checkpoint.encoder import Encoder, Tensor
from keras_session_ext.store.local import write_file

EMPTY_VIEW = hdf5_layout.KerasView((), (), ())


def fields(**changes):
    made = {
        "id": "one", "parent": None, "run": "0123456789abcdef", "branch_of": None, "generation": 1, "created": 1.5e9,
        "progress": {"stage": 0, "epoch": 1, "batch": 2, "step": 12, "elapsed_seconds": 3.5},
        "reason": "EverySteps(12)", "metrics": {"loss": 0.25}, "finished": False, "reasons": [],
        "session": {}, "package": "test",
    }
    return dict(made, **changes)


def small_tensors():
    return [Tensor("variables/0", "variables", np.array([1.5, -2.5], np.float32)),
            Tensor("random/1", "random", np.array(7, np.int64))]


def write(path, tensors=None, view=EMPTY_VIEW, encoder=None, mode=0o600, **changes):
    path = os.fspath(path)
    tensors = small_tensors() if tensors is None else tensors
    write_file(path, (encoder or Encoder()).encode(fields(**changes), tensors, view), mode)
    return path


def with_text(data, text):
    """A file with other JSON in its header, and a checksum that fits it."""
    block = int(data[14:26])
    assert 105 + len(text) <= block
    rest = text + bytes(block - 105 - len(text))
    line = "KSESSION 0001 {:012d} {:012d} {}\n".format(block, len(text), hashlib.sha256(rest).hexdigest())
    return line.encode() + rest + data[block:]


def header_text(data):
    return data[105 : 105 + int(data[27:39])]


def with_fields(data, edit):
    """A file whose header was changed by `edit`, with a checksum that fits."""
    made = json.loads(header_text(data).decode())
    made = edit(made) or made
    return with_text(data, json.dumps(made).encode())
