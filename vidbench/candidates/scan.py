"""Long videos → candidates.csv and clips: scores are kept as they come, and one bad video ends nothing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidbench.candidates.classifier import ImageClassifier
from vidbench.candidates.cut import cut_clip
from vidbench.candidates.peaks import Candidate, candidates_of, choose, intact_spans, smooth
from vidbench.candidates.pictures import squeezed
from vidbench.candidates.scores import FrameScores, Growing, read_scores, stamp_of, write_scores
from vidbench.candidates.sources import LongVideo, unique_ids
from vidbench.candidates.stream import Damage, Ended, sampled_frames
from vidbench.candidates.tables import SPLIT, Scanned, write_tables
from vidbench.data.integrity import DecodeError, check_file
from vidbench.results import hold
from vidbench.utils import UserError, written_whole

SCHEMA = 1


@dataclass(frozen=True)
class Search:
    """What is looked for, and how.

    labels: what candidates of each class are called, None for classes that are not looked for
    clip_seconds: whole seconds of a clip; smooth_seconds: of the window that scores are averaged over
    max_clips: in all, 0 for no bound; threshold: of the smoothed probability
    """

    labels: tuple[str | None, ...]
    frames_per_second: float = 4.0
    clip_seconds: int = 10
    smooth_seconds: float = 10.0
    threshold: float = 0.5
    max_clips: int = 0
    copy: bool = False
    batch_size: int = 32


def scan_videos(
    videos: Sequence[LongVideo],
    classifier: ImageClassifier,
    out_dir: Path,
    search: Search,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Scanned:
    """Score all videos, cut the best clips to `out_dir/candidates/`, and write tables, scores and figures.

    The same call goes on after a kill, also within a video. Other settings of the search choose anew from the scores
    that are there; with another classifier or frame rate they would mean something else: UserError, unless `overwrite`.
    """
    unique_ids(videos)
    out_dir.mkdir(parents=True, exist_ok=True)
    lock = hold(out_dir)
    try:
        _same_scan(out_dir, videos, classifier, search, overwrite)
        scanned = Scanned()
        for video in videos:
            _score(video, classifier, out_dir, search, scanned, say)
        wanted = _candidates(scanned, search)
        _cut(videos, wanted, out_dir, search, scanned, say)
        write_tables(out_dir, scanned)
        _draw(videos, out_dir, classifier, search, scanned)
        return scanned
    finally:
        lock.release()


def score_video(
    path: Path, classifier: ImageClassifier, frames_per_second: float, part: Path, batch_size: int = 32
) -> FrameScores:
    """The calibrated probabilities of a few frames a second, in batches; rows that `part` holds are not made anew.

    Raises DecodeError where no frame can be decoded.
    """
    images = np.zeros((batch_size, classifier.size, classifier.size, 3), np.uint8)
    times: list[float] = []
    with Growing(part, len(classifier.classes), stamp_of(path)) as rows:

        def flush() -> None:
            if times:  # always a whole batch: another shape would be traced anew
                rows.add_frames(times, classifier(images)[: len(times)])
                times.clear()

        for item in sampled_frames(path, frames_per_second, rows.last):
            if isinstance(item, Ended):
                flush()
                return rows.finished(item.seconds)
            if isinstance(item, Damage):
                flush()
                rows.add_damage(item)
                continue
            images[len(times)] = squeezed(item.image, classifier.size)
            times.append(item.seconds)
            if len(times) == batch_size:
                flush()
    raise DecodeError("no end was found")


def _same_scan(out_dir: Path, videos, classifier: ImageClassifier, search: Search, overwrite: bool) -> None:
    """Note what the scores of a folder were made with; raises UserError where it was something else, or more videos."""
    place = out_dir / "scan.json"
    ours = {
        "schema": SCHEMA,
        "classifier": classifier.sha256,
        "temperature": classifier.temperature,
        "classes": list(classifier.classes),
        "frames_per_second": search.frames_per_second,
    }
    held = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    other = [name for name in ours if name in held and held[name] != ours[name]]
    if other and not overwrite:
        raise UserError(
            f"{out_dir} holds a scan with another {' and '.join(other)}: choose another --out-dir, or --overwrite"
        )
    known = {video.youtube_id for video in videos}
    strangers = sorted({file.stem for file in (out_dir / "scores").glob("*")} - known)
    if strangers and not overwrite:
        raise UserError(
            f"{out_dir} holds a scan of other videos ({', '.join(strangers[:3])}), which this one would take the place "
            "of: scan a folder of all of them, choose another --out-dir, or --overwrite"
        )
    if overwrite:
        _remove(out_dir / "scores", "*")
    if overwrite or held.get("copy", search.copy) != search.copy:
        _remove(out_dir / SPLIT, "*.mp4")
    with written_whole(place) as file:
        json.dump({**ours, "copy": search.copy}, file, indent=1, ensure_ascii=False)


def _remove(folder: Path, pattern: str) -> None:
    for file in sorted(folder.glob(pattern)):
        file.unlink()


def _score(video: LongVideo, classifier, out_dir: Path, search: Search, scanned: Scanned, say) -> None:
    place = out_dir / "scores" / f"{video.youtube_id}.npz"
    part = place.with_suffix(".part")
    try:
        check_file(video.path)
        stamp = stamp_of(video.path)
        found = read_scores(place, stamp)
        if found is None:
            _remove(out_dir / SPLIT, f"{video.youtube_id}_*.mp4")  # of an earlier file of this name
            found = score_video(video.path, classifier, search.frames_per_second, part, search.batch_size)
            write_scores(place, found, classifier.classes, stamp)
            part.unlink(missing_ok=True)
    except DecodeError as problem:
        part.unlink(missing_ok=True)
        _failed(video, problem.stage, str(problem), scanned, say)
        return
    scanned.scores[video.youtube_id] = found
    scanned.damaged += [(video, damage) for damage in found.damaged]
    for damage in found.damaged:
        say(f"{video.path.name}: {damage.start:.1f}–{damage.end:.1f} s skipped: {damage.reason}")
    say(f"{video.path.name}: {len(found.times):,} frames of {found.seconds:,.0f} s scored")


def _failed(video: LongVideo, stage: str, reason: str, scanned: Scanned, say) -> None:
    scanned.failures.append((video, stage, reason))
    say(f"{video.path.name}: not scanned: {reason}")


def _candidates(scanned: Scanned, search: Search) -> list[Candidate]:
    found = []
    for youtube_id, seen in scanned.scores.items():
        spans = intact_spans(seen.seconds, [(item.start, item.end) for item in seen.damaged])
        smoothed = smooth(seen.times, seen.scores, search.smooth_seconds)
        facts = (search.labels, spans, search.clip_seconds, search.threshold)
        found += candidates_of(youtube_id, seen.times, smoothed, *facts)
    return choose(found, search.max_clips)


def _cut(videos, wanted: list[Candidate], out_dir: Path, search: Search, scanned: Scanned, say) -> None:
    """Cut the clips that are not there yet, and remove those of an earlier choice."""
    folder, by_id = out_dir / SPLIT, {video.youtube_id: video for video in videos}
    names = {f"{item.key}.mp4" for item in wanted}
    for old in sorted(folder.glob("*.mp4")):
        if old.name not in names:
            old.unlink()
    for item in wanted:
        target = folder / f"{item.key}.mp4"
        try:
            if not target.is_file():
                cut_clip(by_id[item.youtube_id].path, item.start, item.end, target, search.copy)
            scanned.candidates.append(item)
        except DecodeError as problem:
            reason = f"{item.start}–{item.end} s cannot be cut: {problem}"
            _failed(by_id[item.youtube_id], "cut", reason, scanned, say)


def _draw(videos, out_dir: Path, classifier: ImageClassifier, search: Search, scanned: Scanned) -> None:
    from vidbench.visualize import save_figure, score_curves

    for video in videos:
        if (seen := scanned.scores.get(video.youtube_id)) is None:
            continue
        shown = [index for index, label in enumerate(search.labels) if label]
        own = [item for item in scanned.candidates if item.youtube_id == video.youtube_id]
        figure = score_curves(
            seen.times,
            seen.scores[:, shown],
            smooth(seen.times, seen.scores, search.smooth_seconds)[:, shown],
            [classifier.classes[index] for index in shown],
            {
                label: [(item.start, item.end) for item in own if item.label == label]
                for label in search.labels
                if label
            },
            threshold=search.threshold,
            damaged=[(item.start, item.end) for item in seen.damaged],
        )
        save_figure(figure, out_dir / "scores" / f"{video.youtube_id}.png")
