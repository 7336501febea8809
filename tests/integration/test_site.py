"""The documentation site: it builds with strict links, and its reference has every public name."""

import html
import os
import re
import subprocess
import sys

import pytest

import keras_session_ext

pytestmark = pytest.mark.slow

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("site"))
    made = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-f", os.path.join(ROOT, "mkdocs.yml"),
                           "-d", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    assert made.returncode == 0, made.stdout
    return folder


def page(site, name):
    with open(os.path.join(site, name, "index.html"), encoding="utf-8") as handle:
        return handle.read()


def test_every_page_of_the_docs_is_in_it(site):
    for name in os.listdir(os.path.join(ROOT, "docs")):
        if name.endswith(".md"):
            assert "<h1" in page(site, name[:-3]), name
    assert "Kill a Keras training at any instant" in page(site, "") and 'href="guide/' in page(site, "")
    assert "<h1" in page(site, "changelog") and not os.path.exists(os.path.join(site, "site_pages.py"))


def test_the_reference_has_every_public_name_with_what_it_takes(site):
    text = page(site, "reference")
    for name in set(keras_session_ext.__all__) - {"backend"}:
        assert re.search(r'<h3 id="keras_session_ext\.[a-z_.]*\.{}"'.format(name), text), name
    plain = html.unescape(re.sub(r"<[^>]*>", "", text))
    assert "\n>>> " in plain, "examples are code"
    assert "__deepcopy__" not in plain


def test_no_page_asks_another_host_for_anything(site):
    """Fonts, scripts, pictures: who reads the docs tells no one."""
    for folder, _, names in os.walk(site):
        for name in names:
            if name.endswith(".html"):
                with open(os.path.join(folder, name), encoding="utf-8") as handle:
                    loaded = re.findall(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(https?:[^"]*)"', handle.read())
                assert [one for one in loaded if "canonical" not in one] == [], name
