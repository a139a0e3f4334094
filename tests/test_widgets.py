"""The widgets without a browser: what they show is read from their values; `browser/` looks at them in one."""

import base64
import io
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import moving_square, solid, write_video
from PIL import Image

from vidbench.data.process import process_frame, seen_boxes
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.models import load_model
from vidbench.utils import UserError
from vidbench.visualize import pictures, studio, widgets

ROOT = Path(__file__).parents[1]
APP = ROOT / "notebooks" / "app" / "classify_a_video.ipynb"
CROP = Protocol(num_frames=4, resize="short_side", resize_to=(24, 24), crop=(24, 24))


@pytest.fixture(scope="module")
def model(color_model):
    return load_model(color_model)


@pytest.fixture(scope="module")
def demo():
    return load_model("demo")


@pytest.fixture
def red(tmp_path):
    """Red frames, over which a dark spot moves."""
    frames = solid((255, 0, 0), 8)
    for index, frame in enumerate(frames):
        frame[index, index] = 0
    return write_video(tmp_path / "red.mkv", frames)


def upload(form, name: str, content: bytes) -> None:
    """What arrives from the browser when a file is chosen."""
    about = {"type": "video/mp4", "size": len(content), "last_modified": 1_700_000_000_000}
    form.upload.set_state({"value": [{"name": name, "content": memoryview(content), **about}]})


def opened(html: str) -> Image.Image:
    """The picture in a line of HTML."""
    (data,) = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_page_without_a_kernel_has_the_picture(model, red):
    form = widgets.classify_your_own(model, example=red)
    data, about = form._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == form.model_id
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.format == "PNG" and picture.n_frames == 4  # it moves
    assert data["text/plain"] == about["image/png"]["alt"]
    assert data["text/plain"].startswith("red ") and "blue" in data["text/plain"]


def test_what_nbconvert_makes_of_a_saved_widget(model, red, tmp_path):
    import nbformat
    from nbconvert import HTMLExporter
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    form = widgets.classify_your_own(model, example=red)
    data, metadata = form._repr_mimebundle_()
    output = new_output("execute_result", data=data, metadata=metadata, execution_count=1)
    page, _ = HTMLExporter().from_notebook_node(
        nbformat.from_dict(new_notebook(cells=[new_code_cell("form", outputs=[output], execution_count=1)]))
    )
    assert f"data:image/png;base64,{data['image/png']}" in page and form.model_id not in page


def test_importing_the_figures_does_not_bring_the_widgets():
    code = "import sys, vidbench.visualize; print({'ipywidgets', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_explorer_follows_its_controls(tmp_path):
    videos = [
        Video(name, write_video(tmp_path / f"{name}.mkv", moving_square(frames)), label)
        for name, frames, label in (("b1", 12, "b"), ("a1", 8, "a"), ("a2", 10, "a"))
    ]
    explorer = widgets.clip_explorer(videos, CROP)
    assert explorer.classes.options == ("a", "b") and explorer.clips.value.video_id == "a1"
    assert explorer.frames.max == 7 and "Frame 2 of 8, 0.20 s: taken" in explorer.said.value  # 0, 2, 4, 6 are taken
    before = explorer.shown.value
    explorer.frames.value = 3
    assert "Frame 3 of 8, 0.30 s: left out" in explorer.said.value and explorer.shown.value != before
    explorer.clips.value = videos[2]
    assert explorer.frames.max == 9 and "Frame 3 of 10" in explorer.said.value
    explorer.classes.value = "b"
    assert explorer.clips.value.video_id == "b1" and "Frame 3 of 12" in explorer.said.value
    assert opened(explorer.shown.value).width >= pictures.MIN_WIDTH


def test_the_explorer_names_a_clip_that_cannot_be_shown(tmp_path):
    (tmp_path / "broken.mkv").write_bytes(b"no video")
    good = Video("good", write_video(tmp_path / "good.mkv", moving_square()), "x")
    explorer = widgets.clip_explorer([Video("<broken>", tmp_path / "broken.mkv", "a"), good], CROP)
    assert "&lt;broken&gt; cannot be shown: not a readable video" in explorer.said.value and not explorer.shown.value
    assert Image.open(io.BytesIO(explorer.picture)).width == 720  # the message, as a picture
    explorer.classes.value = "x"
    assert "Frame" in explorer.said.value and opened(explorer.shown.value)
    short = Protocol(num_frames=40, resize="exact", resize_to=(8, 8), crop=None, short_videos="fail")
    assert "too short: needs 40 frames" in widgets.clip_explorer([good], short).said.value
    with pytest.raises(UserError, match="no videos"):
        widgets.clip_explorer([], CROP)


