"""Real trainings, real SIGKILL, and SHA-256 over every tensor against the run that was never interrupted."""

import os

import pytest
from harness import assert_same, killed_like
from sources import SOURCES

ENGINES = ("tensorflow", "jax", "torch")

#: in the middle of an epoch, in validation or between epochs, and during a save
MOMENTS = ("batch:9", "validation:1", "write:9")
MOMENTS_WITHOUT_VALIDATION = ("batch:9", "epoch_begin:2", "write:9")

EVERY_ROW = [(engine, name) for name, source in SOURCES.items() for engine in source.engines]
#: what CI runs: every source on one engine, taken in turn, and plain arrays on all
SELECTION = [(engine, name) for number, (name, source) in enumerate(SOURCES.items()) for engine in source.engines
             if name == "arrays" or engine == source.engines[number % 2]]


def run_row(engine, name, folder):
    """One row of the matrix; returns what the report of the last resume said."""
    source = SOURCES[name]
    moments = MOMENTS if source.validates else MOMENTS_WITHOUT_VALIDATION
    reference, resumed = killed_like(engine, {"source": name}, folder, moments, source.seed is not None)
    assert resumed["checkpoint"], "nothing was resumed"
    if source.exact:
        assert resumed["exact"], resumed["reasons"]
        assert_same(reference, resumed)
    else:
        assert not resumed["exact"]
        assert source.why in "; ".join(resumed["reasons"])
    assert resumed["epochs"] == reference["epochs"]
    return resumed


@pytest.mark.slow
@pytest.mark.parametrize("engine, name", SELECTION)
def test_selection(engine, name, tmp_path):
    run_row(engine, name, str(tmp_path))


@pytest.mark.matrix
@pytest.mark.parametrize("engine, name", EVERY_ROW)
def test_matrix(engine, name, tmp_path):
    run_row(engine, name, os.fspath(tmp_path))
