"""The tables of a run → its numbers: counts, accuracies with their intervals, what the files were, timing."""

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from vidbench import metrics
from vidbench.predict import row_hits
from vidbench.report.verdict import level_of, verdict
from vidbench.results import StoredRun
from vidbench.utils import UserError, canonical_label

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
VIEW_DRAWS, VIEWS_SEED = 10, 10
NEEDED = {  # what this version reads of a report
    "model": ("name", "classes", "published", "overridden", "value_range", "mean_std", "weights_sha256", "runtime"),
    "dataset": ("name", "id", "title", "classes", "notes", "leaks"),
    "settings": (
        "precision",
        "frame_order",
        "distinct_frames",
        "classes",
        "label_map",
        "predict_only",
        "top_n",
        "seed",
    ),
    "protocol": ("sampling", "num_frames", "clips", "crops", "resize", "resize_to", "crop", "short_videos"),
    "counts": ("population",),
    "environment": ("commit", "python", "numpy", "usable_cpus", "cpu"),
}
CHUNK = 256  # videos, so that thirty views of 400 classes need little memory


def count(listed: int, predictions: pd.DataFrame, failures: pd.DataFrame, videos: pd.DataFrame) -> dict:
    """What became of the listed videos: listed = scored + failed + pending; a finished run has none pending."""
    stages = failures["stage"].value_counts()
    pending = listed - len(predictions) - len(failures)
    return {
        "listed": listed,
        "found": len(predictions) + len(failures) - int(stages.get("find", 0)),
        "decoded": len(predictions) + int(stages.get("sample", 0)) + int(stages.get("score", 0)),
        "scored": len(predictions),
        "failed": len(failures),
        "unlabelled": int((predictions["label"] == "").sum()),
        "repeated": int((videos["repeated"] == "1").sum()),
    } | ({"pending": pending} if pending else {})


def accuracies(predictions: pd.DataFrame, videos: pd.DataFrame, top_n: int, num_classes: int, level: str) -> dict:
    """top1, top<N> and mean class accuracy of the labelled rows, each as a fraction with its 95 % interval.

    Empty where no row is labelled. `chance` is what guessing among all classes would give.
    """
    rows = predictions[predictions["label"] != ""]
    if not len(rows):
        return {}
    groups = groups_of(rows["video_id"], videos)
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


def groups_of(video_ids: pd.Series, videos: pd.DataFrame) -> np.ndarray:
    """(N,) str: the recording that each video comes from, as `videos.csv` names it; its own id where there is none."""
    named = videos.set_index("video_id")["group"].reindex(video_ids).fillna("").to_numpy()
    return np.where(named == "", video_ids.to_numpy(), named)


def accuracy_by_views(views: np.ndarray, labels: np.ndarray) -> list[dict]:
    """Top-1 accuracy of 1, 2, … V views of each video: [{"views", "top1"}, …].

    views: (N, V, C) probabilities in half precision; labels: (N,) int, -1 for none. Fewer than V are drawn at random,
    each video its own, and the accuracies of VIEW_DRAWS draws averaged: which views are chosen matters little then.
    """
    rng, number = np.random.default_rng(VIEWS_SEED), views.shape[1]
    right = np.zeros(number)
    for begin in range(0, len(views), CHUNK):
        part, truth = views[begin : begin + CHUNK].astype(np.float32), labels[begin : begin + CHUNK, None]
        for _ in range(VIEW_DRAWS):
            order = rng.permuted(np.tile(np.arange(number), (len(part), 1)), axis=1)
            sums = np.take_along_axis(part, order[:, :, None], axis=1).cumsum(axis=1)
            right += (sums.argmax(axis=2) == truth).sum(axis=0)
    shares = right / VIEW_DRAWS / max(1, int((labels >= 0).sum()))
    return [{"views": count, "top1": float(share)} for count, share in enumerate(shares, start=1)]


def sources(videos: pd.DataFrame) -> dict:
    """Quantiles of the scored files' short side (pixels), frame rate and length (seconds), see QUANTILES.

    {} where nothing was scored.
    """
    if not len(videos):
        return {}
    sizes = videos[["width", "height"]].astype(float).min(axis=1)
    columns = {"short_side": sizes, "fps": videos["fps"].astype(float), "seconds": videos["seconds"].astype(float)}
    return {
        name: {f"q{100 * share:02.0f}": float(value) for share, value in column.quantile(list(QUANTILES)).items()}
        for name, column in columns.items()
    }


def fingerprint(keys: Iterable[str]) -> str:
    """64 hex digits of a set of videos, whatever their order: the SHA-256 of the sorted ids, a line each."""
    return hashlib.sha256("".join(f"{key}\n" for key in sorted(keys)).encode()).hexdigest()


def summary(record: dict, run: StoredRun, timing: dict) -> dict:
    """The whole report: `record`, what was known before, with the counts, metrics and verdict of a run's tables."""
    settings, protocol, numbers, by_views = record["settings"], record["protocol"], {}, {}
    if not settings["predict_only"]:
        classes, level = record["model"]["classes"], level_of(protocol)
        numbers = accuracies(run.predictions, run.videos, settings["top_n"], classes, level)
    if numbers and run.views.shape[1] > 1:
        by_views = {"accuracy_by_views": accuracy_by_views(run.views, label_indices(run))}
    counts = count(len(run.order), run.predictions, run.failures, run.videos)
    told = {"fingerprint": fingerprint(run.predictions["video_id"]), "sources": sources(run.videos)}
    report = record | {
        "dataset": record["dataset"] | told,
        "counts": {"population": record["counts"]["population"]} | counts,
        "metrics": numbers,
        **by_views,
        "timing": timing,
    }
    return report | verdict(report)


def record_of(report: dict) -> dict:
    """What of a report was known before the first video was scored: the `record` of `summary`.

    Raises UserError for the report of another version of the kit.
    """
    for part, names in NEEDED.items():
        if lacking := [name for name in names if name not in report.get(part, {})]:
            raise UserError(
                f"report.json lacks {part} {lacking[0]}: another version of vidbench made it; the run's command with "
                "--overwrite makes it anew"
            )
    kept = ("model", "dataset", "split", "settings", "protocol", "environment", "merged_from")
    return {name: report[name] for name in kept if name in report} | {
        "counts": {"population": report["counts"]["population"]}
    }


def label_indices(run: StoredRun) -> np.ndarray:
    """(N,) int: each scored video's class, -1 where it has no label."""
    place = {canonical_label(name): index for index, name in enumerate(run.classes)}
    return np.array([place.get(canonical_label(label), -1) for label in run.predictions["label"]], int)


def timing_of(seconds: float, videos: int, views: int, **more) -> dict:
    """Seconds of scoring and the speed; a clip is one view of a video."""
    return {
        "seconds": seconds,
        "videos": videos,
        "videos_per_second": videos / seconds if seconds else 0.0,
        "clips_per_second": videos * views / seconds if seconds else 0.0,
        **more,
    }