def test_a_prediction_beside_its_clip(model, red, tmp_path):
    view = widgets.prediction_view(model, Video("red", red, "red"))
    assert view.alt.startswith("red 99.9 %: right.") or view.alt.startswith("red 100.0 %: right.")
    with Image.open(io.BytesIO(view.data)) as picture:
        page = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.abs(page - (42, 127, 98)).sum(axis=-1) < 40).sum() > 2000  # the true class's bar
    assert (np.abs(page - (255, 0, 0)).sum(axis=-1) < 30).sum() > 200 * 200  # the clip
    assert widgets.prediction_view(model, str(red)).alt.startswith("red ")
    with pytest.raises(UserError, match=r"gone\.mp4 cannot be used: missing file"):
        widgets.prediction_view(model, tmp_path / "gone.mp4")


def test_a_path_is_classified(model, red, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    form = widgets.classify_your_own(model)
    form.path.value = "red.mkv"
    assert "red 9" in form.said.value and opened(form.shown.value).n_frames == 4
    form.path.value = "no.mkv"
    assert "there is no file no.mkv here" in form.said.value and form.shown.value == "" and form.outcome is None


def test_the_threshold_withholds_an_answer(model, red):
    form = widgets.classify_your_own(model, reject=0.5, example=red)
    sure = form.shown.value
    assert "not sure enough" not in form.said.value
    form.least.value = 1.0
    assert "not sure enough: red 9" in form.said.value and form.shown.value != sure


def test_an_upload_is_classified(model, red):
    form = widgets.classify_your_own(model)
    form.path.value = " "
    upload(form, "../../<b>mine.mkv", red.read_bytes())
    assert "red 9" in form.said.value and opened(form.shown.value).n_frames == 4


@pytest.mark.parametrize(("name", "content", "reason"), [
    ("notes.mp4", b"These are notes.\n" * 9, "notes.mp4 cannot be used: not a readable video"),
    ("empty.mp4", b"", "empty.mp4 cannot be used: empty file"),
    ("<script>x</script>.avi", b"RIFF", "&lt;script&gt;x&lt;/script&gt;.avi cannot be used"),
    ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "list.m3u8 cannot be used"),
])  # fmt: skip
def test_a_bad_upload_gets_its_message(model, name, content, reason):
    form = widgets.classify_your_own(model)
    upload(form, name, content)
    assert reason in form.said.value and form.shown.value == ""


