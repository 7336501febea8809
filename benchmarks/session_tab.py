"""How smooth the Session tab is with many events: 10,000 events, 2,000 checkpoints, 300 processes, in Chromium.

    python benchmarks/session_tab.py [--events 10000] [--chromium /usr/bin/chromium]

Prints the time until the first drawing, the time of a frame while panning and zooming (median and 95th percentile),
and of a letter typed into the filter. Nothing is asserted.
"""

import argparse
import os
import statistics
import tempfile

from playwright.sync_api import sync_playwright

from keras_session_ext import files
from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.timeline import timeline
from keras_session_ext.tensorboard import report_page as shareable

FRAMES = """async () => {
  const plot = document.querySelector("[data-role=plot]");
  plot.focus();
  const taken = [];
  for (let number = 0; number < 120; number += 1) {
    const key = number < 20 ? "+" : number % 20 < 10 ? "ArrowRight" : "ArrowLeft";
    const began = performance.now();
    plot.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    await new Promise((done) => requestAnimationFrame(() => { document.body.getBoundingClientRect(); done(); }));
    taken.push(performance.now() - began);
  }
  return taken;
}"""


def events(count):
    """A long story: a process every 33 events, a checkpoint every fifth."""
    found, now, step = [], 1.79e9, 0
    for number in range(count):
        process = "p{}".format(number // 33)
        place = {"step": step, "epoch": step // 50, "batch": step % 50, "stage": 0}
        kind, figures = "progress", place
        if number % 33 == 0:
            now += 3600
            kind, figures = "process_started", {"pid": number, "host": "node"}
        elif number % 33 == 1:
            kind, figures = "fit_started", {"stage": 0}
        elif number % 5 == 0:
            kind, figures = "checkpoint_saved", dict(place, id="g-s{:010d}".format(step), reason="EverySteps(10)",
                                                     size_bytes=1000 + number, stall_seconds=0.004)
        elif number % 5 == 1:
            kind = "epoch_started"
        elif number % 5 == 3:
            kind = "epoch_finished"
        now, step = now + 2.0, step + 3
        found.append(LifecycleEvent(kind, now, figures, number + 1, process))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=10000)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    story = timeline(events(arguments.events), name="long", now=1.8e9)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = os.path.join(folder, "run.html")
        files.write_new(path, shareable.build([story]).encode())
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto("file://" + path)
        page.locator("[data-role=process]").first.wait_for()
        first = page.evaluate("performance.now()")
        frames = sorted(page.evaluate(FRAMES))
        page.locator("[data-role=filter]").click()
        typed = []
        for letter in "checkpoint":
            began = page.evaluate("performance.now()")
            page.keyboard.press(letter)
            typed.append(page.evaluate("performance.now()") - began)
        browser.close()
    print("{} events, {} checkpoints, {} processes, a page of {:.1f} MB".format(
        len(story["events"]), len(story["checkpoints"]), len(story["processes"]), len(shareable.build([story])) / 1e6))
    print("drawn after           {:6.0f} ms (with reading the page)".format(first))
    print("a frame               {:6.1f} ms median, {:.1f} ms at 95 %".format(
        statistics.median(frames), frames[int(len(frames) * 0.95)]))
    print("a letter in the filter{:6.1f} ms median (with the way to the browser)".format(statistics.median(typed)))


if __name__ == "__main__":
    main()
