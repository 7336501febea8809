"""A seeded run with the callback is, to the bit, the run that plain Keras makes: on this member, fit by fit.

Left out is what docs/families.md says of it: Keras on TensorFlow 2 takes the order of shuffled arrays, and Keras 2 its
random numbers, too, from ops whose state no one can read. There the callback puts in its own, which follow the seed.
"""

import os

import pytest
from harness import finish
from members import MEMBERS, current

pytestmark = [pytest.mark.slow, pytest.mark.members(*(name for name in MEMBERS if name != "keras225"))]

NAME = current()
MEMBER = MEMBERS[NAME]
GRAPH = MEMBER.family == "graph"

FITS = {"in order": {"source": "whole batches"}, "Sequence": {"source": "Sequence"},
        "generator": {"source": "generator"}}
if MEMBER.engine == "tensorflow" and not (GRAPH and MEMBER.keras == "keras"):
    FITS.update({"tf.data": {"source": "tf.data"}, "tf.data in order": {"source": "tf.data in order"}})
if NAME == "mirrored":  # where two plain runs differ
    del FITS["generator"]
FITS = {name: dict(fit, model="dense") for name, fit in FITS.items()}
if MEMBER.family != "eager":
    FITS.update({"random layers": {"source": "whole batches"},
                 "convolution": {"model": "convolution", "source": "whole batches"},
                 "recurrent": {"model": "recurrent", "source": "whole batches"}})
if GRAPH or MEMBER.engine != "tensorflow":
    FITS.update({"shuffled": {}, "validation_split": {"source": "validation_split"},
                 "class_weight": {"source": "class_weight"}})


@pytest.mark.parametrize("fit", FITS)
def test_the_callback_changes_nothing(fit, tmp_path):
    results = []
    for without in (True, False):
        folder = str(tmp_path / str(without))
        os.makedirs(folder)
        results.append(finish(NAME, dict(
            FITS[fit], directory=folder, result=folder + ".json", files=folder, more_peers=True, without=without,
            best="best.weights.h5" if MEMBER.family == "keras3" else "best.h5")))
    plain, ours = results
    for name in ("sha256", "history", "epochs"):
        assert plain[name] == ours[name], name
    assert [peer for peer in plain["peers"] if peer] == [peer for peer in ours["peers"] if peer]
