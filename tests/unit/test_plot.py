"""The picture of a run: an axis of time with folds, the tab's colours, curves below."""

import os
import re
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tab"))
import played

import keras_session_ext as kse
from keras_session_ext.lifecycle import plot
from keras_session_ext.lifecycle.folded_time import FoldedTime
from keras_session_ext.tensorboard.report_page import STATIC

T = played.START


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_long_gaps_are_folded_and_times_of_day_stand_behind_them(utc):
    axis = FoldedTime([(T, T + 600), (T + 40000, T + 40600), (T + 40610, T + 41200)])
    assert len(axis.folds) == 1 and axis.length < 1900, "ten seconds are no fold"
    ticks = axis.ticks()
    assert [tick.place for tick in ticks] == sorted(tick.place for tick in ticks)
    assert ticks[0].label == "14:13\n21 Sep 2026"
    behind = [tick for tick in ticks if tick.place == axis.folds[0][1]]
    assert [tick.label for tick in behind] == ["01:20\n22 Sep 2026"], "the first time behind the fold, and its day"
    assert all(re.fullmatch(r"\d\d:\d[05]", tick.label) for tick in ticks[1:] if tick not in behind), ticks


def test_a_run_of_seconds_has_seconds(utc):
    labels = [tick.label for tick in FoldedTime([(T, T + 9.0)]).ticks()]
    assert labels[1] == "14:13:21" and len(labels) > 4


@given(st.lists(st.tuples(st.floats(0, 4e9), st.floats(0, 1e6)), max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_times_make_an_axis(pairs):
    busy = [(start, start + length) for start, length in pairs]
    axis = FoldedTime(busy)
    for start, end in busy:
        assert -1e-6 <= axis.place(start) <= axis.place(end) <= axis.length * (1 + 1e-9) + 1e-6
    assert len(axis.ticks()) < 60


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return played.killed_twice(tmp_path_factory.mktemp("killed") / "run")


def test_the_picture_has_the_timeline_and_the_curves(killed, tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = kse.plot_timeline(killed)
    titles = [part.get_title(loc="left") for part in figure.axes]
    assert titles == ["run: 6 checkpoints, 2 resumes, 610 steps lost and trained again, exact", "loss", "accuracy",
                      "learning_rate"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["#1  vanished at step 1060", "#2  vanished at step 1950", "#3  finished"]
    loss = {(line.get_label(), line.get_alpha()): line for line in figure.axes[1].get_lines()}
    assert len(loss["loss", 1.0].get_xdata()) == len(loss["val_loss", 1.0].get_xdata()) == 24
    assert any(alpha == 0.4 for _, alpha in loss), "what was thrown away is faint"
    assert figure.axes[0].get_xlim()[1] < 4500, "and 8 hours of nothing are no more than a fold"
    figure.savefig(tmp_path / "run.png")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [label.get_window_extent(renderer) for label in figure.axes[-1].get_xticklabels()]
    assert len(boxes) >= 5 and not any(one.overlaps(other) for one, other in zip(boxes, boxes[1:]))


def test_axes_of_ones_own_get_the_timeline(killed):
    from matplotlib import figure

    mine = figure.Figure().subplots()
    assert kse.plot_timeline(killed, axes=mine) is mine.figure
    assert len(mine.figure.axes) == 1 and mine.get_xticklabels()[0].get_text().startswith(("14:", "1", "0", "2"))


def test_the_colours_are_the_tabs():
    with open(os.path.join(STATIC, "style.css")) as handle:
        light = handle.read().split('[data-theme="dark"]')[0]
    for lane in ("fit", "epoch"):
        assert "--{}: {};".format(lane, plot._LANES[lane]) in light
    for _, colour in plot._POLICIES.values():
        assert colour in light
    assert all(colour in light for colour in [*plot._PARTS, *plot._ENDINGS.values()])


def test_a_hundred_kills_and_numbers_that_are_none(tmp_path):
    figure = kse.plot_timeline(played.long(tmp_path / "long", checkpoints=600, kills=100))
    figure.savefig(tmp_path / "long.png")
    assert len(figure.axes[0].get_yticks()) <= plot._NAMED_ROWS and figure.get_size_inches()[1] < 18
    run = played.Played(tmp_path / "odd")
    run.begin()
    for epoch, loss in enumerate(["nan", 1.0, "inf", 0.5, "-inf"]):
        run.epoch(epoch, loss=loss)
    figure = kse.plot_timeline(run.write())
    figure.savefig(tmp_path / "odd.png")
    assert sum(len(marks.get_offsets()) for marks in figure.axes[1].collections) >= 3
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "journal.jsonl").write_text(
        '{"seq": 1, "time": 1790000000.0, "kind": "progress", "process": "a", "figures": {}}\n')
    kse.plot_timeline(tmp_path / "bare").savefig(tmp_path / "bare.png")
