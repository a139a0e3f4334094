"""The tables of a run → its numbers: counts, accuracies with their intervals, timing."""

import numpy as np
import pandas as pd

from vidbench import metrics
from vidbench.predict import row_hits
from vidbench.utils import canonical_label


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
