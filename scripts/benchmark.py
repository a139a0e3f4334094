"""How fast is it? Rows take turns, round after round; ratios are taken within a round, because machines drift.

    python scripts/benchmark.py pipeline CLIP…    decoding, one model, and both together, on clips of yours
    python scripts/benchmark.py models [NAME…]    one view through every architecture, at its own size
    python scripts/benchmark.py training [NAME…]  a step of training beside a look, and what 5,000 clips take

Prints medians over the rounds, as Markdown. Weights do not change the speed, so architectures run with random ones,
on as many classes as Kinetics-400 has.
"""

import argparse
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidbench.arguments import EvaluateSettings
from vidbench.commands import command_errors
from vidbench.data.classes import kinetics_classes
from vidbench.data.datasets import load_dataset
from vidbench.data.load import Sample, VideoLoader
from vidbench.prepare import load_classifier
from vidbench.report import environment
from vidbench.results import read_report
from vidbench.run import evaluate_run
from vidbench.utils import UserError

SCRIPTS = Path(__file__).parent
TRAINED = ("tiny2plus1d", "x3d_s", "r2plus1d_18")
CLIPS, EPOCHS = 5000, 10  # that the time of a probe and of training is given for


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--debug", action="store_true", help="show the traceback behind an error line")
    parts = parser.add_subparsers(dest="part", required=True)
    pipeline = parts.add_parser("pipeline", help="decoding, one model, and both together")
    pipeline.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="video files")
    pipeline.add_argument("--model", default="i3d", help="an architecture (default: i3d)")
    pipeline.add_argument("--num-frames", type=int, default=64)
    pipeline.add_argument("--batch-size", type=int, default=8)
    pipeline.add_argument("--copies", type=int, default=2, help="score each clip so often in a round (default: 2)")
    models = parts.add_parser("models", help="one view through every architecture")
    models.add_argument("names", nargs="*", metavar="NAME", help="architectures (default: all)")
    training = parts.add_parser("training", help="a step of training beside a look at the same clips")
    training.add_argument("names", nargs="*", metavar="NAME", help=f"architectures (default: {' '.join(TRAINED)})")
    training.add_argument("--batch-size", type=int, default=8)
    for part in (pipeline, models, training):
        part.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    if wanted.rounds < 1:
        parser.error("--rounds must be at least 1")
    with command_errors("benchmark") as ending, tempfile.TemporaryDirectory() as folder:
        ending.debug = wanted.debug
        tables = {"models": models_table, "training": training_table}
        lines = tables[wanted.part](wanted) if wanted.part in tables else [pipeline_table(wanted, Path(folder))]
        for line in lines:
            print(line, flush=True)


def models_table(wanted: argparse.Namespace) -> Iterator[str]:
    """Seconds and arithmetic of one view through each architecture, in both precisions, line by line."""
    from vidbench.models.registry import ARCHITECTURES, find_architecture

    names = [find_architecture(name).name for name in wanted.names] or sorted(ARCHITECTURES)
    yield "| model | a view | GFLOP | float32, seconds | GFLOP/s | bfloat16, seconds | × float32 |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        yield model_row(name, wanted.rounds)
    yield f"\n- {wanted.rounds} rounds, medians, one view at a time; {machine()}"


def model_row(name: str, num_rounds: int) -> str:
    """One architecture's row of `models_table`."""
    models = random_classifiers(name)
    protocol = models["float32"].spec.protocol
    view = (protocol.num_frames, *protocol.frame_size)
    clip = np.random.default_rng(0).integers(0, 256, (1, *view, 3), dtype=np.uint8)
    for model in models.values():
        model(clip)  # traced, warm
    rounds = [{key: seconds(lambda m=m: m(clip)) for key, m in models.items()} for _ in range(num_rounds)]
    full, half = (statistics.median(row[key] for row in rounds) for key in ("float32", "bfloat16"))
    ratio = statistics.median(row["bfloat16"] / row["float32"] for row in rounds)
    gflop = models["float32"].gflop(view[0], view[1:])
    cells = (name, " × ".join(map(str, view)), f"{gflop:.1f}", f"{full:.3f}", f"{gflop / full:.0f}", f"{half:.3f}")
    return f"| {' | '.join(cells)} | {ratio:.2f} |"


def random_classifiers(name: str) -> dict:
    """An architecture with random weights, as a classifier in each precision."""
    from vidbench.models import build_model, network_classifier
    from vidbench.models.registry import find_architecture
    from vidbench.runtimes import PRECISIONS, device_name, use_all_cpus

    use_all_cpus()
    device_name()  # the first look for a GPU talks; it is held back there
    classes = kinetics_classes("400")
    network = build_model(name, len(classes))
    spec = find_architecture(name).spec(classes=classes)
    return {precision: network_classifier(network, spec, precision) for precision in PRECISIONS}


def machine() -> str:
    """What the figures were measured on."""
    from vidbench.runtimes import device_name, on_jax

    facts = environment()
    device = facts["cpu"] if device_name() == "CPU" else device_name()
    library = "jax" if on_jax() else "tensorflow"
    version = importlib.metadata.version(library)
    return f"{device}, {facts['usable_cpus']} processors, {library} {version}, commit {facts['commit']}"


