"""Two saves with a retention each, for test_kill_at_every_call.py: `one_save.py <run directory> [behind]`.

With `behind` the second one is written in many pieces, by a thread of its own.

It looks at a name that does not exist wherever the test wants to see a mark in
the trace. The random digits of names are counted instead, so that the test
knows them beforehand.
"""

import itertools
import os
import sys

import numpy as np

from keras_session_ext.checkpoint import encoder as encoder_module
from keras_session_ext.checkpoint import header
from keras_session_ext.checkpoint.encoder import Encoder, Tensor
from keras_session_ext.checkpoint.hdf5_layout import KerasView
from keras_session_ext.policies.keep import KeepLast
from keras_session_ext.store import write_behind
from keras_session_ext.store.run_directory import RunDirectory

VIEW = KerasView((("model_config", b"{}"),), (), (("dense", (("kernel", 0),)),))
STEPS = (10, 20)


def save(directory, encoder, step):
    """One save, in the order of session.py."""
    id = directory.new_id(step)
    fields = {
        "id": id, "parent": None, "run": "r", "branch_of": None, "reason": "", "metrics": {},
        "generation": directory.generation, "created": 0.0, "finished": False, "reasons": [], "session": {},
        "progress": {"stage": 0, "epoch": 0, "batch": step, "step": step, "elapsed_seconds": 0.0},
    }
    tensors = [Tensor("variables/0", "variables", np.full(300000, step, np.float32)),
               Tensor("random/1", "random", np.array(step))]
    image = encoder.encode(fields, tensors, VIEW)
    directory.publish(id, image)
    return header.info(dict(fields, size_bytes=image.size_bytes), directory.path_of(id))


def main(path, behind):
    def mark(what):
        os.path.exists(os.path.join(path, what))

    digits = itertools.count(1)
    os.urandom = lambda count: next(digits).to_bytes(count, "big")
    directory, encoder, infos = RunDirectory(path), Encoder(), []
    directory.acquire()
    for step in STEPS:
        if behind and step == STEPS[-1]:
            write_behind._SMALL_BYTES, encoder_module.PIECE_BYTES = 0, 1 << 16
        mark("begin-{}".format(step))
        try:
            infos.append(save(directory, encoder, step))
            mark("saved-{}".format(step))
            print("ACK", step, flush=True)
            directory.retain(KeepLast(1).plan(infos))
        except OSError as error:
            print("OSError", error.errno, flush=True)
        mark("end-{}".format(step))
    directory.release()
    print("END", flush=True)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), "behind" in sys.argv[2:])
