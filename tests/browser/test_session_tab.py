"""The Session tab as its user sees it: a run that was really killed twice, in a real TensorBoard and Chromium."""

import os

import pytest
from playwright.sync_api import expect
from story import HOSTILE, saved, tell, tensorboard
from tab import Tab, watched

import keras_session_ext as kse
from keras_session_ext.lifecycle.journal import Journal, read_journal
from keras_session_ext.lifecycle.timeline import timeline

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]  # one browser and one TensorBoard


@pytest.fixture(scope="module")
def story(run):
    events, _ = read_journal(str(run / "digits"))
    return timeline(events)


def test_processes_checkpoints_gaps_and_headline(open_tab, address, story):
    tab = open_tab(address)
    assert tab.all("process").count() == len(story["processes"]) == 3
    assert tab.all("gap").count() == len(story["gaps"]) == 2
    assert tab.count("mark", "[data-kind=checkpoint]") == len(story["checkpoints"]) > 8
    for key in ("lost_steps", "resumes", "checkpoints", "goodput", "stall_share"):
        hook = tab.all("headline-" + key)
        if hook.count():
            shown = float(hook.locator(".kse-headline-value").get_attribute("data-value"))
            assert shown == pytest.approx(story["headline"][key]), key
    assert tab.all("headline-exact").locator(".kse-headline-value").get_attribute("data-value") == "true"
    assert tab.all("chart").evaluate_all("nodes => nodes.map(node => node.dataset.metric)")[:2] == ["loss", "accuracy"]
    line = tab.all("line", "[data-name=val_loss][data-source=epochs]:not([data-thrown])")
    assert line.get_attribute("data-points") == "6", "every epoch once, over three processes"
    tab.shot("session-tab")
    fonts = [one for one in tab.problems if "404" in one or "font" in one.lower()]
    assert tab.problems == fonts, "TensorBoard's own fonts are elsewhere; nothing else is missing"


def test_the_headline_says_what_was_witnessed_and_what_was_not_the_same(open_tab, tmp_path):
    log_dir = tmp_path / "tb"
    journal = Journal(str(tmp_path / "journal.jsonl"))
    resumed = ("restored", {"id": "x", "step": 30, "lost_steps": 37, "lost_seconds": 1.0, "seconds": 0.1, "exact": True,
                            "reasons": []})
    tell(journal, [("process_started", {"pid": 1}), ("fit_started", {"stage": 0}), saved(30), resumed,
                   ("witnessed", {"steps": 37, "first": 30, "last": 66})], str(log_dir))
    with tensorboard(str(log_dir)) as address:
        tab = open_tab(address, 1)
        exact = tab.all("headline-exact")
        expect(exact).to_contain_text("Yes")
        expect(exact).to_contain_text("witnessed by 37 steps trained again")
        tell(Journal(str(tmp_path / "journal.jsonl")), [
            ("process_started", {"pid": 2}), resumed,
            ("diverged", {"step": 41, "what": "batch", "name": "loss", "then": "0.5", "now": "0.75", "witnessed": 11,
                          "reasons": ["step 41 gave another loss"]})], str(log_dir))
        expect(exact).to_contain_text("No", timeout=60000)
        expect(exact).to_contain_text("step 41 gave another loss")
        expect(exact).to_have_class("kse-headline kse-bad")


def a_lone_checkpoint(tab):
    lone = tab.all("mark", "[data-kind=checkpoint][data-checkpoint]")
    return lone.nth(lone.count() - 1)


def test_the_hover_card_says_what_the_journal_says(open_tab, address, story):
    tab = open_tab(address)
    mark = a_lone_checkpoint(tab)
    id = mark.get_attribute("data-checkpoint")
    mark.hover()
    expect(tab.all("card")).to_be_visible()
    shown = tab.figures("card")
    told = next(mark for mark in story["marks"] if mark["checkpoint"] == id)
    for name in ("size_bytes", "stall_seconds", "durable_seconds", "step"):
        assert float(shown[name]) == told["figures"][name], name
    assert shown["reason"] == told["reason"] and float(shown["time"]) == told["time"]
    tab.shot("session-tab-card")


