"""Scores over time → candidate clips: smoothing, peaks that do not overlap, whole seconds as in Kinetics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Span = tuple[int, int]  # whole seconds, from and to


@dataclass(frozen=True)
class Candidate:
    """A clip in which an action was seen: whole seconds of a video, and how likely it is there (0 to 1)."""

    label: str
    youtube_id: str
    start: int
    end: int
    score: float

    @property
    def key(self) -> str:
        """The clip's name in the form of Kinetics.

        >>> Candidate("waving", "demo0123abc", 7, 17, 0.9).key
        'demo0123abc_000007_000017'
        """
        return f"{self.youtube_id}_{self.start:06d}_{self.end:06d}"


def smooth(times: np.ndarray, scores: np.ndarray, seconds: float) -> np.ndarray:
    """(N, C) mean of the scores (N, C) around each of the times (N,), which are sorted: a Hann window of `seconds`.

    Only frames that are there count, so ends and damaged stretches need no filling in; with 0 seconds nothing changes.

    >>> smooth(np.arange(4.0), np.array([[0.0], [0.0], [1.0], [0.0]]), 4.0).ravel().round(3).tolist()
    [0.0, 0.25, 0.5, 0.333]
    """
    times, scores = np.asarray(times, float), np.asarray(scores, float)
    total, weight, half = scores.copy(), np.ones(len(times)), seconds / 2
    reach = int((np.searchsorted(times, times + half) - np.arange(len(times))).max(initial=0)) if seconds else 0
    for offset in range(1, min(reach + 1, len(times))):
        apart = times[offset:] - times[:-offset]
        share = np.where(apart < half, (1 + np.cos(np.pi * apart / half)) / 2, 0)
        total[:-offset] += share[:, None] * scores[offset:]
        total[offset:] += share[:, None] * scores[:-offset]
        weight[:-offset] += share
        weight[offset:] += share
    return total / weight[:, None]


def intact_spans(seconds: float, damaged: Sequence[tuple[float, float]]) -> list[Span]:
    """The whole seconds of a video that hold no damage, as spans of at least one.

    >>> intact_spans(30.5, [(12.2, 14.7)])
    [(0, 12), (15, 30)]
    """
    edges = [0.0, *(edge for pair in sorted(damaged) for edge in pair), seconds]
    spans = [
        (math.ceil(start - 1e-3), math.floor(end + 1e-3)) for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]
    if not damaged:  # a video of less than a second is still one clip
        spans = [(0, max(1, spans[0][1]))]
    return [(start, end) for start, end in spans if end > start]


def clip_around(moment: float, clip_seconds: int, spans: Sequence[Span]) -> Span | None:
    """The `clip_seconds` whole seconds around a moment, moved into the span it lies in; None where it lies in none.

    A span that is shorter is the clip.

    >>> clip_around(5.6, 4, [(0, 20)]), clip_around(19.5, 4, [(0, 20)]), clip_around(20.5, 4, [(0, 20)])
    ((4, 8), (16, 20), None)
    """
    for first, last in spans:
        if first <= moment <= last:
            length = min(clip_seconds, last - first)
            start = min(max(math.floor(moment - length / 2 + 0.5), first), last - length)
            return start, start + length
    return None


def find_peaks(
    times: np.ndarray, scores: np.ndarray, clip_seconds: int, spans: Sequence[Span], threshold: float
) -> list[tuple[int, int, float]]:
    """(start, end, score) of clips around the highest scores (N,), highest first; none below `threshold`.

    Non-maximum suppression in time: the clip around the best moment, then around the best one whose clip does not
    overlap those that are chosen, and so on. Of equal scores the earlier comes first.
    """
    chosen: list[tuple[int, int, float]] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] < threshold:
            break
        clip = clip_around(float(times[index]), clip_seconds, spans)
        if clip and all(clip[1] <= start or end <= clip[0] for start, end, _ in chosen):
            chosen.append((*clip, float(scores[index])))
    return chosen


def candidates_of(
    youtube_id: str,
    times: np.ndarray,
    smoothed: np.ndarray,
    labels: Sequence[str | None],
    spans: Sequence[Span],
    clip_seconds: int,
    threshold: float,
) -> list[Candidate]:
    """The candidates of one video for each class, best first; a None among the labels is a class nobody looks for.

    Within a class none overlap; of two classes in the very same seconds, the likelier one stays: a clip's name, its
    seconds, can stand for one label only.
    """
    found: dict[Span, Candidate] = {}
    for label, scores in zip(labels, np.asarray(smoothed).T, strict=True):
        for start, end, score in find_peaks(times, scores, clip_seconds, spans, threshold) if label else ():
            if (start, end) not in found or score > found[start, end].score:
                found[start, end] = Candidate(label, youtube_id, start, end, score)
    return sorted(found.values(), key=lambda item: (-item.score, item.start))


def choose(candidates: Sequence[Candidate], max_clips: int = 0) -> list[Candidate]:
    """At most `max_clips` candidates (0: all), by video and time: each class's best in turn, then its second …"""
    places: dict[str, int] = {}
    ranked = []
    for item in sorted(candidates, key=lambda item: (-item.score, item.key)):
        places[item.label] = places.get(item.label, -1) + 1
        ranked.append((places[item.label], item))
    ranked.sort(key=lambda pair: pair[0])  # stable: within a round the likelier one first
    kept = [item for _, item in ranked[: max_clips or None]]
    return sorted(kept, key=lambda item: (item.youtube_id, item.start, item.end))
