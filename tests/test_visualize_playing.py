"""Clips that play beside what a model says of them."""

import io

import numpy as np
import pytest
from conftest import moving_square
from PIL import Image

from vidbench import visualize


def test_a_figure_and_a_clip_are_shown_with_words():
    figure = visualize.class_bars(["a"])
    still = visualize.shown(figure, alt="one bar")
    clip = visualize.shown(moving_square(4), alt="a square", fps=10, colors=8)
    pixels = visualize.shown(moving_square(1)[0], alt="at its beginning")
    for shown, words, frames in ((still, "one bar", 1), (clip, "a square", 4), (pixels, "at its beginning", 1)):
        data, told = shown._repr_mimebundle_()
        assert told["image/png"]["alt"] == words and "image/png" in data
        with Image.open(io.BytesIO(shown.data)) as picture:
            assert getattr(picture, "n_frames", 1) == frames
    assert len(still.data) < len(visualize.playing._png(figure))
    with Image.open(io.BytesIO(pixels.data)) as picture:
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - moving_square(1)[0]).max() < 4


def test_a_picture_without_words_is_refused():
    with pytest.raises(ValueError, match="an empty alt"):
        visualize.shown(moving_square(2), alt=" ")


def test_a_figure_as_pixels_has_its_size_and_its_colours():
    figure, (axis,) = visualize.new_figure(1, 1, (3, 2))
    axis.set_facecolor("#ff0000")
    pixels = visualize.as_pixels(figure)
    assert pixels.shape == (200, 300, 3) and pixels.dtype == np.uint8
    assert (pixels == (255, 0, 0)).all(axis=-1).mean() > 0.5


def test_bars_stand_still_beside_a_clip_that_plays():
    frames = moving_square(3, height=24, width=32)
    playing = visualize.playing_bars(frames, np.array([0.9, 0.1]), ["run", "sit"])
    assert playing.shape == (3, 240, 320 + 460, 3) and playing.dtype == np.uint8
    assert (playing[0, :, 320:] == playing[2, :, 320:]).all()
    assert (playing[0, :, :320] != playing[2, :, :320]).any()


def test_the_bar_of_the_truth_is_green_and_longer_bars_are_likelier():
    frames = moving_square(1)
    green, blue = (tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in (visualize.RIGHT, visualize.PLAIN))
    shares, names = np.array([0.8, 0.2]), ["run", "sit"]
    right, other, none = (visualize.playing_bars(frames, shares, names, truth=name)[0] for name in ("run", "sit", None))

    def area(picture, color):
        return (np.abs(picture.astype(int) - color).sum(axis=-1) < 12).sum()

    assert area(right, green) > 3 * area(other, green) > 0 == area(none, green)
    assert area(none, blue) > area(other, blue) > area(right, blue) > 0


def test_what_a_model_has_seen_stands_above_and_makes_room_for_itself():
    frames = moving_square(2)
    short = visualize.playing_bars(frames, np.array([1.0]), ["run"], domain="drawings")
    long = visualize.playing_bars(frames, np.array([1.0]), ["run"], domain="drawings " * 12)
    assert short.shape[1] == 260 and long.shape[1] == 280
    assert (long[:, :30, :200] == 255).all()  # white above the clip


def test_variants_play_side_by_side_above_their_bars():
    clips = np.stack([moving_square(3), moving_square(3)[::-1]])
    playing = visualize.playing_variants(clips, np.array([[0.9, 0.1], [0.2, 0.8]]), ("a", "b"), ["x", "y"], top=2)
    assert playing.shape == (3, 8 * 24 + 130, 2 * 8 * 32, 3)  # eight times as large: the whole number next to 240 / 32
    assert (playing[0, :192, :256] == playing[2, :192, 256:]).all()
    assert (playing[0, 192:] == playing[1, 192:]).all()
    assert (playing[0, 192:, :256] != playing[0, 192:, 256:]).any()


def test_the_ball_moves_and_comes_back():
    frames = visualize.bouncing_ball(20, height=192, width=256)
    assert frames.shape == (20, 192, 256, 3) and frames.dtype == np.uint8
    columns = [np.flatnonzero((frame[..., 0] > 200).any(axis=0)).mean() for frame in frames]
    assert columns[0] > columns[5] > columns[10] < columns[15]
