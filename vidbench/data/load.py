"""Videos → clips in order, decoded ahead of the model by workers, cached as NumPy files.

`VideoLoader` is the general loader; `KineticsLoader` is the original prototype's, over it.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np
from pebble import ProcessExpired, ProcessPool

from vidbench.data import cache, sampling
from vidbench.data.datasets import ROOT, load_dataset, select
from vidbench.data.decode import Decoded, VideoInfo
from vidbench.data.integrity import DecodeError
from vidbench.data.process import assemble_views
from vidbench.data.protocol import Protocol
from vidbench.data.records import Clip, Video
from vidbench.data.workers import Done, Task, folder_in_memory, load_clip, worker_pool
from vidbench.machine import usable_cpus
from vidbench.utils import UserError

log = logging.getLogger(__name__)
AHEAD_BYTES = 2_000_000_000  # of clips that are decoded before they are asked for


@dataclass(frozen=True, eq=False)
class Sample:
    """One loaded video: the frames that its protocol takes, and how the views are made of them."""

    video: Video
    decoded: Decoded
    protocol: Protocol

    def views(self) -> np.ndarray:
        """(clips * crops, T, H, W, 3) uint8 RGB: what the model is given."""
        return assemble_views(self.decoded.frames, self.decoded.indices, self.protocol)

    def clip(self, number: int = 0) -> Clip:
        """The frames and times of one temporal clip, before any of three crops."""
        picked = self.decoded.indices[number]
        return Clip(np.asarray(self.decoded.frames[picked]), self.decoded.times[picked], self.video)

    @property
    def info(self) -> VideoInfo:
        """What the file held."""
        return self.decoded.info


@dataclass(frozen=True)
class Failure:
    """A video without a prediction: at which stage it failed ("find", "open", "decode", "sample", "score") and why."""

    video: Video
    stage: str
    reason: str


def failure_of(problem: Exception, video: Video, decode_timeout: float) -> Failure:
    """What a worker's exception says of a video."""
    if isinstance(problem, DecodeError):
        return Failure(video, problem.stage, str(problem))
    if isinstance(problem, FutureTimeout):
        return Failure(video, "decode", f"timeout: not decoded within {decode_timeout:g} s")
    if isinstance(problem, ProcessExpired):
        return Failure(video, "decode", f"the decoder crashed (exit code {problem.exitcode})")
    if isinstance(problem, MemoryError):
        return Failure(video, "decode", "not enough memory for its frames")
    if isinstance(problem, OSError):
        return Failure(video, "open", f"unreadable file: {problem.strerror or problem}")
    log.debug("unforeseen failure of %s", video.video_id, exc_info=problem)
    return Failure(video, "decode", f"{type(problem).__name__}: {problem}".splitlines()[0])


