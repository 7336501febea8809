"""The sources of the Session tab, and the page they make without a server."""

import json
import os
import re

import pytest

from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.timeline import timeline
from keras_session_ext.tensorboard import report_page

HOSTILE = "</script><script>window.pwned=1</script><!-- \u2028 @script@ \\1 \\g<0>"
MODULES = sorted(name for name in os.listdir(report_page.STATIC) if name.endswith(".js"))


def source(name):
    with open(os.path.join(report_page.STATIC, name)) as handle:
        return handle.read()


@pytest.mark.parametrize("name", MODULES)
def test_nothing_in_the_sources_runs_text_or_leaves_the_page(name):
    """TensorBoard's content policy forbids the rest; what comes from a journal is text."""
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function",
                      "srcdoc", "javascript:", "</script"):
        assert forbidden not in source(name), forbidden
    urls = re.findall(r"https?://[^\"'` ]+", source(name))
    assert set(urls) <= {"http://www.w3.org/2000/svg"}, urls


def test_top_level_names_do_not_clash():
    """On the page the modules stand in one."""
    seen = {}
    for name in MODULES:
        for declared in re.findall(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", source(name), re.M):
            if name != "index.js":
                assert declared not in seen, "{} in {} and {}".format(declared, seen.get(declared), name)
            seen[declared] = name


def test_every_module_is_on_the_page_once_and_behind_what_it_needs():
    text = report_page.build([])
    assert "import {" not in text and not re.search(r"^export ", text, re.M)
    for name in MODULES:
        first = re.search(r"^(?:export )?(?:async )?function (\w+)", source(name), re.M)
        expected = 0 if name == "index.js" else 1
        if first:
            assert len(re.findall(r"^(?:async )?function {}\b".format(first.group(1)), text, re.M)) == expected, name


def test_hostile_texts_cannot_leave_the_data():
    made = timeline([LifecycleEvent("failed", 1.0, {"error": HOSTILE}, 1, HOSTILE)], name=HOSTILE, now=2.0)
    text = report_page.build([made, made])
    assert text.count("<script") == 2 and text.count("</script>") == 2
    data = json.loads(text.split('id="session-data">')[1].split("</script>")[0])
    assert data["runs"][0]["name"] == HOSTILE and data["runs"][1]["name"] == HOSTILE + " (2)"
    assert data["timelines"][HOSTILE]["events"][0]["figures"]["error"] == HOSTILE
    assert "</title>" in text and "<title>Session: &lt;/script" in text
