import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidbench.data import sampling

counts = st.integers(1, 600)
rates = st.sampled_from([8.0, 10.0, 12.5, 15.0, 17.5, 23.976, 25.0, 29.97, 30.0, 59.94])


def test_resample_drops_and_repeats_as_worked_by_hand():
    assert sampling.resample_indices(10, 4).tolist() == [0, 2, 5, 7]  # 0, 10, 20, 30 divided by 4
    assert sampling.resample_indices(3, 7).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert sampling.resample_indices(4, 4).dtype == np.int64


@given(counts, counts)
def test_resample_is_sorted_in_range_and_of_the_right_length(num_frames, wanted):
    indices = sampling.resample_indices(num_frames, wanted)
    assert len(indices) == wanted and indices[0] == 0 and indices[-1] < num_frames
    assert (np.diff(indices) >= 0).all()
    if wanted <= num_frames:
        assert (np.diff(indices) > 0).all()


def test_uniform_clips_by_hand():
    # 20 frames at 30 fps are 10 at 15 fps; clips of 4 can start at 0 … 6; three of them start at 0, 3, 6.
    got = sampling.uniform_clip_indices(20, 30.0, 4, 15, 3)
    assert got.tolist() == [[0, 2, 4, 6], [6, 8, 10, 12], [12, 14, 16, 18]]


def test_uniform_clips_at_a_rate_that_does_not_divide():
    # 12.5 → 10 fps: step 1.25, so frames 0, 1.25, 2.5, 3.75 are 0, 1, 2, 3 and the fifth is 5
    assert sampling.uniform_clip_indices(7, 12.5, 5, 10, 1).tolist() == [[0, 1, 2, 3, 5]]


@given(counts, rates, st.integers(1, 32), st.sampled_from([5, 10, 12, 15, 25, 30]), st.integers(1, 12))
def test_uniform_clips_stay_inside_and_start_at_the_beginning(num_frames, fps, clip_len, rate, clips):
    try:
        indices = sampling.uniform_clip_indices(num_frames, fps, clip_len, rate, clips)
    except ValueError:
        assert num_frames < sampling.clip_span(fps, clip_len, rate)
        return
    assert indices.shape == (clips, clip_len) and indices.dtype == np.int64
    assert indices[0, 0] == 0 and indices.max() < num_frames
    assert (np.diff(indices, axis=1) >= 0).all() and (np.diff(indices[:, 0]) >= 0).all()


@given(rates, st.integers(1, 40), st.sampled_from([5, 10, 12, 15, 25, 30]))
def test_clip_span_is_the_fewest_frames_that_do(fps, clip_len, rate):
    span = sampling.clip_span(fps, clip_len, rate)
    assert sampling.uniform_clip_indices(span, fps, clip_len, rate, 1).shape == (1, clip_len)
    if span > 1:
        with pytest.raises(ValueError, match=f"needs {span} frames, has {span - 1}"):
            sampling.uniform_clip_indices(span - 1, fps, clip_len, rate, 1)


