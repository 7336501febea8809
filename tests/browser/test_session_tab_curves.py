"""Curves, long runs, and labels at every width: on pages of `report`, in a real browser."""

import os
import re

import played
import pytest
from playwright.sync_api import expect
from tab import SHOTS, Tab, watched

import keras_session_ext as kse
from keras_session_ext.lifecycle.read_timeline import read_timeline

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

NARROW, WIDE = 800, 1920


@pytest.fixture
def show(browser, tmp_path):
    """Opens the page of some runs."""
    pages = []

    def shown(*directories, width=WIDE, scheme="light"):
        path = kse.report(directories, tmp_path / "page.html")
        page = watched(browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme))
        pages.append(page)
        page.goto("file://" + path)
        tab = Tab(page, page.locator("body"))
        tab.all("process").first.wait_for()
        for choice in tab.all("run-choice").all():
            choice.check()
        page.wait_for_timeout(200)
        return tab

    yield shown
    problems = [page.problems for page in pages]
    for page in pages:
        page.close()
    assert problems == [[]] * len(pages)


def picture(tab, name):
    if SHOTS:
        tab.page.wait_for_timeout(200)
        tab.page.screenshot(path=os.path.join(SHOTS, name + ".png"), full_page=True)


def chart(tab, metric):
    return tab.frame.locator("[data-role=chart][data-metric='{}']".format(metric))


def lines(tab, metric, more=""):
    return chart(tab, metric).locator("[data-role=line]" + more)


def test_a_killed_run_is_one_curve_with_what_was_thrown_away_beside_it(show, tmp_path):
    tab = show(played.killed_twice(tmp_path / "run"))
    expect(tab.all("chart")).to_have_count(3)
    metrics = tab.all("chart").evaluate_all("nodes => nodes.map(node => node.dataset.metric)")
    assert metrics == ["loss", "accuracy", "learning_rate"], "validation stands with what it validates"
    whole = lines(tab, "loss", "[data-source=epochs]:not([data-thrown])")
    assert whole.evaluate_all("nodes => nodes.map(node => [node.dataset.name, node.dataset.points])") == [
        ["loss", "24"], ["val_loss", "24"]]
    assert whole.first.get_attribute("d").count("M") == 1, "one path, without a break"
    thrown = lines(tab, "loss", "[data-source=epochs][data-thrown]")
    assert sorted(thrown.evaluate_all("nodes => nodes.map(node => node.dataset.points)")) == ["3", "3", "4", "4"]
    assert all(float(one) < 0.5 for one in thrown.evaluate_all("nodes => nodes.map(n => getComputedStyle(n).opacity)"))
    loss = chart(tab, "loss")
    assert loss.locator("[data-role=chart-kill]").count() == loss.locator("[data-role=chart-resume]").count() == 2
    assert loss.locator("[data-role=again]").count() == 2
    within = lines(tab, "loss", "[data-source=steps]:not([data-thrown])")
    assert within.get_attribute("d").count("M") == 24, "no line leads from one epoch's mean to the next one's"
    assert loss.locator("[data-role=chart-checkpoints]").get_attribute("data-count") == "6"
    picture(tab, "curves")


def test_over_time_the_gaps_fold(show, tmp_path):
    tab = show(played.killed_twice(tmp_path / "run"), width=1200)
    tab.all("by-time").check()
    if SHOTS:
        tab.all("curves").screenshot(path=os.path.join(SHOTS, "session-tab-curves.png"))
    texts = chart(tab, "loss").locator(".kse-tick-text").all_text_contents()
    assert "+0 s" in texts and any(re.search(r"\+9 h", text) for text in texts), texts
    assert chart(tab, "loss").locator("[data-role=folded]").count() == 2
    tab.all("collapse").uncheck()
    assert chart(tab, "loss").locator("[data-role=folded]").count() == 0, "as on the timeline"