def test_a_truncated_upload_gets_its_message(model, tmp_path):
    whole = write_video(tmp_path / "whole.mp4", moving_square(60, 64, 64), codec="libx264").read_bytes()
    form = widgets.classify_your_own(model)
    upload(form, "half.mp4", whole[: len(whole) // 2])
    assert "half.mp4 cannot be used" in form.said.value


def test_the_button_says_when_nothing_has_arrived(model, red):
    form = widgets.classify_your_own(model)
    assert "at most 10 MB" in form.upload.description
    form.button.click()
    assert "Nothing has arrived" in form.said.value and "more than 10 MB" in form.said.value
    upload(form, "mine.mkv", red.read_bytes())
    form.ended -= 60
    form.said.value = ""
    form.button.click()
    assert "red 9" in form.said.value  # once more


def test_a_click_that_leaves_the_box_does_not_classify_twice(model, red, monkeypatch):
    asked = []
    monkeypatch.setattr(
        widgets, "_answer", lambda model, video: asked.append(video) or widgets.Failure(video, "x", "y")
    )
    form = widgets.classify_your_own(model)
    form.path.value = str(red)
    form.button.click()
    assert len(asked) == 1


def test_files_are_found_from_folders_above_and_only_below_a_limit(tmp_path, monkeypatch):
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    (tmp_path / "project" / "clip.mp4").touch()
    (tmp_path / "secret.mp4").touch()
    (tmp_path / "project" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    clip = (tmp_path / "project" / "clip.mp4").resolve()
    assert widgets.find_file(' "project/clip.mp4" ') == widgets.find_file("clip.mp4") == clip
    below = tmp_path / "project"
    assert widgets.find_file("clip.mp4", below) == widgets.find_file(str(clip), below) == clip
    for name in ("../secret.mp4", str(tmp_path / "secret.mp4"), "link.mp4", "notebooks", "x" * 5000):
        with pytest.raises(UserError, match="there is no file"):
            widgets.find_file(name, below)


def test_the_studio_shows_the_last_four_looks(demo):
    board = widgets.studio(demo)
    first = [seen.words for seen in board.looks]
    assert Image.open(io.BytesIO(board.picture)).n_frames > 8
    assert [words.split(":")[0] for words in first] == [
        "sitting down, speed 1, camera fixed, light 1",
        "sitting down, speed 1.6, camera fixed, light 1",
        "sitting down, speed 1, camera zoom, light 0.4",
        "sitting down, speed 1, camera fixed, light 1, reversed",
    ]
    assert "standing up" in first[3].split(":")[1]  # which is what a reversed clip shows
    before = [panel.value for panel in board.panels]
    board.backwards.value = True
    board.light.value = 0.5
    assert board.looks[0].words.startswith("sitting down, speed 1, camera fixed, light 0.5, reversed")
    assert [panel.value for panel in board.panels][2:] == before[:2] and len(board.looks) == 4
    board.other.click()
    assert board.looks[0].spec.group != board.looks[1].spec.group
    with pytest.raises(UserError, match="juggling"):
        widgets.studio(demo, "juggling")


def test_views_of_a_drawn_clip_are_those_of_its_protocol():
    frames = moving_square(12)
    views, times = studio.model_views(frames, 10.0, CROP)
    assert views.shape == (1, 4, 24, 24, 3) and times.tolist() == pytest.approx([0, 0.3, 0.6, 0.9])
    assert (views[0, 1] == process_frame(frames[3], CROP)).all()


@pytest.mark.parametrize(("protocol", "wanted"), [
    (Protocol(resize="short_side", resize_to=(24, 24), crop=(24, 24)), [(1 / 8, 0, 7 / 8, 1)]),  # 4 of 32 columns each
    (Protocol(resize="short_side", resize_to=(48, 48), crop=(24, 24)), [(5 / 16, 1 / 4, 11 / 16, 3 / 4)]),
    (Protocol(resize="exact", resize_to=(12, 12), crop=None), [(0, 0, 1, 1)]),
    (Protocol(resize="square_pad", resize_to=(16, 16), crop=None), [(0, 0, 1, 1)]),
    (Protocol(resize="square_crop", resize_to=(12, 12), crop=None), [(1 / 8, 0, 7 / 8, 1)]),
    (Protocol(resize="short_side", resize_to=(24, 24), crop=(24, 24), crops=3, clips=2),
     [(0, 0, 3 / 4, 1), (1 / 8, 0, 7 / 8, 1), (1 / 4, 0, 1, 1)]),
])  # fmt: skip
def test_the_crop_box_is_what_is_seen(protocol, wanted):
    assert np.allclose(seen_boxes(24, 32, protocol), wanted, atol=0.011)


def test_the_time_line_marks_what_is_taken():
    frame, indices = np.zeros((24, 32, 3), np.uint8), np.array([[0, 2, 2]])
    pages = [pictures.taken_and_seen(frame, [(0, 0, 1, 1)], frame, indices, 4, place, 0.4) for place in (0, 3)]
    assert pages[0].shape == pages[1].shape and (pages[0] != pages[1]).any()
    for color in ((0x5B, 0x7D, 0xB1), (0xC8, 0x55, 0x3D), (0xD5, 0xD5, 0xD5)):  # once, more than once, left out
        assert (pages[0][pictures.HEIGHT + 40 :] == color).all(axis=-1).any()


def test_all_bars_are_grey_where_no_answer_is_given():
    frames, shares = np.zeros((2, 24, 32, 3), np.uint8), np.array([0.6, 0.4])
    sure, unsure = (pictures.answer(frames, shares, ["a", "$b$"], reject=reject) for reject in (0.5, 0.7))
    plain = [(page == (0x5B, 0x7D, 0xB1)).all(axis=-1).sum() for page in (sure, unsure)]
    assert plain[0] > 3000 and plain[1] == 0 and sure.shape[0] == 2


def test_the_application_is_saved_as_it_ran():
    notebook = json.loads(APP.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {kind for cell in code for output in cell["outputs"] for kind in output["data"]}
    assert kinds == {"image/png", "text/plain"}  # JupyterLab has no widget for a saved one, and would say so
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", json.dumps([cell["source"] for cell in code]))


def test_the_application_listens_on_this_machine_only(tmp_path, monkeypatch):
    serve = runpy.run_path(str(ROOT / "cml" / "serve_application.py"))
    words = serve["command"](8123)
    assert "--Voila.ip=127.0.0.1" in words and "--port=8123" in words and (ROOT / serve["NOTEBOOK"]) == APP
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    told = [serve["variables"]({"VIDBENCH_MODEL": name})["VIDBENCH_MODEL"] for name in ("i3d", "runs/", "no/such")]
    assert told == ["i3d", str((tmp_path / "runs").resolve()), "no/such"]
    assert serve["variables"]({"A": "b"}) == {"A": "b", "VIDBENCH_MODEL": "demo", "VIDBENCH_UPLOAD_MB": "200"}
