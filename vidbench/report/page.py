"""`report.html`: a run on one page, in one file that needs no network and no script."""

import base64
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from vidbench import __version__
from vidbench.data.protocol import Protocol, protocol_in_words
from vidbench.report.classes import calibration, calibration_error, confident_mistakes, confusion, guesses, per_class
from vidbench.report.text import methods, metric_title
from vidbench.report.verdict import CONSISTENT, judgement, verdict_line
from vidbench.results import StoredRun
from vidbench.visualize import apng

TEMPLATE = Path(__file__).with_name("page.html.j2")
MATRIX_CLASSES = 40  # more make a matrix that nobody can read
SHOWN_CLASSES = 60  # bars; of more, half the best and half the worst
SHOWN_PAIRS = 20  # confusions of many classes
SHOWN_FAILURES = 12
CLIP_FPS = 6


def page(run: StoredRun, clips: Mapping[str, np.ndarray]) -> str:
    """The page as HTML. clips: {video_id: frames (T, h, w, 3) uint8} of the mistakes to show as moving pictures."""
    from jinja2 import Environment, StrictUndefined  # only runs that end need it

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["metric_title"] = metric_title
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    classes, counts, steps = per_class(run), confusion(run), calibration(run)
    good = run.report["comparable"] and judgement(run.report) == CONSISTENT
    return template.render(
        report=run.report,
        version=__version__,
        verdict=verdict_line(run.report),
        good=good,
        protocol=protocol_in_words(Protocol.from_dict(run.report["protocol"])),
        methods=methods(run.report),
        classes=_shown(classes),
        num_classes=len(classes),
        matrix=_matrix(counts),
        pairs=_pairs(counts),
        steps=steps,
        calibration_error=calibration_error(steps),
        mistakes=_mistakes(run, clips),
        failures=_failures(run.failures),
        views=_curve(run.report.get("accuracy_by_views", [])),
    )


def _shown(classes: pd.DataFrame) -> list[dict]:
    """Classes by accuracy, best first; of many, only both ends."""
    ordered = classes.sort_values(["top1", "label"], ascending=[False, True])
    if len(ordered) > SHOWN_CLASSES:
        half = SHOWN_CLASSES // 2
        ordered = pd.concat([ordered.iloc[:half], ordered.iloc[-half:]])
    return ordered.to_dict("records")


def _matrix(counts: pd.DataFrame) -> dict | None:
    """The confusion matrix with each cell's share of its row; None where it is too large for a page."""
    if not len(counts) or counts.shape[1] > MATRIX_CLASSES:
        return None
    rows = []
    for label, row in zip(counts.index, counts.to_numpy(), strict=True):
        cells = [
            {"count": int(count), "share": count / row.sum(), "right": name == label, "guess": name}
            for name, count in zip(counts.columns, row, strict=True)
        ]
        rows.append({"label": label, "cells": cells})
    return {"columns": list(counts.columns), "rows": rows}


def _pairs(counts: pd.DataFrame) -> list[dict]:
    """The commonest confusions."""
    found = [
        {"label": label, "guess": guess, "videos": int(number), "of": int(counts.loc[label].sum())}
        for label, row in counts.iterrows()
        for guess, number in row.items()
        if number and guess != label
    ]
    return sorted(found, key=lambda pair: (-pair["videos"], pair["label"], pair["guess"]))[:SHOWN_PAIRS]


def _mistakes(run: StoredRun, clips: Mapping[str, np.ndarray]) -> list[dict]:
    rows = guesses(run).loc[confident_mistakes(run)].to_dict("records")
    for row in rows:
        frames = clips.get(row["video_id"])
        row["picture"] = None if frames is None else base64.b64encode(apng(frames, CLIP_FPS, colors=64)).decode()
    return rows


def _failures(failures: pd.DataFrame) -> list[dict]:
    """Failed videos by stage and reason, commonest first; numbers in a reason do not set it apart."""
    kinds = failures["reason"].str.replace(r"\d[\d,.]*", "N", regex=True)
    groups = failures.groupby([failures["stage"], kinds], sort=False)
    found = [
        {"stage": stage, "kind": kind, "videos": len(rows), "example": rows["video_id"].iloc[0]}
        for (stage, kind), rows in groups
    ]
    return sorted(found, key=lambda row: -row["videos"])[:SHOWN_FAILURES]


def _curve(rows: list[dict]) -> dict | None:
    """Accuracy against the number of views as points of a line, 0…100 wide and high; None for a single view."""
    if len(rows) < 2:
        return None
    values = [row["top1"] for row in rows]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = [(100 * place / (len(rows) - 1), 100 - 100 * (value - low) / span) for place, value in enumerate(values)]
    return {"rows": rows, "low": low, "high": high, "segments": list(pairwise(points)), "points": points}
