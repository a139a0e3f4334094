"""What became of each class: accuracies, confusions, and the mistakes that a model was surest of."""

import pandas as pd

from vidbench import metrics
from vidbench.metrics import calibration_error as calibration_error  # of what `calibration` gives
from vidbench.results import StoredRun
from vidbench.utils import canonical_label


def guesses(run: StoredRun) -> pd.DataFrame:
    """A row a labelled video: video_id, label and guess (names of the model's classes), probability, hit.

    None of a run that was to be without accuracy.
    """
    rows = run.predictions[run.predictions["label"] != ""]
    if not len(rows) or run.report["settings"]["predict_only"]:
        return pd.DataFrame({"video_id": [], "label": [], "guess": [], "probability": [], "hit": []})
    names = {canonical_label(name): name for name in run.classes}
    labels = rows["label"].map(lambda label: names.get(canonical_label(label), label))
    return pd.DataFrame(
        {
            "video_id": rows["video_id"],
            "label": labels,
            "guess": rows["pred_1"],
            "probability": rows["score_1"].astype(float),
            "hit": labels == rows["pred_1"],
        }
    )


def per_class(run: StoredRun) -> pd.DataFrame:
    """A row a class, in the model's order: how many videos it has, how many were right, and what it was taken for.

    Columns: label, videos, right, top1, low, high (Wilson's 95 % interval), guessed (how often it was the answer),
    confused_with (the commonest wrong answer), confused (how often). Classes without a video are left out.
    """
    rows, counts = [], confusion(run)
    for label in counts.index:
        row = counts.loc[label]
        right, videos = int(row.get(label, 0)), int(row.sum())
        wrong = row.drop(label, errors="ignore")
        low, high = metrics.wilson_interval(right, videos)
        worst = wrong.idxmax() if len(wrong) and wrong.max() else ""
        rows.append(
            {
                "label": label,
                "videos": videos,
                "right": right,
                "top1": right / videos,
                "low": low,
                "high": high,
                "guessed": int(counts[label].sum()) if label in counts else 0,
                "confused_with": worst,
                "confused": int(wrong.max()) if worst else 0,
            }
        )
    columns = ["label", "videos", "right", "top1", "low", "high", "guessed", "confused_with", "confused"]
    return pd.DataFrame(rows, columns=columns)


def confusion(run: StoredRun) -> pd.DataFrame:
    """How often videos of one class (a row) were taken for another (a column); in the model's order.

    Rows are the classes that have videos, columns those and the ones that were answered.
    """
    rows = guesses(run)
    known = {*rows["label"], *rows["guess"]}
    order = [name for name in run.classes if name in known]
    order += sorted(known - set(order))  # labels that the model does not know
    counts = pd.crosstab(rows["label"], rows["guess"]).reindex(index=order, columns=order, fill_value=0)
    return counts[counts.sum(axis=1) > 0]


def confident_mistakes(run: StoredRun, number: int = 8) -> list[int]:
    """The rows of `run.predictions` that are wrong with the highest probability, surest first."""
    rows = guesses(run)
    wrong = rows[~rows["hit"].astype(bool)]
    return wrong.sort_values("probability", ascending=False, kind="stable").index[:number].tolist()


def calibration(run: StoredRun, bins: int = 10) -> list[dict]:
    """Whether 80 % sure means 80 % right: videos by the probability of their answer, in `bins` equal steps.

    A dict for each step that has videos: low, high (its bounds), videos, confidence (mean probability), accuracy.
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    rows = guesses(run)
    return metrics.reliability(rows["probability"].to_numpy(float), rows["hit"].to_numpy(float), bins)
