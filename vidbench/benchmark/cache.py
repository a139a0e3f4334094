"""What the NumPy cache gains on a second run, what a limit leaves of that, and what compression would cost."""

import argparse
import io
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vidbench.benchmark.timing import check_clips, machine, random_classifiers, seconds
from vidbench.data.decode import decode
from vidbench.data.load import Sample, VideoLoader
from vidbench.data.process import process_frame
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.machine import usable_cpus
from vidbench.models.registry import find_architecture
from vidbench.utils import UserError, readable_bytes

COPIES = 3  # of each clip, which the cache tells apart by the second at which their part ends: long after the file
FAR_SECONDS = 1e6


@dataclass(frozen=True)
class Pass:
    """One pass over the videos: wall and CPU seconds a clip, and what the cache did."""

    seconds: float
    cpu_seconds: float
    hits: int
    misses: int
    evicted_bytes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `scripts/benchmark.py cache`."""
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="video files")
    parser.add_argument("--model", default="i3d", help="the architecture whose frames are cached (default: i3d)")
    parser.add_argument("--num-frames", type=int, default=64)


def table(wanted: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Three tables: passes over the clips, each precision with and without the cache, ways to compress."""
    check_clips(wanted.clips)
    protocol = find_architecture(wanted.model).protocol.override(num_frames=wanted.num_frames)
    videos = [
        Video(f"{number}-{clip.name}", clip, end_seconds=FAR_SECONDS + number)
        for number in range(COPIES)
        for clip in wanted.clips
    ]
    rounds = [_passes(videos, protocol, folder / str(number)) for number in range(wanted.rounds)]
    middle = {name: _median([row[name] for row in rounds]) for name in rounds[0]}
    files = [file.stat().st_size for file in (folder / "0" / "whole").rglob("*.npy")]
    title = f"{wanted.model}, {wanted.num_frames} frames"
    yield f"| {title} | seconds a clip | CPU seconds a clip | out of the cache | evicted |"
    yield "|---|---|---|---|---|"
    for name, row in middle.items():
        rate = f"{row.hits / (row.hits + row.misses):.0%}" if row.hits + row.misses else "–"
        gone = readable_bytes(row.evicted_bytes) if row.evicted_bytes else "–"
        yield f"| {name} | {row.seconds:.3f} | {row.cpu_seconds:.3f} | {rate} | {gone} |"
    yield (
        f"\n- {len(videos)} clips a pass, {readable_bytes(max(files))} each at most, {readable_bytes(sum(files))} "
        "together; CPU seconds are those of this process and its workers"
    )
    yield from _precisions(wanted, protocol, middle["without a cache"], middle["second pass"])
    yield from _compression([_frames(clip, protocol) for clip in wanted.clips], wanted.rounds)
    yield f"- {wanted.rounds} rounds, medians; {machine()}"


def _passes(videos: list[Video], protocol: Protocol, folder: Path) -> dict[str, Pass]:
    """One round: without a cache, the first and second pass with one, and passes over one of half the bytes."""
    whole, half = folder / "whole", folder / "half"
    told = {
        "without a cache": _one_pass(videos, protocol),
        "first pass, writing the cache": _one_pass(videos, protocol, cache_dir=whole),
        "second pass": _one_pass(videos, protocol, cache_dir=whole),
    }
    limit = sum(file.stat().st_size for file in whole.rglob("*.npy")) // 2
    kept = {"cache_dir": half, "cache_max_bytes": limit}
    _one_pass(videos, protocol, **kept)
    told["second pass, a limit of half the bytes"] = _one_pass(videos, protocol, **kept)
    told["a third, in the reverse order"] = _one_pass(videos[::-1], protocol, **kept)
    return told


def _one_pass(videos: list[Video], protocol: Protocol, **kept) -> Pass:
    loader = VideoLoader(videos, protocol, **kept)
    wall, cpu = time.perf_counter(), time.process_time()
    for item in loader:
        if not isinstance(item, Sample):
            raise UserError(f"{item.video.video_id}: {item.reason}")
        item.views()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu + loader.worker_cpu_seconds
    return Pass(wall / len(videos), cpu / len(videos), **loader.cache_counts)


