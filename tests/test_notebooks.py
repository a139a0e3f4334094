"""What nbval does not look at: nbval itself runs the notebooks (`--nbval-lax` in pyproject.toml)."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(path for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
MOST_LINES = 15  # of a cell; what is longer belongs into the library
PLAYS = re.compile(r"images/demo\.png|visualize\.(tile|playing_\w+)\(|studio\(|classify_your_own\(|CandidateReview\(")
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class Pictures(HTMLParser):
    """Source and words of each picture of a page, as its browser sees them."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            about = dict(attributes)
            self.found.append((about.get("src") or "", about.get("alt") or ""))


def cells_of(path: Path, kind: str) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == kind]


def pictures_of(path: Path) -> list[tuple[str, bytes, str]]:
    """Each picture that a notebook keeps: its cell's source, its bytes, its words."""
    return [
        (cell["source"], base64.b64decode("".join(data)), output["metadata"].get("image/png", {}).get("alt", ""))
        for cell in cells_of(path, "code")
        for output in cell["outputs"]
        if (data := output.get("data", {}).get("image/png"))
    ]


def frames_of(data: bytes) -> int:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        return getattr(picture, "n_frames", 1)


@every_notebook
def test_a_notebook_was_run_from_the_top_and_holds_no_error_and_no_path_of_a_machine(path):
    code = cells_of(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs and not any(output["output_type"] == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    texts = [part for output in outputs for kind, part in output.get("data", {}).items() if kind.startswith("text/")]
    texts += [output.get("text", "") for output in outputs] + [cell["source"] for cell in cells_of(path, "markdown")]
    text = json.dumps([texts, [cell["source"] for cell in code]])
    assert not re.search(r"(?<![\w.<])/(home|root|tmp|work|Users|var|opt)/", text)
    assert path.stat().st_size < 3_000_000


@every_notebook
def test_no_cell_is_long_and_every_link_leads_somewhere(path):
    lines = {cell["source"].partition("\n")[0]: cell["source"].count("\n") + 1 for cell in cells_of(path, "code")}
    assert {first: number for first, number in lines.items() if number > MOST_LINES} == {}
    prose = "\n".join(cell["source"] for cell in cells_of(path, "markdown"))
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if not link.startswith(("http", "#"))]
    assert [link for link in links if not (path.parent / link).exists()] == []


@every_notebook
def test_what_shall_move_moves_and_every_picture_has_words(path):
    pictures = pictures_of(path)
    assert pictures
    for source, data, words in pictures:
        assert len(words) > 20 and (frames_of(data) > 3) == bool(PLAYS.search(source)), source


@every_notebook
@pytest.mark.parametrize("template", ["lab", "classic"])  # lab is what `--to html` takes
def test_a_page_without_a_kernel_shows_every_picture_wherever_it_lies(path, template, tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--template", template, "--output-dir", tmp_path]
    subprocess.run([*command, "--output", "page", path], check=True, capture_output=True, cwd=tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    shown = Pictures(page).found
    assert [source.partition(",")[0] for source, _ in shown] == ["data:image/png;base64"] * len(shown)
    kept = pictures_of(path)
    assert [base64.b64decode(source.partition(",")[2]) for source, _ in shown] == [data for _, data, _ in kept]
    if template == "classic":  # the other one has no place for the words of an output
        assert [words for _, words in shown] == [words for _, _, words in kept]
    assert "widget-view" not in page


def test_there_are_four_stories_and_the_application():
    stories = {
        "video_classification", "evaluate_a_model", "train_and_finetune", "candidate_clips", "classify_a_video"
    }  # fmt: skip
    assert stories <= {path.stem for path in NOTEBOOKS}
