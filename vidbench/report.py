"""Predictions → numbers with their circumstances: `report.json` and the table on stdout.

`python -m vidbench.report merge DIR… --out DIR` joins the shards of one evaluation.
"""

import argparse
import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from vidbench import metrics
from vidbench.data.datasets import ROOT
from vidbench.predict import row_hits
from vidbench.results import read_report, read_rows
from vidbench.utils import UserError, canonical_label, usable_cpus, written_whole

LIBRARIES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "av", "tensorflow-hub", "pandas")


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
    interval = metrics.mean_class_interval(hits, labels)
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
        f"{protocol['clips']} clips x {protocol['crops']} crops, {report['settings']['precision']}"
        + _looks(report["settings"])
    )
    lines.append(
        "  videos     " + ", ".join(f"{name} {number:,}" for name, number in counts.items() if name != "population")
    )
    lines.append("  population " + ", ".join(f"{name} {number:,}" for name, number in counts["population"].items()))
    if missing := counts["listed"] - counts["found"]:
        lines.append(f"  note: {missing:,} listed videos are not on this disk; each has its row in failures.csv")
    for name, number in report["metrics"].items():
        low, high = number["ci95"]
        title = name.replace("top", "top-").replace("_", " ")
        lines.append(
            f"  {title:<20} {number['value']:7.2%}   95 % interval {low:.1%} to {high:.1%}   "
            f"({number['level']} level, chance {number['chance']:.1%})"
        )
    if not report["metrics"]:
        lines.append("  no labels: predictions without accuracy")
    timing = report["timing"]
    if timing.get("videos"):
        lines.append(f"  time       {timing['seconds']:.1f} s, {timing['clips_per_second']:.2f} clips/s")
    return "\n".join(lines)


def _looks(settings: dict) -> str:
    order = settings.get("frame_order", "normal")
    parts = [f"frames {order}"] if order != "normal" else []
    if settings.get("distinct_frames"):
        parts.append(f"{settings['distinct_frames']} distinct frames")
    return "".join(f", {part}" for part in parts)


def merge(folders: list[Path], out: Path) -> dict:
    """Join the shards 1/N … N/N of one evaluation into `out`; returns its report.

    The predictions are those of one run over all. Raises UserError where a shard is missing, unfinished or of
    another run.
    """
    reports = [read_report(folder) for folder in folders]
    shards = {}
    for folder, report in zip(folders, reports, strict=True):
        if report["status"] != "done":
            raise UserError(f"{folder} is not finished: start its command again")
        if not report["identity"].get("shard"):
            raise UserError(f"{folder} is no shard: its run had no --shard I/N")
        shards[tuple(report["identity"]["shard"])] = (folder, report)
    total = max(n for _, n in shards)
    if missing := sorted({(i, total) for i in range(1, total + 1)} ^ shards.keys()):
        raise UserError(
            f"wanted the shards 1/{total} … {total}/{total}, once each; {missing[0][0]}/{missing[0][1]} is off"
        )
    first = {**shards[1, total][1]["identity"], "shard": None}
    for folder, report in shards.values():
        other = {**report["identity"], "shard": None}
        if differing := [key for key in first if other.get(key) != first[key]]:
            raise UserError(f"{folder} is of another run: {', '.join(differing)} differ")
    ordered = [shards[i, total] for i in range(1, total + 1)]
    listings = [(folder / "listed.txt").read_text(encoding="utf-8").splitlines() for folder, _ in ordered]
    order = [listing[row] for row in range(len(listings[0])) for listing in listings if row < len(listing)]
    return _merged(ordered, order, first, Path(out))


def _merged(ordered: list[tuple[Path, dict]], order: list[str], identity: dict, out: Path) -> dict:
    place = {key: position for position, key in enumerate(order)}

    def joined(name: str) -> pd.DataFrame:
        rows = pd.concat([read_rows(folder / name) for folder, _ in ordered], ignore_index=True)
        return rows.sort_values("video_id", key=lambda ids: ids.map(place), ignore_index=True)

    predictions, videos, failures = joined("predictions.csv"), joined("videos.csv"), joined("failures.csv")
    report = ordered[0][1] | {"identity": identity, "merged_from": [str(folder) for folder, _ in ordered]}
    report["settings"] = report["settings"] | {"shard": None}
    report["counts"] = {
        "population": report["counts"]["population"],
        **count(len(order), predictions, failures, videos),
    }
    classes = _joined_scores(ordered, predictions["video_id"].tolist(), out)
    level = next((number["level"] for number in report["metrics"].values()), "video")
    predict_only = report["settings"].get("predict_only")
    report["metrics"] = (
        {} if predict_only else accuracies(predictions, videos, report["settings"]["top_n"], classes, level)
    )
    seconds = sum(report["timing"]["seconds"] for _, report in ordered)
    report["timing"] = {"seconds": seconds, "videos": len(predictions), "clips_per_second": len(predictions) / seconds}
    for name, rows in (("predictions.csv", predictions), ("videos.csv", videos), ("failures.csv", failures)):
        with written_whole(out / name) as file:
            rows.to_csv(file, index=False, lineterminator="\n")
    with written_whole(out / "listed.txt") as file:
        file.writelines(f"{key}\n" for key in order)
    with written_whole(out / "report.json") as file:
        json.dump(report, file, indent=1, ensure_ascii=False)
    return report


def _joined_scores(ordered: list[tuple[Path, dict]], keys: list[str], out: Path) -> int:
    """Write the joint `scores.npz`; returns the number of classes."""
    rows: dict[str, np.ndarray] = {}
    for folder, _ in ordered:
        with np.load(folder / "scores.npz", allow_pickle=False) as kept:
            classes = kept["classes"]
            rows.update(zip(kept["video_ids"].tolist(), kept["probabilities"], strict=True))
    probabilities = np.stack([rows[key] for key in keys]) if keys else np.zeros((0, len(classes)), np.float16)
    with written_whole(out / "scores.npz", "wb") as file:
        np.savez_compressed(file, video_ids=np.array(keys, dtype=np.str_), classes=classes, probabilities=probabilities)
    return len(classes)


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m vidbench.report`."""
    parser = argparse.ArgumentParser(prog="python -m vidbench.report", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    joining = commands.add_parser("merge", help="join the shards of one evaluation")
    joining.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    joining.add_argument("--out", type=Path, default=Path("results/merged"), help="default: results/merged")
    wanted = parser.parse_args(arguments)
    try:
        print(table(merge(wanted.folders, wanted.out)))
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