def test_a_place_on_a_curve_says_what_the_journal_says(show, tmp_path):
    directory = played.killed_twice(tmp_path / "run")
    tab = show(directory)
    area = chart(tab, "loss").locator("[data-role=chart-area]")
    area.focus()
    for _ in range(3):
        tab.page.keyboard.press("ArrowRight")
    expect(tab.all("card")).to_be_visible()
    line = next(line for line in read_timeline(directory)["curves"]["lines"] if line["name"] == "loss")
    shown = tab.all("card").locator("dd[data-key=value]").evaluate_all("nodes => nodes.map(node => node.dataset.value)")
    assert any(float(value) in line["values"] for value in shown), shown
    expect(tab.all("card")).to_contain_text("step 1")
    tab.page.keyboard.press("Escape")
    expect(tab.all("card")).to_be_hidden()
    box = chart(tab, "loss").locator("[data-role=chart-kill]").first.bounding_box()
    tab.page.mouse.move(box["x"] + 4, box["y"] - 60)
    expect(tab.all("card")).to_contain_text("killed")
    expect(tab.all("card")).to_contain_text("thrown away")


def test_a_drag_shows_a_part_in_all_charts(show, tmp_path):
    tab = show(played.killed_twice(tmp_path / "run"))

    def ticks(metric):
        return chart(tab, metric).locator(".kse-tick-text").all_text_contents()

    whole = ticks("loss"), ticks("accuracy")
    box = chart(tab, "loss").locator("[data-role=chart-area]").bounding_box()
    tab.page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 80)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 80)
    tab.page.mouse.up()
    assert ticks("loss") != whole[0] and ticks("accuracy") != whole[1]
    tab.all("curves-reset").click()
    assert (ticks("loss"), ticks("accuracy")) == whole
    tab.all("log").check()
    assert ticks("loss") != whole[0]


def test_what_is_no_number_comes_late_or_is_a_vector(show, tmp_path):
    run = played.Played(tmp_path / "run")
    run.begin()
    for epoch in range(30):
        made = {"loss": "nan" if epoch in (10, 11) else "inf" if epoch == 20 else 1.0 / (1 + epoch)}
        made.update({"late": float(epoch)} if epoch > 15 else {})
        made.update({"f1[{}]".format(part): 0.1 * part + 0.01 * epoch for part in range(3)})
        made.update({"m{}".format(number): 1.0 for number in range(9)})
        run.epoch(epoch, **made)
    tab = show(run.write())
    assert lines(tab, "loss", "[data-source=epochs]").get_attribute("d").count("M") == 3, "broken where it is none"
    assert chart(tab, "loss").locator("[data-role=odd]").count() == 3
    assert lines(tab, "f1").count() == 3
    assert tab.all("chart").count() == 6
    tab.all("more-charts").click()
    assert tab.all("chart").count() == 12
    assert lines(tab, "late", "[data-source=epochs]").get_attribute("data-points") == "14"
    picture(tab, "odd-metrics")


def test_a_hundred_thousand_epochs_are_drawn(show, tmp_path):
    run = played.Played(tmp_path / "run")
    run.begin()
    for epoch in range(100000):
        run.now += 1.0
        run.tell("epoch_finished", stage=0, epoch=epoch, batch=0, step=epoch * 10 + 10,
                 metrics={"loss": 40.0 if epoch == 54321 else 1.0})
    tab = show(run.write())
    assert int(lines(tab, "loss").get_attribute("data-points")) <= 1000
    assert "40" in chart(tab, "loss").locator(".kse-tick-text").all_text_contents()
    assert os.path.getsize(tmp_path / "page.html") < 2000000


@pytest.mark.parametrize("width", [NARROW, 1200, WIDE])
def test_several_runs_are_laid_over_one_another(show, tmp_path, width):
    tab = show(played.killed_twice(tmp_path / "slow"), played.killed_twice(tmp_path / "fast", rate=3.0), width=width)
    drawn = lines(tab, "loss", "[data-source=epochs]:not([data-thrown])")
    assert drawn.evaluate_all("nodes => nodes.map(node => [node.dataset.run, node.dataset.name])") == [
        ["slow", "loss"], ["slow", "val_loss"], ["fast", "loss"], ["fast", "val_loss"]]
    assert len(set(drawn.evaluate_all("nodes => nodes.map(node => getComputedStyle(node).stroke)"))) == 2
    expect(tab.all("curves-key").locator("li")).to_have_text(["slow", "fast"])
    curves, first = tab.all("curves").bounding_box(), tab.all("run").first.bounding_box()
    assert curves["y"] + curves["height"] <= first["y"], "above what happened to each"
    rows = dict(tab.all("difference").evaluate_all(
        "nodes => nodes.map(node => [node.dataset.key, [...node.cells].slice(1).map(cell => cell.innerText)])"))
    assert rows["optimizer.learning_rate"] == ["0.001", "0.003"]
    assert {"loss, last", "loss, best", "val_accuracy, best"} <= set(rows) and "optimizer" not in rows
    for one, other in rows.values():
        assert one != other
    expect(tab.all("differences")).to_contain_text("more are the same")
    picture(tab, "two-runs-{}".format(width))
    if SHOTS and width == 1200:
        tab.all("curves").screenshot(path=os.path.join(SHOTS, "session-tab-compare.png"))
    tab.all("run-choice").last.uncheck()
    expect(tab.all("difference")).to_have_count(0)
    assert tab.all("curves").bounding_box()["y"] > tab.all("run").first.bounding_box()["y"]


