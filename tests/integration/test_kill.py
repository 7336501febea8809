"""Real trainings, real SIGKILL, and SHA-256 over every tensor against the run that was never interrupted."""


import pytest
from harness import assert_same, killed_like, resume_copies
from sources import SOURCES

ENGINES = ("tensorflow", "jax", "torch")

#: in the middle of an epoch, in validation or between epochs, and during a save
MOMENTS = ("batch:9", "validation:1", "write:4")
MOMENTS_WITHOUT_VALIDATION = ("batch:9", "epoch_begin:2", "write:4")

EVERY_ROW = [(engine, name) for name, source in SOURCES.items() for engine in source.engines]
#: what CI runs: every source on one engine, taken in turn, and plain arrays on all
SELECTION = [(engine, name) for number, (name, source) in enumerate(SOURCES.items()) for engine in source.engines
             if name == "arrays" or engine == source.engines[number % len(source.engines)]]


def run_row(engine, name, folder, copies=3):
    """One row of the matrix: killed three times, then resumed from checkpoints of `copies` kinds."""
    source, task = SOURCES[name], {"source": name}
    moments = MOMENTS if source.validates else MOMENTS_WITHOUT_VALIDATION
    reference, killed = killed_like(engine, task, folder, moments, source.seed is not None)
    assert killed["checkpoint"], "nothing was resumed"
    others = resume_copies(engine, task, folder, copies) if source.exact else []
    for resumed in [killed] + [resumed for _, resumed in others]:
        assert resumed["epochs"] == reference["epochs"]
        assert resumed["exact"] == source.exact, resumed["reasons"]
        if source.exact:
            assert_same(reference, resumed)
            assert resumed["diverged_at"] is None
        else:
            assert source.why in "; ".join(resumed["reasons"])
    for info, resumed in others:  # the finished run had noted all steps behind
        assert resumed["witnessed"] > 0, info
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("engine, name", SELECTION)
def test_selection(engine, name, tmp_path):
    run_row(engine, name, str(tmp_path), copies=1)


@pytest.mark.matrix
@pytest.mark.parametrize("engine, name", EVERY_ROW)
def test_matrix(engine, name, tmp_path, exactness_table):
    exactness_table.add(engine, name, "failed", "")
    killed = run_row(engine, name, str(tmp_path))
    reasons = [one for one in killed["reasons"] if not one.startswith("step ")]  # figures of the witness, of this run
    exactness_table.add(engine, name, "exact" if killed["exact"] else "no", "; ".join(reasons))
