"""Smoothing, peaks, boundaries, and how found intervals are judged: hand-worked."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidbench.candidates.intervals import match, overlap, precision_and_recall, random_clips
from vidbench.candidates.peaks import (
    Candidate,
    candidates_of,
    choose,
    clip_around,
    find_peaks,
    intact_spans,
    smooth,
)

TIMES = np.arange(0, 40, 0.5)


def bump(*middles: float, wide: float = 3.0) -> np.ndarray:
    """(80,) 1 at each middle, falling to 0 in a straight line."""
    return np.max([np.maximum(0, 1 - np.abs(TIMES - middle) / wide) for middle in middles], axis=0)


# ------------------------------------------------------------------ smoothing


def test_smoothing_weighs_by_distance_in_time_not_by_place_in_the_list():
    times = np.array([0.0, 1.0, 10.0])  # 1 s away: weight (1 + cos 90°) / 2 = 0.5; 9 s away: none
    found = smooth(times, np.array([[1.0], [0.0], [0.5]]), 4.0).ravel()
    assert found.tolist() == pytest.approx([1 / 1.5, 0.5 / 1.5, 0.5])


def test_no_smoothing_changes_nothing_and_no_frames_are_none():
    scores = np.random.default_rng(0).random((80, 3))
    np.testing.assert_array_equal(smooth(TIMES, scores, 0), scores)
    assert smooth(np.empty(0), np.empty((0, 3)), 5).shape == (0, 3)


@given(st.floats(0.1, 30), st.integers(0, 9))
def test_smoothed_scores_stay_between_the_least_and_the_most_and_rows_still_sum_to_one(seconds, seed):
    rng = np.random.default_rng(seed)
    times, scores = np.sort(rng.uniform(0, 60, 50)), rng.dirichlet(np.ones(4), 50)
    found = smooth(times, scores, seconds)
    assert (found >= scores.min(axis=0) - 1e-12).all() and (found <= scores.max(axis=0) + 1e-12).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


# ------------------------------------------------------------------ boundaries


def test_whole_seconds_without_damage():
    assert intact_spans(600.0, []) == [(0, 600)] and intact_spans(0.4, []) == [(0, 1)]
    assert intact_spans(9.9, []) == [(0, 9)]  # the tenth second is not whole
    assert intact_spans(20.0, [(3.0, 4.5), (5.2, 5.4)]) == [(0, 3), (6, 20)]  # 4.5 to 5.2 holds no whole second
    assert intact_spans(20.0, [(0.0, 1.5), (18.0, 20.0)]) == [(2, 18)]


@pytest.mark.parametrize(
    ("moment", "clip"), [(9.9, (5, 15)), (0.5, (0, 10)), (39.0, (30, 40)), (41.0, None), (44.0, (42, 45))]
)
def test_clips_lie_around_their_moment_inside_of_what_can_be_read(moment, clip):
    assert clip_around(moment, 10, [(0, 40), (42, 45)]) == clip


@given(st.floats(0, 100), st.integers(1, 20), st.integers(0, 50), st.integers(1, 50))
def test_a_clip_holds_its_moment(moment, length, first, seconds):
    clip = clip_around(moment, length, [(first, first + seconds)])
    assert (clip is None) == (not first <= moment <= first + seconds)
    if clip:
        assert clip[0] <= moment <= clip[1] and clip[1] - clip[0] == min(length, seconds)
        assert first <= clip[0] and clip[1] <= first + seconds


# ------------------------------------------------------------------ peaks


def test_peaks_are_taken_from_the_highest_on_and_do_not_overlap():
    scores = np.maximum(bump(10) * 0.9, bump(13, 30) * 0.8)  # 13 lies within the clip around 10
    assert find_peaks(TIMES, scores, 8, [(0, 40)], 0.5) == [
        (6, 14, pytest.approx(0.9)),
        (26, 34, pytest.approx(0.8)),
    ]


def test_the_threshold_is_the_lowest_score_that_counts():
    scores = 0.7 * bump(10)
    assert len(find_peaks(TIMES, scores, 4, [(0, 40)], 0.7)) == 1 and not find_peaks(TIMES, scores, 4, [(0, 40)], 0.71)


def test_a_long_action_is_several_clips_side_by_side():
    scores = np.where((TIMES >= 10) & (TIMES <= 30), 0.9, 0.0)
    found = sorted(find_peaks(TIMES, scores, 5, [(0, 40)], 0.5))
    assert len(found) >= 4 and all(before[1] <= after[0] for before, after in pairwise(found))


def test_peaks_in_a_damaged_stretch_are_none():
    assert find_peaks(TIMES, bump(20), 6, [(0, 15), (25, 40)], 0.5) == []


def test_classes_are_looked_for_apart_and_the_same_seconds_have_one_label():
    smoothed = np.stack([0.9 * bump(10), 0.95 * bump(10), 0.8 * bump(30), bump(20)], axis=1)
    facts = (["jump", "wave", "jump rope", None], [(0, 40)], 4, 0.5)
    found = candidates_of("abcdefghijk", TIMES, smoothed, *facts)
    assert [(item.label, item.start, item.end) for item in found] == [("wave", 8, 12), ("jump rope", 28, 32)]
    assert found[0].key == "abcdefghijk_000008_000012"


def test_a_bound_is_shared_out_over_the_classes():
    rows = [("a", 0, 0.9), ("a", 10, 0.8), ("a", 20, 0.7), ("b", 30, 0.6), ("c", 40, 0.5)]
    candidates = [Candidate(label, "v", start, start + 10, score) for label, start, score in rows]
    assert [item.start for item in choose(candidates, 2)] == [0, 30]
    assert [item.start for item in choose(candidates, 4)] == [0, 10, 30, 40]
    assert choose(candidates) == candidates


# ------------------------------------------------------------------ judging


def test_overlap_is_intersection_over_union():
    found = overlap([[0, 4]], [[2, 6], [4, 6], [1, 3], [0, 4]])
    assert found.tolist() == [[pytest.approx(2 / 6), 0, pytest.approx(0.5), 1]]
    assert overlap(np.empty((0, 2)), [[0, 1]]).shape == (0, 1)


def test_matching_is_one_to_one_and_the_likeliest_chooses_first():
    truth = [[0, 10], [20, 30]]
    found = [[1, 11], [0, 10], [24, 34], [40, 50]]  # IoU with the first 9/11 and 1; the third 6/14 with the second
    assert match(found, [0.9, 0.8, 0.7, 0.6], truth).tolist() == [0, -1, -1, -1]
    assert match(found, [0.8, 0.9, 0.7, 0.6], truth).tolist() == [-1, 0, -1, -1]
    assert match(found, [0.9, 0.8, 0.7, 0.6], truth, least=0.4).tolist() == [0, -1, 1, -1]
    assert match([[0, 4]], [1.0], [[0, 8]]).tolist() == [0]  # half of the union is enough
    assert match([[0, 1]], [1.0], np.empty((0, 2))).tolist() == [-1]


def test_precision_and_recall():
    assert precision_and_recall(2, 4, 8) == (0.5, 0.25)
    assert math.isnan(precision_and_recall(0, 0, 3)[0]) and precision_and_recall(0, 0, 3)[1] == 0


@given(st.lists(st.floats(0.5, 5), max_size=12), st.integers(0, 99))
def test_random_clips_keep_their_lengths_lie_inside_and_do_not_overlap(lengths, seed):
    found = random_clips(lengths, 70.0, np.random.default_rng(seed))
    np.testing.assert_allclose(found[:, 1] - found[:, 0], lengths)
    rows = found[np.argsort(found[:, 0])]
    assert (rows[:-1, 1] <= rows[1:, 0] + 1e-9).all() and (found >= 0).all() and (found <= 70 + 1e-9).all()


def test_random_clips_are_anywhere_alike():
    rng = np.random.default_rng(0)
    starts = np.concatenate([random_clips([10.0], 30.0, rng)[:, 0] for _ in range(4000)])
    share, _ = np.histogram(starts, bins=4, range=(0, 20))
    assert np.abs(share / 4000 - 0.25).max() < 0.03
    with pytest.raises(ValueError, match="do not fit"):
        random_clips([20.0, 20.0], 30.0, rng)