def test_thousands_of_checkpoints_are_a_density_and_a_small_page(show, tmp_path):
    tab = show(played.long(tmp_path / "run"))
    assert os.path.getsize(tmp_path / "page.html") < 2000000
    expect(tab.all("headline-checkpoints")).to_contain_text("3,000")
    assert tab.all("density").count() > 10
    badges = tab.frame.locator(".kse-badge-text").all_text_contents()
    assert all(int(text) <= 4 for text in badges), badges
    assert chart(tab, "loss").locator("[data-role=chart-kills]").get_attribute("data-count") == "99"
    tab.all("mark", "[data-kind=checkpoint]").first.hover()
    expect(tab.all("card")).to_contain_text("checkpoints")
    picture(tab, "long")
    page = tab.page
    page.locator(".kse-scroller").evaluate("node => node.scrollTop = node.scrollHeight")
    page.wait_for_timeout(200)
    assert tab.all("mark", "[data-checkpoint$=aabbccdd]").count() or tab.all("density").count()


# -- labels

OVERLAPS = """root => {
  const inside = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const box = (node) => node.getBoundingClientRect();
  const found = [];
  const lives = [...root.querySelectorAll('.kse-lifetime')];
  for (const text of root.querySelectorAll('.kse-lanes text')) {
    const own = text.closest('[data-role=process]').querySelector('.kse-lifetime');
    for (const gap of root.querySelectorAll('.kse-area [data-role=gap]'))
      if (inside(box(text), box(gap))) found.push(['over a gap', text.textContent]);
    for (const life of lives)
      if (life !== own && inside(box(text), box(life))) found.push(['over another process', text.textContent]);
  }
  const gaps = [...root.querySelectorAll('.kse-area [data-role=gap]')].map(box);
  for (const text of root.querySelectorAll('[data-role=gap-text]')) {
    const at = box(text);
    if (!gaps.some((gap) => gap.left <= at.left + 1 && at.right <= gap.right + 1))
      found.push(['beyond its gap', text.textContent]);
  }
  for (const chart of root.querySelectorAll('[data-role=chart]')) {
    const texts = [...chart.querySelectorAll('text')].map((text) => [box(text), text.textContent]);
    texts.forEach(([a, one], index) => texts.slice(index + 1).forEach(([b, other]) => {
      if (inside(a, b)) found.push(['over each other', one, other]);
    }));
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["killed_twice", "long"])
def test_labels_stand_over_nothing_else_and_say_the_same_at_every_width(show, tmp_path, which, scheme):
    directory = getattr(played, which)(tmp_path / "run")
    said = {}
    for width in (NARROW, 1200, WIDE):
        tab = show(directory, width=width, scheme=scheme)
        for collapse in (True, False):
            tab.all("collapse").set_checked(collapse)
            tab.page.wait_for_timeout(200)
            assert tab.frame.evaluate(OVERLAPS) == [], (width, collapse)
        tab.all("by-time").check()
        assert tab.frame.evaluate(OVERLAPS) == [], width
        tab.all("by-step").check()
        names = tab.frame.locator(".kse-name-line")
        assert names.evaluate_all("nodes => nodes.filter(node => node.scrollWidth > node.clientWidth).length") == 0
        said[width] = names.all_text_contents()[:6], tab.frame.locator(".kse-headline").all_inner_texts()
        assert tab.frame.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
        picture(tab, "{}-{}-{}".format(which, width, scheme))
    assert said[NARROW] == said[1200] == said[WIDE]
    if which == "killed_twice":
        assert said[NARROW][0] == ["✕ vanished at step 1060", "✕ vanished at step 1950",
                                   "after 50 min, 260 steps again", "✓ finished", "after 8 h, 350 steps again"]
