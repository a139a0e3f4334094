"""Accuracies and their uncertainty: pure functions of arrays, with fixed seeds."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution
DRAWS = 2000
FEW_GROUPS = 10
SEED = 20


def softmax(logits: np.ndarray) -> np.ndarray:
    """(..., C) logits → probabilities that sum to 1, same shape, float32; computed in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)


def ranking(scores: np.ndarray) -> np.ndarray:
    """(..., C) scores → (..., C) class indices, best first; of equal scores the lower index is first."""
    return np.argsort(-scores, axis=-1, kind="stable")


def top_k_hits(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> np.ndarray:
    """(N,) bool, whether the label is among the k best: scores (N, C) float, labels (N,) int."""
    return (ranking(scores)[:, :k] == labels[:, None]).any(axis=1)


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Fraction of rows whose label is among the k best: scores (N, C) float, labels (N,) int.

    >>> top_k_accuracy(np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]), np.array([0, 1]), k=1)
    0.5
    """
    return float(top_k_hits(scores, labels, k).mean())


def wilson_interval(hits: float, total: int) -> tuple[float, float]:
    """95 % interval of a fraction (Wilson 1927); holds near 0 and 1 and for small samples, unlike ±1.96 σ.

    >>> [round(bound, 4) for bound in wilson_interval(14, 16)]
    [0.6398, 0.965]
    """
    if total < 1:
        raise ValueError("an interval needs at least one observation")
    share, z2 = hits / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * np.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def videos_needed(share: float, half_width: float) -> int:
    """The fewest videos whose 95 % interval (Wilson) of an accuracy of `share` is at most `half_width` either way.

    Both are fractions. Raises ValueError unless 0 <= share <= 1 and 0 < half_width.

    >>> videos_needed(0.71, 0.01)
    7907
    """
    if not 0 <= share <= 1 or half_width <= 0:
        raise ValueError(f"wanted a share of 0 to 1 and a positive half-width, got {share} and {half_width}")

    def half(number: int) -> float:
        low, high = wilson_interval(share * number, number)
        return (high - low) / 2

    most = 1
    while half(most) > half_width:
        most *= 2
    return bisect_left(range(most), -half_width, lo=1, key=lambda number: -half(number))


def accuracy_of_surest(confidence: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """(N,) accuracy of the 1, 2, … N surest answers: confidence (N,) float, hits (N,) bool.

    What a model is worth that may decline to answer (El-Yaniv & Wiener, JMLR 11, 2010). Of equally sure answers the
    earlier come first.

    >>> accuracy_of_surest(np.array([0.5, 0.9, 0.7, 0.6]), np.array([False, True, True, False])).round(2).tolist()
    [1.0, 1.0, 0.67, 0.5]
    """
    order = ranking(np.asarray(confidence))
    return np.cumsum(np.asarray(hits)[order]) / np.arange(1, len(order) + 1)


def reliability(confidence: np.ndarray, hits: np.ndarray, bins: int = 10) -> list[dict]:
    """Answers by how sure they were, in `bins` equal steps of 0…1: confidence (N,) float, hits (N,) bool.

    A dict for each step that has answers: low, high (its bounds), videos (how many answers), confidence (their mean),
    accuracy. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    confidence, hits = np.asarray(confidence, float), np.asarray(hits, float)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    for step in range(bins):
        inside = place == step
        if inside.any():
            means = {"confidence": float(confidence[inside].mean()), "accuracy": float(hits[inside].mean())}
            found.append({"low": step / bins, "high": (step + 1) / bins, "videos": int(inside.sum()), **means})
    return found


def calibration_error(steps: list[dict]) -> float:
    """The mean distance of confidence and accuracy over the steps of `reliability`, each weighed by its answers.

    >>> answers = reliability(np.array([0.95, 0.91, 0.62]), np.array([True, False, False]))
    >>> round(calibration_error(answers), 4)  # (2 |0.93 - 0.5| + |0.62 - 0|) / 3
    0.4933
    """
    answers = sum(step["videos"] for step in steps)
    return sum(step["videos"] * abs(step["confidence"] - step["accuracy"]) for step in steps) / max(1, answers)


def group_bootstrap_interval(hits: np.ndarray, groups: np.ndarray, draws: int = DRAWS) -> tuple[float, float]:
    """95 % interval of mean(hits) when whole groups are drawn with replacement.

    hits (N,) bool, or any numbers; groups (N,) of any comparable type. Clips of one recording are not independent: an
    interval that takes them for so is too narrow. The percentiles are the expanded ones of Hesterberg (The American
    Statistician 69, 2015): plain ones of few groups are too narrow, too. Raises ValueError for fewer than two groups.
    """
    total, size = _group_sums(hits, groups)
    if len(size) < 2:
        raise ValueError("a bootstrap over groups needs at least two")
    drawn = _drawn_means(total, size, draws)
    tail = _expanded_tail(len(size))
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return float(low), float(high)


