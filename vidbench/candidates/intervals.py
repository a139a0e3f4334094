"""How well found intervals agree with true ones: pure functions of arrays of (start, end) seconds."""

from collections.abc import Sequence

import numpy as np


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) temporal intersection over union of the intervals (N, 2) and (M, 2), each from a start to a later end.

    >>> overlap(np.array([[0, 10]]), np.array([[5, 15], [0, 10], [10, 20]])).round(3).tolist()
    [[0.333, 1.0, 0.0]]
    """
    first, second = np.asarray(first, float).reshape(-1, 2), np.asarray(second, float).reshape(-1, 2)
    starts = np.maximum(first[:, None, 0], second[None, :, 0])
    ends = np.minimum(first[:, None, 1], second[None, :, 1])
    both = np.maximum(0, ends - starts)
    return both / (np.diff(first, axis=1) + np.diff(second, axis=1).T - both)


def match(found: np.ndarray, scores: np.ndarray, truth: np.ndarray, least: float = 0.5) -> np.ndarray:
    """(N,) int64: which of the true intervals (M, 2) each of those found (N, 2) is, -1 for none.

    One to one, and greedy as in ActivityNet's and THUMOS' evaluations: from the highest of the scores (N,) on, each
    takes the free true interval that it overlaps most, if that is at least `least` of their union.
    """
    shares, taken = overlap(found, truth), np.full(len(found), -1, np.int64)
    for index in np.argsort(-np.asarray(scores, float), kind="stable"):
        if shares.shape[1] and shares[index].max() >= least:
            taken[index] = shares[index].argmax()
            shares[:, taken[index]] = -1
    return taken


def precision_and_recall(hits: int, found: int, truth: int) -> tuple[float, float]:
    """Shares of the found and of the true intervals that were matched; nan where there are none.

    >>> precision_and_recall(3, 4, 6)
    (0.75, 0.5)
    """
    return hits / found if found else float("nan"), hits / truth if truth else float("nan")


def random_clips(lengths: Sequence[float], seconds: float, rng: np.random.Generator) -> np.ndarray:
    """(N, 2) intervals of these lengths, put uniformly into 0…seconds without overlap, in the order of `lengths`.

    The room that they leave is cut at uniform points; the clips, in random order, stand where the cuts are.
    Raises ValueError where they do not fit.
    """
    lengths = np.asarray(lengths, float)
    room = seconds - lengths.sum()
    if room < 0:
        raise ValueError(f"clips of {lengths.sum():g} seconds do not fit into {seconds:g}")
    order = rng.permutation(len(lengths))
    before = np.concatenate([[0.0], np.cumsum(lengths[order])[:-1]]) if len(lengths) else np.empty(0)
    starts = np.empty(len(lengths))
    starts[order] = np.sort(rng.uniform(0, room, len(lengths))) + before
    return np.stack([starts, starts + lengths], axis=1)
