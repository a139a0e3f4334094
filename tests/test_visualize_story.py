"""The figures of the story: what they show is what they are given."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import moving_square

from vidbench import visualize
from vidbench.data.kinetics_facts import ANNOTATED_SECONDS, KINETICS_400, SEVEN_CLIPS
from vidbench.data.protocol import Protocol


def titles(figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes]


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_drawing_does_not_load_tensorflow():
    code = "import sys; from vidbench import visualize; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_stills_lie_in_rows_and_keep_their_titles_and_colours():
    figure = visualize.stills(moving_square(3), ["a", "b", "c"], colors=["#ff0000", "#00ff00", "#0000ff"], columns=2)
    assert titles(figure) == ["a", "b", "c", ""]
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 0]
    assert [axis.title.get_color() for axis in figure.axes[:3]] == ["#ff0000", "#00ff00", "#0000ff"]


def test_right_and_wrong_are_told_apart_by_a_sign_and_a_colour():
    rows = [
        {"label": "sit_down", "pred_1": "Sit down", "score_1": "0.98"},
        {"label": "run", "pred_1": "walk", "score_1": "0.5"},
    ]
    figure = visualize.judged_stills(moving_square(2), rows, columns=2)
    assert titles(figure) == ["✓ sit_down, 98%", "✗ walk, 50%\nit is run"]
    assert [axis.title.get_color() for axis in figure.axes] == [visualize.RIGHT, visualize.WRONG]


def test_histograms_are_shares_of_each_set():
    figure = visualize.histograms({"seconds": [1.0, 1.0, 1.0, 2.0]}, {"seconds": [1.0, 4.0]}, "ours", "theirs")
    (axis,) = figure.axes
    grey, blue = ([patch.get_height() for patch in bars] for bars in axis.containers)
    assert (grey[0], grey[-1], sum(grey)) == (50, 50, 100)
    assert (blue[0], sum(blue)) == (75, 100)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["theirs (2)", "ours (4)"]


def test_the_array_is_shown_with_its_axes_planes_and_numbers():
    frames = np.zeros((4, 16, 20, 3), np.uint8)
    frames[:, 2:4, 3:6] = (200, 100, 7)
    figure = visualize.film_and_array(frames, np.arange(4) / 2, columns=2)
    stack, red, green, blue, numbers = figure.axes[2:]
    assert titles(figure)[:2] == ["frame 0: 0.00 s", "frame 3: 1.50 s"]
    assert texts(stack) == ["W = 20", "H = 16", "T = 4"] and stack.get_title() == "array of (4, 16, 20, 3)"
    for channel, (axis, value) in enumerate(zip((red, green, blue), (200, 100, 7), strict=True)):
        plane = axis.images[0].get_array()
        assert plane[2, 3].tolist() == [value if place == channel else 0 for place in range(3)]
    assert set(texts(numbers)) == {"0", "200"} and len(texts(numbers)) == 25


def test_bytes_stand_at_bars_on_a_logarithmic_scale():
    (axis,) = visualize.byte_bars([("file", 2000), ("pixels", 3e9)]).axes
    assert axis.get_xscale() == "log" and texts(axis) == ["2.0 kB", "3.0 GB"]
    assert [patch.get_width() for patch in axis.patches] == [2000, 3e9]


def test_time_lines_stand_one_above_the_other():
    figure = visualize.frame_choices([(4, np.array([0, 2])), (2, np.array([0, 0, 1]))])
    labels = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in figure.axes]
    assert labels[0] == ["left out: 2", "taken: 2", "taken more than once: 0"]
    assert labels[1] == ["left out: 0", "taken: 1", "taken more than once: 1"]


def test_a_strip_says_which_frames_are_left_out_and_which_repeated():
    figure = visualize.resampled_strip(moving_square(3), np.array([0, 0, 2]))
    assert titles(figure) == ["0", "1 ✗", "2", "0", "0 again", "2"]
    assert [axis.images[0].get_alpha() for axis in figure.axes[:3]] == [1, 0.25, 1]
    assert [len(axis.patches) for axis in figure.axes[3:]] == [0, 1, 0]
    assert (figure.axes[5].images[0].get_array() == moving_square(3)[2]).all()


def test_crop_pad_and_squeeze_are_what_a_model_would_get():
    frame = moving_square(1, height=20, width=10)[0]
    figure = visualize.pixel_choices(frame)
    shapes = [axis.images[0].get_array().shape[:2] for axis in figure.axes]
    assert shapes == [(20, 10), (10, 10), (20, 20), (10, 10)]
    assert (figure.axes[1].images[0].get_array() == frame[5:15]).all()
    (square,) = figure.axes[0].patches
    assert (square.get_xy(), square.get_width(), square.get_height()) == ((-0.5, 4.5), 10, 10)


@pytest.mark.parametrize(("changes", "frames", "size"), [
    ({}, "16 frames,\nspread evenly", "short side\nto 256\ncut to 224 × 224"),
    ({"resize": "exact", "resize_to": (9, 12), "crop": None}, "16 frames,\nspread evenly", "whole frame\nto 9 × 12"),
    ({"sampling": "clips", "frame_rate": 15}, "16 frames,\n15 a second", "short side\nto 256\ncut to 224 × 224"),
    ({"sampling": "strided", "stride": 6, "num_frames": 13}, "13 frames,\nevery 6 at 30/s",
     "short side\nto 256\ncut to 224 × 224"),
])  # fmt: skip
def test_the_pipeline_is_drawn_from_the_contract(changes, frames, size):
    from vidbench.models.spec import Spec

    spec = Spec("net", ("a", "b"), replace(Protocol(), **changes), mean=(0.5,) * 3, std=(0.25,) * 3)
    said = texts(visualize.pipeline(spec).axes[0])
    assert frames in said and size in said and "2 numbers,\none a class" in said
    assert "pixels 0…255\nto 0…1\nminus 0.5, by 0.25" in said
    plain = texts(visualize.pipeline(replace(spec, mean=None, std=None, value_range=(-1.0, 1.0))).axes[0])
    assert "pixels 0…255\nto -1…1" in plain


def test_tables_of_counts_hold_every_count():
    figure = visualize.count_tables({"one": np.array([[3, 0], [1, 2]]), "two": np.eye(2, dtype=int)}, ["a", "b"])
    assert titles(figure) == ["one", "two"]
    assert texts(figure.axes[0]) == ["3", "0", "1", "2"]


def test_the_facts_of_kinetics_agree_with_each_other():
    """Some annotated clips are lacking, few; a file is some megabytes; a clip lasts ten seconds or so."""
    for split in KINETICS_400.values():
        assert 0.97 < split.clips / split.rows < 1
        assert 1e6 < split.archive_bytes / split.clips < 2e6
    assert all(ANNOTATED_SECONDS <= clip.seconds < ANNOTATED_SECONDS + 1.1 for clip in SEVEN_CLIPS)


def test_the_measured_clips_are_as_measured(assets):
    from vidbench.data.decode import probe

    names = ("abseiling_k400", "mmaction2_demo", "mmaction2_test", "flipping_a_pancake")
    places = [*(f"single_clips/{name}" for name in names)]
    places += [f"torchvision_clips/{name}" for name in ("R6llTwEh07w", "SOX5yA1l24A", "WUzgd7C1pWA")]
    for place, told in zip(places, SEVEN_CLIPS, strict=True):
        path = next(file for file in sorted((assets / place).parent.glob(f"{(assets / place).name}.m*")))
        info = probe(path)
        assert (info.width, info.height, path.stat().st_size) == (told.width, told.height, told.file_bytes)
        assert info.seconds == pytest.approx(told.seconds, abs=0.006) and info.fps == pytest.approx(told.fps, abs=0.001)
