"""A long video → a few frames a second, one after the other; what is damaged is passed over, and named.

Memory does not grow with the video: a frame is handed on, and forgotten.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vidbench.data.integrity import DecodeError, check_file, missing_bytes
from vidbench.data.video_file import error_words, open_video, to_rgb, video_stream

CLOSE = 1e-6  # seconds that are no difference
STEP_SECONDS = 1.0  # how much later decoding is tried again behind damage; more, the longer it lasts
USUAL_RATE = 25.0  # frames a second, where a file does not say


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame that was taken."""

    seconds: float  # from the start of the video
    image: np.ndarray  # (H, W, 3) uint8 RGB


@dataclass(frozen=True)
class Damage:
    """A stretch that cannot be decoded: from the last good frame to the next one, in seconds, and why."""

    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Ended:
    """The video's end: how long it is, in seconds."""

    seconds: float


def sampled_frames(
    path: Path, frames_per_second: float, after: float | None = None
) -> Iterator[Frame | Damage | Ended]:
    """The first frame of every 1 / frames_per_second seconds, what damage there is between them, at last the end.

    after: go on behind this time, that of a frame which an earlier call gave: what follows is the same.
    Behind damage, decoding begins at the next key frame that can be read.

    Raises DecodeError where no frame at all can be decoded.
    """
    check_file(path)
    rate, length = _rate_and_length(path)
    due = 0.0 if after is None else _next_due(after, frames_per_second)
    last, target, reason, lost = after, 0.0 if after is None else after, "", 0
    while True:
        behind = last if reason else None
        try:
            for seconds, frame in decoded_from(path, target, behind=behind):
                if last is not None and seconds <= last + CLOSE:
                    continue
                if reason:
                    yield Damage(last or 0.0, seconds, reason)
                    reason = ""
                last = seconds
                if seconds + CLOSE >= due:
                    yield Frame(seconds, to_rgb(frame))
                    due = _next_due(seconds, frames_per_second)
            lost = missing_bytes_of(path)
        except DecodeError as problem:
            reason = reason or str(problem)
            since = target - (last or 0.0)
            target = max(target, last or 0.0) + max(STEP_SECONDS, since / 30)
            if target < length:
                continue
        break
    if last is None:
        raise DecodeError(reason or "no frames")
    end = last + 1 / rate
    if (reason or lost) and math.isfinite(length) and length > end + CLOSE:
        yield Damage(last, length, reason or f"the file is cut off ({lost:,} bytes missing)")
        end = length
    yield Ended(end)


def decoded_from(path: Path, start: float, behind: float | None = None) -> Iterator[tuple[float, av.VideoFrame]]:
    """(seconds, frame) from the key frame at or before `start` seconds to the end of the file, in their order.

    behind: frames at or before this time are none that can be begun with: the key frame found lies before damage.

    Raises DecodeError at the first sign of damage, and where the file cannot be sought.
    """
    first = True
    with open_video(path) as box:
        stream = video_stream(box)
        stream.thread_type = "AUTO"
        origin = float((stream.start_time or 0) * stream.time_base)
        rate = float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
        seconds = -1 / rate
        try:
            if start > 0:
                box.seek(int((start + origin) / stream.time_base), stream=stream, backward=True)
            for packet in box.demux(stream):
                if packet.is_corrupt and not packet.is_discard:
                    raise DecodeError("damaged data")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise DecodeError("damaged data")
                    seconds = seconds + 1 / rate if frame.time is None else frame.time - origin
                    if first and behind is not None and seconds <= behind + CLOSE:
                        raise DecodeError("damaged data")
                    first = False
                    yield seconds, frame
        except (av.error.FFmpegError, OSError) as problem:
            raise DecodeError(error_words(problem)) from None


def missing_bytes_of(path: Path) -> int:
    """How many bytes a cut-off file lacks, as far as it tells, see `missing_bytes`."""
    with open_video(path) as box:
        return missing_bytes(path, video_stream(box))


def _rate_and_length(path: Path) -> tuple[float, float]:
    """Frames a second, and seconds as the header has them: infinite where it has none.

    Raises DecodeError for what is no video.
    """
    with open_video(path) as box:
        stream = video_stream(box)
        rate = float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
        if stream.duration:
            return rate, float(stream.duration * stream.time_base)
        return rate, box.duration / av.time_base if box.duration else math.inf


def _next_due(seconds: float, frames_per_second: float) -> float:
    """From when on the frame after one at `seconds` is taken: the next whole number of steps."""
    return (math.floor((seconds + CLOSE) * frames_per_second) + 1) / frames_per_second
