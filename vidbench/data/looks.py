"""What a video looks like, in a few kilobytes: one pass over the file, in a worker, kept in the cache.

The hashes are ImageHash's `phash` (https://github.com/JohannesBuchner/imagehash): the signs of the lowest 16 × 16
frequencies of the frame, 256 bits of which compression and scaling change few. `vidbench.data.doubles` compares them.
"""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import av
import cv2
import numpy as np

from vidbench.data import cache
from vidbench.data.decode import VideoInfo, decode
from vidbench.data.integrity import check_file
from vidbench.data.load import Failure, failure_of
from vidbench.data.records import Video
from vidbench.data.workers import worker_pool
from vidbench.machine import usable_cpus

log = logging.getLogger(__name__)

AHEAD = 4  # videos a worker that are decoded before they are asked for
RATE = 16.0  # frames a second that are looked at
MOST_FRAMES = 128  # of a video; the frames of longer ones lie further apart
SIDE = 64  # a frame is shrunk to 64 × 64 spots: what phash of 16 × 16 bits looks at
HASH_SIDE = 16
BLACK_LEVEL = 32  # of 255: no more than 1 in 100 spots of a black frame is brighter
PLAIN_CONTRAST = 5.0  # of 255: the spots' standard deviation in a frame of one colour; filmed frames have 15 and more


@dataclass(frozen=True, eq=False)
class Looks:
    """What one pass over a video saw, in F of its frames.

    times: (F,) float64 seconds from the first frame; hashes, mirrored: (F, 32) uint8, the 256 bits of each frame's
    hash and of its mirror image's; black: (F,) bool, almost no light; plain: (F,) bool, one colour, so its hash is
    noise; change: the largest difference, 0 to 255, between any spot of a frame and the same spot of the first.
    """

    info: VideoInfo
    times: np.ndarray
    hashes: np.ndarray
    mirrored: np.ndarray
    black: np.ndarray
    plain: np.ndarray
    change: int

    def __post_init__(self):
        number = len(self.times)
        if self.hashes.shape != (number, HASH_SIDE**2 // 8) or self.mirrored.shape != self.hashes.shape:
            raise ValueError(f"hashes of {number} frames have shapes {self.hashes.shape} and {self.mirrored.shape}")

    @property
    def telling(self) -> np.ndarray:
        """(F,) bool: the frames whose hashes tell one picture from another."""
        return ~(self.black | self.plain)


def chosen_frames(num_frames: int, fps: float) -> np.ndarray:
    """(1, F) int64: the frames that are looked at, the middles of F equal parts.

    >>> chosen_frames(40, 30.0).tolist()[0][:5], chosen_frames(300, 30.0).shape, chosen_frames(1, 30.0).tolist()
    ([0, 2, 4, 6, 8], (1, 128), [[0]])
    """
    wanted = max(1, min(round(num_frames / fps * RATE), MOST_FRAMES, num_frames))
    return ((np.arange(wanted) + 0.5) * num_frames / wanted).astype(np.int64)[None]


def look(video: Video, frames_fps: float = 25.0) -> Looks:
    """Decode a video to its end; raises DecodeError with the reason where it cannot be."""
    seen = decode(
        video.path,
        chosen_frames,
        lambda frame: cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA),
        start_seconds=video.start_seconds,
        end_seconds=video.end_seconds,
        frames_fps=frames_fps,
    )
    gray = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in seen.frames])
    return Looks(
        info=seen.info,
        times=seen.times,
        hashes=frame_hashes(gray),
        mirrored=frame_hashes(gray[:, :, ::-1]),
        black=is_black(gray),
        plain=is_plain(gray),
        change=int(cv2.absdiff(gray, np.broadcast_to(gray[0], gray.shape).copy()).max()),
    )


def is_black(gray: np.ndarray) -> np.ndarray:
    """(F, 64, 64) uint8 → (F,) bool: almost no light."""
    return np.percentile(gray, 99, axis=(1, 2)) <= BLACK_LEVEL


def is_plain(gray: np.ndarray) -> np.ndarray:
    """(F, 64, 64) uint8 → (F,) bool: one colour, so that the hash is noise."""
    return gray.std(axis=(1, 2)) < PLAIN_CONTRAST


