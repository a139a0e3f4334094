"""Frames of labelled clips as pictures of their classes: works without a network."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm  # not its widget: what is no terminal gets no bar

from vidbench.candidates.actions import folder_name
from vidbench.candidates.album import Album, ImageRow
from vidbench.candidates.pictures import NONE
from vidbench.candidates.stills import Refused, Still, still_of_frame
from vidbench.data.datasets import load_dataset
from vidbench.data.datasets.annotated import ANNOTATIONS
from vidbench.data.datasets.tables import NOT_VIDEOS, video_files
from vidbench.data.decode import decode
from vidbench.data.load import failure_of
from vidbench.data.records import Video
from vidbench.data.splitting import group_name, known_group
from vidbench.data.workers import worker_pool
from vidbench.utils import UserError, canonical_label, printable, seeded_place, unknown

AHEAD = 2  # clips a worker that are decoded before they are asked for
LONGEST_NAME = 120  # characters of a clip's name in a picture's


@dataclass(frozen=True)
class Taking:
    """How frames are taken: so many a clip, by so many processes, each clip in so many seconds."""

    frames_per_clip: int = 4
    workers: int = 1
    decode_timeout: float = 60.0
    frames_fps: float = 25.0
    min_side: int = 0
    retry_rejected: bool = False


def labelled_clips(
    place: Path, dataset: str | None = None, split: str = "train", names: Iterable[str] = ()
) -> list[Video]:
    """The labelled videos of a data set that the kit reads, of the classes `names` and of `NONE`; all for none.

    place: its folder (class folders; or with `annotations.json`; or any that `dataset` names), or the table of `csv`.
    Raises UserError: no such folder, no labelled video, a name that is no class.
    """
    place = Path(place)
    if not place.exists():
        raise UserError(f"no such folder: {place}")
    if place.is_file() and place.suffix.lower() not in NOT_VIDEOS:
        raise UserError(f"{place} is neither a folder nor a table of clips")
    if place.is_file():
        videos = load_dataset("csv", split, csv_path=place).videos
    elif dataset == "annotations" or (dataset is None and (place / ANNOTATIONS).is_file()):
        videos = load_dataset("annotations", split, annotations=place / ANNOTATIONS).videos
    else:
        videos = load_dataset(dataset or "folder", split, place).videos
    labelled = [
        replace(
            video,
            label=folder_name(video.label),
            group=video.group or known_group(Path(video.video_id).name, video.label),
        )
        for video in videos
        if video.label
    ]
    if not labelled:
        raise UserError(f"{place} has no labelled videos: DIR/<class>/* is wanted, or --dataset NAME")
    known = {canonical_label(video.label): video.label for video in labelled}
    for name in names:
        if canonical_label(name) not in known:
            raise unknown("class", name, known.values())
    wanted = {canonical_label(name) for name in (*names, NONE)}
    return [video for video in labelled if not names or canonical_label(video.label) in wanted]


def background_clips(folder: Path) -> list[Video]:
    """All videos below a folder as clips of `NONE`. Raises UserError where there are none."""
    if not Path(folder).is_dir():
        raise UserError(f"no such folder: {folder}")
    files = list(video_files(Path(folder)))
    if not files:
        raise UserError(f"{folder} has no videos")
    return [Video(printable(file.relative_to(folder).as_posix()), file, NONE) for file in files]


def take_frames(album: Album, clips: Iterable[Video], most: int | None, taking: Taking, seed: int = 0) -> None:
    """Put frames of clips into the album, of each class until it has `most`; clips come in a seeded order.

    A clip that cannot be read is a row of the table, and the others go on.
    """
    clips = sorted(clips, key=lambda video: seeded_place(video.video_id, seed))
    for video, name, future in _decoding(clips, lambda video: _open(album, video, most), album, taking):
        known = {"action": video.label, "clip": video.video_id, "group": group_name(video)}
        row = ImageRow(f"{video.label}/{name}", **known)
        try:
            if future is None:
                raise Refused("no clip", "missing file", again=True)
            frames = _frames_of(future, video, taking)
        except Refused as problem:
            album.refuse(row, problem)
            continue
        for seconds, picture in frames:
            at = replace(row, key=f"{row.key}_{round(1000 * seconds)}", seconds=round(seconds, 3))
            if _open(album, video, most) and not album.known(at.key, taking.retry_rejected):
                if isinstance(picture, Still):
                    album.keep(at, picture)
                else:
                    album.refuse(at, Refused(*picture))


def _open(album: Album, video: Video, most: int | None) -> bool:
    return most is None or album.counts[video.label] < most


def _decoding(clips: list[Video], wanted, album: Album, taking: Taking) -> Iterator[tuple[Video, str, Future | None]]:
    """(clip, its name, its frames as they will come) of every clip that has some left and is wanted."""
    names = clip_names(clips)
    done = Counter((row.action, row.clip) for row in album.table.rows.values() if row.seconds is not None)
    unread = {key for key, row in album.table.rows.items() if row.seconds is None}
    pending: list = []
    pool = worker_pool(min(taking.workers, max(1, len(clips))))
    try:
        for video, name in tqdm(zip(clips, names, strict=True), "clips", len(clips), unit="clip", disable=None):
            key, number = f"{video.label}/{name}", done[video.label, video.video_id]
            known = key in unread and album.known(key, taking.retry_rejected)
            whole = number >= taking.frames_per_clip and not taking.retry_rejected
            if known or whole or not wanted(video):
                continue
            task = (video, taking.frames_per_clip, taking.frames_fps, taking.min_side)
            future = video.path and pool.schedule(frames_of_clip, args=task, timeout=taking.decode_timeout)
            pending.append((video, name, future))
            if len(pending) > AHEAD * taking.workers:
                yield pending.pop(0)
        while pending:
            yield pending.pop(0)
    finally:
        pool.stop()
        pool.join()


def _frames_of(future: Future, video: Video, taking: Taking) -> list:
    try:
        return future.result()
    except Exception as problem:  # one clip must never end a run, whatever its bytes set off in a codec
        failure = failure_of(problem, video, taking.decode_timeout)
        raise Refused("no clip", failure.reason, again=failure.stage == "find") from None


def frames_of_clip(video: Video, number: int, frames_fps: float, min_side: int) -> list:
    """A worker's task: (seconds, Still) of the middles of `number` equal parts of a clip, or (seconds, why not).

    Why not is a pair of texts, kind and words. Raises DecodeError.
    """
    cv2.setNumThreads(1)  # the workers are the parallelism
    seen = decode(
        video.path,
        lambda num_frames, fps: np.unique(((np.arange(number) + 0.5) * num_frames / number).astype(np.int64))[None],
        start_seconds=video.start_seconds,
        end_seconds=video.end_seconds,
        frames_fps=frames_fps,
    )
    found: list = []
    for seconds, frame in zip(seen.times.tolist(), seen.frames, strict=True):
        try:
            if min(frame.shape[:2]) < min_side:
                raise Refused("too small", f"{frame.shape[1]}×{frame.shape[0]} pixels, less than {min_side}")
            found.append((seconds, still_of_frame(frame)))
        except Refused as problem:
            kind, _, words = str(problem).partition(": ")
            found.append((seconds, (kind, words)))
    return found


def clip_names(clips: list[Video]) -> list[str]:
    """A file name for each clip, of its id: without its folders, its suffix and what no file name should have.

    Where two clips of a class would have one name, both get a few digits of their id's SHA-256.
    """
    short = [_short_name(video) for video in clips]
    often = Counter((video.label, name) for video, name in zip(clips, short, strict=True))
    names = []
    for video, name in zip(clips, short, strict=True):
        digits = hashlib.sha256(video.video_id.encode(errors="surrogateescape")).hexdigest()[:8]
        names.append(f"{name}-{digits}" if often[video.label, name] > 1 or len(name) == LONGEST_NAME else name)
    return names


def _short_name(video: Video) -> str:
    name = video.video_id.rsplit("/", 1)[-1]
    if video.path is not None and video.path.suffix:
        name = name.removesuffix(video.path.suffix)
    return re.sub(r"[^\w.+=@-]+", "_", name, flags=re.ASCII).lstrip(".")[:LONGEST_NAME] or "clip"
