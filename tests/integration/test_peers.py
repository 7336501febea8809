"""The other callbacks of the list: their state comes back without the user doing anything."""

import csv
import os

import pytest
from harness import assert_same, finish, kill, killed_like

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("place", [0, 3, 7])
def test_peers_and_every_place_in_the_list(tmp_path, place):
    """EarlyStopping, ReduceLROnPlateau, CSVLogger, ModelCheckpoint, schedulers, lambdas, a user's own."""
    task = {"more_peers": True, "place": place, "epochs": 4}
    reference, resumed = killed_like(
        "jax", task, str(tmp_path), ("batch:13", "validation:2", "epoch_end:1"), seeded=False)
    assert resumed["exact"], resumed["reasons"]
    assert_same(reference, resumed)
    rows = [list(csv.reader(open(os.path.join(str(tmp_path), run, "log.csv")))) for run in ("whole", "killed")]
    assert rows[0] == rows[1]
    assert [row[0] for row in rows[0]] == ["epoch", "0", "1", "2", "3"]


@pytest.mark.parametrize("engine", ["tensorflow", "torch"])
def test_the_place_does_not_change_the_result(tmp_path, engine):
    results = []
    for place in (0, 3):
        task = {"directory": str(tmp_path / str(place)), "result": str(tmp_path / "r.json"), "place": place, "seed": 4}
        kill(engine, task, "batch:14")
        results.append(finish(engine, task))
    assert results[0]["sha256"] == results[1]["sha256"]
    assert results[0]["history"] == results[1]["history"]
