"""The sources of the Session tab, and the page they make without a server."""

import json
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tab"))
import played

from keras_session_ext.lifecycle.events import LifecycleEvent
from keras_session_ext.lifecycle.read_timeline import read_timeline
from keras_session_ext.lifecycle.slim import slim
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


# -- very long runs


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """3,000 checkpoints and 100 kills."""
    directory = played.long(tmp_path_factory.mktemp("long") / "run")
    return directory, read_timeline(directory)


def test_the_page_of_a_long_run_is_small(long, tmp_path):
    path = report_page.report(long[0], tmp_path / "long.html")
    assert os.path.getsize(path) < 2000000
    assert len(json.dumps(long[1])) > 8000000, "as it was, it is several times that"


def test_the_page_of_a_dozen_long_runs_is_small(long, monkeypatch, tmp_path):
    monkeypatch.setattr(report_page, "read_timeline", lambda directory: long[1])
    several = report_page.report([long[0]] * 12, tmp_path / "several.html")
    assert os.path.getsize(several) < 2500000
    line = slim(long[1], 120000)["curves"]["lines"][0]
    assert 20 < len(line["steps"]) < 500 and line["steps"][-1] >= 299960


@pytest.mark.parametrize("size_bytes", [8000000, 1000000, 300000])
def test_a_slim_story_counts_what_it_leaves_out(long, size_bytes):
    story, made = long[1], slim(long[1], size_bytes)
    assert len(json.dumps(made)) <= size_bytes
    assert made["headline"] == story["headline"] and made["processes"] == story["processes"]
    assert len(made["events"]) + made["dropped"] == len(story["events"])
    for kind in ("marks", "spans"):
        assert sum(one.get("count", 1) for one in made[kind]) == len(story[kind]), kind
        assert {(one["process"], one.get("kind") or one["lane"]) for one in made[kind]} == {
            (one["process"], one.get("kind") or one["lane"]) for one in story[kind]}
    kept = [id for id, one in story["checkpoints"].items() if one["deleted"] is None]
    assert set(kept) <= set(made["checkpoints"]), "what can be restored can be looked into"
    assert {mark["checkpoint"] for mark in made["marks"] if mark["checkpoint"]} <= set(made["checkpoints"])
    assert size_bytes < 1000000 or sum(event["kind"] == "interrupted" for event in made["events"]) == 99


def test_what_was_kept_can_be_looked_into_however_old_it_is(long):
    first = next(iter(long[1]["checkpoints"]))
    checkpoints = dict(long[1]["checkpoints"], **{first: dict(long[1]["checkpoints"][first], deleted=None)})
    assert first in slim(dict(long[1], checkpoints=checkpoints), 1000000)["checkpoints"]
    assert first not in slim(long[1], 1000000)["checkpoints"]


def test_a_story_that_fits_stays_as_it_is(tmp_path):
    story = read_timeline(played.killed_twice(tmp_path / "run"))
    assert slim(story, 1000000) is story
    assert slim(story, 0)["headline"] == story["headline"], "and what cannot be made smaller ends"
