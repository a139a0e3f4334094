"""One view through every architecture, at its own size."""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidbench.benchmark.timing import interleaved, machine, random_classifiers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `scripts/benchmark.py models`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures (default: all)")


def table(wanted: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Seconds and arithmetic of one view through each architecture, in both precisions, line by line."""
    from vidbench.models.registry import ARCHITECTURES, find_architecture

    names = [find_architecture(name).name for name in wanted.names] or sorted(ARCHITECTURES)
    yield "| model | a view | GFLOP | float32, seconds | GFLOP/s | bfloat16, seconds | × float32 |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        yield _row(name, wanted.rounds)
    yield f"\n- {wanted.rounds} rounds, medians, one view at a time; {machine()}"


def _row(name: str, num_rounds: int) -> str:
    """One architecture's row of `table`."""
    models = random_classifiers(name)
    protocol = models["float32"].spec.protocol
    view = (protocol.num_frames, *protocol.frame_size)
    clip = np.random.default_rng(0).integers(0, 256, (1, *view, 3), dtype=np.uint8)
    rounds = interleaved({key: lambda m=m: m(clip) for key, m in models.items()}, num_rounds)
    full, half = (statistics.median(row[key] for row in rounds) for key in ("float32", "bfloat16"))
    ratio = statistics.median(row["bfloat16"] / row["float32"] for row in rounds)
    gflop = models["float32"].gflop(view[0], view[1:])
    cells = (name, " × ".join(map(str, view)), f"{gflop:.1f}", f"{full:.3f}", f"{gflop / full:.0f}", f"{half:.3f}")
    return f"| {' | '.join(cells)} | {ratio:.2f} |"