def _median(passes: list[Pass]) -> Pass:
    last = passes[-1]
    times = (statistics.median(getattr(one, name) for one in passes) for name in ("seconds", "cpu_seconds"))
    return Pass(*times, last.hits, last.misses, last.evicted_bytes)


def _precisions(wanted: argparse.Namespace, protocol: Protocol, without: Pass, cached: Pass) -> Iterator[str]:
    """What the cache gains at each precision, computed of the model's seconds and the CPU seconds of loading."""
    frames = np.zeros((1, protocol.num_frames, *protocol.frame_size, 3), np.uint8)
    yield f"\n| {wanted.model} | model, seconds a clip | with decoding | out of the cache | gain |"
    yield "|---|---|---|---|---|"
    for precision, model in random_classifiers(wanted.model).items():
        model(frames)  # traced, warm
        alone = statistics.median(seconds(lambda model=model: model(frames)) for _ in range(wanted.rounds))
        first, second = (alone + one.cpu_seconds / usable_cpus() for one in (without, cached))
        yield f"| {precision} | {alone:.3f} | {first:.3f} | {second:.3f} | {first / second - 1:.0%} |"
    yield (
        f"\n- computed: the CPU seconds of loading, shared out among {usable_cpus()} processors, come on top of the "
        "model's seconds"
    )


# ------------------------------------------------------------------ compression


def _frames(clip: Path, protocol: Protocol) -> np.ndarray:
    """(U, h, w, 3) uint8: what the cache keeps of a clip."""
    return decode(clip, protocol.indices, lambda frame: process_frame(np.ascontiguousarray(frame), protocol)).frames


def _compression(arrays: list[np.ndarray], num_rounds: int) -> Iterator[str]:
    yield "\n| kept as | bytes a clip | × raw | CPU ms to write | CPU ms to read |"
    yield "|---|---|---|---|---|"
    raw = statistics.mean(array.nbytes for array in arrays)
    for name, (pack, unpack) in _packers().items():
        packed = [pack(array) for array in arrays]
        if any((unpack(data, array.shape) != array).any() for data, array in zip(packed, arrays, strict=True)):
            raise UserError(f"{name} does not give back what went in")
        size = statistics.mean(map(len, packed))
        writing = _cpu_ms(lambda pack=pack: [zlib.crc32(pack(array)) for array in arrays], num_rounds) / len(arrays)
        pairs = list(zip(packed, arrays, strict=True))
        reading = _cpu_ms(lambda u=unpack, p=pairs: [(zlib.crc32(data), u(data, a.shape)) for data, a in p], num_rounds)
        yield f"| {name} | {readable_bytes(size)} | {size / raw:.2f} | {writing:.1f} | {reading / len(arrays):.1f} |"
    yield "\n- in memory, without the disk; each with its checksum, raw with a copy of its frames at both ends"


def _cpu_ms(run: Callable[[], object], num_rounds: int) -> float:
    times = []
    for _ in range(num_rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return 1000 * statistics.median(times)


def _packers() -> dict[str, tuple[Callable, Callable]]:
    """Name → (array → bytes, (bytes, shape) → array). Lossless all; LZ4 and Zstandard where pyarrow is installed."""

    packers = {
        "raw": (lambda array: array.tobytes(), lambda data, shape: _array(data, shape).copy()),
        "zlib, level 1": (
            lambda array: zlib.compress(array, 1),
            lambda data, shape: _array(zlib.decompress(data), shape),
        ),
        "FFV1 video": (_to_ffv1, _from_ffv1),
    }
    try:
        import pyarrow
    except ModuleNotFoundError:
        return packers
    for name in ("lz4", "zstd"):
        codec = pyarrow.Codec(name)
        packers[name] = (
            lambda array, codec=codec: codec.compress(array.tobytes(), asbytes=True),
            lambda data, shape, codec=codec: _array(codec.decompress(data, int(np.prod(shape)), asbytes=True), shape),
        )
    return packers


def _array(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(shape)


def _to_ffv1(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="nut") as box:
        stream = box.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = array.shape[2], array.shape[1], "bgr0"
        stream.codec_context.thread_count = 1
        for frame in array:
            box.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        box.mux(stream.encode())
    return file.getvalue()


def _from_ffv1(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    with av.open(io.BytesIO(data)) as box:
        box.streams.video[0].codec_context.thread_count = 1
        return np.stack([frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)]).reshape(shape)