def _group_sums(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each group's sum of `values` and its size, (G,) each."""
    _, member = np.unique(groups, return_inverse=True)
    return np.bincount(member, weights=values), np.bincount(member)


def _drawn_means(total: np.ndarray, size: np.ndarray, draws: int) -> np.ndarray:
    """(draws,) means over all videos, each of as many groups as there are, drawn with replacement.

    Groups of equal sum and size are one kind: how many of each kind are drawn is multinomial, and there are far fewer
    kinds than groups. A chunk of draws holds some 16 MB, however many kinds there are.
    """
    kinds, number = np.unique(np.stack([total, size]), axis=1, return_counts=True)
    rng, means = np.random.default_rng(SEED), []
    chunk = max(1, 2**20 // len(number))
    for start in range(0, draws, chunk):
        counts = rng.multinomial(len(size), number / len(size), size=min(chunk, draws - start))
        sums, sizes = kinds @ counts.T
        means.append(sums / sizes)
    return np.concatenate(means)


def _expanded_tail(groups: int) -> float:
    """The share below Hesterberg's lower percentile: Φ(-sqrt(G / (G - 1)) t), t of G - 1 degrees of freedom."""
    from scipy.special import ndtr, stdtrit  # 0.2 seconds that importing the kit must not cost

    return float(ndtr(-np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, 0.975)))


def accuracy_interval(hits: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """95 % interval of mean(hits): Wilson's where every video is a group of its own, else over the groups.

    With fewer than ten groups, or where all videos or none are right, drawing groups anew shows too little or no
    spread at all; Wilson's interval for as many observations as there are groups stands in.
    """
    number = len(np.unique(groups))
    if number == len(hits):
        return wilson_interval(int(hits.sum()), len(hits))
    if number < FEW_GROUPS or hits.all() or not hits.any():
        return wilson_interval(hits.mean() * number, number)
    return group_bootstrap_interval(hits, groups)


def two_by_two(hits_a: np.ndarray, hits_b: np.ndarray) -> dict[str, int]:
    """How many videos both, only the first, only the second, or neither of two runs got right: hits (N,) bool each."""
    return {
        "both": int((hits_a & hits_b).sum()),
        "only_a": int((hits_a & ~hits_b).sum()),
        "only_b": int((~hits_a & hits_b).sum()),
        "neither": int((~hits_a & ~hits_b).sum()),
    }


def paired_interval(
    hits_a: np.ndarray, hits_b: np.ndarray, groups: np.ndarray, draws: int = DRAWS
) -> tuple[float, float]:
    """95 % interval of mean(hits_a) - mean(hits_b) on the same videos: hits (N,) bool each, groups (N,).

    Whole groups are drawn with both runs' hits, as in `group_bootstrap_interval`. Where the runs differ in fewer than
    ten groups, that shows too little spread, or none; the adjusted Wald interval of Agresti & Min (Statistics in
    Medicine 24, 2005) for as many pairs as there are groups stands in, half a pair added to each cell of the 2 × 2
    table. It has a width also where the runs are right about the very same videos: others might tell them apart.
    """
    gain = hits_a.astype(float) - hits_b
    total, _ = _group_sums(gain, groups)
    if np.count_nonzero(total) >= FEW_GROUPS:
        return group_bootstrap_interval(gain, groups, draws)
    scale = len(total) / len(gain)
    only_a, only_b = scale * (gain > 0).sum() + 0.5, scale * (gain < 0).sum() + 0.5
    pairs = len(total) + 2
    difference = (only_a - only_b) / pairs
    half = Z95 * np.sqrt(only_a + only_b - (only_a - only_b) ** 2 / pairs) / pairs
    return max(-1.0, float(difference - half)), min(1.0, float(difference + half))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Exact two-sided p of McNemar's test: how likely two equally good runs part as unevenly, or more.

    only_a, only_b: videos that one run alone got right; they are taken for independent. 1.0 where there are none.

    >>> round(mcnemar_p(10, 2), 4)  # 2 (1 + 12 + 66) / 4096
    0.0386
    """
    from scipy.stats import binomtest  # a second that importing the kit must not cost

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def holm(p_values: Sequence[float]) -> np.ndarray:
    """(M,) p values → (M,), in the same order, corrected for there being M (Holm, Scand. J. Statistics 6, 1979).

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected


def mean_class_accuracy(hits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of the classes' accuracies, each class counting the same: hits (N,) bool, labels (N,).

    >>> mean_class_accuracy(np.array([True, True, True, False]), np.array([0, 0, 0, 1]))
    0.5
    """
    right, size = _group_sums(hits, labels)
    return float((right / size).mean())


def mean_class_interval(hits: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean class accuracy, classes taken as strata.

    Normal, with the variance of each class from its rate with half a hit and half a miss added (Jeffreys) and its
    number of groups. It agrees with a bootstrap within the classes where those are large; where a class has one
    video, or all or none right, the bootstrap would call its accuracy certain.
    """
    right, size = _group_sums(hits, labels)
    rate = (right + 0.5) / (size + 1)
    independent = np.array([len(np.unique(groups[labels == label])) for label in np.unique(labels)])
    half = Z95 * np.sqrt((rate * (1 - rate) / independent).sum()) / len(size)
    mean = (right / size).mean()
    return max(0.0, float(mean - half)), min(1.0, float(mean + half))
