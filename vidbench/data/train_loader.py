"""Videos → batches of augmented clips for training: a pure function of the seed, the epoch and the step.

Neither the number of workers nor that of processes changes a pixel, and a run that was stopped in the middle of an
epoch can ask for the rest of it.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vidbench.data import augment, cache, process
from vidbench.data.augment import Augmentation, clip_rng
from vidbench.data.decode import Decoded, decode
from vidbench.data.integrity import check_file
from vidbench.data.load import Failure, failure_of
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.data.workers import worker_pool
from vidbench.machine import usable_cpus
from vidbench.utils import UserError, canonical_label

log = logging.getLogger(__name__)
BATCHES_AHEAD = 3  # decoded while the model learns from one


class Batch(NamedTuple):
    """What one step learns from."""

    frames: np.ndarray  # (B, T, H, W, 3) uint8 RGB
    labels: np.ndarray  # (B, C) float32, rows that sum to one
    weights: np.ndarray  # (B,) float32


@dataclass(frozen=True)
class ClipTask:
    """Everything a worker needs to make one training clip."""

    video: Video
    protocol: Protocol
    augmentation: Augmentation  # without a function of one's own: that need not be known in another process
    seed: int
    epoch: int
    clip_number: int
    short_videos: str = "repeat"
    frames_fps: float = 25.0
    cache_dir: Path | None = None


def load_training_clip(task: ClipTask) -> tuple[np.ndarray, np.random.Generator, str | None]:
    """The augmented clip (T, H, W, 3) uint8, the generator after it, and why it is not cached, None where it is.

    Raises DecodeError with the reason.
    """
    cv2.setNumThreads(1)  # the workers are the parallelism
    chance = (task.seed, task.epoch, task.video.video_id, task.clip_number)

    def choose(num_frames: int, fps: float) -> np.ndarray:  # asked twice where a header lies: the same dice again
        return task.protocol.random_indices(num_frames, fps, clip_rng(*chance), task.short_videos)[None]

    problem = None
    if task.cache_dir is None:
        clip = _decode(task, choose)
        frames = clip.frames[clip.indices[0]]
    else:
        whole, problem = _cached(task)
        frames = np.asarray(whole.frames[choose(whole.info.num_frames, whole.info.fps)[0]])
    rng = clip_rng(task.seed + 1, *chance[1:])  # apart from the choice of frames
    return augment.augment(frames, task.protocol, task.augmentation, rng, task.video.label), rng, problem


def _decode(task: ClipTask, choose, transform=lambda frame: frame) -> Decoded:
    video = task.video
    times = {"start_seconds": video.start_seconds, "end_seconds": video.end_seconds, "frames_fps": task.frames_fps}
    return decode(video.path, choose, transform, **times)


def _cached(task: ClipTask) -> tuple[Decoded, str | None]:
    """The whole video, resized but not cropped, from the cache; decoded and cached where it is not there."""
    if not task.video.path.is_dir():
        check_file(task.video.path)
    pixels = kept_pixels(task.protocol, task.augmentation)
    path = cache.cache_path(
        task.cache_dir, cache.cache_key(task.video, pixels, task.frames_fps, task.cache_dir, all_frames=True)
    )
    if (clip := cache.read_clip(path)) is not None:
        return clip, None
    clip = _decode(task, lambda n, fps: np.arange(n)[None], lambda frame: process.process_frame(frame, pixels))
    try:
        cache.write_clip(path, clip)
    except OSError as problem:  # a full disk must not end a run
        return clip, f"{task.cache_dir}: {problem.strerror or problem}"
    return clip, None


def kept_pixels(protocol: Protocol, augmentation: Augmentation) -> Protocol:
    """The resize under which whole videos are cached: the protocol's, or the largest short side that is drawn."""
    whole = replace(protocol, crop=None, crops=1)
    if augmentation.short_side is None:
        return whole
    return replace(whole, resize="short_side", resize_to=(augmentation.short_side[1],) * 2)


