"""`report.html` as a browser shows it: from the disk, without a request, in light and dark, wide and narrow."""

import os
import re
import shutil

import pytest

from vidbench.report.page import page
from vidbench.results import read_run
from vidbench.run import evaluate_run

CHROMIUM = os.environ.get("VIDBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def run(settings):
    """A run with a broken file, and a class whose videos are taken for another: a name that is also markup."""
    (settings.data_dir / "val" / "red" / "broken.mkv").write_bytes(b"")
    (settings.data_dir / "val" / "red").rename(settings.data_dir / "val" / "<b>red & blue")
    (settings.data_dir.parent / "names.csv").write_text("from,to\n<b>red & blue,blue\n")
    from dataclasses import replace

    evaluate_run(replace(settings, label_map=settings.data_dir.parent / "names.csv", views=(3, 1)))
    return settings.results_dir / "run"


def test_the_page_holds_what_the_report_says(run):
    text = (run / "report.html").read_text(encoding="utf-8")
    assert (
        'class="verdict"' in text and "<b>red" not in text and "&lt;b&gt;red &amp; blue/0.mkv" in text
    )  # a file's name is no markup
    assert text.count('src="data:image/png;base64,') == 3  # the three red videos, taken for blue by their label
    assert "66.67 %" in text and "empty file" in text and "More views" in text
    assert not re.search(r'(src|href)="(?!data:)', text) and "<script" not in text


def test_clips_that_are_gone_leave_no_gap(run):
    text = page(read_run(run), {})
    assert text.count("no picture") == 3


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it, or name it by VIDBENCH_CHROMIUM")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_a_browser_shows_it_without_a_request_or_an_error(run, scheme, width):
    from playwright.sync_api import sync_playwright

    said, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda problem: said.append(str(problem)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((run / "report.html").as_uri())
        overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        shown = tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        colors = tab.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        browser.close()
    assert said == [] and [url for url in asked if not url.startswith("data:")] == [(run / "report.html").as_uri()]
    assert overflow <= 0 and shown
    ink, ground = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in colors)
    assert ink < 200 < 600 < ground if scheme == "light" else ground < 200 < 600 < ink
