"""Clips out of a video: cut to the frame and encoded anew, or copied as they are from a key frame on. Without sound."""

from fractions import Fraction
from pathlib import Path

import av

from vidbench.candidates.stream import CLOSE, decoded_from
from vidbench.data.integrity import DecodeError
from vidbench.data.video_file import error_words, open_video, to_rgb, video_stream
from vidbench.utils import written_whole

CLOCK = 90_000  # ticks a second of the clips' times: frames keep the distances that they have
QUALITY = {"crf": "20", "preset": "fast"}


def cut_clip(source: Path, start: float, end: float, target: Path, copy: bool = False) -> None:
    """Write the frames of `source` from `start` to before `end`, in seconds, to `target`, an MP4; whole or not at all.

    copy: packets as they are, H.264 stays the same to the bit: fast, but the clip begins at the key frame at or before
    `start`. Otherwise exactly these frames, as H.264.

    Raises DecodeError where they cannot be decoded, or hold no frame.
    """
    write = _copied if copy else _encoded
    with written_whole(target, "wb") as file, av.open(file, "w", format="mp4") as box:
        if not write(source, start, end, box):
            raise DecodeError(f"no frames from {start:g} to {end:g} s")


def _encoded(source: Path, start: float, end: float, box) -> int:
    stream, count = None, 0
    for seconds, frame in decoded_from(source, start):
        if seconds < start - CLOSE:
            continue
        if seconds >= end - CLOSE:
            break
        image = to_rgb(frame)
        height, width = (side - side % 2 for side in image.shape[:2])  # H.264 in 4:2:0 has no odd sides
        if stream is None:
            stream = box.add_stream("libx264", rate=_rate(source), options=QUALITY)
            stream.width, stream.height, stream.pix_fmt = max(2, width), max(2, height), "yuv420p"
            stream.codec_context.time_base = Fraction(1, CLOCK)
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.time_base, picture.pts = Fraction(1, CLOCK), round((seconds - start) * CLOCK)
        box.mux(stream.encode(picture.reformat(stream.width, stream.height, "yuv420p")))
        count += 1
    if stream is not None:
        box.mux(stream.encode())
    return count


def _copied(source: Path, start: float, end: float, box) -> int:
    count = 0
    with open_video(source) as origin:
        given = video_stream(origin)
        zero = (given.start_time or 0) * given.time_base
        try:
            if start > 0:
                origin.seek(int((Fraction(start) + zero) / given.time_base), stream=given, backward=True)
            stream, first = box.add_stream_from_template(given), None
            for packet in origin.demux(given):
                if packet.dts is None or packet.pts is None:
                    continue
                if packet.dts * given.time_base - zero >= end:
                    break
                first = packet.dts if first is None else first
                if packet.pts * given.time_base - zero >= end - CLOSE:
                    continue  # shown after the end, though it comes before it
                packet.dts, packet.pts, packet.stream = packet.dts - first, packet.pts - first, stream
                box.mux(packet)
                count += 1
        except (av.error.FFmpegError, OSError, ValueError) as problem:
            raise DecodeError(f"cannot be copied: {error_words(problem)}") from None
    return count


def _rate(source: Path) -> Fraction:
    with open_video(source) as box:
        stream = video_stream(box)
        return stream.average_rate or stream.guessed_rate or Fraction(25)