def test_a_click_shows_what_is_in_a_checkpoint_and_how_to_restore_it(open_tab, address, story):
    tab = open_tab(address)
    mark = a_lone_checkpoint(tab)
    id = mark.get_attribute("data-checkpoint")
    mark.click()
    expect(tab.all("details")).to_be_visible()
    text = tab.all("details").inner_text()
    told = story["checkpoints"][id]
    assert id in text and told["restore"] in text and "optimizer" in text
    assert told["largest"][0]["name"] in text.replace("\n", "")
    tab.shot("session-tab-checkpoint")
    tab.page.keyboard.press("Escape")
    expect(tab.all("details")).to_have_count(0)


def test_zoom_by_wheel_and_keyboard(open_tab, address):
    tab = open_tab(address)
    ticks = tab.all("axis").locator(".kse-tick-text")
    whole = ticks.all_text_contents()
    box = tab.all("plot").bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60)
    tab.page.keyboard.down("Control")
    for _ in range(4):
        tab.page.mouse.wheel(0, -300)
    tab.page.keyboard.up("Control")
    expect(ticks.first).not_to_have_text(whole[0])
    tab.all("plot").focus()
    tab.page.keyboard.press("0")
    expect(ticks.first).to_have_text(whole[0])
    tab.page.keyboard.press("+")
    tab.page.keyboard.press("+")
    expect(ticks.first).not_to_have_text(whole[0])


def test_marks_by_keyboard_alone(open_tab, address):
    tab = open_tab(address)
    tab.all("plot").focus()
    tab.page.keyboard.press("Tab")
    expect(tab.all("card")).to_be_visible()
    for _ in range(30):
        if "size_bytes" in tab.figures("card"):
            break
        tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("Enter")
    expect(tab.all("details")).to_be_visible()


def test_the_table_filters(open_tab, address, story):
    tab = open_tab(address)
    expect(tab.all("event-count")).to_contain_text("{:,}".format(len(story["events"])))
    tab.all("filter").fill("restored")
    wanted = sum(event["kind"] == "restored" for event in story["events"])
    rows = tab.all("event")
    expect(rows.first).to_contain_text("restored")
    assert wanted <= rows.count() < len(story["events"])


def test_dark_mode_follows_tensorboard(open_tab, address):
    tab = open_tab(address)
    body = tab.frame.locator("body")
    light = body.evaluate("node => getComputedStyle(node.querySelector('.kse') || node).backgroundColor")
    tab.page.locator("app-header-dark-mode-toggle button").click()
    tab.page.get_by_text("Dark", exact=True).click()
    tab.page.wait_for_timeout(500)
    dark = body.evaluate("node => getComputedStyle(node.querySelector('.kse') || node).backgroundColor")
    assert dark != light
    tab.shot("session-tab-dark")


def test_it_reloads_while_training_goes_on(open_tab, tmp_path):
    journal, log_dir = Journal(str(tmp_path / "journal.jsonl")), str(tmp_path / "tb")
    writer = tell(journal, [("process_started", {"pid": 1}), ("fit_started", {}), saved(1)], log_dir)
    with tensorboard(log_dir) as address:
        tab = open_tab(address, 1)
        assert tab.count("mark", "[data-kind=checkpoint]") == 1
        writer.write(journal.append(*saved(2)))
        for _ in range(60):
            tab.page.wait_for_timeout(500)
            if tab.count("mark", "[data-kind=checkpoint]") == 2:
                return
        raise AssertionError("the second checkpoint never came")


