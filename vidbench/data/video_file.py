"""One video file: its packets' time stamps, its frames as they are wanted, their colours (PyAV, OpenCV).

In H.264 some frames, of most clips about every other one, are needed for no other frame. Where they are not wanted
either, the decoder may pass them over (`thorough=False`), which saves a fifth of its time: the others come out the
same to the bit, and the count is still the packets', each of which must have the time of its frame. Where anything
does not fit, all is decoded after all.
"""

import contextlib
import itertools
from pathlib import Path

import av
import cv2
import numpy as np

from vidbench.data.integrity import DecodeError, missing_bytes

PASSES_OVER = ("h264",)  # codecs whose frames say that no other needs them; in HEVC some higher layer still may
SEEK_SECONDS = 10.0  # a part that begins later than this is sought, not decoded from the file's beginning
BT601_MATRICES = (2, 5, 6)  # unspecified, BT.470BG, SMPTE 170M: what COLOR_YUV2RGB_I420 assumes
LIMITED_RANGES = (0, 1)  # unspecified, MPEG


class VideoFile:
    """A source of frames for `decode`: the part of a file between two times, in seconds from its beginning."""

    nothing = "no frames in the part that was asked for"

    def __init__(self, path: Path, start: float | None, end: float | None):
        self.path, self.start, self.end = path, start or 0.0, end if end is not None else float("inf")
        with open_video(path) as box:
            stream = video_stream(box)
            rate = stream.average_rate or stream.guessed_rate
            self.fps = float(rate) if rate else None
            self.origin = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
            self.time_base, self.codec = stream.time_base, stream.codec_context.name
            self.stamps = self._read_stamps(box, stream)

    def guess_num_frames(self) -> int:
        return max(len(self.stamps), 1)

    def _read_stamps(self, box, stream) -> list[int | None]:
        """The time stamps of the part's packets, in the order of the file."""
        stamps = []
        try:
            for packet in box.demux(stream):
                stamp = packet.pts
                inside = stamp is None or self._inside(float(stamp * packet.time_base))
                if packet.size and not packet.is_discard and inside:
                    stamps.append(stamp)
        except (av.error.FFmpegError, OSError):
            pass  # the decoding pass meets the same damage and says after which frame
        return stamps

    def _inside(self, seconds: float) -> bool:
        since = seconds - self.origin
        return self.start - 1e-6 <= since < self.end - 1e-6

    def frames(self, wanted: set[int] | None = None):
        """Decode to the end of the part, see `decode`'s sources; raises DecodeError where the stream is damaged."""
        if wanted is not None and self._stamped():
            yield from self._frames_and_gaps(sorted(self.stamps), wanted)
            return
        for seconds, frame in self._part():
            yield seconds, lambda frame=frame: to_rgb(frame)

    def _frames_and_gaps(self, stamps: list[int], wanted: set[int]):
        needed = {stamps[index] for index in wanted} | {stamps[0], stamps[-1]}
        coming = iter(stamps)
        for seconds, frame in self._part(needed):
            for stamp in coming:
                if stamp == frame.pts:
                    break
                if stamp in needed:
                    raise DecodeError("a packet without a frame")
                yield float(stamp * self.time_base), None
            else:
                raise DecodeError("a frame without a packet")
            yield seconds, lambda frame=frame: to_rgb(frame)
        if next(coming, None) is not None:
            raise DecodeError("packets without frames")

    def _stamped(self) -> bool:
        """Whether frames may be passed over: the codec says which, and each packet has a time stamp of its own."""
        own = {*self.stamps} - {None}
        return self.codec in PASSES_OVER and bool(own) and len(own) == len(self.stamps)

    def _part(self, needed: set[int] | None = None):
        """(seconds, frame) of the part; with `needed`, frames of other time stamps only where others need them."""
        decoded = self._decode(False, needed)
        if self.start > SEEK_SECONDS:
            first, sought = None, self._decode(True, needed)
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
                yield seconds, frame

    def _decode(self, seek: bool, needed: set[int] | None):
        index = 0
        with open_video(self.path) as box:
            stream = video_stream(box)
            stream.codec_context.thread_count = 1  # the workers are the parallelism
            try:
                if seek:
                    target = int((self.start + self.origin) / stream.time_base)
                    box.seek(target, stream=stream, backward=True)
                for packet in box.demux(stream):
                    if needed is not None:
                        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
                    if packet.is_corrupt and not packet.is_discard:
                        raise DecodeError(f"corrupt after frame {index}: the file is cut off")
                    for frame in packet.decode():
                        seconds = frame.time
                        if seconds is None:
                            seconds = self.origin + index / (self.fps or 25.0)
                        yield index, seconds, frame
                        index += 1
            except av.error.FFmpegError as problem:
                raise DecodeError(f"corrupt after frame {index}: {error_words(problem)}") from None
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


def open_video(path: Path):
    """A video file as PyAV's container; raises DecodeError where it cannot be opened."""
    try:
        # The prefix keeps names such as "-x.mp4" or "a:b.mp4" from being read as options or protocols; names that
        # are no UTF-8 cannot be handed to FFmpeg at all, so Python opens those.
        name = f"file:{path}" if str(path).isprintable() else path.open("rb")
        return av.open(name, metadata_errors="ignore")
    except PermissionError:
        raise DecodeError("unreadable file: permission denied", "open") from None
    except (av.error.FFmpegError, OSError) as problem:
        raise DecodeError(f"not a readable video: {error_words(problem)}", "open") from None


def video_stream(box):
    """The first video stream of a container; raises DecodeError where there is none."""
    if not box.streams.video:
        raise DecodeError("no video stream", "open")
    return box.streams.video[0]


def error_words(problem: Exception) -> str:
    """What an error of FFmpeg or of the system says."""
    text = getattr(problem, "strerror", None) or str(problem)
    return text[:1].lower() + text[1:]
