"""Every runtime and precision at several clip lengths on the same clips: what each costs, and what it changes."""

import argparse
import math
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidbench.arguments import EvaluateSettings
from vidbench.benchmark.timing import interleaved, machine, matrix_product_peak, random_model, run_script
from vidbench.commands import as_argfile, parse_settings
from vidbench.data.datasets import ROOT, shard_of
from vidbench.data.load import Sample
from vidbench.metrics import accuracy_interval, paired_interval, softmax
from vidbench.predict import run_views
from vidbench.prepare import list_videos, load_classifier, loader_of, match_classes
from vidbench.results import read_report
from vidbench.runtimes import RUNTIMES, on_jax
from vidbench.utils import UserError, canonical_label
from vidbench.visualize.speed import frontier_figure

TIMED_CLIPS = 2  # a variant and round
MEMORY_VIDEOS = 8


@dataclass(frozen=True, eq=False)
class Row:
    """One variant at one clip length. logits: (N, V, C) float32 of V views; hits: (N,) bool, None without labels."""

    runtime: str
    precision: str
    num_frames: int
    seconds: float  # of the model, a clip
    gflops: float  # 10⁹ operations a second
    memory_mb: int | None
    logits: np.ndarray
    hits: np.ndarray | None
    groups: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """(N,) int: the likeliest class; probabilities are averaged over the views, not logits."""
        return softmax(self.logits).mean(axis=1).argmax(axis=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `scripts/benchmark.py frontier`; all others are those of evaluate.py."""
    parser.add_argument("--frames", help="frames a clip, separated by commas (default: the model's own)")
    parser.add_argument("--random", action="store_true", help="random weights for --model, an architecture")
    parser.add_argument("--figure", type=Path, help="write the figure to this .png or .svg")


def table(wanted: argparse.Namespace, folder: Path) -> Iterator[str]:
    """A line a variant, and the figure where one is asked for."""
    settings = parse_settings(EvaluateSettings, wanted.rest, prog="benchmark.py frontier")
    lengths = _lengths(wanted.frames) if wanted.frames else [settings.num_frames]
    if wanted.figure and wanted.figure.suffix not in (".png", ".svg"):
        raise UserError(f"--figure must name a .png or .svg file, got {wanted.figure}")
    if wanted.random:
        model = random_model(settings.model, lengths[0] or 16, folder)
        settings = replace(settings, model=str(model), predict_only=True)
    rows, peak = [], matrix_product_peak()
    yield (
        "| frames | runtime | precision | seconds a clip | × float32 | GFLOP/s (of peak) | memory, MB "
        "| top-1 | less float32's, points | same top-1 | largest logit error |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for num_frames in lengths:
        measured, left_out = measure(replace(settings, num_frames=num_frames), wanted.rounds, folder)
        for reason in left_out:
            print(reason, file=sys.stderr)
        for row in measured:
            base = next((known for known in rows if known.num_frames == row.num_frames), row)
            rows.append(row)
            yield line(row, base, peak)
    yield (
        f"\n- {len(rows[0].logits):,} videos; seconds are the model's alone, medians of {wanted.rounds} rounds; the "
        f"peak of float32 matrix products, measured in the same call, is {peak:,.0f} GFLOP/s; memory is the largest "
        f"of evaluate.py as a process; {machine()}"
    )
    if wanted.figure:
        frontier_figure(rows, wanted.figure)
        yield f"- figure: {wanted.figure}"


def _lengths(words: str) -> list[int]:
    """ "16,32" → [16, 32]."""
    try:
        lengths = [int(word) for word in words.split(",")]
    except ValueError:
        lengths = [0]
    if min(lengths) < 1:
        raise UserError(f"--frames must be numbers above 0, separated by commas, got {words!r}")
    return list(dict.fromkeys(lengths))


def measure(settings: EvaluateSettings, num_rounds: int, folder: Path | None = None) -> tuple[list[Row], list[str]]:
    """Every variant that can be had here on the settings' videos, float32 as it is first, and why others cannot.

    folder: for the runs that tell the memory of each, None to go without
    """
    found, videos = list_videos(settings)
    models, left_out = {}, []
    runtimes = ("jax",) if on_jax() else [name for name in RUNTIMES if name != "jax"]
    for runtime, precision in [(name, precision) for name in runtimes for precision in RUNTIMES[name]]:
        wanted = replace(settings, runtime=runtime, precision=precision)
        try:
            model = load_classifier(wanted, videos)
            protocol = model.spec.protocol
            model(np.zeros((1, protocol.num_frames, *protocol.frame_size, 3), np.uint8))  # what cannot run says so here
            models[runtime, precision] = model
        except UserError as problem:
            if not models:
                raise
            left_out.append(f"{runtime} in {precision} is left out: {problem}")
    first = next(iter(models.values()))  # in float32, not converted
    protocol = first.spec.protocol
    videos, _ = match_classes(videos, found, first.spec.classes, settings.predict_only)
    videos = shard_of(videos, settings.shard)
    looks = {"frame_order": settings.frame_order, "distinct_frames": settings.distinct_frames, "seed": settings.seed}
    samples, logits = {key: [] for key in models}, {key: [] for key in models}
    clips = []
    for item in loader_of(settings, videos, protocol):
        if not isinstance(item, Sample):
            continue
        clips += [item.views()[:1]] if len(clips) < TIMED_CLIPS else []
        for key, model in models.items():
            for sample, given in run_views(model, [item], **looks):
                samples[key].append(sample)
                logits[key].append(given)
    if not clips:
        raise UserError("none of the videos can be read")
    rounds = interleaved(
        {key: lambda m=model: [m(clip) for clip in clips] for key, model in models.items()}, num_rounds
    )
    gflop = first.gflop(protocol.num_frames, protocol.frame_size)
    rows = []
    for key in models:
        each = statistics.median(row[key] for row in rounds) / len(clips)
        memory = peak_memory(replace(settings, runtime=key[0], precision=key[1]), folder) if folder else None
        given = np.stack(logits[key])
        labels, groups = _labels(samples[key], first.spec.classes)
        row = Row(*key, protocol.num_frames, each, gflop / each, memory, given, None, groups)
        rows.append(row if labels is None else replace(row, hits=row.predicted == labels))
    return rows, left_out


def _labels(samples: list[Sample], classes: tuple[str, ...]) -> tuple[np.ndarray | None, np.ndarray]:
    """(N,) indices of the labels, None where a video has none that the model knows, and the (N,) recordings."""
    groups = np.array([sample.video.group or sample.video.video_id for sample in samples])
    known = {canonical_label(name): index for index, name in enumerate(classes)}
    labels = [known.get(canonical_label(sample.video.label or "")) for sample in samples]
    return None if None in labels else np.array(labels), groups


def peak_memory(settings: EvaluateSettings, folder: Path) -> int:
    """MB that scripts/evaluate.py with these settings holds at most, as a process of its own, on a few videos."""
    name = f"{settings.runtime}-{settings.precision}-{settings.num_frames}"
    settings = replace(
        settings, name=name, results_dir=folder / "memory", num_videos=MEMORY_VIDEOS, overwrite=True, predict_only=True
    )
    words = folder / f"{name}.txt"
    words.write_text(as_argfile(settings), encoding="utf-8")
    run_script([str(ROOT / "scripts" / "evaluate.py"), f"@{words}"])
    return read_report(folder / "memory" / name)["timing"]["peak_memory_mb"]["process"]


def line(row: Row, base: Row, peak: float) -> str:
    """One row as Markdown, beside the float32 of TensorFlow at the same clip length."""
    share = f"{row.gflops:.0f} ({row.gflops / peak:.0%})" if math.isfinite(row.gflops) else "–"
    cells = [str(row.num_frames), row.runtime, row.precision, f"{row.seconds:.3f}", f"{row.seconds / base.seconds:.2f}"]
    cells += [share, f"{row.memory_mb:,}", *_accuracy_cells(row, base)]
    same = (row.predicted == base.predicted).mean()
    error = np.abs(row.logits - base.logits).max() / np.ptp(base.logits)
    return f"| {' | '.join([*cells, f'{same:.1%}', f'{error:.1g} of the spread'])} |"


def _accuracy_cells(row: Row, base: Row) -> list[str]:
    if row.hits is None:
        return ["–", "–"]
    low, high = accuracy_interval(row.hits, row.groups)
    told = f"{row.hits.mean():.1%} [{low:.1%}, {high:.1%}]"
    if row is base:
        return [told, ""]
    low, high = paired_interval(row.hits, base.hits, row.groups)
    return [told, f"{100 * (row.hits.mean() - base.hits.mean()):+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"]
