import numpy as np
import pytest

from vidbench.metrics import wilson_interval
from vidbench.report.conditions import by_condition

HITS = np.array([True, True, False, True, False, False])


def test_parts_by_hand():
    rows = by_condition(HITS, np.arange(6), {"place": list("aabbbb"), "level": [2, 1, 1, 1, 2, 2]})
    assert [(row["condition"], row["value"], row["videos"]) for row in rows] == [
        ("place", "a", 2), ("place", "b", 4), ("level", "1", 3), ("level", "2", 3),
    ]  # fmt: skip
    assert [row["top1"] for row in rows] == pytest.approx([1, 1 / 4, 2 / 3, 1 / 3])
    assert (rows[1]["low"], rows[1]["high"]) == wilson_interval(1, 4)


def test_fractional_numbers_are_cut_into_three_parts_whatever_their_order():
    (low, middle, high) = by_condition(HITS, np.arange(6), {"light": [1.5, 0.5, 1.0, 0.75, 2.0, 1.25]})
    assert [row["value"] for row in (low, middle, high)] == ["0.5 to 0.75", "1 to 1.25", "1.5 to 2"]
    assert [row["top1"] for row in (low, middle, high)] == [1, 0, 0.5] and low["videos"] == 2


def test_clips_of_one_recording_make_the_interval_wider():
    hits, place = np.tile([True, False, True, True], 30), {"place": ["a"] * 120}
    (alone,), (grouped,) = (by_condition(hits, groups, place) for groups in (np.arange(120), np.arange(120) // 30))
    assert grouped["high"] - grouped["low"] > 2 * (alone["high"] - alone["low"])
