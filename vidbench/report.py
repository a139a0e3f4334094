"""Predictions → numbers with their circumstances: `report.json` and the table on stdout.

`python -m vidbench.report merge DIR… --out DIR` joins the shards of one evaluation.
"""

import argparse
import importlib.metadata
import platform
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

from vidbench import metrics
from vidbench.commands import command_errors
from vidbench.data.datasets import ROOT
from vidbench.machine import usable_cpus
from vidbench.predict import row_hits
from vidbench.results import RunFolder, read_report, read_run
from vidbench.utils import UserError, canonical_label

LIBRARIES = (
    *("tensorflow", "keras", "jax", "onnxruntime", "openvino"),
    *("numpy", "opencv-python-headless", "av", "tensorflow-hub", "pandas"),
)


def count(listed: int, predictions: pd.DataFrame, failures: pd.DataFrame, videos: pd.DataFrame) -> dict:
    """What became of the listed videos; listed = scored + failed."""
    stages = failures["stage"].value_counts()
    return {
        "listed": listed,
        "found": listed - int(stages.get("find", 0)),
        "decoded": len(predictions) + int(stages.get("sample", 0)),
        "scored": len(predictions),
        "failed": len(failures),
        "unlabelled": int((predictions["label"] == "").sum()),
        "repeated": int((videos["repeated"] == "1").sum()),
    }


def accuracies(predictions: pd.DataFrame, videos: pd.DataFrame, top_n: int, num_classes: int, level: str) -> dict:
    """top1, top<N> and mean class accuracy of the labelled rows, each as a fraction with its 95 % interval.

    Empty where no row is labelled. `chance` is what guessing among all classes would give.
    """
    labelled = (predictions["label"] != "").to_numpy()
    if not labelled.any():
        return {}
    rows = predictions[labelled]
    named = videos.set_index("video_id")["group"].reindex(rows["video_id"]).fillna("").to_numpy()
    groups = np.where(named == "", rows["video_id"].to_numpy(), named)
    labels = rows["label"].map(canonical_label).to_numpy()
    numbers = {}
    for k in sorted({1, min(top_n, num_classes)}):
        hits = row_hits(rows, k)
        numbers[f"top{k}"] = _number(hits.mean(), metrics.accuracy_interval(hits, groups), level, k / num_classes)
    hits = row_hits(rows, 1)
    interval = metrics.mean_class_interval(hits, labels, groups)
    numbers["mean_class_accuracy"] = _number(
        metrics.mean_class_accuracy(hits, labels), interval, level, 1 / num_classes
    )
    return numbers


def _number(value: float, interval: tuple[float, float], level: str, chance: float) -> dict:
    return {"value": float(value), "ci95": list(interval), "level": level, "chance": chance}


