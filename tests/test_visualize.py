import io

import numpy as np
import pytest
from conftest import moving_square
from PIL import Image

from vidbench import visualize


def test_an_animated_png_holds_every_frame(tmp_path):
    frames = moving_square(6)
    visualize.save_apng(frames, tmp_path / "x.png", fps=10, colors=128)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.is_animated and picture.n_frames == 6 and picture.info["duration"] == 100
        for index in range(6):
            picture.seek(index)
            assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - frames[index]).mean() < 4


def test_a_white_ground_stays_white():
    frames = np.full((3, 30, 40, 3), 255, np.uint8)
    frames[:, 10:20], frames[:, 20:] = 248, (180, 40, 60)  # of two colours, one must do for both whites
    with Image.open(io.BytesIO(visualize.apng(frames, fps=5, colors=2))) as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert (shown[:10] == 255).all() and (shown[20:] < 200).all()


def test_tiles_lie_row_after_row():
    clips = np.arange(3, dtype=np.uint8)[:, None, None, None, None] * np.ones((3, 2, 1, 1, 3), np.uint8)
    grid = visualize.tile(clips + 1, 2)
    assert grid.shape == (2, 2, 2, 3) and grid[0, :, :, 0].tolist() == [[1, 2], [3, 0]]


@pytest.mark.parametrize(("num_frames", "wanted", "texts"), [
    (8, 4, ["left out: 4", "taken: 4", "taken more than once: 0"]),
    (4, 6, ["left out: 0", "taken: 2", "taken more than once: 2"]),
])  # fmt: skip
def test_the_time_line_counts_what_is_taken(num_frames, wanted, texts):
    figure = visualize.frame_choice(num_frames, num_frames * np.arange(wanted) // wanted)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == texts


def test_figures_show_what_they_are_given():
    strip = visualize.film_strip(moving_square(12), np.arange(12) / 10, columns=4)
    assert [axis.get_title() for axis in strip.axes] == ["0.00 s", "0.40 s", "0.70 s", "1.10 s"]
    bars = visualize.class_bars(["b", "a", "b"]).axes[0]
    assert [patch.get_width() for patch in bars.patches] == [1, 2]
    guess = visualize.probability_bars(moving_square(1)[0], np.array([0.7, 0.3]), ["x", "y"], truth="y").axes[1]
    assert [patch.get_width() for patch in guess.patches] == [0.7, 0.3]
    assert guess.patches[1].get_facecolor() != guess.patches[0].get_facecolor()
    accuracy = visualize.accuracy_bars(["m"], [0.5], [(0.4, 0.6)], 0.125).axes[0]
    assert accuracy.lines and accuracy.patches[0].get_width() == 0.5


def test_a_comparison_shows_intervals_and_the_line_of_no_difference():
    runs = [{"name": "a$x$", "value": 0.5, "ci95": (0.4, 0.6)}, {"name": "b", "value": 0.7, "ci95": (0.6, 0.8)}]
    pairs = [
        {"name": "a vs b", "difference": -0.2, "ci95": (-0.3, -0.1)},
        {"name": "b vs c", "difference": 0.1, "ci95": (-0.1, 0.3)},
    ]
    above, below = visualize.comparison(runs, pairs).axes
    assert [line.get_xdata()[0] for line in above.lines] == [50, 70]
    spans = [collection.get_segments()[0][:, 0].tolist() for collection in below.collections]
    assert spans == [[-30, -10], [pytest.approx(-10), 30]]
    assert below.lines[-1].get_xdata() == [0, 0]
    assert [label.get_text() for label in above.get_yticklabels()] == [r"a\$x\$", "b"]
    colors = [line.get_color() for line in below.lines[:2]]
    assert colors == [visualize.WRONG, visualize.UNSURE]
