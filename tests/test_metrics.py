import tracemalloc

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


# ------------------------------------------------------------------ two runs on the same videos


def test_two_runs_by_hand():
    a = np.array([True] * 20 + [True] * 10 + [False] * 2 + [False] * 8)
    b = np.array([True] * 20 + [False] * 10 + [True] * 2 + [False] * 8)
    assert metrics.two_by_two(a, b) == {"both": 20, "only_a": 10, "only_b": 2, "neither": 8}
    assert metrics.mcnemar_p(10, 2) == pytest.approx(158 / 4096)  # 2 (1 + 12 + 66) / 2^12
    assert metrics.mcnemar_p(2, 10) == metrics.mcnemar_p(10, 2)
    low, high = metrics.paired_interval(a, b, np.arange(40))
    assert 0 < low < 0.2 < high
    flipped = metrics.paired_interval(b, a, np.arange(40))
    assert flipped == pytest.approx((-high, -low), abs=0.03)  # other draws


def test_mcnemar_of_few_flips_is_never_sure():
    assert [metrics.mcnemar_p(n, 0) for n in range(6)] == [1, 1, 0.5, 0.25, 0.125, 0.0625]
    assert metrics.mcnemar_p(3, 3) == 1


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.4 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.4
    assert metrics.holm([0.03, 0.4, 0.01, 0.02]) == pytest.approx([0.06, 0.4, 0.04, 0.06])
    assert metrics.holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])  # 0.03 · 2, and no smaller after it
    assert metrics.holm([0.9, 0.8]).tolist() == [1, 1]
    assert metrics.holm([]).tolist() == []


def test_where_few_videos_flip_the_adjusted_interval_stands_in():
    # Agresti & Min for 3 and 1 of 40: 3.5 and 1.5 of 42, so 2/42 ± 1.96 sqrt(5 - 4/42) / 42
    a, b = np.zeros(40, bool), np.zeros(40, bool)
    a[:3], b[3] = True, True
    half = 1.959964 * np.sqrt(5 - 4 / 42) / 42
    assert metrics.paired_interval(a, b, np.arange(40)) == pytest.approx((2 / 42 - half, 2 / 42 + half), abs=1e-6)
    low, high = metrics.paired_interval(a, b, np.repeat(np.arange(10), 4))  # 0.75 and 0.25 of ten, halves added
    half = 1.959964 * np.sqrt(2 - 0.25 / 12) / 12
    assert (low, high) == pytest.approx((0.5 / 12 - half, 0.5 / 12 + half), abs=1e-6)
    low, high = metrics.paired_interval(a, a, np.arange(40))
    assert low == -high < 0  # the same videos right: no difference, but not a certain one
    assert metrics.paired_interval(np.ones(2, bool), np.zeros(2, bool), np.arange(2))[1] == 1


def test_pairing_makes_the_interval_narrower_than_two_separate_ones():
    hits = np.random.default_rng(0).random(400) < 0.7
    better = hits.copy()
    better[np.flatnonzero(~hits)[:20]] = True
    low, high = metrics.paired_interval(better, hits, np.arange(400))
    assert 0 < low < 0.05 < high
    apart = metrics.wilson_interval(int(better.sum()), 400), metrics.wilson_interval(int(hits.sum()), 400)
    assert apart[0][0] < apart[1][1]  # these overlap


def test_expanded_percentiles_are_wider_for_few_groups():
    # Hesterberg 2015: of ten, t = 2.2622 and sqrt(10 / 9) t = 2.3845, below which lie 0.855 %
    assert metrics._expanded_tail(10) == pytest.approx(0.00855, abs=1e-5)
    assert metrics._expanded_tail(100_000) == pytest.approx(0.025, abs=1e-5)
    with pytest.raises(ValueError, match="at least two"):
        metrics.group_bootstrap_interval(np.ones(4), np.zeros(4))


def test_the_bootstrap_draws_whole_groups():
    """Drawing kinds of groups is drawing groups: the spread is that of a loop over groups."""
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 25, 200)
    hits = rng.random(200) < rng.random(25)[groups]
    total, size = np.bincount(groups, hits), np.bincount(groups)
    drawn = [rng.integers(25, size=25) for _ in range(4000)]
    means = [total[rows].sum() / size[rows].sum() for rows in drawn]
    tail = metrics._expanded_tail(25)
    got = metrics.group_bootstrap_interval(hits, groups, draws=4000)
    assert got == pytest.approx(np.quantile(means, (tail, 1 - tail)), abs=0.015)


def test_the_bootstrap_of_many_groups_needs_little_memory():
    size = np.repeat(1, 20_000)
    tracemalloc.start()
    means = metrics._drawn_means(np.arange(20_000.0), size, draws=500)  # no two groups are of one kind
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(means) == 500 and peak < 50e6  # all draws at once would be 80 MB
    assert means.std() == pytest.approx(20_000 / np.sqrt(12 * 20_000), rel=0.15)


def clustered(seed: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each group has a rate of its own, drawn from a beta distribution of mean 2/3, and one to nine videos."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rng.integers(1, 10, groups))
    return rng.beta(4, 2, groups)[group], group, rng.random((3, len(group)))


def test_group_intervals_cover_the_truth():
    inside = 0
    for seed in range(1000):
        rate, group, (chance, _, _) = clustered(seed, 30)
        low, high = metrics.group_bootstrap_interval(chance < rate, group, draws=400)
        inside += low <= 2 / 3 <= high
    assert 930 <= inside <= 970


def test_accuracy_intervals_cover_the_truth():
    inside = 0
    for seed in range(1000):
        rate, group, (chance, _, _) = clustered(seed, 40)
        low, high = metrics.accuracy_interval(chance < rate, group)
        inside += low <= 2 / 3 <= high
    assert 930 <= inside <= 970


@pytest.mark.parametrize("alone", [True, False])
def test_paired_intervals_cover_the_truth(alone):
    """The second run has 0.85 of the first one's rate, and is right about much the same videos."""
    inside = 0
    for seed in range(1000):
        rate, group, (chance, other, same) = clustered(seed, 40)
        if alone:  # a rate of its own for every video, and none of them related
            rate, group = np.random.default_rng(seed).beta(4, 2, len(rate)), np.arange(len(rate))
        first, second = chance < rate, np.where(same < 0.5, chance, other) < 0.85 * rate
        low, high = metrics.paired_interval(first, second, group, draws=400)
        inside += low <= 0.15 * 2 / 3 <= high
    assert 930 <= inside <= 970


@given(st.floats(0, 1), st.floats(0.01, 0.3))
def test_the_videos_that_a_claim_needs_are_just_enough(share, half_width):
    number = metrics.videos_needed(share, half_width)
    halves = [np.diff(metrics.wilson_interval(share * n, n))[0] / 2 for n in (number, max(1, number - 1))]
    assert halves[0] <= half_width and (number == 1 or halves[1] > half_width)


def test_nobody_can_be_infinitely_certain():
    for share, half_width in ((0.5, 0.0), (1.5, 0.1)):
        with pytest.raises(ValueError, match="positive half-width"):
            metrics.videos_needed(share, half_width)


def test_the_accuracy_of_the_surest_by_hand():
    hits = np.array([False, True, True, True])
    assert metrics.accuracy_of_surest(np.array([0.2, 0.9, 0.9, 0.3]), hits).tolist() == [1, 1, 1, 0.75]
    doubtful = metrics.accuracy_of_surest(np.array([0.9, 0.1, 0.1, 0.1]), hits)
    assert doubtful == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])
