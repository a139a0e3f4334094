"""Videos that show the same: files with the same bytes, and copies that were re-encoded, scaled, mirrored or trimmed.

Near doubles are found by their frames' hashes (`vidbench.data.looks`). Two videos are compared where a frame of one
has a 32-bit band of its hash in common with a frame of the other, or with its mirror image: sorting finds these, so
that 70,000 videos are not 2.4 billion comparisons. Compared are the frames that stand at the same time, under the
best shift in time.

How the numbers were chosen: on the 128 clips of JHMDB's eight classes, six copies of each (half size at CRF 32;
mirrored; without the first third; without the last third; without 3 frames at the beginning and 2 at the end; half
size at CRF 32, mirrored and without the first third), all H.264, some with other time stamps, as their originals miss
frames. Median distance of the frames at the best shift, in bits of 256:

    768 copies                                          0 to 21 (99 in 100: 16); each has a band in common
    two clips that share 1 second                       11
    two shots of one pose, one scene, a camera at rest  26: these count as one, too
    seven other pairs, each of one recording            43, 49, 50, 68, 74, 87, 92
    the other 8,119 pairs, mirrored or not              96 and more

so frames match at up to `MATCH_BITS`. The share that does is 67 % and more in these copies, 72 % and more in 204 others
(of demo clips and of Kinetics clips of 10 seconds, which move), at most 22 % in the seven pairs: `MATCH_SHARE`. Of the
demo's 160 drawn clips no pair is near.

What is not found: copies that were cropped, padded, turned, slowed or edited; a trimmed copy of a video of a minute or
more in which much moves, as its frames are looked at twice a second; pictures so smooth or small (some 60 pixels) that
compression changes most of what they have. What is looked at of a video takes some 9 kB of memory, of 70,000 650 MB.
"""

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from vidbench.data.looks import Looks
from vidbench.data.records import Video
from vidbench.utils import sha256_of

MATCH_BITS = 32  # frames that differ in at most so many of 256 bits show the same
MATCH_SHARE = 0.4  # of the frames that stand at the same time must match
OVERLAP = 0.5  # of the shorter video's frames must have a frame of the other at their time
SECONDS = 0.13  # frames so far apart stand at the same time (or as far as the frames that were looked at lie apart)
CROWD = 100  # a band that more videos than this have in common tells nothing: a title, a test picture
ALL_PAIRS = 20  # of so many equal files every pair is named, of more each with the first
TAIL_BYTES = 65_536  # files of one size that end alike are read to see whether they are copies


@dataclass(frozen=True)
class Double:
    """Two videos, by their places in a list, the earlier first, that show the same.

    kind: "exact" (the same bytes), "near", or "mirrored" (near the mirror image)
    overlap: the share of the shorter video's frames that the other shows too, 0 to 1
    """

    first: int
    second: int
    kind: str
    overlap: float