def frame_hashes(gray: np.ndarray) -> np.ndarray:
    """(F, 64, 64) uint8 → (F, 32) uint8: the 256 bits of each frame's `phash`."""
    import imagehash  # with SciPy it takes a second: only a worker needs it
    from PIL import Image

    found = [imagehash.phash(Image.fromarray(np.ascontiguousarray(frame)), hash_size=HASH_SIDE) for frame in gray]
    return np.packbits(np.stack([one.hash.ravel() for one in found]), axis=1)


# ------------------------------------------------------------------ many videos


def looks_of(
    videos: Iterable[Video],
    *,
    cache_dir: Path | None = None,
    overwrite_cache: bool = False,
    cache_max_bytes: int | None = None,
    workers: int | None = None,
    decode_timeout: float = 60.0,
    frames_fps: float = 25.0,
) -> Iterator[Looks | Failure]:
    """What each video looks like, in their order, or why it cannot be read; see `VideoLoader` for the options."""
    videos = list(videos)
    workers = workers or usable_cpus()
    if cache_dir:
        cache.open_folder(cache_dir, cache_max_bytes)
    pool = worker_pool(min(workers, max(1, len(videos))))
    pending: deque = deque()
    warned: list[str] = []

    def collected() -> Looks | Failure:
        found, problem = _collected(*pending.popleft(), decode_timeout)
        if problem and not warned:
            warned.append(problem)
            log.warning("what videos look like is not cached (%s)", problem)
        return found

    try:
        for video in videos:
            args = (video, frames_fps, cache_dir, overwrite_cache, cache_max_bytes)
            pending.append((video, _scheduled(pool, args, decode_timeout)))
            if len(pending) > AHEAD * workers:
                yield collected()
        while pending:
            yield collected()
    finally:
        pool.stop()
        pool.join()


def _scheduled(pool, args: tuple, timeout: float):
    return None if args[0].path is None else pool.schedule(look_cached, args=args, timeout=timeout)


def _collected(video: Video, future, timeout: float) -> tuple[Looks | Failure, str | None]:
    if future is None:
        return Failure(video, "find", "missing file"), None
    try:
        return future.result()
    except Exception as problem:  # one video must never end a check, whatever its bytes set off in a codec
        return failure_of(problem, video, timeout), None


def look_cached(
    video: Video,
    frames_fps: float = 25.0,
    cache_dir: Path | None = None,
    overwrite: bool = False,
    cache_max_bytes: int | None = None,
) -> tuple[Looks, str | None]:
    """A worker's task: `look`, out of the cache where it is there; and why it could not be kept, None where it was."""
    cv2.setNumThreads(1)  # the workers are the parallelism
    if cache_dir is None:
        return look(video, frames_fps), None
    if not video.path.is_dir():
        check_file(video.path)
    path = cache.cache_path(cache_dir, _key(video, frames_fps, cache_dir), "looks")
    if not overwrite and (kept := _read(path)) is not None:
        return kept, None
    seen = look(video, frames_fps)
    try:
        _write(path, seen, cache_max_bytes)
    except OSError as problem:  # a full disk must not cost a result
        return seen, f"{cache_dir}: {problem.strerror or problem}"
    return seen, None


def _key(video: Video, frames_fps: float, cache_dir: Path) -> str:
    facts = {
        "content": cache.identity(video.path, cache_dir),
        "part": [video.start_seconds, video.end_seconds],
        "frames_fps": frames_fps if video.path.is_dir() else None,
        "looks": [RATE, MOST_FRAMES, SIDE, HASH_SIDE, BLACK_LEVEL, PLAIN_CONTRAST],
        "libraries": [av.__version__, cv2.__version__, np.__version__, version("ImageHash"), version("pillow")],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _write(path: Path, seen: Looks, max_bytes: int | None) -> None:
    facts = {name: getattr(seen, name).tolist() for name in ("times", "black", "plain")}
    facts |= {"change": seen.change, "info": asdict(seen.info)}
    cache.write_array(path, np.stack([seen.hashes, seen.mirrored]), facts, max_bytes)


def _read(path: Path) -> Looks | None:
    found = cache.read_array(path)
    if found is None:
        return None
    (hashes, mirrored), facts = np.array(found[0]), found[1]
    times = np.array(facts["times"], np.float64)
    black, plain = (np.array(facts[name], bool) for name in ("black", "plain"))
    return Looks(VideoInfo(**facts["info"]), times, hashes, mirrored, black, plain, facts["change"])
