"""Is a run what it says? Every number anew, from the rows and the scores."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidbench.report.files import tables_of
from vidbench.report.numbers import record_of, summary
from vidbench.report.text import markdown
from vidbench.results import StoredRun, differences, read_run, run_table
from vidbench.utils import UserError, sha256_of

COMPUTED = ("counts", "metrics", "accuracy_by_views", "published", "comparable", "reasons")
HALF = 2.0**-10  # how far a float16 and the text of its float32 may lie apart, as a share
TINY = 1e-7


def verify(folder: Path) -> tuple[int, list[str]]:
    """How many things of a finished run were checked, and what is wrong, in words.

    Files against their SHA-256 in `report.json`; every listed video is scored or failed, once; each row of
    `predictions.csv` against `scores.npz`; every number of the report, `per_class.csv`, `confusion.csv` and `report.md`
    against what the rows give; protocol and weights against the run's identity. What it cannot see: who changes the
    rows, the scores, all numbers and all digests in the same sense. Raises UserError where there is no run, or none
    that a verdict was made of.
    """
    run = read_run(folder)
    if run.report["status"] == "running" or "files" not in run.report:
        raise UserError(f"{folder} is not finished, or an older version of vidbench made it: start its command again")
    record_of(run.report)  # an older version's has not what follows
    problems = [*_changed_files(run), *_listing(run), *_rows(run), *_tables(run), *_numbers(run), *_identity(run)]
    return len(run.report["files"]) + len(run.order) + len(run.predictions) + len(COMPUTED), problems


def _changed_files(run: StoredRun) -> Iterator[str]:
    for name, digest in run.report["files"].items():
        if not (run.folder / name).is_file():
            yield f"{name} is missing"
        elif sha256_of(run.folder / name) != digest:
            yield f"{name} is not the file that the run wrote (its sha256 differs)"


def _listing(run: StoredRun) -> Iterator[str]:
    scored, failed = run.predictions["video_id"].tolist(), run.failures["video_id"].tolist()
    known = set(run.order)
    for key in sorted({*scored, *failed} - known)[:5]:
        yield f"{key} has a row, but was not listed"
    for name in ("predictions.csv", "failures.csv", "videos.csv"):
        keys = run_table(run.folder / name)["video_id"]
        for key in keys[keys.duplicated()].unique()[:5]:
            yield f"{key} stands twice in {name}"
    for key in sorted(set(scored) & set(failed))[:5]:
        yield f"{key} is scored and failed"
    lost = len(known) - len({*scored, *failed} & known) - run.report["counts"].get("pending", 0)
    if lost:
        yield f"{lost} listed videos are neither scored nor failed"


def _rows(run: StoredRun) -> Iterator[str]:
    """Rows whose answers, or their probabilities, are not those of the scores."""
    place = {name: index for index, name in enumerate(run.classes)}
    top_n = (run.predictions.shape[1] - 2) // 2
    best = -np.sort(-run.probabilities.astype(np.float64), axis=1)
    wrong = []
    for number, row in enumerate(run.predictions.to_dict("records")):
        for rank in range(top_n):
            index = place.get(row[f"pred_{rank + 1}"])
            kept = run.probabilities[number, index] if index is not None else math.nan
            if not (_near(float(row[f"score_{rank + 1}"]), kept) and _near(best[number, rank], kept)):
                wrong.append(row["video_id"])
                break
    if wrong:
        yield f"predictions.csv does not say what scores.npz says, in {len(wrong)} rows, e.g. {wrong[0]}"


def _near(value: float, kept: float) -> bool:
    return abs(value - float(kept)) <= 2 * HALF * abs(value) + TINY


def _tables(run: StoredRun) -> Iterator[str]:
    for name, text in (tables_of(run) | {"report.md": markdown(run.report)}).items():
        path = run.folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            yield f"{name} is not what the rows give"
    for name in ("report.html", "config.txt"):
        if not (run.folder / name).is_file():
            yield f"{name} is missing"


def _numbers(run: StoredRun) -> Iterator[str]:
    """Numbers of the report that the rows do not give."""
    anew = json.loads(json.dumps(summary(record_of(run.report), run, run.report.get("timing", {}))))
    parts = {name: (run.report.get(name), anew.get(name)) for name in COMPUTED}
    for name in ("fingerprint", "sources"):
        parts[f"dataset {name}"] = run.report["dataset"].get(name), anew["dataset"][name]
    for name, (there, here) in parts.items():
        there, here = _rounded(there), _rounded(here)
        if there != here:
            told = differences(there, here) if isinstance(there, dict) and isinstance(here, dict) else ()
            yield f"report.json, {name}: {'; '.join(told) or f'{there} there, {here} from the rows'}"


def _identity(run: StoredRun) -> Iterator[str]:
    """What the report says twice, and not the same, of the model, its protocol and the settings."""
    identity, model, settings = run.report["identity"], run.report["model"], run.report["settings"]
    told = {"protocol": run.report["protocol"]}
    told |= {name: model[name] for name in ("weights_sha256", "runtime", "value_range")}
    told |= {name: settings[name] for name in ("seed", "precision", "frame_order", "distinct_frames")}
    known = {name: identity[name] for name in told if name in identity}
    for words in differences(known, {name: told[name] for name in known}, "", "in the identity", "in the report"):
        yield f"report.json says two things: {words}"


def _rounded(value):
    """Plain values with their floats to nine digits, so that another processor's last bit is no difference."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value