def environment() -> dict:
    """Versions, processor and commit: what another needs to repeat a run."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name.split("-")[0] if name.startswith("opencv") else name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        **versions,
        "cpu": _cpu_name(),
        "usable_cpus": usable_cpus(),
        "platform": platform.platform(),
        "commit": _commit(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _commit() -> str | None:
    """The commit of the kit's checkout, with "+" where files differ from it; None outside a checkout."""
    try:
        run = {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
        commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **run).stdout
        return commit + ("+" if changed.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def table(report: dict) -> str:
    """The report as the lines that a run prints at its end."""
    counts, protocol = report["counts"], report["protocol"]
    lines = [f"{report['model']['name']} on {report['dataset']['title']}"]
    lines += [f"  note: {note}" for note in report["dataset"]["notes"]]
    lines.append(
        f"  protocol   {protocol['sampling']}, {protocol['num_frames']} frames, "
        f"{protocol['clips']}x{protocol['crops']} views (clips x crops), {report['settings']['precision']}"
        + _looks(report["settings"])
    )
    lines.append(
        "  videos     " + ", ".join(f"{name} {number:,}" for name, number in counts.items() if name != "population")
    )
    lines.append("  population " + ", ".join(f"{name} {number:,}" for name, number in counts["population"].items()))
    if missing := counts["listed"] - counts["found"]:
        hint = "; --population found lists those that are" if report["dataset"]["name"] == "kinetics" else ""
        lines.append(f"  note: not on this disk: {missing:,} of the listed, see failures.csv{hint}")
    lines += metric_lines(report["metrics"])
    if not report["metrics"]:
        lines.append(f"  {_why_no_accuracy(report)}: predictions without accuracy")
    timing = report["timing"]
    if timing.get("videos"):
        lines.append(f"  time       {timing['seconds']:.1f} s, {timing['videos_per_second']:.2f} videos/s")
    return "\n".join(lines)


def metric_lines(metrics: dict) -> list[str]:
    """One line an accuracy: its value, interval, level and chance."""
    lines = []
    for name, number in metrics.items():
        low, high = number["ci95"]
        title = name.replace("top", "top-").replace("_", " ")
        lines.append(
            f"  {title:<20} {number['value']:7.2%}   95 % interval {low:.1%} to {high:.1%}   "
            f"({number['level']} level, chance {number['chance']:.1%})"
        )
    return lines


def _why_no_accuracy(report: dict) -> str:
    if report["settings"]["predict_only"]:
        return "--predict-only"
    return "no labels" if report["counts"]["scored"] else "nothing scored"


def _looks(settings: dict) -> str:
    order = settings.get("frame_order", "normal")
    parts = [f"frames {order}"] if order != "normal" else []
    if settings.get("distinct_frames"):
        parts.append(f"{settings['distinct_frames']} distinct frames")
    return "".join(f", {part}" for part in parts)


def summary(record: dict, listed: int, predictions, failures, videos, timing: dict) -> dict:
    """The whole report: `record`, what was known before, with the counts, metrics and timing of the tables."""
    settings, protocol = record["settings"], record["protocol"]
    level = "clip" if protocol["sampling"] != "whole" and protocol["clips"] * protocol["crops"] == 1 else "video"
    numbers = {}
    if not settings["predict_only"]:
        numbers = accuracies(predictions, videos, settings["top_n"], record["model"]["classes"], level)
    population = {"population": record["counts"]["population"]}
    return record | {
        "counts": population | count(listed, predictions, failures, videos),
        "metrics": numbers,
        "timing": timing,
    }


def timing_of(seconds: float, videos: int, views: int, **more) -> dict:
    """Seconds of scoring and the speed; a clip is one view of a video."""
    return {
        "seconds": seconds,
        "videos": videos,
        "videos_per_second": videos / seconds if seconds else 0.0,
        "clips_per_second": videos * views / seconds if seconds else 0.0,
        **more,
    }


def merge(folders: list[Path], out: Path) -> dict:
    """Join the shards 1/N … N/N of one evaluation into `out`; returns its report.

    The predictions are those of one run over all. Raises UserError where a shard is missing, named twice,
    unfinished or of another run, and where `out` holds something else.
    """
    shards = _whole_set([(Path(folder), read_report(folder)) for folder in folders])
    total = len(shards)
    listings = [(folder / "listed.txt").read_text(encoding="utf-8").splitlines() for folder, _ in shards]
    order = [listing[row] for row in range(max(map(len, listings))) for listing in listings if row < len(listing)]
    if [order[number::total] for number in range(total)] != listings:
        raise UserError("the shards are not parts of one listing: their lengths do not fit")
    (folder, first), out = shards[0], Path(out)
    classes = read_run(folder).classes
    record = {key: value for key, value in first.items() if key not in ("status", "identity", "metrics", "timing")}
    record["settings"] = record["settings"] | {"shard": None, "name": out.name, "results_dir": str(out.parent)}
    record["merged_from"] = [str(folder) for folder, _ in shards]
    seconds, videos = (sum(report["timing"][name] for _, report in shards) for name in ("seconds", "videos"))
    views = first["protocol"]["clips"] * first["protocol"]["crops"]
    identity = first["identity"] | {"shard": None}
    ways_out = "another --out"
    with RunFolder(out, identity, classes, record["settings"]["top_n"], order, record, views, ways_out=ways_out) as run:
        for folder, _ in shards:
            run.adopt(folder)
        report = run.finish(lambda *tables: summary(record, len(order), *tables, timing_of(seconds, videos, views)))
    return report | {"folder": str(out)}


def _whole_set(parts: list[tuple[Path, dict]]) -> list[tuple[Path, dict]]:
    """The shards in their order; UserError unless they are all the parts of one run, finished."""
    shards: dict[tuple[int, int], tuple[Path, dict]] = {}
    for folder, report in parts:
        if not report["identity"].get("shard"):
            raise UserError(f"{folder} is no shard: its run had no --shard I/N")
        if report["status"] != "done":
            raise UserError(f"{folder} is not finished: start its command again")
        number = tuple(report["identity"]["shard"])
        if number in shards:
            raise UserError(f"{folder} and {shards[number][0]} are both shard {number[0]}/{number[1]}")
        shards[number] = folder, report
    total = max(n for _, n in shards)
    if off := sorted({(i, total) for i in range(1, total + 1)} ^ shards.keys()):
        (i, n) = off[0]
        why = (
            f"shard {i}/{n} is missing" if n == total else f"{shards[i, n][0]} is shard {i}/{n}, others are of {total}"
        )
        raise UserError(why)
    ordered = [shards[i, total] for i in range(1, total + 1)]
    same = {**ordered[0][1]["identity"], "num_videos": ordered[0][1]["settings"]["num_videos"]}
    for folder, report in ordered[1:]:
        other = {**report["identity"], "num_videos": report["settings"]["num_videos"]}
        if differing := [key for key in same if key != "shard" and other.get(key) != same[key]]:
            raise UserError(f"{folder} is of another run than {ordered[0][0]}: {', '.join(differing)} differ")
    return ordered


def main(arguments: list[str] | None = None) -> None:
    """The command `python -m vidbench.report`."""
    parser = argparse.ArgumentParser(prog="python -m vidbench.report", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    joining = commands.add_parser("merge", help="join the shards of one evaluation")
    joining.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    joining.add_argument("--out", type=Path, metavar="DIR", help="default: merged, beside the first shard")
    wanted = parser.parse_args(arguments)
    with command_errors("merge"):
        report = merge(wanted.folders, wanted.out or wanted.folders[0].parent / "merged")
        print(table(report))
        print(f"  written to {report['folder']}")


if __name__ == "__main__":
    main()
