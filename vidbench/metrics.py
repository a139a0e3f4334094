"""Accuracies and their uncertainty: pure functions of arrays, with fixed seeds."""

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


def group_bootstrap_interval(hits: np.ndarray, groups: np.ndarray, draws: int = DRAWS) -> tuple[float, float]:
    """95 % percentile interval of mean(hits) when whole groups are drawn with replacement.

    hits (N,) bool, groups (N,) of any comparable type. Clips of one recording are not independent: an interval
    that takes them for so is too narrow.
    """
    _, member = np.unique(groups, return_inverse=True)
    right, size = np.bincount(member, weights=hits), np.bincount(member)
    rng, shares = np.random.default_rng(SEED), []
    for _ in range(draws):
        drawn = rng.integers(len(size), size=len(size))
        shares.append(right[drawn].sum() / size[drawn].sum())
    low, high = np.percentile(shares, (2.5, 97.5))
    return float(low), float(high)


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


def mean_class_accuracy(hits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of the classes' accuracies, each class counting the same: hits (N,) bool, labels (N,).

    >>> mean_class_accuracy(np.array([True, True, True, False]), np.array([0, 0, 0, 1]))
    0.5
    """
    right, size = _per_class(hits, labels)
    return float((right / size).mean())


def mean_class_interval(hits: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean class accuracy, classes taken as strata.

    Normal, with the variance of each class from its rate with half a hit and half a miss added (Jeffreys) and its
    number of groups. It agrees with a bootstrap within the classes where those are large; where a class has one
    video, or all or none right, the bootstrap would call its accuracy certain.
    """
    right, size = _per_class(hits, labels)
    rate = (right + 0.5) / (size + 1)
    independent = np.array([len(np.unique(groups[labels == label])) for label in np.unique(labels)])
    half = Z95 * np.sqrt((rate * (1 - rate) / independent).sum()) / len(size)
    mean = (right / size).mean()
    return max(0.0, float(mean - half)), min(1.0, float(mean + half))


def _per_class(hits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, member = np.unique(labels, return_inverse=True)
    return np.bincount(member, weights=hits), np.bincount(member)
