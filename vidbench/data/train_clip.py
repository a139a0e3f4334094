"""One training clip: frames at a random place, augmented; made in a decoding process, from the file or the cache."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vidbench.data import augment, cache, process
from vidbench.data.augment import Augmentation, clip_rng
from vidbench.data.decode import Decoded, decode
from vidbench.data.integrity import DecodeError, check_file
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video


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
    cache_max_bytes: int | None = None


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
        try:
            frames = np.asarray(whole.frames[choose(whole.info.num_frames, whole.info.fps)[0]])
        except ValueError as short:
            raise DecodeError(str(short), "sample") from None
    rng = clip_rng(task.seed + 1, *chance[1:])  # apart from the choice of frames
    return augment.augment(frames, task.protocol, task.augmentation, rng, task.video.label), rng, problem


def _decode(task: ClipTask, choose) -> Decoded:
    """Frames of the video, resized as the cache keeps them: with a cache or without, the pixels are the same."""
    video, pixels = task.video, kept_pixels(task.protocol, task.augmentation)
    part = {"start_seconds": video.start_seconds, "end_seconds": video.end_seconds}
    options = {**part, "frames_fps": task.frames_fps, "thorough": False}
    return decode(
        video.path, choose, lambda frame: process.process_frame(np.ascontiguousarray(frame), pixels), **options
    )


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
    clip = _decode(task, lambda num_frames, fps: np.arange(num_frames)[None])
    try:
        cache.write_clip(path, clip, task.cache_max_bytes)
    except OSError as problem:  # a full disk must not end a run
        return clip, f"{task.cache_dir}: {problem.strerror or problem}"
    return clip, None


def kept_pixels(protocol: Protocol, augmentation: Augmentation) -> Protocol:
    """The resize of whole videos before anything is drawn: the protocol's, or to the largest short side."""
    whole = replace(protocol, crop=None, crops=1)
    if augmentation.short_side is None:
        return whole
    return replace(whole, resize="short_side", resize_to=(augmentation.short_side[1],) * 2)
