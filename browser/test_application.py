"""The application, as the platform starts it."""

import re

from conftest import ROOT, choose_file

CLIP = ROOT / "data" / "demo" / "val" / "demo0171d0f_000000_000004.mp4"
MINUTE = 60_000  # milliseconds


def test_it_answers_and_classifies(tab, application, shots, tmp_path):
    tab.goto(application, timeout=2 * MINUTE)
    tab.get_by_text(re.compile("demo has seen 2,400 videos")).first.wait_for(timeout=2 * MINUTE)
    assert tab.get_by_text("Sure from").count() and tab.get_by_text("load_model").count() == 0  # no code is shown
    picture = tab.locator("img[alt*='The likeliest']")
    first = picture.get_attribute("alt")
    tab.screenshot(path=shots / "application.png")

    choose_file(tab, CLIP)
    tab.wait_for_function("before => ![...document.images].some(image => image.alt === before)", arg=first)
    picture.wait_for(timeout=MINUTE)
    tab.screenshot(path=shots / "application_upload.png")

    text = tmp_path / "notes.mp4"
    text.write_text("These are notes, no film.\n" * 400_000)  # more than JupyterLab would let through
    choose_file(tab, text)
    tab.get_by_text(re.compile("notes.mp4 cannot be used: not a readable video")).wait_for(timeout=MINUTE)
    tab.get_by_label("Path", exact=True).fill("/etc/hostname")
    tab.keyboard.press("Enter")
    tab.get_by_text(re.compile("there is no file /etc/hostname in this project")).wait_for(timeout=MINUTE)
    tab.screenshot(path=shots / "application_refused.png")