class TrainingLoader:
    """Batches of training clips; use as a context manager, which holds the decoding processes.

    videos, classes: labelled videos, and the class names in the order of the model's outputs
    protocol: which frames and pixels; short_videos: "repeat" their frames, or "fail"
    batch_size: clips a step over all processes; len(loader) steps an epoch, the clips left over wait for the next
    clips_per_video: random clips of each video an epoch
    class_weights: weigh clips so that every class counts the same
    max_steps: at most so many steps an epoch, None: all
    part: (i, n): this process loads the i-th of n equal parts of every batch, i from 0
    cache_dir: keep whole videos there, resized, so that they are decoded once; None: they are decoded for each clip

    A video that cannot be read is reported once and replaced by the next clip of the epoch's order.
    Raises UserError for videos without a class, and augmentation that does not fit.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        classes: Sequence[str],
        protocol: Protocol,
        augmentation: Augmentation | None = None,
        *,
        batch_size: int = 8,
        clips_per_video: int = 1,
        seed: int = 0,
        label_smoothing: float = 0.0,
        class_weights: bool = False,
        short_videos: str = "repeat",
        max_steps: int | None = None,
        part: tuple[int, int] = (0, 1),
        workers: int | None = None,
        decode_timeout: float = 60.0,
        frames_fps: float = 25.0,
        cache_dir: Path | None = None,
    ):
        self.videos, self.classes = list(videos), tuple(classes)
        self.protocol, self.augmentation = protocol, augmentation or Augmentation()
        self.augmentation.check(protocol, self.classes)
        self.clips_per_video, self.seed, self.label_smoothing = clips_per_video, seed, label_smoothing
        self.clips_an_epoch = len(self.videos) * clips_per_video
        if batch_size % part[1]:
            raise UserError(f"a batch of {batch_size} clips cannot be shared out among {part[1]} processes")
        if batch_size > self.clips_an_epoch:
            raise UserError(
                f"a batch of {batch_size} clips is more than the {self.clips_an_epoch} there are: make it smaller"
            )
        self.batch_size, self.max_steps, self.part = batch_size, max_steps, part
        self.workers, self.decode_timeout = workers or usable_cpus(), decode_timeout
        self.short_videos, self.frames_fps = short_videos, frames_fps
        self.cache_dir = Path(cache_dir).resolve() if cache_dir else None
        self.failures: dict[str, Failure] = {}
        self.replaced = 0
        self.cache_problem: str | None = None
        self._labels = _labels(self.videos, self.classes)
        self._weights = _weights(self._labels, len(self.classes)) if class_weights else np.ones(len(self.classes))
        self._pool = None

    def __len__(self) -> int:
        steps = self.clips_an_epoch // self.batch_size
        return min(steps, self.max_steps or steps)

    def __enter__(self) -> "TrainingLoader":
        if self.cache_dir:
            cache.sweep(self.cache_dir)
        self._pool = worker_pool(self.workers)
        return self

    def __exit__(self, *problem) -> None:
        self._pool.stop()
        self._pool.join()
        self._pool = None

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, counted from 0, from the step `first` on."""
        with self._held():
            order = np.random.default_rng([self.seed, epoch]).permutation(self.clips_an_epoch)
            pending: deque = deque()
            steps = range(first, len(self))
            for step in steps:
                while len(pending) <= BATCHES_AHEAD and step + len(pending) in steps:
                    places = self._places(step + len(pending))
                    pending.append([(place, self._schedule(order, place, epoch)) for place in places])
                clips = [self._clip(order, place, future, epoch) for place, future in pending.popleft()]
                yield self._batch(clips, epoch, step)

    def adopt(self, failures: dict[str, list[str]], replaced: int) -> None:
        """Know from an earlier start which videos cannot be read: {video id: [stage, reason]}."""
        by_id = {video.video_id: video for video in self.videos}
        self.failures = {name: Failure(by_id[name], *why) for name, why in failures.items() if name in by_id}
        self.replaced = replaced

    @contextmanager
    def _held(self):
        """The loader's own processes, or some for this block."""
        if self._pool is not None:
            yield
        else:
            with self:
                yield

    @property
    def _mixes(self) -> bool:
        return bool(self.augmentation.mixup or self.augmentation.cutmix)

    def _places(self, step: int) -> list[int]:
        """Which clips of the epoch's order this process loads for a step; where clips are mixed with the one before
        them, that one too, so that mixing does not depend on the number of processes."""
        size = self.batch_size // self.part[1]
        own = [self.part[0] * size + index for index in range(size)]
        if self._mixes and self.part[1] > 1:
            own = [(own[0] - 1) % self.batch_size, *own]
        return [step * self.batch_size + index for index in own]

    def _schedule(self, order: np.ndarray, place: int, epoch: int, distance: int = 0):
        """A clip for `place`: the one that stands `distance` after it, and not the very clip that stands there."""
        number, clip = divmod(int(order[(place + distance) % len(order)]), self.clips_per_video)
        video = self.videos[number]
        if video.path is None or video.video_id in self.failures:
            return None
        task = ClipTask(
            video,
            self.protocol,
            replace(self.augmentation, custom=None),
            self.seed,
            epoch,
            clip + distance * self.clips_per_video,
            self.short_videos,
            self.frames_fps,
            self.cache_dir,
        )
        return self._pool.schedule(load_training_clip, args=(task,), timeout=self.decode_timeout)

    def _clip(self, order: np.ndarray, place: int, future, epoch: int) -> tuple[np.ndarray, int]:
        """(frames, label) for a place of the order; of the next readable clip where its own cannot be read."""
        for distance in range(len(order)):
            number = int(order[(place + distance) % len(order)]) // self.clips_per_video
            video = self.videos[number]
            if distance:
                future = self._schedule(order, place, epoch, distance)
            frames = None if video.video_id in self.failures else self._frames(video, future)
            if frames is not None:
                self.replaced += distance > 0
                return frames, int(self._labels[number])
        (first, *_) = self.failures.values()
        raise UserError(f"none of the {len(self.videos)} training videos can be read; the first: {first.reason}")

    def _frames(self, video: Video, future) -> np.ndarray | None:
        if future is None:
            return self._fail(Failure(video, "find", "missing file"))
        try:
            frames, rng, problem = future.result()
        except Exception as error:  # whatever its bytes set off in a codec
            return self._fail(failure_of(error, video, self.decode_timeout))
        if problem and not self.cache_problem:
            self.cache_problem = problem
            log.warning("videos are not cached (%s); the run goes on without", problem)
        return augment.customize(frames, self.augmentation, rng)

    def _fail(self, failure: Failure) -> None:
        self.failures[failure.video.video_id] = failure
        log.warning("%s: %s; other clips take its place", failure.video.video_id, failure.reason)

    def _batch(self, clips: list[tuple[np.ndarray, int]], epoch: int, step: int) -> Batch:
        frames = np.stack([frames for frames, _ in clips])
        labels = np.eye(len(self.classes), dtype=np.float32)[[label for _, label in clips]]
        if self._mixes:
            frames, labels = augment.mix(frames, labels, self.augmentation, clip_rng(self.seed, epoch, "", step))
            own = self.batch_size // self.part[1]
            frames, labels = frames[-own:], labels[-own:]
        weights = (labels @ self._weights).astype(np.float32)
        labels = labels * (1 - self.label_smoothing) + self.label_smoothing / len(self.classes)
        return Batch(frames, labels.astype(np.float32), weights)


def _labels(videos: Sequence[Video], classes: Sequence[str]) -> np.ndarray:
    """(videos,) the index of each video's class."""
    places = {canonical_label(name): place for place, name in enumerate(classes)}
    strangers = [video for video in videos if video.label is None or canonical_label(video.label) not in places]
    if strangers:
        raise UserError(
            f"{len(strangers)} of {len(videos)} training videos have no class of the model's, e.g. "
            f"{strangers[0].video_id!r} ({strangers[0].label or 'no label'})"
        )
    return np.array([places[canonical_label(video.label)] for video in videos], dtype=np.int64)


def _weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(num_classes,) weights in inverse proportion to the classes' clips, 1 on average over the clips.

    >>> _weights(np.array([0, 0, 0, 1]), 2).round(2).tolist()
    [0.67, 2.0]
    """
    counts = np.bincount(labels, minlength=num_classes)
    return len(labels) / np.count_nonzero(counts) / np.maximum(counts, 1)
