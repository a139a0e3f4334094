"""Two runs or more on the same videos: what parts them, how sure that is, and what they reach together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from vidbench import metrics
from vidbench.predict import best_classes, row_hits, row_names
from vidbench.report import accuracies, groups_of
from vidbench.results import differences, read_run
from vidbench.utils import UserError, canonical_label, printable

SAME_DATA = ("name", "kinetics_version", "fold", "split", "title")
DIFFERING = (  # what may part two runs beside chance
    *("model", "weights_sha256", "protocol", "precision", "runtime", "value_range", "mean_std"),
    *("frame_order", "distinct_frames", "frames_fps", "seed"),
    *("data_dir", "csv", "gt_csv", "annotations", "label_map"),
)
HASHES = ("weights_sha256", "csv", "gt_csv", "annotations", "label_map")


@dataclass(frozen=True, eq=False)
class _Run:
    """A run's labelled rows, or the fusion of several: `predictions` and `probabilities` (N, C) row for row.

    It has no scores of single views: thirty views of 20,000 videos are half a gigabyte a run.
    """

    name: str
    report: dict
    classes: tuple[str, ...]
    predictions: pd.DataFrame
    videos: pd.DataFrame
    probabilities: np.ndarray


def compare_runs(folders: Sequence[Path], fuse: bool = False, weights: Sequence[float] = ()) -> dict:
    """Compare runs on the labelled videos that all of them scored; returns plain data.

    folders: two runs or more that `scripts/evaluate.py` wrote, also unfinished ones. fuse: the mean of their
    probabilities is one more run; `weights`, one a run, weigh it and imply it.

    - `runs`: `name`, `partial`, `videos` (labelled), `left_out` of them, `top1` and `mean_class_accuracy` (`value` and
      `ci95`, fractions), `seconds_per_clip` or None
    - `pairs`: `a`, `b`, `difference` of top-1 (a fraction, a minus b) with `ci95`, the counts of `metrics.two_by_two`,
      `mcnemar_p`, `holm_p`, `differs` and the ids `flipped_to_a`, `flipped_to_b`
    - `flips`: id, label and each run's prediction where some run is right and some wrong
    - `fused`: rows as in `predictions.csv`
    - `title`, `videos`, `groups`, `notes`

    Raises UserError where the runs cannot be compared or fused.
    """
    runs = [_labelled_run(Path(folder), name) for folder, name in zip(folders, run_names(folders), strict=True)]
    _refuse_other_data(runs)
    labelled = {run.name: len(run.predictions) for run in runs}
    runs = _on_shared_videos(runs)
    _refuse_other_labels(runs)
    if fuse or len(weights):
        runs.append(_fusion(runs, weights))
    ids = runs[0].predictions["video_id"]
    groups = _groups(ids, runs)
    grouped = pd.DataFrame({"video_id": ids, "group": groups})
    hits = {run.name: row_hits(run.predictions, 1) for run in runs}
    pairs = [_pair(a, b, hits[a.name], hits[b.name], groups) for a, b in combinations(runs, 2)]
    for pair, p in zip(pairs, metrics.holm([pair["mcnemar_p"] for pair in pairs]), strict=True):
        pair["holm_p"] = float(p)
    return {
        "title": runs[0].report["dataset"]["title"],
        "videos": len(ids),
        "groups": len(np.unique(groups)),
        "notes": _notes(runs, len(ids), len(np.unique(groups))),
        "runs": [_figures(run, grouped, labelled.get(run.name, len(ids))) for run in runs],
        "pairs": pairs,
        "flips": _flips(runs, hits),
        "fused": runs[-1].predictions.to_dict("records") if fuse or len(weights) else [],
    }


def run_names(folders: Sequence[Path]) -> list[str]:
    """A name for each folder: its own, after as much of its path as tells it from the others.

    Raises UserError for fewer than two folders, or the same one twice.
    """
    parts = [Path(folder).resolve().parts for folder in folders]
    if len(parts) < 2:
        raise UserError(f"a comparison needs two runs or more, got {len(parts)}")
    if twice := [str(folder) for place, folder in enumerate(folders) if parts[place] in parts[:place]]:
        raise UserError(f"{twice[0]} is named twice: a comparison needs different runs")
    names = []
    for own in parts:
        others = [other for other in parts if other is not own]
        depth = next(n for n in range(1, len(own) + 1) if all(other[-n:] != own[-n:] for other in others))
        names.append(printable("/".join(own[-depth:])))
    return names


def _labelled_run(folder: Path, name: str) -> _Run:
    if folder.is_dir() and not (folder / "predictions.csv").is_file():
        hint = f"; {folder / 'val'} is one" if (folder / "val" / "predictions.csv").is_file() else ""
        raise UserError(f"{folder} holds no run of scripts/evaluate.py: it has no predictions.csv{hint}")
    stored = read_run(folder)
    if stored.report["identity"].get("predict_only"):
        raise UserError(f"{folder} was scored with --predict-only: there is no accuracy to compare")
    rows = np.flatnonzero(stored.predictions["label"] != "")
    if not len(rows):
        raise UserError(f"{folder} has no labelled predictions: there is no accuracy to compare")
    predictions = stored.predictions.iloc[rows].reset_index(drop=True)
    return _Run(name, stored.report, stored.classes, predictions, stored.videos, stored.probabilities[rows])


def _refuse_other_data(runs: list[_Run]) -> None:
    first, *others = ({**run.report["identity"], **run.report["dataset"], "split": run.report["split"]} for run in runs)
    for run, other in zip(runs[1:], others, strict=True):
        wanted, got = ({key: facts.get(key) for key in SAME_DATA} for facts in (first, other))
        words = differences(wanted, got, "the data set's ", f"in {runs[0].name}", f"in {run.name}")
        if differing := list(words):
            raise UserError(f"the runs are of different data: {differing[0]}")


def _on_shared_videos(runs: list[_Run]) -> list[_Run]:
    """The runs on the videos that all of them scored, in the order of the first."""
    others = [set(run.predictions["video_id"]) for run in runs[1:]]
    ids = [key for key in runs[0].predictions["video_id"] if all(key in scored for scored in others)]
    if not ids:
        raise UserError(f"no labelled video was scored by all of {', '.join(run.name for run in runs)}")
    shared = []
    for run in runs:
        rows = pd.Index(run.predictions["video_id"]).get_indexer(ids)
        predictions = run.predictions.iloc[rows].reset_index(drop=True)
        shared.append(replace(run, predictions=predictions, probabilities=run.probabilities[rows]))
    return shared


def _refuse_other_labels(runs: list[_Run]) -> None:
    first = runs[0].predictions
    wanted = first["label"].map(canonical_label)
    for run in runs[1:]:
        other = np.flatnonzero(run.predictions["label"].map(canonical_label) != wanted)
        if len(other):
            key, ours, theirs = (
                first["video_id"][other[0]],
                first["label"][other[0]],
                run.predictions["label"][other[0]],
            )
            raise UserError(
                f"{len(other)} of {len(first)} videos have other labels in {run.name} than in {runs[0].name}, "
                f"e.g. {key}: {theirs!r} and {ours!r}"
            )


def _fusion(runs: list[_Run], weights: Sequence[float]) -> _Run:
    """The weighted mean of the runs' probabilities, classes matched by their canonical names."""
    shares = fusion_shares(weights, len(runs))
    first = runs[0]
    places = [{canonical_label(name): place for place, name in enumerate(run.classes)} for run in runs]
    for run, place in zip(runs, places, strict=True):
        if other := sorted(place.keys() ^ places[0].keys()):
            raise UserError(f"{first.name} and {run.name} cannot be fused: only one of them has the class {other[0]!r}")
        if len(place) < len(run.classes):
            raise UserError(f"{run.name} cannot be fused: two of its classes have the same name")
    mean = np.zeros((len(first.predictions), len(first.classes)))
    for run, place, share in zip(runs, places, shares, strict=True):
        columns = [place[canonical_label(name)] for name in first.classes]
        mean += share * run.probabilities[:, columns].astype(np.float64)  # not rounded to half precision again
    top_n = min((first.predictions.shape[1] - 2) // 2, len(first.classes))
    rows = [
        {"video_id": key, "label": label, **best_classes(row, first.classes, top_n)}
        for key, label, row in zip(first.predictions["video_id"], first.predictions["label"], mean, strict=True)
    ]
    name = " + ".join(f"{share:.2g} {run.name}" for share, run in zip(shares, runs, strict=True))
    table = pd.DataFrame(rows, columns=row_names(top_n), dtype=str)
    return replace(first, name=f"fused ({name})", report={}, predictions=table, probabilities=mean)


def fusion_shares(weights: Sequence[float], number: int) -> list[float]:
    """Weights of `number` runs as shares that sum to 1; none at all are equal ones.

    Raises UserError where they are not one a run, or negative, or all 0.

    >>> fusion_shares([3, 1], 2), fusion_shares([], 2)
    ([0.75, 0.25], [0.5, 0.5])
    """
    weights = list(weights) or [1.0] * number
    if len(weights) != number:
        raise UserError(f"--weights: wanted one a run, {number} in all, got {len(weights)}")
    if not all(0 <= weight < np.inf for weight in weights) or not any(weights):
        raise UserError(f"--weights: wanted numbers that are not negative and not all 0, got {weights}")
    return [weight / sum(weights) for weight in weights]


def _groups(ids: pd.Series, runs: list[_Run]) -> np.ndarray:
    """(N,) the group of each video: a run that was listed without groups takes another's."""
    groups = ids.to_numpy()
    for run in reversed(runs):
        named = groups_of(ids, run.videos)
        groups = np.where(named == ids, groups, named)
    return groups


def _pair(a: _Run, b: _Run, hits_a: np.ndarray, hits_b: np.ndarray, groups: np.ndarray) -> dict:
    """What parts two runs; between equal probabilities there is nothing that other videos could change."""
    ids, counts = a.predictions["video_id"], metrics.two_by_two(hits_a, hits_b)
    same = a.classes == b.classes and np.array_equal(a.probabilities, b.probabilities)
    same = same and np.array_equal(hits_a, hits_b)
    differs = []
    if a.report and b.report:
        differs = list(differences(_settings(a), _settings(b), "", f"in {a.name}", f"in {b.name}"))
    return {
        "a": a.name,
        "b": b.name,
        "difference": (counts["only_a"] - counts["only_b"]) / len(ids),
        "ci95": [0.0, 0.0] if same else list(metrics.paired_interval(hits_a, hits_b, groups)),
        **counts,
        "mcnemar_p": metrics.mcnemar_p(counts["only_a"], counts["only_b"]),
        "differs": differs,
        "flipped_to_a": ids[hits_a & ~hits_b].tolist(),
        "flipped_to_b": ids[hits_b & ~hits_a].tolist(),
    }


def _settings(run: _Run) -> dict:
    """What `differs` is about; of hashes, the beginning tells enough."""
    identity = run.report["identity"]
    known = {key: identity.get(key) for key in DIFFERING} | {"classes": len(run.classes)}
    return {key: value[:12] if key in HASHES and value else value for key, value in known.items()}


def _figures(run: _Run, grouped: pd.DataFrame, labelled: int) -> dict:
    """The line of one run."""
    speed = run.report.get("timing", {}).get("clips_per_second")
    numbers = accuracies(run.predictions, grouped, 1, len(run.classes), "video")
    return {
        "name": run.name,
        "partial": _is_partial(run),
        "videos": labelled,
        "left_out": labelled - len(grouped),
        **{name: {key: number[key] for key in ("value", "ci95")} for name, number in numbers.items()},
        "seconds_per_clip": 1 / speed if speed else None,
    }


def _notes(runs: list[_Run], videos: int, groups: int) -> list[str]:
    told = [run.report["dataset"].get("notes", []) for run in runs if run.report]
    notes = [note for note in told[0] if all(note in other for other in told)]
    notes += [f"{run.name} is partial: its run is not finished" for run in runs if _is_partial(run)]
    if groups < videos:
        notes.append(
            f"the {videos:,} videos are of {groups:,} groups: intervals are over groups, McNemar's p takes videos for "
            "independent"
        )
    return notes


def _is_partial(run: _Run) -> bool:
    return run.report.get("status", "done") != "done"


def _flips(runs: list[_Run], hits: dict[str, np.ndarray]) -> list[list[str]]:
    table = np.array(list(hits.values()))
    mixed = table.any(axis=0) & ~table.all(axis=0)
    first = runs[0].predictions
    columns = [first["video_id"], first["label"], *(run.predictions["pred_1"] for run in runs)]
    return [list(row) for row in zip(*(column[mixed] for column in columns), strict=True)]
