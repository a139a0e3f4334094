"""Decoding, one model in every precision, both together, and the original prototype's way, on clips of one's own."""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidbench.arguments import EvaluateSettings
from vidbench.benchmark.prototype import network_function, prototype_run
from vidbench.benchmark.timing import check_clips, interleaved, machine, random_model, run_script
from vidbench.commands import as_argfile
from vidbench.convert import agreement
from vidbench.data.datasets import ROOT, load_dataset
from vidbench.data.load import Sample, VideoLoader
from vidbench.data.records import Video
from vidbench.prepare import load_classifier
from vidbench.results import read_report
from vidbench.run import evaluate_run
from vidbench.utils import UserError

VARIANTS = (
    *(("tensorflow", "float32"), ("tensorflow", "bfloat16")),
    *(("openvino", "float32"), ("openvino", "bfloat16"), ("openvino", "int8")),
)
FIRST = "files to report, float32, tensorflow"
PROTOTYPE = "the prototype's way, float32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `scripts/benchmark.py pipeline`."""
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="video files")
    parser.add_argument("--model", default="i3d", help="an architecture (default: i3d)")
    parser.add_argument("--num-frames", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--copies", type=int, default=2, help="score each clip so often in a round (default: 2)")
    parser.add_argument("--calibration-dir", type=Path, help="other videos, for int8 (without: no int8)")


def table(wanted: argparse.Namespace, folder: Path) -> Iterator[str]:
    """A line a way, with ratios to the whole run in TensorFlow's float32, then memory and cache."""
    check_clips(wanted.clips)
    link_clips(wanted.clips, wanted.copies, folder / "data")
    settings = EvaluateSettings(
        model=str(random_model(wanted.model, wanted.num_frames, folder)),
        dataset="folder",
        predict_only=True,
        data_dir=folder / "data",
        batch_size=wanted.batch_size,
        results_dir=folder / "results",
        cache_dir=folder / "cache",
        cache=False,
        overwrite=True,
        calibration_dir=wanted.calibration_dir,
    )
    videos = list(load_dataset("folder", "val", settings.data_dir).videos)
    each = {
        f"{precision}, {runtime}": replace(settings, runtime=runtime, precision=precision)
        for runtime, precision in VARIANTS
        if precision != "int8" or wanted.calibration_dir
    }
    models = {name: load_classifier(one, videos) for name, one in each.items()}
    views = _views(videos, models)
    ways = _ways(wanted, folder, each, models, videos, views)
    rounds = interleaved(ways, wanted.rounds)
    rounds = [{name: total / len(videos) for name, total in row.items()} for row in rounds]
    yield f"| {wanted.model}, {wanted.num_frames} frames | seconds a clip | clips a second, × float32 whole run |"
    yield "|---|---|---|"
    for name in ways:
        seconds = statistics.median(row[name] for row in rounds)
        ratio = statistics.median(row[FIRST] / row[name] for row in rounds)
        yield f"| {name} | {seconds:.3f} | {ratio:.2f} |"
    yield ""
    first = next(iter(models.values()))
    for name, model in models.items():
        told = agreement(first, model, views)
        yield (
            f"- {name}: the likeliest class is float32's on {told['same_top1']:.1%} of {len(views)} clips, logits off "
            f"by at most {told['largest_error']:.1g} of their spread"
        )
    yield from _memory_and_cache(wanted, settings, folder)
    yield f"- {len(videos)} clips a round, {len(rounds)} rounds, medians; random weights; {machine()}"


def _views(videos: list[Video], models: dict) -> np.ndarray:
    """(N, T, H, W, 3) uint8: what the models are given."""
    protocol = next(iter(models.values())).spec.protocol
    samples = [item for item in VideoLoader(videos, protocol) if isinstance(item, Sample)]
    if len(samples) < len(videos):
        raise UserError(f"{len(videos) - len(samples)} of the clips cannot be decoded")
    return np.concatenate([sample.views() for sample in samples])


def _ways(wanted, folder: Path, each: dict, models: dict, videos: list[Video], views: np.ndarray) -> dict:
    """What takes turns: {name: call}."""
    protocol = next(iter(models.values())).spec.protocol
    pickled = folder / "pickled"
    pickled.mkdir()
    function = network_function(folder / "random.keras")
    paths = [video.path for video in videos]
    return {
        "decode, all workers": lambda: consume(VideoLoader(videos, protocol)),
        "decode, one worker": lambda: consume(VideoLoader(videos, protocol, workers=1)),
        **{f"model, {name}": lambda m=model: classify(m, views, wanted.batch_size) for name, model in models.items()},
        **{f"files to report, {name}": lambda n=name: evaluate_run(each[n], model=models[n]) for name in models},
        PROTOTYPE: lambda: prototype_run(paths, function, wanted.num_frames, pickled),
    }


def _memory_and_cache(wanted, settings: EvaluateSettings, folder: Path) -> Iterator[str]:
    """Peak memory of a run as a process of its own, a second run over its cache, and the prototype's two figures."""
    settings = replace(settings, cache=True, cache_dir=folder / "new", runtime="tensorflow")
    memory, cached = as_commands(settings, folder)
    kept = max(clip.stat().st_size for clip in (settings.cache_dir / "clips").rglob("*.npy"))
    yield (
        f"- peak memory of scripts/evaluate.py, batch {wanted.batch_size}: {memory['process']:,} MB, its largest "
        f"worker {memory['largest_worker']:,} MB; cache: {kept / 1e6:.2f} MB a clip at most"
    )
    yield f"- second run, all clips cached: {cached:.3f} s a clip, with tracing"
    old = folder / "pickled alone"
    old.mkdir()
    words = ["-m", "vidbench.benchmark.prototype", settings.model, str(wanted.num_frames), str(old)]
    told = json.loads(run_script([*words, *map(str, wanted.clips)]).splitlines()[-1])
    kept = told["cache_bytes_a_clip"]
    yield f"- the prototype's way: {told['peak_memory_mb']:,} MB, cache: {kept / 1e6:.2f} MB a clip at most"


def as_commands(settings: EvaluateSettings, folder: Path) -> tuple[dict, float]:
    """Peak memory of a run in a process of its own, and seconds a clip of a second run over its cache."""
    reports = []
    for name in ("first", "second"):
        words = folder / f"{name}.txt"
        words.write_text(as_argfile(replace(settings, name=name)), encoding="utf-8")
        run_script([str(ROOT / "scripts" / "evaluate.py"), f"@{words}"])
        reports.append(read_report(settings.results_dir / name))
    return reports[0]["timing"]["peak_memory_mb"], 1 / reports[1]["timing"]["videos_per_second"]


def link_clips(clips: list[Path], copies: int, folder: Path) -> None:
    """A folder data set of `copies` links to every clip."""
    (folder / "val" / "clips").mkdir(parents=True)
    for number in range(copies):
        for place, clip in enumerate(clips):
            (folder / "val" / "clips" / f"{number}-{place}-{clip.name}").symlink_to(clip.resolve())


def consume(loader: VideoLoader) -> None:
    for _ in loader:
        pass


def classify(model, views: np.ndarray, batch_size: int) -> None:
    for first in range(0, len(views), batch_size):
        model(views[first : first + batch_size])
