import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidbench.data import process
from vidbench.data.protocol import Protocol


def numbered(height, width):
    """(H, W, 3) uint8 whose first channel is the column and second the row."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_center_square_cuts_both_ends():
    cut = process.center_square(numbered(4, 10))
    assert cut.shape == (4, 4, 3) and cut[0, :, 0].tolist() == [3, 4, 5, 6]


def test_pad_square_keeps_everything_between_black_bars():
    padded = process.pad_square(numbered(2, 6) + 1)
    assert padded.shape == (6, 6, 3)
    assert not padded[:2].any() and not padded[4:].any()
    assert (padded[2:4] == numbered(2, 6) + 1).all()


@pytest.mark.parametrize(
    ("shape", "want"), [((240, 320), (256, 341)), ((320, 240), (341, 256)), ((256, 256), (256, 256))]
)
def test_short_side_keeps_the_ratio(shape, want):
    assert process.resize_short_side(np.zeros((*shape, 3), np.uint8), 256).shape == (*want, 3)


def test_bilinear_without_antialias_by_hand():
    line = np.array([[0, 100, 200, 40]], np.uint8)[..., None].repeat(3, axis=-1)
    # to 2 columns, centres at 0.5 and 2.5: the means of the neighbours, nothing wider
    assert process.resize_exact(line, (1, 2))[0, :, 0].tolist() == [50, 120]


def test_three_crops_lie_left_middle_right_or_top_middle_bottom():
    wide = process.three_crops(numbered(4, 10)[None], (4, 4))
    assert wide.shape == (3, 1, 4, 4, 3) and wide[:, 0, 0, 0, 0].tolist() == [0, 3, 6]
    tall = process.three_crops(numbered(10, 4)[None], (4, 4))
    assert tall[:, 0, 0, 0, 1].tolist() == [0, 3, 6]


def test_a_crop_larger_than_the_frame_is_refused():
    with pytest.raises(ValueError, match="cannot crop 9x9 from frames of 8x12"):
        process.center_crop(numbered(8, 12), (9, 9))


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["square_crop", "square_pad", "short_side", "exact"]))
def test_every_shape_ends_in_the_size_of_the_protocol(height, width, resize):
    protocol = Protocol(resize=resize, resize_to=(40, 40), crop=(32, 32))
    frame = process.process_frame(np.zeros((height, width, 3), np.uint8), protocol)
    assert frame.shape == (32, 32, 3) and frame.dtype == np.uint8


def test_views_are_assembled_from_unique_frames():
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 4, 6, 3), np.uint8)
    indices = np.array([[0, 0, 2], [1, 2, 2]])
    one = process.assemble_views(frames, indices, Protocol(num_frames=3, clips=2, resize_to=(4, 4), crop=(4, 4)))
    assert one.shape == (2, 3, 4, 6, 3) and one[:, :, 0, 0, 0].tolist() == [[0, 0, 2], [1, 2, 2]]
    three = process.assemble_views(
        frames, indices, Protocol(num_frames=3, clips=2, crops=3, resize_to=(4, 4), crop=(4, 4))
    )
    assert three.shape == (6, 3, 4, 4, 3) and three[3, :, 0, 0, 0].tolist() == [1, 2, 2]


def test_normalize():
    pixels = np.array([[0, 255, 51]], np.uint8)
    assert np.allclose(process.normalize(pixels, np.float32(2 / 255), np.float32(-1)), [[-1, 1, -0.6]])


@pytest.mark.assets
def test_the_torchvision_preset_is_met(assets):
    golden = json.loads((assets.parent / "parity" / "golden" / "protocol.json").read_text())
    mean, std = np.array([0.43216, 0.394666, 0.37645]), np.array([0.22803, 0.22145, 0.216989])
    for case in golden["torchvision_preset"]:
        source = np.random.default_rng(case["seed"]).integers(0, 256, case["source_shape_thwc"], dtype=np.uint8)
        protocol = Protocol(resize="exact", resize_to=tuple(case["resize"]), crop=tuple(case["crop"]))
        frames = np.stack([process.process_frame(frame, protocol) for frame in source])
        ours = process.normalize(frames, (1 / 255 / std).astype(np.float32), (-mean / std).astype(np.float32))
        for t, y, x, channel, value in case["points"]:
            assert abs(ours[t, y, x, channel] - value) <= 2 / 255 / std[channel]


def test_coarsened_frames_keep_their_shape_and_mean_and_lose_their_detail():
    board = np.indices((8, 12)).sum(axis=0) % 2 * 200
    frames = np.repeat(board[None, :, :, None], 3, axis=3).astype(np.uint8)
    assert (process.coarsen(frames, 1) == frames).all()
    assert (process.coarsen(frames, 2) == 100).all()  # each square of 2 × 2 has two black and two bright pixels
    halves = np.zeros((2, 8, 12, 3), np.uint8)
    halves[:, :, 6:] = 240
    coarse = process.coarsen(halves, 3)
    assert coarse.shape == halves.shape and coarse.dtype == np.uint8
    assert not coarse[:, :, :3].any() and (coarse[:, :, -3:] == 240).all()  # what is large stays
    for factor in (0, 9):
        with pytest.raises(ValueError, match="factor must be 1 to 8"):
            process.coarsen(frames, factor)
