"""File → the frames that are wanted, and their times.

How many frames a video has is learnt from what decodes, never from the header, which is wrong for many files.
Packets are counted first (2–4 ms); the video is decoded once with that count, and again only where the count
of decoded frames turns out different and other frames are wanted.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vidbench.data.images import ImageFolder
from vidbench.data.integrity import DecodeError, check_file
from vidbench.data.video_file import VideoFile

Choose = Callable[[int, float], np.ndarray]  # (num_frames, fps) → (clips, T) int64 indices
Transform = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 → (h, w, 3) uint8


@dataclass(frozen=True)
class VideoInfo:
    """What a file turned out to hold (within the part that was asked for)."""

    num_frames: int  # that decode
    fps: float
    width: int  # as shown, after rotation
    height: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Decoded:
    """The frames that were wanted, each once, and where they go."""

    frames: np.ndarray  # (U, h, w, 3) uint8 RGB, after the transform
    times: np.ndarray  # (U,) float64 seconds from the first frame
    indices: np.ndarray  # (clips, T) int64 positions in `frames`
    info: VideoInfo
    repeated: bool  # some frame stands twice in one clip, for want of others


def decode(
    path: Path,
    choose: Choose,
    transform: Transform = lambda frame: frame,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    frames_fps: float = 25.0,
    thorough: bool = True,
) -> Decoded:
    """Read the frames that `choose` picks of a video file, or of a folder of JPEG or PNG frames.

    `start_seconds` and `end_seconds` cut the part of the file that counts; `frames_fps` is the rate assumed for
    a folder of frames. The whole part is decoded to its end, so that a damaged tail is found; with `thorough=False`
    without the frames that are neither wanted nor needed for others, in which damage is then not found. The frames
    that are given back are the same.

    Raises DecodeError with the reason: missing, empty, no video stream, corrupt after frame N, too short …
    """
    path = Path(path)
    source: _Source
    if path.is_dir():
        source = ImageFolder(path, frames_fps)
    else:
        check_file(path)
        source = VideoFile(path, start_seconds, end_seconds)
    return _collect(source, choose, transform, thorough)


def probe(path: Path, frames_fps: float = 25.0) -> VideoInfo:
    """Decode a file to its end and say what it holds; raises DecodeError as `decode` does."""
    return decode(path, lambda num_frames, fps: np.zeros((1, 1), np.int64), frames_fps=frames_fps).info


def _collect(source: "_Source", choose: Choose, transform: Transform, thorough: bool) -> Decoded:
    guess, fps = source.guess_num_frames(), source.fps
    try:
        wanted = choose(guess, fps or 25.0)
    except ValueError:  # too short, it seems: decoding tells, or finds the damage that makes it so
        wanted = np.zeros((1, 0), np.int64)
    kept, times, shape = _first_pass(source, set(wanted.ravel().tolist()), transform, thorough)
    true_fps = fps or _fps_from(times)
    if not wanted.size or len(times) != guess or true_fps != (fps or 25.0):
        wanted = _choose(choose, len(times), true_fps)
        missing = set(wanted.ravel().tolist()) - kept.keys()
        if missing:
            wanted_now = set(wanted.ravel().tolist())
            kept, times, shape = _pass(source.frames(), wanted_now, transform, source.nothing)
    order, positions = np.unique(wanted, return_inverse=True)
    frames = [kept[index] for index in order.tolist()]
    if len({frame.shape for frame in frames}) > 1:
        raise DecodeError("frames of different sizes")
    seconds = float(times[-1] - times[0] + 1 / true_fps)
    return Decoded(
        frames=np.stack(frames),
        times=np.array(times)[order] - times[0],
        indices=positions.reshape(wanted.shape),
        info=VideoInfo(len(times), float(true_fps), shape[1], shape[0], seconds),
        repeated=any(len(np.unique(row)) < len(row) for row in wanted),
    )


def _choose(choose: Choose, num_frames: int, fps: float) -> np.ndarray:
    try:
        return choose(num_frames, fps)
    except ValueError as problem:  # too short for the protocol
        raise DecodeError(str(problem), "sample") from None


def _fps_from(times: list[float]) -> float:
    """Frames a second from the frames' own times, for containers that state no rate; 25 where there is one."""
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 25.0


def _first_pass(source: "_Source", wanted: set[int], transform: Transform, thorough: bool):
    """`_pass` without the frames that nobody needs; where something is amiss, with all of them, which says what."""
    if not thorough and wanted:
        with contextlib.suppress(DecodeError):
            return _pass(source.frames(wanted), wanted, transform, source.nothing)
    return _pass(source.frames(), wanted, transform, source.nothing)


def _pass(frames: Iterator, wanted: set[int], transform: Transform, nothing: str):
    """One pass over all frames: {index: transformed frame} of the wanted, all times, (height, width)."""
    kept: dict[int, np.ndarray] = {}
    times: list[float] = []
    shape = (0, 0)
    for index, (seconds, convert) in enumerate(frames):
        times.append(seconds)
        if index in wanted or index == 0:
            image = convert()
            shape = image.shape[:2] if index == 0 else shape
            if index in wanted:
                kept[index] = np.ascontiguousarray(transform(image))
    if not times:
        raise DecodeError(nothing)
    return kept, times, shape


class _Source(Protocol):
    """Frames in the order of their presentation, converted only on demand."""

    nothing: str  # what to say where there is no frame at all
    fps: float | None

    def guess_num_frames(self) -> int:
        """How many frames there seem to be, without decoding."""

    def frames(self, wanted: set[int] | None = None) -> Iterator[tuple[float, Callable[[], np.ndarray] | None]]:
        """(seconds, function that converts the frame to (H, W, 3) uint8 RGB) of every frame.

        wanted: a source may give None in place of any other function but the first and last; DecodeError where it
        turns out that their count is not known without decoding them
        """
