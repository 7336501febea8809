"""Kinds of models: each is killed in the middle of an epoch and between two, and goes on bit-identically."""

import pytest
from architectures import MODELS, ONLY
from harness import assert_same, killed_like

ENGINES = ("tensorflow", "jax", "torch")
EVERY_ROW = [(engine, name) for name in MODELS for engine in ONLY.get(name, ENGINES)]
SELECTION = [(engine, name) for number, name in enumerate(MODELS) for engine in ONLY.get(name, ENGINES)
             if len(ONLY.get(name, ENGINES)) == 1 or engine == ENGINES[number % 3]
             or (engine, name) == ("tensorflow", "subclassed")]


def run_row(engine, name, folder):
    reference, resumed = killed_like(engine, {"model": name}, folder, ("batch:8", "epoch_begin:2"), seeded=False)
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
