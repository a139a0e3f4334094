"""Videos → batches of augmented clips for training: a pure function of the seed, the epoch and the step.

Neither the number of workers nor that of processes changes a pixel, and a run that was stopped in the middle of an
epoch can ask for the rest of it.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vidbench.data import augment, cache
from vidbench.data.augment import Augmentation, clip_rng
from vidbench.data.load import Failure, failure_of
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.data.train_clip import ClipTask, load_training_clip
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


class TrainingLoader:
    """Batches of training clips; use as a context manager, which holds the decoding processes.

    videos, classes: labelled videos, and the class names in the order of the model's outputs
    protocol: which frames and pixels; short_videos: "repeat" their frames, or "fail"
    batch_size: clips a step over all processes; len(loader) steps an epoch, what is left over is not shown in it
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
        cache_max_bytes: int | None = None,
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
                f"a batch of {batch_size} clips is more than the {self.clips_an_epoch} there are: make batch_size "
                "(--batch-size) smaller"
            )
        self.batch_size, self.max_steps, self.part = batch_size, max_steps, part
        self.workers, self.decode_timeout = workers or usable_cpus(), decode_timeout
        self.short_videos, self.frames_fps = short_videos, frames_fps
        self.cache_dir = Path(cache_dir).resolve() if cache_dir else None
        self.cache_max_bytes = cache_max_bytes
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
            cache.open_folder(self.cache_dir, self.cache_max_bytes)
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
                own = clips[-(self.batch_size // self.part[1]) :]  # a neighbour to mix with is not counted
                self.replaced += sum(distance > 0 for _, _, distance in own)
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
            self.cache_max_bytes,
        )
        return self._pool.schedule(load_training_clip, args=(task,), timeout=self.decode_timeout)

    def _clip(self, order: np.ndarray, place: int, future, epoch: int) -> tuple[np.ndarray, int, int]:
        """(frames, label, distance) for a place of the order: of the clip there, or the next one that can be read."""
        for distance in range(len(order)):
            number = int(order[(place + distance) % len(order)]) // self.clips_per_video
            video = self.videos[number]
            if distance:
                future = self._schedule(order, place, epoch, distance)
            frames = None if video.video_id in self.failures else self._frames(video, future)
            if frames is not None:
                return frames, int(self._labels[number]), distance
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

    def _batch(self, clips: list[tuple[np.ndarray, int, int]], epoch: int, step: int) -> Batch:
        frames = np.stack([frames for frames, _, _ in clips])
        labels = np.eye(len(self.classes), dtype=np.float32)[[label for _, label, _ in clips]]
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
