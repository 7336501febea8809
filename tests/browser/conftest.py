"""A headless Chromium, and a run that was really killed twice, in a real TensorBoard."""

import os
import pathlib
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tab")]

from harness import finish, kill
from playwright.sync_api import sync_playwright
from story import tensorboard
from tab import SHOTS, Tab, watched

CHROMIUM = os.environ.get("KSE_CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a run that was killed twice and resumed: digits, on torch."""
    folder = pathlib.Path(os.environ.get("KSE_RUNS") or str(tmp_path_factory.mktemp("killed")))
    task = {"directory": str(folder / "digits"), "log_dir": str(folder / "digits" / "tensorboard"),
            "result": str(tmp_path_factory.mktemp("result") / "r.json"), "every": 5, "epochs": 6,
            "pace": 0.1 if SHOTS else 0.0}
    for moment in ("batch:14", "validation:4"):
        kill("torch", task, moment)
        time.sleep(4 if SHOTS else 0)
    finish("torch", task)
    return folder


@pytest.fixture(scope="session")
def address(run):
    with tensorboard(str(run)) as found:
        yield found


@pytest.fixture
def open_tab(browser):
    """Opens the tab of a TensorBoard, and waits for its first run."""
    pages = []

    def opened(address, processes=3):
        page = watched(browser.new_page(viewport={"width": 1400, "height": 1000}))
        pages.append(page)
        page.goto(address + "/#session")
        tab = Tab(page, page.frame_locator("iframe[src*='session']"))
        tab.all("process").nth(processes - 1).wait_for(timeout=60000)
        return tab

    yield opened
    for page in pages:
        page.close()