def find_doubles(videos: Sequence[Video], looks: Sequence[Looks | None]) -> tuple[list[Double], int]:
    """All doubles among the videos, sorted; and how many bands were skipped because a crowd of videos has them.

    looks: one a video, None where it could not be read.
    """
    exact = list(_exact(videos))
    known = {(pair.first, pair.second) for pair in exact}
    near, crowded = _near(looks, known)
    return sorted([*exact, *near], key=lambda pair: (pair.first, pair.second)), crowded


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` places the smallest place that pairs lead to from it.

    >>> connected(5, [(1, 3), (4, 3)])
    [0, 1, 2, 1, 1]
    """
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(place) for place in range(count)]


# ------------------------------------------------------------------ the same bytes


def copies(videos: Iterable[Video]) -> Iterator[list[Video]]:
    """Videos whose files hold the same bytes, two or more at a time; folders of frames are not looked into."""
    alike: list[list[Video]] = [list(videos)]
    for fingerprint in (_size, _tail_sha256, sha256_of):  # each is asked only of those that were alike so far
        parts: dict = defaultdict(list)
        for number, candidates in enumerate(alike):
            for video in candidates:
                with contextlib.suppress(OSError):  # a file that cannot be read is no copy; scoring it will say more
                    if video.path and video.path.is_file() and video.path.stat().st_size:
                        parts[number, fingerprint(video.path)].append(video)
        alike = [candidates for candidates in parts.values() if len(candidates) > 1]
    yield from alike


def _size(path: Path) -> int:
    return path.stat().st_size


def _tail_sha256(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, _size(path) - TAIL_BYTES))
        return hashlib.sha256(file.read()).hexdigest()


def _exact(videos: Sequence[Video]) -> Iterator[Double]:
    """Pairs of videos that are the same part of files with the same bytes."""
    place = {id(video): number for number, video in enumerate(videos)}
    for same in copies(videos):
        parts: dict = defaultdict(list)
        for video in same:
            parts[video.start_seconds, video.end_seconds].append(place[id(video)])
        for places in parts.values():
            first = min(places)
            small = len(places) <= ALL_PAIRS
            pairs = combinations(sorted(places), 2) if small else ((first, p) for p in sorted(places) if p != first)
            yield from (Double(one, other, "exact", 1.0) for one, other in pairs)


# ------------------------------------------------------------------ nearly the same


def _near(looks: Sequence[Looks | None], known: set[tuple[int, int]]) -> tuple[list[Double], int]:
    pairs, crowded = candidate_pairs(looks)
    found: dict[tuple[int, int], Double] = {}
    for first, second, mirrored in pairs:
        if (first, second) not in known:
            overlap = overlap_of(looks[first], looks[second], mirrored)
            before = found.get((first, second))
            if overlap and (before is None or overlap > before.overlap):
                found[first, second] = Double(first, second, "mirrored" if mirrored else "near", overlap)
    return list(found.values()), crowded


def candidate_pairs(looks: Sequence[Looks | None]) -> tuple[list[tuple[int, int, bool]], int]:
    """(earlier, later, mirrored?) of all videos that have a band in common, sorted; and the bands that a crowd has."""
    codes: set[int] = set()
    crowded = 0
    number = len(looks)
    for band in range(8):
        keys, entries = _band_of_all(looks, band)
        ends = np.flatnonzero(np.diff(keys)) + 1
        starts, ends = np.concatenate([[0], ends]), np.concatenate([ends, [len(keys)]])
        for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
            places, flags = entries[start:end] // 2, entries[start:end] % 2
            plain, mirrored = places[flags == 0].tolist(), places[flags == 1].tolist()
            if plain and len({*plain, *mirrored}) > CROWD:
                crowded += 1
                continue
            codes.update((a * number + b) * 2 for a, b in combinations(sorted(plain), 2))
            for other in mirrored:
                codes.update((min(a, other) * number + max(a, other)) * 2 + 1 for a in plain if a != other)
    return [(code // 2 // number, code // 2 % number, bool(code % 2)) for code in sorted(codes)], crowded


def _band_of_all(looks: Sequence[Looks | None], band: int) -> tuple[np.ndarray, np.ndarray]:
    """One band of all videos' telling frames, each once a video, sorted: keys, and place * 2 + (1 if mirrored)."""
    parts = [np.zeros(0, np.uint64)]
    for place, seen in enumerate(looks):
        if seen is not None and seen.telling.any():
            for flag, hashes in enumerate((seen.hashes, seen.mirrored)):
                keys = np.unique(hashes[seen.telling].view(np.uint32)[:, band]).astype(np.uint64)
                parts.append((keys << np.uint64(32)) | np.uint64(2 * place + flag))
    joined = np.concatenate(parts)
    joined.sort()
    return joined >> np.uint64(32), (joined & np.uint64(0xFFFFFFFF)).astype(np.int64)


def overlap_of(one: Looks, other: Looks, mirrored: bool = False) -> float:
    """The share of the shorter video's telling frames that the other shows at their time; 0.0 for no doubles.

    mirrored: compare the one with the mirror image of the other
    """
    distance, times, other_times = _distances(one, other, mirrored)
    if not distance.size:
        return 0.0
    together = max(SECONDS, *(float(np.median(np.diff(seen.times))) for seen in (one, other) if len(seen.times) > 1))
    match = distance <= MATCH_BITS
    lag = other_times - times[:, None]
    best = 0.0
    for shift in np.unique(np.round(lag[match] / together * 2)) * together / 2:
        near = np.abs(lag - shift) <= together
        inside = near.any(axis=1)
        matched = (near & match).any(axis=1).sum()
        if inside.mean() >= OVERLAP and matched >= MATCH_SHARE * inside.sum():
            best = max(best, float(matched / len(times)))
    return best


def _distances(one: Looks, other: Looks, mirrored: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A, B) differing bits between the telling frames of the shorter and of the longer video, and their times."""
    first = one.hashes[one.telling].view(np.uint64)
    second = (other.mirrored if mirrored else other.hashes)[other.telling].view(np.uint64)
    distance = np.bitwise_count(first[:, None] ^ second[None]).sum(axis=2, dtype=np.int64)
    times, other_times = one.times[one.telling], other.times[other.telling]
    if one.info.seconds > other.info.seconds:
        return distance.T, other_times, times
    return distance, times, other_times
