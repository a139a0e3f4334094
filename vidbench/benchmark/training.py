"""A step of training beside a look, and what 5,000 clips take."""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidbench.benchmark.timing import machine, seconds

TRAINED = ("tiny2plus1d", "x3d_s", "r2plus1d_18")
CLIPS, EPOCHS = 5000, 10  # that the time of a probe and of training is given for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `scripts/benchmark.py training`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"architectures (default: {' '.join(TRAINED)})")
    parser.add_argument("--batch-size", type=int, default=8)


def table(wanted: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Seconds a clip of a look and of a training step, and the hours of a probe and of training, line by line."""
    from vidbench.models.registry import find_architecture

    names = [find_architecture(name).name for name in wanted.names or TRAINED]
    yield (
        f"| model | a clip | look, seconds | step, seconds | × look | probe of {CLIPS:,} clips, hours | "
        f"{EPOCHS} epochs of training, hours |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        yield _row(name, wanted.rounds, wanted.batch_size)
    yield (
        f"\n- {wanted.rounds} rounds, medians, batches of {wanted.batch_size}, one view a clip, without decoding; the "
        f"hours are computed from the seconds; {machine()}"
    )


def _row(name: str, num_rounds: int, batch_size: int) -> str:
    """One architecture's row of `table`."""
    from vidbench.data.train_loader import Batch
    from vidbench.models import build_model, network_classifier
    from vidbench.models.registry import find_architecture
    from vidbench.train.loop import Training
    from vidbench.train.plan import Plan

    network, spec = build_model(name, 8), find_architecture(name).spec(classes=tuple("abcdefgh"))
    classifier = network_classifier(network, spec)
    training = Training(network, classifier, Plan())
    shape = (batch_size, spec.protocol.num_frames, *spec.protocol.frame_size, 3)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = np.eye(8, dtype=np.float32)[rng.integers(0, 8, batch_size)]
    batch = Batch(frames, labels, np.ones(batch_size, np.float32))
    looks, steps = [], []
    for number in range(num_rounds + 1):
        times = seconds(lambda: classifier(frames)), seconds(lambda: training.step(batch, 1e-4))
        if number:  # the first round traces
            looks.append(times[0] / batch_size)
            steps.append(times[1] / batch_size)
    look, step = statistics.median(looks), statistics.median(steps)
    ratio = statistics.median(b / a for a, b in zip(looks, steps, strict=True))
    size = " × ".join(map(str, shape[1:4]))
    hours = f"{CLIPS * look / 3600:.2f} | {CLIPS * EPOCHS * step / 3600:.1f}"
    return f"| {name} | {size} | {look:.3f} | {step:.3f} | {ratio:.1f} | {hours} |"