def training_table(wanted: argparse.Namespace) -> Iterator[str]:
    """Seconds a clip of a look and of a training step, and the hours of a probe and of training, line by line."""
    from vidbench.models.registry import find_architecture

    names = [find_architecture(name).name for name in wanted.names or TRAINED]
    yield (
        f"| model | a clip | look, seconds | step, seconds | × look | probe of {CLIPS:,} clips, hours | "
        f"{EPOCHS} epochs of training, hours |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        yield training_row(name, wanted.rounds, wanted.batch_size)
    yield (
        f"\n- {wanted.rounds} rounds, medians, batches of {wanted.batch_size}, one view a clip, without decoding; the "
        f"hours are computed from the seconds; {machine()}"
    )


def training_row(name: str, num_rounds: int, batch_size: int) -> str:
    """One architecture's row of `training_table`."""
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


def pipeline_table(wanted: argparse.Namespace, folder: Path) -> str:
    """Decoding, one model in both precisions, and the whole run."""
    if missing := [clip for clip in wanted.clips if not clip.is_file()]:
        raise UserError(f"no such clip: {missing[0]}")
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
    )
    videos = load_dataset("folder", "val", settings.data_dir).videos
    models = {name: load_classifier(replace(settings, precision=name)) for name in ("float32", "bfloat16")}
    samples = [item for item in VideoLoader(videos, models["float32"].spec.protocol) if isinstance(item, Sample)]
    if len(samples) < len(videos):
        raise UserError(f"{len(videos) - len(samples)} of the clips cannot be decoded")
    variants = {
        "decode, all workers": lambda: consume(VideoLoader(videos, models["float32"].spec.protocol)),
        "decode, one worker": lambda: consume(VideoLoader(videos, models["float32"].spec.protocol, workers=1)),
        "model, float32": lambda: classify(models["float32"], samples, wanted.batch_size),
        "model, bfloat16": lambda: classify(models["bfloat16"], samples, wanted.batch_size),
        "files to report, float32": lambda: evaluate_run(settings, model=models["float32"]),
    }
    for run in variants.values():
        run()  # traced, warm
    rounds = [{name: seconds(run) / len(videos) for name, run in variants.items()} for _ in range(wanted.rounds)]
    return report(wanted, folder, settings, rounds, len(videos))


def report(wanted, folder: Path, settings: EvaluateSettings, rounds: list[dict], num_videos: int) -> str:
    lines = [f"| {wanted.model}, {wanted.num_frames} frames | seconds a clip | × model, float32 |", "|---|---|---|"]
    for name in rounds[0]:
        each = statistics.median(row[name] for row in rounds)
        ratio = statistics.median(row[name] / row["model, float32"] for row in rounds)
        lines.append(f"| {name} | {each:.3f} | {ratio:.2f} |")
    memory, cached = as_commands(settings)
    clips = list((folder / "cache").rglob("*.npy"))
    return "\n".join(
        [
            *lines,
            "",
            f"- peak memory of scripts/evaluate.py, batch {wanted.batch_size}: {memory['process']:,} MB, "
            f"its largest worker {memory['largest_worker']:,} MB",
            f"- second run, all clips cached: {cached:.3f} s a clip",
            f"- cache: {max(clip.stat().st_size for clip in clips) / 1e6:.2f} MB a clip at most",
            f"- {num_videos} clips a round, {len(rounds)} rounds, medians; {machine()}",
        ]
    )


def as_commands(settings: EvaluateSettings) -> tuple[dict, float]:
    """Peak memory of a run in a process of its own, and seconds a clip of a second run over its cache."""
    command = [sys.executable, str(SCRIPTS / "evaluate.py"), "--model", settings.model, "--dataset", "folder"]
    command += ["--predict-only"]
    command += ["--data-dir", str(settings.data_dir), "--results-dir", str(settings.results_dir)]
    command += ["--batch-size", str(settings.batch_size), "--cache-dir", str(settings.cache_dir)]
    reports = []
    for name in ("first", "second"):
        subprocess.run([*command, "--name", name], check=True, capture_output=True)
        reports.append(read_report(settings.results_dir / name))
    return reports[0]["timing"]["peak_memory_mb"], 1 / reports[1]["timing"]["videos_per_second"]


def link_clips(clips: list[Path], copies: int, folder: Path) -> None:
    """A folder data set of `copies` links to every clip."""
    (folder / "val" / "clips").mkdir(parents=True)
    for number in range(copies):
        for clip in clips:
            (folder / "val" / "clips" / f"{number}-{clip.name}").symlink_to(clip.resolve())


def random_model(name: str, num_frames: int, folder: Path) -> Path:
    """An architecture with random weights, saved with the spec that a run needs."""
    from vidbench.models import build_model, save_model
    from vidbench.models.registry import find_architecture
    from vidbench.runtimes import device_name

    device_name()  # the first look for a GPU talks; it is held back there
    classes = kinetics_classes("400")
    network = build_model(name, len(classes))
    spec = replace(find_architecture(name).spec(classes=classes), name="random", domain="nothing: random weights")
    spec = spec.with_protocol(spec.protocol.override(num_frames=num_frames))
    save_model(network, folder / "random.keras", spec)
    return folder / "random.keras"


def consume(loader: VideoLoader) -> None:
    for _ in loader:
        pass


def classify(model, samples: list[Sample], batch_size: int) -> None:
    for first in range(0, len(samples), batch_size):
        model(np.concatenate([sample.views() for sample in samples[first : first + batch_size]]))


def seconds(run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
