"""The notebooks and the widgets in a real JupyterLab."""

import json
import re
import shutil

import nbformat
import numpy as np
import pytest
from conftest import ROOT, choose_file
from nbformat.v4 import new_code_cell, new_notebook

from vidbench.candidates import Candidate
from vidbench.candidates.review import Decision, candidates_in, read_decisions
from vidbench.candidates.scores import FrameScores, write_scores
from vidbench.candidates.tables import Scanned, write_tables

NOTEBOOKS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb"))
CLIP = ROOT / "data" / "demo" / "val" / "demo1lhqo4y_000000_000004.mp4"
MINUTE = 60_000  # milliseconds

OWN = """from vidbench.models import load_model
from vidbench.visualize import widgets
widgets.classify_your_own(load_model("demo"))"""

CELLS = """() => {
  const cells = [...jupyterapp.shell.currentWidget.content.model.cells].filter(cell => cell.type === 'code');
  return cells.map(cell => ({
    state: cell.executionState, count: cell.executionCount,
    errors: cell.outputs.toJSON().filter(output => output.output_type === 'error').map(output => output.evalue),
  }));
}"""
ENDED = f"""() => {{
  const cells = ({CELLS})();
  return window.ran && (cells.every(cell => cell.count) || cells.some(cell => cell.errors.length));
}}"""


def run_all(tab, lab: str, path: str, minutes: float) -> list[dict]:
    """Open a notebook and do what "Run All Cells" does; returns each code cell's state, count and errors."""
    tab.goto(f"{lab}/tree/{path}?reset", timeout=MINUTE)
    tab.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=MINUTE)
    tab.evaluate("async () => await jupyterapp.shell.currentWidget.sessionContext.ready")
    tab.evaluate("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    tab.evaluate("""() => {
      window.ran = false;
      jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ran = true; });
    }""")
    tab.wait_for_function(ENDED, timeout=minutes * MINUTE, polling=500)
    return tab.evaluate(CELLS)


def shut_down(tab) -> None:
    tab.evaluate("async () => await jupyterapp.shell.currentWidget.sessionContext.shutdown()")


def write_notebook(project, name: str, *cells: str) -> str:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=metadata), project / name)
    return name


def wear(tab, theme: str) -> None:
    """Change the theme, "Light" or "Dark"; JupyterLab remembers it for the tabs to come."""
    command = "async theme => await jupyterapp.commands.execute('apputils:change-theme', {theme})"
    tab.evaluate(command, f"JupyterLab {theme}")
    tab.wait_for_timeout(1000)


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_a_notebook_opens_and_runs_to_its_end(tab, lab, shots, path):
    cells = run_all(tab, lab, path, minutes=20)  # a busy machine takes long; how long is not what is tested
    tab.screenshot(path=shots / f"{path.split('/')[-1]}.png")
    shut_down(tab)
    assert [cell["errors"] for cell in cells] == [[]] * len(cells)
    assert [cell["count"] for cell in cells] == list(range(1, len(cells) + 1))


def test_the_explorer_goes_by_the_keyboard(tab, lab, project, shots):
    path = write_notebook(project, "explorer.ipynb", """
from vidbench.data.datasets import load_dataset
from vidbench.data.protocol import Protocol
from vidbench.visualize import widgets
protocol = Protocol(num_frames=8, resize="short_side", resize_to=(128, 171), crop=(112, 112))
widgets.clip_explorer(load_dataset("demo", "val").videos, protocol)""".strip())  # fmt: skip
    assert run_all(tab, lab, path, minutes=2)[0]["errors"] == []
    picture = tab.locator(".jp-OutputArea img")
    first = picture.get_attribute("src")
    assert "Frame " in picture.get_attribute("alt") and picture.evaluate("image => image.naturalWidth") > 600
    tab.get_by_role("slider").focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function(
        "before => document.querySelector('.jp-OutputArea img').src !== before", arg=first, timeout=MINUTE
    )
    words = picture.get_attribute("alt")
    tab.screenshot(path=shots / "explorer.png")
    tab.get_by_label("Class", exact=True).select_option("waving")
    tab.wait_for_function(
        "before => document.querySelector('.jp-OutputArea img').alt !== before", arg=words, timeout=MINUTE
    )
    assert tab.get_by_label("Clip", exact=True).input_value() == "demo1lhqo4y_000000_000004"
    wear(tab, "Dark")
    tab.screenshot(path=shots / "explorer_dark.png")
    wear(tab, "Light")
    shut_down(tab)


def test_videos_of_ones_own_and_files_that_are_none(tab, lab, project, shots, tmp_path):
    path = write_notebook(project, "own.ipynb", OWN)
    assert run_all(tab, lab, path, minutes=2)[0]["errors"] == []
    output = tab.locator(".jp-OutputArea-output").first
    assert "at most 10 MB" in output.inner_text() and "has seen 2,400 videos" in output.inner_text()

    choose_file(tab, CLIP)
    output.locator("img[alt*='The likeliest']").wait_for(timeout=MINUTE)
    tab.screenshot(path=shots / "own_upload.png")

    text = tmp_path / "notes.mp4"
    text.write_text("These are notes, no film.\n" * 40)
    choose_file(tab, text)
    output.get_by_text(re.compile("notes.mp4 cannot be used: not a readable video")).wait_for(timeout=MINUTE)
    assert output.locator("img").count() == 0
    tab.screenshot(path=shots / "own_text.png")

    tab.get_by_label("Path", exact=True).fill("data/demo/val/" + CLIP.name)
    tab.keyboard.press("Enter")
    output.locator("img[alt*='The likeliest']").wait_for(timeout=MINUTE)
    wear(tab, "Dark")
    tab.screenshot(path=shots / "own_dark.png")
    wear(tab, "Light")
    shut_down(tab)


def test_an_upload_that_the_server_drops_is_missed(tab, lab, project, shots, tmp_path):
    path = write_notebook(project, "large.ipynb", OWN)
    assert run_all(tab, lab, path, minutes=2)[0]["errors"] == []
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(11 * 2**20))
    choose_file(tab, large)
    tab.wait_for_timeout(3000)  # the connection is lost, and comes back
    tab.get_by_role("button", name="Classify").click()
    tab.get_by_text(re.compile("Nothing has arrived")).wait_for(timeout=MINUTE)
    tab.screenshot(path=shots / "own_large.png")
    shut_down(tab)


def test_the_studio_looks_again(tab, lab, project, shots):
    path = write_notebook(project, "studio.ipynb", """
