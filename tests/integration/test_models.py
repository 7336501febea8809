"""Kinds of models: each is killed in the middle of an epoch and between two, and goes on bit-identically."""

import subprocess
import sys

import pytest
from architectures import MODELS, NOT_EXACT, ONLY
from harness import assert_same, environment, killed_like

ENGINES = ("tensorflow", "jax", "torch")
EVERY_ROW = [(engine, name) for name in MODELS for engine in ONLY.get(name, ENGINES)]
#: for CI: the engine that has most to do with them
TELLING = {"deep": ("tensorflow",), "wide": ("torch",), "subclassed": ("tensorflow", "torch"), "GAN": ONLY["GAN"]}
SELECTION = [(engine, name) for number, name in enumerate(MODELS)
             for engine in TELLING.get(name, (ENGINES[number % 3],))]


def run_row(engine, name, folder):
    reference, resumed = killed_like(engine, {"model": name}, folder, ("batch:8", "epoch_begin:2"), seeded=False)
    if (engine, name) in NOT_EXACT:
        assert not resumed["exact"] and NOT_EXACT[engine, name] in "; ".join(resumed["reasons"])
        return
    assert resumed["exact"], resumed["reasons"]
    assert_same(reference, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("engine, name", SELECTION)
def test_selection(engine, name, tmp_path):
    run_row(engine, name, str(tmp_path))


@pytest.mark.matrix
@pytest.mark.parametrize("engine, name", EVERY_ROW)
def test_matrix(engine, name, tmp_path):
    run_row(engine, name, str(tmp_path))


RESTORES = """
import architectures, keras, numpy as np, keras_session_ext as kse
one, arguments = architectures.gan()
one.fit(**arguments, verbose=0)
path = kse.save_session(one, "gan.h5")
other, _ = architectures.gan()
report = kse.restore_session(other, path)
assert report.kinds["optimizer"] == report.kinds["random"] == "restored", report
for model in (one, other):
    keras.utils.set_random_seed(3)  # Dropout draws from torch's own generator
    model.fit(**arguments, shuffle=False, verbose=0)
values = [[value for _, value in architectures.tensors_of(model)] for model in (one, other)]
assert len(values[0]) == len(values[1]) > 20 and all(map(np.array_equal, *values))
"""


@pytest.mark.slow
def test_restore_session_makes_the_slots_of_several_optimizers(tmp_path):
    subprocess.run([sys.executable, "-c", RESTORES], env=environment("torch"), cwd=str(tmp_path), check=True)