class VideoLoader:
    """Iterate over videos in their order; each gives a `Sample` or a `Failure`.

    workers: decoding processes (default: the processors that this process may use). decode_timeout: seconds
    before a video is given up. cache_dir: where clips are kept, None for no cache; cache_max_bytes: how large it may
    become, see `vidbench.data.cache_limit`. ahead: how many videos are decoded before they are asked for, fewer where
    they are so large that they would take more than AHEAD_BYTES: memory is bounded by it, not by the number of videos.
    frames_fps: the rate assumed for folders of frames.

    A clip goes from its worker to here as a file that is memory-mapped, in the cache or in memory, and is opened as
    soon as it is there: that it leaves the cache before its turn comes does not matter.
    """

    def __init__(
        self,
        videos: Iterable[Video],
        protocol: Protocol,
        *,
        cache_dir: Path | None = None,
        overwrite_cache: bool = False,
        cache_max_bytes: int | None = None,
        workers: int | None = None,
        decode_timeout: float = 60.0,
        ahead: int = 8,
        frames_fps: float = 25.0,
    ):
        self.videos = list(videos)
        self.protocol = protocol
        self.cache_dir = Path(cache_dir).resolve() if cache_dir else None
        self.overwrite_cache, self.cache_max_bytes = overwrite_cache, cache_max_bytes
        self.workers = workers or usable_cpus()
        self.decode_timeout = decode_timeout
        self.ahead = max(2, min(max(ahead, self.workers), AHEAD_BYTES // protocol.most_bytes))
        self.frames_fps = frames_fps
        self.peak_worker_memory_mb = 0  # of the largest worker so far
        self.worker_cpu_seconds = 0.0  # of all workers together, for videos that could be read
        self.cache_problem: str | None = None  # why clips could not be cached
        self.cache_counts = {"hits": 0, "misses": 0, "evicted_bytes": 0}  # of all iterations so far

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[Sample | Failure]:
        pending: deque = deque()
        if self.cache_dir:
            self.cache_counts["evicted_bytes"] += cache.open_folder(self.cache_dir, self.cache_max_bytes)
        with folder_in_memory() as handover:
            pool = worker_pool(min(self.workers, max(1, len(self.videos))))
            try:
                for video in self.videos:
                    pending.append((video, self._schedule(pool, video, self.cache_dir, handover)))
                    if len(pending) > self.ahead:
                        yield self._collect(pool, *pending.popleft())
                while pending:
                    yield self._collect(pool, *pending.popleft())
            finally:
                pool.stop()
                pool.join()

    def load(self, pool: ProcessPool, video: Video) -> Sample | Failure:
        """One video, read by a pool that `worker_pool` made."""
        return self._collect(pool, video, self._schedule(pool, video, self.cache_dir))

    def _schedule(self, pool, video: Video, cache_dir: Path | None, handover: Path | None = None) -> Future | None:
        if video.path is None:
            return None
        task = Task(
            video, self.protocol, self.frames_fps, cache_dir, self.overwrite_cache, self.cache_max_bytes, handover
        )
        opened: Future = Future()
        decoded = pool.schedule(load_clip, args=(task,), timeout=self.decode_timeout)
        decoded.add_done_callback(lambda done: _open(done, opened))
        return opened

    def _collect(self, pool, video: Video, future) -> Sample | Failure:
        if future is None:
            return Failure(video, "find", "missing file")
        try:
            done = future.result()
            if done.clip is None:  # somebody has emptied the cache meanwhile
                done = self._schedule(pool, video, None).result()
        except Exception as problem:  # one video must never end a run, whatever its bytes set off in a codec
            return failure_of(problem, video, self.decode_timeout)
        self._note(done)
        return Sample(video, done.clip, self.protocol)

    def _note(self, done: Done) -> None:
        self.peak_worker_memory_mb = max(self.peak_worker_memory_mb, done.peak_memory_mb)
        self.worker_cpu_seconds += done.cpu_seconds
        if self.cache_dir:
            self.cache_counts["hits" if done.hit else "misses"] += 1
            self.cache_counts["evicted_bytes"] += done.evicted_bytes
        if done.problem and not self.cache_problem:
            self.cache_problem = done.problem
            log.warning("clips are not cached (%s); the run goes on without", done.problem)


def _open(decoded: Future, opened: Future) -> None:
    """Settle `opened` with a worker's answer and its clip, or with what went wrong."""
    try:
        opened.set_result(decoded.result().opened())
    except BaseException as problem:  # cancelled, too
        opened.set_exception(problem)


def reorder_views(views: np.ndarray, video_id: str, order: str, distinct: int | None, seed: int) -> np.ndarray:
    """(V, T, H, W, 3) views with their frames in another order, or only some of them: see `sampling.reorder`.

    A shuffle depends on the seed and the video's id alone, so any machine asks the same question.
    """
    if order == "normal" and distinct is None:
        return views
    num_frames = views.shape[1]
    positions = sampling.reorder(num_frames, order, np.random.default_rng([seed, crc32(video_id.encode())]))
    if distinct is not None:
        positions = positions[sampling.thin_out(num_frames, distinct)]
    return views[:, positions]


class KineticsLoader:
    """Kinetics videos as the original prototype's loader gives them: download, cache, batches.

        loader = KineticsLoader(version="400", split="val")
        loader.download_n_videos(16)
        loader.load_and_cache_video_examples(16)
        for frames, labels, ids in loader.get_batches(16, batch_size=8, num_frames=100): ...

    Batches are uint8, not float32: pixels are scaled inside the model. `failures` holds the videos that could
    not be read so far.
    """

    def __init__(
        self,
        version: str = "400",
        split: str = "val",
        data_dir: Path | None = None,
        cache_dir: Path | None = ROOT / "data" / "cache",
        seed: int = 0,
        workers: int | None = None,
    ):
        self.version, self.split, self.seed, self.workers = version, split, seed, workers
        self.data_dir = Path(data_dir) if data_dir else ROOT / "data" / "raw" / "kinetics" / version / split
        self.cache_dir = cache_dir
        self.resize_type = "crop"
        self.failures: list[Failure] = []

    def videos(self) -> list[Video]:
        """The videos that lie on this disk, in the seeded order; raises UserError where there are none."""
        listed = load_dataset("kinetics", self.split, self.data_dir, version=self.version, population="found")
        return select(listed.videos, seed=self.seed)

    def download_n_videos(self, num_videos: int) -> int:
        """Fetch clips until `num_videos` lie on this disk; returns how many do. Needs a network."""
        from vidbench.data.fetch import fetch_kinetics

        return fetch_kinetics(self.version, self.split, self.data_dir, num_videos=num_videos)

    def load_and_cache_video_examples(
        self, num_videos: int, resize_type: str = "crop", overwrite: bool = False, num_frames: int = 100
    ) -> int:
        """Decode `num_videos` videos into the cache; returns how many could be read."""
        self.resize_type = resize_type
        loader = self._loader(self._first(num_videos), num_frames, overwrite)
        return sum(isinstance(item, Sample) for item in self._noting_failures(loader))

    def get_batches(
        self, num_videos: int, batch_size: int = 8, num_frames: int = 100
    ) -> Iterator[tuple[np.ndarray, list[str | None], list[str]]]:
        """Batches of (frames (B, num_frames, 224, 224, 3) uint8, labels, youtube ids) of `num_videos` videos."""
        batch: list[Sample] = []
        loader = self._loader(self._first(num_videos), num_frames, overwrite=False)
        for item in self._noting_failures(loader):
            if isinstance(item, Sample):
                batch.append(item)
            if len(batch) == batch_size:
                yield _stacked(batch)
                batch = []
        if batch:
            yield _stacked(batch)

    def _first(self, num_videos: int) -> list[Video]:
        videos = self.videos()
        if len(videos) < num_videos:
            raise UserError(
                f"{len(videos)} videos lie in {self.data_dir}, {num_videos} are wanted: "
                f"call download_n_videos({num_videos}) first"
            )
        return videos[:num_videos]

    def _loader(self, videos: list[Video], num_frames: int, overwrite: bool) -> VideoLoader:
        protocol = replace(
            Protocol(resize=f"square_{self.resize_type}", resize_to=(224, 224), crop=None), num_frames=num_frames
        )
        return VideoLoader(videos, protocol, cache_dir=self.cache_dir, overwrite_cache=overwrite, workers=self.workers)

    def _noting_failures(self, loader: VideoLoader) -> Iterator[Sample | Failure]:
        for item in loader:
            if isinstance(item, Failure):
                log.warning("%s: %s", item.video.video_id, item.reason)
                self.failures.append(item)
            yield item


def _stacked(batch: list[Sample]) -> tuple[np.ndarray, list[str | None], list[str]]:
    frames = np.stack([sample.views()[0] for sample in batch])
    return frames, [sample.video.label for sample in batch], [sample.video.video_id[:11] for sample in batch]
