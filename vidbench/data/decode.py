"""File → frames and their times. PyAV decodes, OpenCV converts colours; only wanted frames are converted.

How many frames a video has is learnt from what decodes, never from the header, which is wrong for many files.
Packets are counted first (2–4 ms); the video is decoded once with that count, and again only where the count
of decoded frames turns out different and other frames are wanted.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np

from vidbench.data.images import ImageFolder
from vidbench.data.integrity import DecodeError, check_file, missing_bytes

SEEK_SECONDS = 10.0  # a part that begins later than this is sought, not decoded from the file's beginning
BT601_MATRICES = (2, 5, 6)  # unspecified, BT.470BG, SMPTE 170M: what COLOR_YUV2RGB_I420 assumes
LIMITED_RANGES = (0, 1)  # unspecified, MPEG

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
) -> Decoded:
    """Read the frames that `choose` picks of a video file, or of a folder of JPEG or PNG frames.

    `start_seconds` and `end_seconds` cut the part of the file that counts; `frames_fps` is the rate assumed for
    a folder of frames. The whole part is decoded to its end, so that a damaged tail is found.

    Raises DecodeError with the reason: missing, empty, no video stream, corrupt after frame N, too short …
    """
    path = Path(path)
    source: _Source
    if path.is_dir():
        source = ImageFolder(path, frames_fps)
    else:
        check_file(path)
        source = _VideoFile(path, start_seconds, end_seconds)
    return _collect(source, choose, transform)


def probe(path: Path, frames_fps: float = 25.0) -> VideoInfo:
    """Decode a file to its end and say what it holds; raises DecodeError as `decode` does."""
    return decode(path, lambda num_frames, fps: np.zeros((1, 1), np.int64), frames_fps=frames_fps).info


def _collect(source: "_Source", choose: Choose, transform: Transform) -> Decoded:
    guess, fps = source.guess_num_frames(), source.fps
    try:
        wanted = choose(guess, fps or 25.0)
    except ValueError:  # too short, it seems: decoding tells, or finds the damage that makes it so
        wanted = np.zeros((1, 0), np.int64)
    kept, times, shape = _pass(source, set(wanted.ravel().tolist()), transform)
    true_fps = fps or _fps_from(times)
    if not wanted.size or len(times) != guess or true_fps != (fps or 25.0):
        wanted = _choose(choose, len(times), true_fps)
        missing = set(wanted.ravel().tolist()) - kept.keys()
        if missing:
            kept, times, shape = _pass(source, set(wanted.ravel().tolist()), transform)
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


def _pass(source: "_Source", wanted: set[int], transform: Transform):
    """One pass over all frames: {index: transformed frame} of the wanted, all times, (height, width)."""
    kept: dict[int, np.ndarray] = {}
    times: list[float] = []
    shape = (0, 0)
    for index, (seconds, convert) in enumerate(source.frames()):
        times.append(seconds)
        if index in wanted or index == 0:
            image = convert()
            shape = image.shape[:2] if index == 0 else shape
            if index in wanted:
                kept[index] = np.ascontiguousarray(transform(image))
    if not times:
        raise DecodeError(source.nothing)
    return kept, times, shape


class _Source(Protocol):
    """Frames in the order of their presentation, converted only on demand."""

    nothing: str  # what to say where there is no frame at all
    fps: float | None

    def guess_num_frames(self) -> int:
        """How many frames there seem to be, without decoding."""

    def frames(self) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        """(seconds, function that converts the frame to (H, W, 3) uint8 RGB) of every frame."""


class _VideoFile:
    nothing = "no frames in the part that was asked for"

    def __init__(self, path: Path, start: float | None, end: float | None):
        self.path, self.start, self.end = path, start or 0.0, end if end is not None else float("inf")
        with _opened(path) as box:
            stream = _video_stream(box)
            rate = stream.average_rate or stream.guessed_rate
            self.fps = float(rate) if rate else None
            self.origin = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
            self.packets = self._count_packets(box, stream)

    def guess_num_frames(self) -> int:
        return self.packets

    def _count_packets(self, box, stream) -> int:
        count = 0
        try:
            for packet in box.demux(stream):
                if packet.size and not packet.is_discard:
                    inside = packet.pts is None or self._inside(float(packet.pts * packet.time_base))
                    count += inside
        except (av.error.FFmpegError, OSError):
            pass  # the decoding pass meets the same damage and says after which frame
        return max(count, 1)

    def _inside(self, seconds: float) -> bool:
        since = seconds - self.origin
        return self.start - 1e-6 <= since < self.end - 1e-6

    def frames(self):
        """Decode to the end of the part; raises DecodeError where the stream is damaged."""
        decoded = self._decode(seek=False)
        if self.start > SEEK_SECONDS:
            first, sought = None, self._decode(seek=True)
            with contextlib.suppress(DecodeError):  # not every container can be sought
                first = next(sought, None)
            if first is not None and first[1] - self.origin <= self.start:  # else the seek landed too late
                decoded = itertools.chain([first], sought)
        for index, seconds, frame in decoded:
            if seconds - self.origin >= self.end - 1e-6:
                return
            if self._inside(seconds):
                if frame.is_corrupt:
                    raise DecodeError(f"corrupt after frame {index}")
                yield seconds, lambda frame=frame: to_rgb(frame)

    def _decode(self, seek: bool):
        index = 0
        with _opened(self.path) as box:
            stream = _video_stream(box)
            stream.codec_context.thread_count = 1  # the workers are the parallelism
            try:
                if seek:
                    target = int((self.start + self.origin) / stream.time_base)
                    box.seek(target, stream=stream, backward=True)
                for packet in box.demux(stream):
                    if packet.is_corrupt and not packet.is_discard:
                        raise DecodeError(f"corrupt after frame {index}: the file is cut off")
                    for frame in packet.decode():
                        seconds = frame.time
                        if seconds is None:
                            seconds = self.origin + index / (self.fps or 25.0)
                        yield index, seconds, frame
                        index += 1
            except av.error.FFmpegError as problem:
                raise DecodeError(f"corrupt after frame {index}: {_words(problem)}") from None
            if lost := missing_bytes(self.path, stream):
                raise DecodeError(f"corrupt after frame {index}: the file is cut off ({lost:,} bytes missing)")


def to_rgb(frame: av.VideoFrame) -> np.ndarray:
    """One decoded frame as (H, W, 3) uint8 RGB: its colour range, matrix and rotation applied.

    Plain 8-bit 4:2:0 in limited range with the BT.601 matrix, the usual case, goes through OpenCV, which is
    faster; all else through libswscale, which knows the others.
    """
    usual = (
        frame.format.name == "yuv420p"
        and int(frame.color_range) in LIMITED_RANGES
        and int(frame.colorspace) in BT601_MATRICES
        and frame.width % 2 == 0
        and frame.height % 2 == 0
    )
    if usual:
        image = cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420)
    else:
        image = frame.reformat(format="rgb24").to_ndarray()
    quarter_turns = round(frame.rotation / 90) % 4  # rotation is counter-clockwise, as np.rot90 turns
    return np.rot90(image, quarter_turns) if quarter_turns else image


def _opened(path: Path):
    try:
        # The prefix keeps names such as "-x.mp4" or "a:b.mp4" from being read as options or protocols; names that
        # are no UTF-8 cannot be handed to FFmpeg at all, so Python opens those.
        name = f"file:{path}" if str(path).isprintable() else path.open("rb")
        return av.open(name, metadata_errors="ignore")
    except PermissionError:
        raise DecodeError("unreadable file: permission denied", "open") from None
    except (av.error.FFmpegError, OSError) as problem:
        raise DecodeError(f"not a readable video: {_words(problem)}", "open") from None


def _video_stream(box):
    if not box.streams.video:
        raise DecodeError("no video stream", "open")
    return box.streams.video[0]


def _words(problem: Exception) -> str:
    text = getattr(problem, "strerror", None) or str(problem)
    return text[:1].lower() + text[1:]
