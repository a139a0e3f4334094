"""What else the feature vectors tell: what more clips would bring, which clips are alike, which labels look wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vidbench.metrics import top_k_hits, wilson_interval
from vidbench.probing.features import Features
from vidbench.probing.head import (
    Head,
    check_classes,
    fit_head,
    fit_linear,
    held_out_probabilities,
    path_to,
    video_probabilities,
)
from vidbench.utils import UserError, seeded_place, written_whole

DRAWS = 5  # of training clips, a size of the learning curve
CHUNK = 1024  # videos whose similarities are worked out at once


def learning_curve(
    features: Features,
    val_features: Features,
    classes: Sequence[str],
    sizes: Sequence[int] | None = None,
    seed: int = 0,
    strength: float | None = None,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Val accuracy of heads that are fitted on few training clips a class, on more, on all.

    classes: the names of the labels 0 … C - 1
    sizes: clips a class (default: 1, 2, 4, 8 … below the largest class's number); a class with fewer gives all.
        The last row has all clips, with the largest class's number
    strength: of every fit (`Head.strength`), None for that of `fit_head`

    Each draw puts every class's recordings into a seeded order and takes its first clips, recording by recording: at
    most one recording a class is cut, and of a draw each size holds the smaller ones.

    Returns one row a size: `clips_a_class`, `videos` that were learnt from and `draws`; `accuracy`, the mean over
    the draws, with its 95 % interval `low`, `high` (Wilson's, for as many observations as the labelled val videos
    have recordings: it is about those, not about the draws); and the draws' `lowest` and `highest`.

    Raises UserError for sizes below 1, no labelled val video, fewer than two classes, or one without videos.
    """
    train, val = features.labelled, val_features.labelled
    check_classes(train, classes)
    if not len(val):
        raise UserError("a learning curve needs val videos with a class and features: there are none")
    if sizes is not None and (not len(sizes) or min(sizes) < 1):
        raise UserError(f"sizes of a learning curve are 1 clip a class or more, got {list(sizes)}")
    if strength is None:
        strength = fit_head(features, classes, seed).strength
    largest = int(np.bincount(train.labels).max())
    sizes = [2**power for power in range(largest.bit_length())] if sizes is None else sizes
    rows = []
    for size in [*sorted({size for size in sizes if size < largest}), largest]:
        seeds = range(draws if size < largest else 1)
        samples = [train[first_clips(train, size, seed, draw)] for draw in seeds]
        hits = [_val_hits(sample, val, strength) for sample in samples]
        rows.append({"clips_a_class": size, "videos": len(samples[0]), "draws": len(samples), **_accuracy(hits, val)})
    return pd.DataFrame(rows)


def first_clips(features: Features, size: int, seed: int, draw: int = 0) -> np.ndarray:
    """The rows of the first `size` videos of each class, recordings in the draw's order: sorted, (n,) int64."""
    places = {group: seeded_place(f"{draw}:{group}", seed) for group in features.groups}
    order = sorted(range(len(features)), key=lambda row: (places[features.groups[row]], features.video_ids[row]))
    labels = features.labels[order]
    taken = [np.array(order, np.int64)[labels == label][:size] for label in np.unique(labels)]
    return np.sort(np.concatenate(taken))


def _val_hits(sample: Features, val: Features, strength: float) -> np.ndarray:
    fitted = fit_linear(sample.vectors, sample.labels, strength)
    return top_k_hits(video_probabilities(val.vectors, *fitted), val.labels)


def _accuracy(hits: list[np.ndarray], val: Features) -> dict[str, float]:
    each = [float(hit.mean()) for hit in hits]
    mean, recordings = float(np.mean(each)), len(set(val.groups))
    low, high = wilson_interval(mean * recordings, recordings)
    return {"accuracy": mean, "low": low, "high": high, "lowest": min(each), "highest": max(each)}


