import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidbench import metrics

scores_and_labels = st.integers(0, 2**32 - 1).map(
    lambda seed: (
        np.random.default_rng(seed).random((30, 6)),
        np.random.default_rng(seed + 1).integers(0, 6, 30),
    )
)


def test_softmax_by_hand_and_without_overflow():
    assert np.allclose(metrics.softmax(np.array([[0.0, np.log(3.0)]])), [[0.25, 0.75]])
    assert metrics.softmax(np.array([1000.0, 0.0], np.float32)).tolist() == [1.0, 0.0]


def test_top_k_by_hand():
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.4, 0.4, 0.2]])
    labels = np.array([0, 2, 1])
    assert metrics.top_k_hits(scores, labels, 1).tolist() == [True, False, False]  # of equals the first wins
    assert metrics.top_k_hits(scores, labels, 2).tolist() == [True, True, True]


@given(scores_and_labels)
def test_top_k_grows_with_k_to_one(case):
    values = [metrics.top_k_accuracy(*case, k) for k in range(1, 7)]
    assert values == sorted(values) and values[-1] == 1.0


@given(scores_and_labels, st.randoms())
def test_the_order_of_rows_changes_nothing(case, random):
    scores, labels = case
    order = np.array(random.sample(range(30), 30))
    assert metrics.top_k_accuracy(scores, labels) == pytest.approx(metrics.top_k_accuracy(scores[order], labels[order]))
    hits = metrics.top_k_hits(scores, labels)
    assert metrics.mean_class_accuracy(hits, labels) == pytest.approx(
        metrics.mean_class_accuracy(hits[order], labels[order])
    )


def test_wilson_against_published_values():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81/263, 15/148, 0/20, 1/29 (method 3)
    for hits, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert metrics.wilson_interval(hits, total) == pytest.approx((low, high), abs=5e-5)
    with pytest.raises(ValueError, match="at least one"):
        metrics.wilson_interval(0, 0)


def test_groups_of_one_get_wilson_and_larger_groups_a_wider_interval():
    hits = np.array([True] * 30 + [False] * 10)
    alone = metrics.accuracy_interval(hits, np.arange(40))
    assert alone == metrics.wilson_interval(30, 40)
    groups = np.repeat(np.arange(10), 4)  # whole groups are right or wrong, but for one
    low, high = metrics.accuracy_interval(hits, groups)
    assert high - low > alone[1] - alone[0] and low <= 0.75 <= high
    assert (low, high) == metrics.accuracy_interval(hits, groups)


def test_the_group_bootstrap_agrees_with_the_binomial_for_independent_videos():
    hits = np.arange(400) < 280
    low, high = metrics.group_bootstrap_interval(hits, np.arange(400))
    assert (low, high) == pytest.approx(metrics.wilson_interval(280, 400), abs=0.01)


def test_mean_class_accuracy_counts_classes_not_videos():
    hits, labels = np.array([True] * 9 + [False]), np.array([0] * 9 + [1])
    assert metrics.mean_class_accuracy(hits, labels) == 0.5


def test_the_interval_of_mean_class_accuracy_agrees_with_a_bootstrap_within_classes():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    hits = rng.random(120) < np.array([0.9, 0.5, 0.7])[labels]
    drawn = [np.mean([rng.choice(hits[labels == c], 40).mean() for c in range(3)]) for _ in range(3000)]
    got = metrics.mean_class_interval(hits, labels, np.arange(120))
    assert got == pytest.approx(np.percentile(drawn, (2.5, 97.5)), abs=0.015)


def test_no_interval_is_certain_of_little():
    one_each = metrics.mean_class_interval(np.array([True] * 8 + [False] * 8), np.arange(16), np.arange(16))
    assert one_each[0] < 0.3 and one_each[1] > 0.7
    # sixteen classes of one video, all right: a rate of 3/4 each, so half = 1.96 sqrt(16 · 3/16) / 16 = 0.212
    assert metrics.mean_class_interval(np.ones(16, bool), np.arange(16), np.arange(16)) == pytest.approx(
        (0.788, 1), abs=1e-3
    )
    wider = metrics.mean_class_interval(np.ones(16, bool), np.repeat([0, 1], 8), np.repeat(np.arange(4), 4))
    assert wider[0] < metrics.mean_class_interval(np.ones(16, bool), np.repeat([0, 1], 8), np.arange(16))[0]
    all_right = metrics.accuracy_interval(np.ones(40, bool), np.repeat(np.arange(20), 2))
    assert all_right == metrics.wilson_interval(20, 20)
    assert metrics.accuracy_interval(np.arange(8) < 4, np.zeros(8)) == metrics.wilson_interval(0.5, 1)
