"""What flows through the kit: a `Video` names a file, a `Clip` holds its frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Video:
    """One labelled (or unlabelled) video of a data set; nothing of it has been read yet.

    `start_seconds` and `end_seconds` are the part of the *file* that counts, None for its beginning and end.
    (A Kinetics clip is a file of its own: the times it has in its YouTube video are in its `video_id`.)
    `group` names the recording that a video comes from, None where each video is a recording of its own.
    """

    video_id: str
    path: Path | None
    label: str | None = None
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    group: str | None = None

    def __post_init__(self):
        start, end = self.start_seconds, self.end_seconds
        if start is not None and start < 0:
            raise ValueError(f"{self.video_id}: start_seconds must not be negative, got {start}")
        if end is not None and end <= (start or 0):
            raise ValueError(f"{self.video_id}: end_seconds {end} must lie after start_seconds {start or 0}")


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames sampled from one video."""

    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    times: np.ndarray  # (T,) float64, seconds from the start of the video
    video: Video

    def __post_init__(self):
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be (T, H, W, 3) uint8 RGB, got {self.frames.shape} {self.frames.dtype}")
        if self.times.shape != self.frames.shape[:1]:
            raise ValueError(f"one time per frame, got {self.times.shape} for {len(self.frames)} frames")

    def __repr__(self):
        seconds = f"{self.times[0]:.2f}–{self.times[-1]:.2f} s" if len(self.times) else "empty"
        return f"Clip({self.video.video_id!r}, frames {self.frames.shape}, {seconds}, label {self.video.label!r})"
