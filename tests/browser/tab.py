"""The Session tab in a page, for tests to look at."""

import os

SHOTS = os.environ.get("KSE_SCREENSHOTS", "")  # a folder: pictures for the docs are put there


class Tab:
    """The Session tab in one page; `frame` is where the tab lives."""

    def __init__(self, page, frame):
        self.page, self.frame, self.problems = page, frame, page.problems

    def all(self, role, more=""):
        return self.frame.locator("[data-role={}]{}".format(role, more))

    def count(self, role, more=""):
        """Things drawn, those that were merged into one counted each."""
        counts = self.all(role, more).evaluate_all("nodes => nodes.map(node => Number(node.dataset.count || 1))")
        return sum(counts)

    def figures(self, role):
        """Exact values of a card or panel, by name."""
        return dict(self.all(role).locator("dd[data-key]").evaluate_all(
            "nodes => nodes.map(node => [node.dataset.key, node.dataset.value])"))

    def shot(self, name):
        if SHOTS:
            self.page.wait_for_timeout(300)
            self.page.screenshot(path=os.path.join(SHOTS, name + ".png"))


def watched(page):
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    return page