def test_several_runs_are_compared(open_tab, run, tmp_path):
    """Ticked runs stand below each other on one axis of time, or aligned at their start; their events in one table."""
    (tmp_path / "first").symlink_to(run / "digits")
    rows = [("process_started", {"pid": 1}), ("fit_started", {}), *map(saved, range(1, 6))]
    tell(Journal(str(tmp_path / "journal.jsonl")), rows, str(tmp_path / "later"))
    with tensorboard(str(tmp_path)) as address:
        tab = open_tab(address, 1)
        choices = tab.all("run-choice")
        expect(choices).to_have_count(2)
        for number in range(2):
            choices.nth(number).check()
        expect(tab.all("run")).to_have_count(2)
        one, other = tab.all("run").nth(0), tab.all("run").nth(1)
        lanes = "[data-role=process]"
        expect(one.locator(lanes)).to_have_count(3)
        expect(other.locator(lanes)).to_have_count(1)
        count = len(read_journal(str(run / "digits")).events) + len(rows)
        expect(tab.all("event-count")).to_contain_text("{:,}".format(count))

        def begin(block):
            return block.locator(".kse-lifetime").evaluate_all(
                "nodes => Math.min(...nodes.map(node => node.getBoundingClientRect().left))")

        assert begin(other) - begin(one) > 100, "it was written later"
        tab.all("align").check()
        tab.page.wait_for_timeout(300)
        assert abs(begin(other) - begin(one)) < 1
        choices.nth(0).uncheck()
        expect(tab.all("run")).to_have_count(1)
        expect(tab.all("event-count")).to_contain_text("7")
        assert [one for one in tab.problems if "404" not in one and "font" not in one.lower()] == []


def test_hostile_texts_are_shown_and_never_run(open_tab, tmp_path):
    folder = tmp_path / "a<img src=x onerror=window.pwned=1>"
    journal, log_dir = Journal(str(tmp_path / "journal.jsonl")), str(folder)
    tell(journal, [("process_started", {"host": HOSTILE, "pid": HOSTILE}), ("fit_started", {"stage": HOSTILE}),
                   saved(3, reason=HOSTILE, id=HOSTILE, metrics={HOSTILE: HOSTILE}, reasons=[HOSTILE], exact=False),
                   saved(4, size_bytes="many", largest=HOSTILE, kinds=[1]),
                   ("epoch_finished", {"step": 5, "metrics": {HOSTILE: 1.0, "loss": HOSTILE, "__proto__": 2.0}}),
                   ("epoch_finished", {"step": 9, "metrics": {HOSTILE: 2.0, "constructor": 1.0}}),
                   ("settings", {"settings": {HOSTILE: HOSTILE, "__proto__": 1}}),
                   ("failed", {"error": HOSTILE}), (HOSTILE, {HOSTILE: HOSTILE})], log_dir)
    with tensorboard(str(tmp_path)) as address:
        tab = open_tab(address, 1)
        expect(tab.frame.locator("body")).to_contain_text(HOSTILE[:40])
        for role in ("mark", "span", "event"):
            for number in range(min(6, tab.all(role).count())):
                tab.all(role).nth(number).hover(force=True)
        tab.all("chart-area").first.hover()
        expect(tab.all("card")).to_contain_text(HOSTILE[:40])
        tab.all("mark", "[data-kind=checkpoint]").first.click(force=True)
        tab.page.wait_for_timeout(300)
        for frame in tab.page.frames:
            assert frame.evaluate("window.pwned") is None
        assert tab.frame.locator("img").count() == 0


def test_the_page_to_share_shows_the_same(browser, run, story, tmp_path):
    path = kse.report(run / "digits", tmp_path / "run.html")
    page = watched(browser.new_page(viewport={"width": 1400, "height": 1000}))
    page.goto("file://" + path)
    tab = Tab(page, page.locator("body"))
    tab.all("process").nth(2).wait_for()
    assert tab.all("gap").count() == 2
    assert tab.count("mark", "[data-kind=checkpoint]") == len(story["checkpoints"])
    assert page.problems == []
    page.close()


def test_the_picture(run, tmp_path):
    path = os.path.join(os.environ.get("KSE_SCREENSHOTS") or str(tmp_path), "timeline.png")
    kse.plot_timeline(run / "digits").savefig(path, dpi=110)
    assert os.path.getsize(path) > 5000