def neighbours(features: Features, others: Features, k: int = 5) -> pd.DataFrame:
    """For each of `others` the k of `features`, the training videos, that are most like it.

    Likeness is the cosine between the videos' vectors, the means over their views. A video is no neighbour of itself:
    one of the same id is left out. Returns a row a pair, nearest first, of equal ones the first listed: `video_id`,
    `label`, `rank` (1 … k), `neighbour`, `neighbour_label`, `cosine`; labels are indices, -1 for none.
    """
    ours, theirs = _directions(features), _directions(others)
    places = {video_id: place for place, video_id in enumerate(features.video_ids)}
    tables = []
    for begin in range(0, len(theirs), CHUNK):
        rows = np.arange(begin, min(begin + CHUNK, len(theirs)))
        cosines = theirs[rows] @ ours.T
        for row, cosine in zip(rows, cosines, strict=True):
            itself = places.get(others.video_ids[row])
            order = np.argsort(-cosine, kind="stable")
            nearest = order[order != itself][:k] if itself is not None else order[:k]
            tables.append(_neighbour_rows(features, others, row, nearest, cosine))
    columns = ["video_id", "label", "rank", "neighbour", "neighbour_label", "cosine"]
    return pd.DataFrame([line for table in tables for line in table], columns=columns)


def _neighbour_rows(features, others, row, nearest, cosine) -> list[tuple]:
    return [
        (
            others.video_ids[row],
            int(others.labels[row]),
            rank,
            features.video_ids[place],
            int(features.labels[place]),
            float(cosine[place]),
        )
        for rank, place in enumerate(nearest, start=1)
    ]


def _directions(features: Features) -> np.ndarray:
    """(N, D) float64 of length 1; 0 where a video's vectors are 0."""
    means = features.vectors.mean(axis=1, dtype=np.float64)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return means / np.where(lengths > 0, lengths, 1)


def suspects(features: Features, head: Head, classes: Sequence[str]) -> pd.DataFrame:
    """Labels that held-out folds contradict, the likeliest wrong ones first: columns as of `contradictions`.

    features: those that `head` was fitted on. Wrong labels teach the folds, too; so there are two looks: what the
    first, `head.held_out`, finds `confidently_wrong` is not learnt from in the second, which is what the table shows.
    """
    if head.held_out.shape != (len(features), len(classes)):
        raise ValueError(f"{len(features)} videos, {len(classes)} classes, held-out {head.held_out.shape}")
    known = features.labels >= 0
    kept, held_out, folds = features[known], head.held_out[known], head.folds[known]
    wrong = confidently_wrong(kept.labels, held_out)
    if wrong.any():
        held_out = held_out_probabilities(kept, folds, path_to(head.strength), learnt=~wrong)[-1]
    return contradictions(kept, held_out, classes)


def confidently_wrong(labels: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """(N,) bool: videos that have a likelier class than their label, and as much of it as those that are labelled so.

    labels (N,) int, held_out (N, C) probabilities. The threshold, each class's mean probability over the videos with
    its label, is that of confident learning, and so is leaving them out: Northcutt, Jiang and Chuang, "Confident
    Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021.
    """
    p, best = held_out.astype(np.float64), held_out.argmax(axis=1)
    usual = np.array([p[labels == label, label].mean() for label in range(p.shape[1])])
    rows = np.arange(len(labels))
    return (p[rows, best] > p[rows, labels]) & (p[rows, best] >= usual[best])


def contradictions(features: Features, held_out: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """The labelled videos that have a likelier class than their label by `held_out`, (N, C) probabilities.

    Returns `video_id, label, suggested, p_label, p_suggested, margin`, classes by name, ranked by the normalised
    margin, p_label - p_suggested: -1 is certainly wrong, 0 undecided.
    """
    p, rows, best = held_out.astype(np.float64), np.arange(len(features)), held_out.argmax(axis=1)
    p_label, p_best = p[rows, features.labels], p[rows, best]
    table = pd.DataFrame(
        {
            "video_id": features.video_ids,
            "label": [classes[number] for number in features.labels],
            "suggested": [classes[number] for number in best],
            "p_label": p_label,
            "p_suggested": p_best,
            "margin": p_label - p_best,
        }
    )
    return table[table["margin"] < 0].sort_values("margin", kind="stable", ignore_index=True)


def write_suspects(path: Path, table: pd.DataFrame) -> None:
    """Write `suspects.csv`, whole or not at all."""
    with written_whole(Path(path)) as file:
        table.to_csv(file, index=False, lineterminator="\n", float_format="%.6g")
