"""The pictures of images/: what they show is what the kit does, and they are the ones in the repository."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidbench.data.protocol import Protocol
from vidbench.models import spec_of
from vidbench.visualize import drawings
from vidbench.visualize.__main__ import main

IMAGES = Path(__file__).parents[1] / "images"


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def words_of(path: Path) -> list[str]:
    """What an SVG of Matplotlib's says: its letters are shapes, with the text in a comment."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    main(["--figures", str(folder)])
    return folder


def test_the_command_draws_what_the_repository_holds(drawn):
    assert {path.name for path in drawn.iterdir()} == {path.name for path in IMAGES.iterdir()}
    for path in sorted(drawn.glob("*.svg")):
        shipped = IMAGES / path.name
        assert words_of(path) == words_of(shipped) and words_of(path), path.name
        assert path.stat().st_size == pytest.approx(shipped.stat().st_size, rel=0.2), path.name
        assert path.read_text().count("<image") == shipped.read_text().count("<image")
    with Image.open(drawn / "demo.png") as picture, Image.open(IMAGES / "demo.png") as shipped:
        assert (picture.size, picture.n_frames) == (shipped.size, shipped.n_frames) == ((768, 288), 16)
        difference = np.asarray(picture.convert("RGB")).astype(int) - np.asarray(shipped.convert("RGB"))
        assert np.abs(difference).mean() < 3


def test_a_picture_is_drawn_to_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        drawings._save(drawings.resampling(), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_picture_stands_on_a_card_of_its_own(tmp_path):
    path = tmp_path / "x.png"
    drawings.resampling().savefig(path, dpi=50)
    pixels = np.asarray(Image.open(path).convert("RGBA"))
    assert pixels[0, 0, 3] == 0 and (pixels[60, 8] == 255).all()  # nothing around the card, white on it


def test_resampling_counts_and_numbers_the_frames():
    shown = texts(drawings.resampling((6, 3), (2, 4)))
    first = ["Downsampling: 6 frames, 3 wanted", "3 of the video's frames are left out", *"012345", *"024"]
    second = ["Upsampling: 2 frames, 4 wanted", "2 of the video's frames are taken more than once", *"01", *"0011"]
    assert shown == first + second


def test_frame_rates_are_those_of_the_protocols():
    rates = {
        "a": Protocol(sampling="clips", frame_rate=10, num_frames=5, clips=2),
        "b": Protocol(sampling="strided", stride=3, num_frames=4),
    }
    figure = drawings.frame_rates(rates, num_frames=60, fps=30.0)
    shown = texts(figure)
    assert "5 frames, 10 a second: 0.4 s" in shown and "4 frames, one in 3: 0.4 s" in shown
    ticks = [len(lines.get_segments()) for lines in figure.axes[0].collections]
    assert ticks == [60, 5, 5, 4]


def test_the_pipeline_is_that_of_the_contract():
    shown = texts(drawings.pipeline(spec_of("r2plus1d_18")))
    assert {"16 × 112 × 112 × 3", "15 a second", "400 logits a view", "clips × crops: 5 × 1"} <= set(shown)
    package = Path(drawings.__file__).parents[1]
    modules = [text for text in shown if re.fullmatch(r"[\w/]+(/|\.py)", text)]
    assert len(modules) == 8 and all((package / module).exists() for module in modules)


def test_the_task_shows_one_clip_in_both_directions():
    figure = drawings.task()
    assert [text for text in texts(figure) if text != "time"] == ["sitting down", "standing up"]
    frames = [image.get_array() for image in figure.axes[0].images]
    assert len(frames) == 10 and all((frames[i] == frames[9 - i]).all() for i in range(5))
    assert not (frames[0] == frames[4]).all()