@given(counts, rates, st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_random_clips_are_among_the_runs_of_the_grid(num_frames, fps, clip_len, seed):
    try:
        clip = sampling.random_clip_indices(num_frames, fps, clip_len, 15, np.random.default_rng(seed))
    except ValueError:
        return
    assert len(clip) == clip_len and clip[0] >= 0 and clip[-1] < num_frames
    again = sampling.random_clip_indices(num_frames, fps, clip_len, 15, np.random.default_rng(seed))
    assert (clip == again).all()


def test_random_clips_reach_every_start():
    rng = np.random.default_rng(0)
    starts = {int(sampling.random_clip_indices(10, 10.0, 8, 10, rng)[0]) for _ in range(60)}
    assert starts == {0, 1, 2}


def test_a_window_of_less_than_a_frame_does_not_run_backwards():
    # 2 frames at stride 1 of 30 fps last 0.53 frames of a video at 8 fps; the second begins at 2.47 / 2 = 1.23
    assert sampling.view_indices(3, 8.0, 2, 1, 2).tolist() == [[0, 0], [1, 1]]


def test_random_segments_by_hand():
    # 10 frames in 4 parts begin at 0, 2, 5, 7: parts of 2, 3, 2 and 3 frames
    drawn = np.stack([sampling.random_segment_indices(10, 4, np.random.default_rng(seed)) for seed in range(60)])
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [[0, 1], [2, 3, 4], [5, 6], [7, 8, 9]]


@given(counts, counts, st.integers(0, 2**32 - 1))
def test_random_segments_take_one_frame_of_each_part(num_frames, wanted, seed):
    drawn = sampling.random_segment_indices(num_frames, wanted, np.random.default_rng(seed))
    first = sampling.resample_indices(num_frames, wanted)
    assert drawn.shape == (wanted,) and drawn.dtype == np.int64 and drawn[-1] < num_frames
    assert (drawn >= first).all() and (np.diff(drawn) >= 0).all()
    if wanted <= num_frames:
        assert (np.diff(drawn) > 0).all() and (drawn[:-1] < first[1:]).all()
    else:
        assert (drawn == first).all()


@given(counts, rates, st.integers(2, 32), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_random_windows_are_inside_and_evenly_spaced(num_frames, fps, clip_frames, stride, seed):
    drawn = sampling.random_view_indices(num_frames, fps, clip_frames, stride, np.random.default_rng(seed))
    size = stride * clip_frames / 30 * fps
    assert drawn.shape == (clip_frames,) and drawn.dtype == np.int64
    assert drawn.min() >= 0 and drawn.max() < num_frames and (np.diff(drawn) >= 0).all()
    gap = max(size - 1, 0) / (clip_frames - 1)
    steps = np.diff(drawn[drawn < num_frames - 1])  # before it may stand still on the last frame
    assert not len(steps) or (steps.min() >= np.floor(gap - 1e-3) and steps.max() <= np.ceil(gap + 1e-3))
    if num_frames <= size:
        assert drawn[0] == 0


def test_random_windows_reach_every_start():
    # 8 frames at 30 fps with stride 2 are 16 of 20: they begin from 0 up to 4, cut to integers
    rng = np.random.default_rng(0)
    starts = [int(sampling.random_view_indices(20, 30.0, 8, 2, rng)[0]) for _ in range(100)]
    assert set(starts) == {0, 1, 2, 3}
    assert min(starts.count(start) for start in range(4)) >= 12


@given(st.floats(0.01, 20), rates)
def test_seconds_become_the_nearest_number_of_frames(seconds, rate):
    frames = sampling.frames_in(seconds, rate)
    assert frames >= 1 and (frames == 1 or abs(frames - seconds * rate) <= 0.5 + 1e-9)


@given(counts, rates, st.integers(1, 32), st.integers(1, 8), st.integers(1, 10))
def test_views_stay_inside_and_advance(num_frames, fps, clip_frames, stride, views):
    indices = sampling.view_indices(num_frames, fps, clip_frames, stride, views)
    assert indices.shape == (views, clip_frames) and indices.min() >= 0 and indices.max() < num_frames
    assert (np.diff(indices, axis=1) >= 0).all() and (np.diff(indices[:, -1]) >= 0).all()


def test_orders():
    rng = np.random.default_rng(3)
    assert sampling.reorder(4, "normal", rng).tolist() == [0, 1, 2, 3]
    assert sampling.reorder(4, "reversed", rng).tolist() == [3, 2, 1, 0]
    assert sampling.reorder(4, "frozen", rng).tolist() == [2, 2, 2, 2]
    shuffled = sampling.reorder(64, "shuffled", rng)
    assert sorted(shuffled) == list(range(64)) and shuffled.tolist() != list(range(64))
    with pytest.raises(ValueError, match="backwards"):
        sampling.reorder(4, "backwards", rng)


@given(st.integers(1, 64), st.integers(1, 64))
def test_thinned_out_clips_hold_as_many_different_frames_as_asked(num_frames, distinct):
    positions = sampling.thin_out(num_frames, distinct)
    assert len(positions) == num_frames and len(set(positions.tolist())) == min(num_frames, distinct)
    assert (np.diff(positions) >= 0).all()


@pytest.mark.parametrize("bad", [(0, 4), (4, 0), (-3, 4)])
def test_counts_must_be_positive(bad):
    with pytest.raises(ValueError, match="must be positive"):
        sampling.resample_indices(*bad)


@pytest.mark.assets
def test_indices_equal_the_references(assets):
    golden = json.loads((assets.parent / "parity" / "golden" / "protocol.json").read_text())
    for case in golden["torchvision_clips"]:
        want = case.pop("indices")
        if want is None:
            with pytest.raises(ValueError, match="too short"):
                sampling.uniform_clip_indices(**case)
        else:
            assert sampling.uniform_clip_indices(**case).tolist() == want
    for case in golden["slowfast_views"]:
        want = case.pop("indices")
        assert sampling.view_indices(**case).tolist() == want
