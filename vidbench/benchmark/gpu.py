"""What a GPU reaches under JAX: clips a second, the share of its own matrix products, and what decoding reaches."""

import argparse
import statistics
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidbench.benchmark.pipeline import consume, link_clips
from vidbench.benchmark.timing import (
    check_clips,
    interleaved,
    machine,
    matrix_product_peak,
    random_classifiers,
    seconds,
)
from vidbench.data.datasets import load_dataset
from vidbench.data.load import VideoLoader
from vidbench.machine import usable_cpus
from vidbench.runtimes import device_name

MODELS, BATCHES = ("i3d", "r2plus1d_18", "x3d_s"), 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `scripts/benchmark.py gpu`."""
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="video files, to measure decoding with")
    parser.add_argument("--models", default=",".join(MODELS), help="architectures, separated by commas")
    parser.add_argument("--batch-size", type=int, default=32)


def table(wanted: argparse.Namespace, folder: Path) -> Iterator[str]:
    """A line a model and precision, then decoding."""
    check_clips(wanted.clips)
    size = 2048 if device_name() == "CPU" else 8192  # small ones do not fill a GPU
    peaks = {precision: matrix_product_peak(precision, size) for precision in ("float32", "bfloat16")}
    yield "| model | a view | GFLOP | precision | clips a second | GFLOP/s | of the peak |"
    yield "|---|---|---|---|---|---|---|"
    protocols = {}
    for name in wanted.models.split(","):
        models = random_classifiers(name)
        protocols[name] = models["float32"].spec.protocol
        yield from _rows(name, models, wanted, peaks)
    yield ""
    yield "- peak of square matrix products, measured in the same call: " + ", ".join(
        f"{peak:,.0f} GFLOP/s in {precision}" for precision, peak in peaks.items()
    )
    if wanted.clips:
        link_clips(wanted.clips, 4, folder / "data")
        videos = load_dataset("folder", "val", folder / "data").videos
        for name, protocol in protocols.items():
            rate = len(videos) / seconds(lambda protocol=protocol: consume(VideoLoader(videos, protocol)))
            yield f"- decoding alone, for {name}: {rate:.1f} clips a second on {usable_cpus()} processors"
    yield (
        f"- medians of {wanted.rounds} rounds of {BATCHES} batches of {wanted.batch_size} views, from uint8 in the "
        f"host's memory to logits there; random weights; {machine()}"
    )


def _rows(name: str, models: dict, wanted: argparse.Namespace, peaks: dict[str, float]) -> Iterator[str]:
    protocol = models["float32"].spec.protocol
    view = (protocol.num_frames, *protocol.frame_size)
    clips = np.random.default_rng(0).integers(0, 256, (wanted.batch_size, *view, 3), dtype=np.uint8)
    for model in models.values():
        model.set_batch_size(wanted.batch_size)
    rounds = interleaved({key: lambda m=model: stream(m, clips) for key, model in models.items()}, wanted.rounds)
    gflop = models["float32"].gflop(view[0], view[1:])
    for precision in models:
        rate = BATCHES * wanted.batch_size / statistics.median(row[precision] for row in rounds)
        size, share = " × ".join(map(str, view)), rate * gflop / peaks[precision]
        cells = (name, size, f"{gflop:.1f}", precision, f"{rate:.1f}", f"{rate * gflop:,.0f}", f"{share:.0%}")
        yield f"| {' | '.join(cells)} |"


def stream(model, clips: np.ndarray) -> None:
    """The same clips BATCHES times, as an evaluation gives them: several batches in flight."""
    begun = deque()
    for _ in range(BATCHES):
        begun.append(model.start(clips))
        if len(begun) > model.in_flight:
            begun.popleft()()
    for wait in begun:
        wait()