from vidbench.models import load_model
from vidbench.visualize import widgets
widgets.studio(load_model("demo"))""".strip())  # fmt: skip
    assert run_all(tab, lab, path, minutes=2)[0]["errors"] == []
    pictures = tab.locator(".jp-OutputArea img")
    assert pictures.count() == 4
    before = [picture.get_attribute("alt") for picture in pictures.all()]
    tab.get_by_label("Action", exact=True).select_option("waving")
    tab.wait_for_function(
        "third => document.querySelectorAll('.jp-OutputArea img')[3].alt === third", arg=before[2], timeout=MINUTE
    )
    after = [picture.get_attribute("alt") for picture in pictures.all()]
    assert after[0].startswith("waving, speed 1,") and after[1:] == before[:3]
    tab.screenshot(path=shots / "studio.png")
    wear(tab, "Dark")
    tab.screenshot(path=shots / "studio_dark.png")
    wear(tab, "Light")
    shut_down(tab)


def scan_of_demo_clips(folder) -> list[str]:
    """A scan's folder with three clips of the demo as its candidates; their keys."""
    classes, stamp = ["running", "waving", "none of these"], {}
    clips = sorted((ROOT / "data" / "demo" / "val").glob("*.mp4"))[:3]
    found = Scanned([Candidate("waving", clip.stem[:11], 0, 4, 0.9) for clip in clips])
    (folder / "candidates").mkdir(parents=True)
    for clip, candidate in zip(clips, found.candidates, strict=True):
        shutil.copy(clip, folder / "candidates" / f"{candidate.key}.mp4")
        scores = np.random.default_rng(0).dirichlet((1, 1, 1), 40).astype(np.float32)
        write_scores(
            folder / "scores" / f"{candidate.youtube_id}.npz",
            FrameScores(np.arange(40) / 4, scores, (), 10),
            classes,
            stamp,
        )
    (folder / "scan.json").write_text(json.dumps({"classes": classes}))
    write_tables(folder, found)
    return [item.key for item in candidates_in(folder)]


def test_candidates_are_reviewed_by_key_and_by_button(tab, lab, project, shots):
    keys = scan_of_demo_clips(project / "found")
    cell = "from vidbench.visualize import widgets\nwidgets.CandidateReview('found')"
    assert run_all(tab, lab, write_notebook(project, "review.ipynb", cell), minutes=2)[0]["errors"] == []
    output = tab.locator(".jp-OutputArea-output").first
    output.locator("img[alt*='Candidate 1 of 3: waving']").wait_for(timeout=MINUTE)
    tab.screenshot(path=shots / "review.png")
    tab.get_by_label("Key", exact=True).focus()
    tab.keyboard.press("a")
    output.locator("img[alt*='Candidate 2 of 3']").wait_for(timeout=MINUTE)
    assert read_decisions(project / "found") == {keys[0]: Decision(keys[0], "waving", "accept")}
    tab.keyboard.press("1")  # the box still has the focus: it is running
    output.locator("img[alt*='Candidate 3 of 3']").wait_for(timeout=MINUTE)
    assert read_decisions(project / "found")[keys[1]] == Decision(keys[1], "running", "relabel")
    tab.keyboard.press("Tab")
    tab.get_by_role("button", name="Reject").focus()
    tab.keyboard.press("Enter")
    output.get_by_text(re.compile("all are decided")).wait_for(timeout=MINUTE)
    decisions = read_decisions(project / "found")
    assert [decisions[key].decision for key in keys] == ["accept", "relabel", "reject"]
    tab.get_by_label("Key", exact=True).focus()
    tab.keyboard.press("b")
    output.locator("img[alt*='relabelled as running']").wait_for(timeout=MINUTE)
    assert tab.get_by_label("Class", exact=True).input_value() == "running"
    wear(tab, "Dark")
    tab.screenshot(path=shots / "review_dark.png")
    wear(tab, "Light")
    shut_down(tab)


def test_a_saved_notebook_shows_its_picture_before_it_is_run(tab, lab):
    tab.goto(f"{lab}/tree/notebooks/app/classify_a_video.ipynb?reset", timeout=MINUTE)
    picture = tab.locator(".jp-OutputArea img")
    picture.wait_for(timeout=MINUTE)
    assert picture.evaluate("image => image.naturalWidth") > 600
    assert tab.get_by_text(re.compile("model not found|Loading widget")).count() == 0
    tab.evaluate("async () => await jupyterapp.shell.currentWidget.sessionContext.ready")
    shut_down(tab)
