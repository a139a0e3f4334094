"""`--probe`: the last layer alone, fitted on features that are computed once, and what else these features tell."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vidbench.metrics import top_k_accuracy
from vidbench.models import save_model
from vidbench.probing import (
    extract_features,
    fit_head,
    learning_curve,
    neighbours,
    set_head,
    suspects,
    write_features,
    write_suspects,
)
from vidbench.train.folder import write_failures
from vidbench.train.loop import UNREADABLE
from vidbench.train.setup import Run, even_loader
from vidbench.utils import UserError, written_whole


def fit_probe(run: Run, folder: Path, progress: bool = False) -> dict:
    """Fit the network's last layer and write, into `folder`, `best.keras` and what the features tell.

    `features.npy` (train) and `val_features.npy`; `probe.csv`: held-out accuracy and log loss against the strength of
    the penalty; `learning_curve.csv`: val accuracy against clips a class; `neighbours.csv`: the training videos most
    like each val video; `suspects.csv`: training labels that held-out folds contradict, the likeliest wrong ones first.

    Returns what the report says of it. Raises UserError for networks and data that cannot be probed.
    """
    settings, network, spec, data = run.settings, run.start.network, run.spec, run.data
    train, val = (
        extract_features(network, spec, even_loader(settings, videos, spec.protocol), progress)
        for videos in (data.train, data.val)
    )
    if not len(val):
        raise UserError(UNREADABLE)
    head = fit_head(train, spec.classes, settings.seed)
    set_head(network, head)
    save_model(network, folder / "best.keras", spec)
    write_features(folder / "features.npy", train)
    write_features(folder / "val_features.npy", val)
    doubtful = suspects(train, head, spec.classes)
    write_suspects(folder / "suspects.csv", doubtful)
    curve = learning_curve(train, val, spec.classes, seed=settings.seed, strength=head.strength)
    _write(folder / "probe.csv", head.scores)
    _write(folder / "learning_curve.csv", curve)
    _write(folder / "neighbours.csv", _named(neighbours(train, val), spec.classes))
    write_failures(folder, {failure.video.video_id: [failure.stage, failure.reason] for failure in train.failures})
    return {
        "probe": {
            "features": train.vectors.shape[-1],
            "views": train.vectors.shape[1],
            "strength": head.strength,
            "held_out_top1": top_k_accuracy(head.held_out, train.labels),
            "val_top1": top_k_accuracy(head.probabilities(val.vectors), val.labels),
            "suspects": len(doubtful),
        },
        "counts": {
            "listed": len(data.train),
            "missing": data.missing,
            "unreadable": len(train.failures),
        },
    }


def _named(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The same table with names in place of the classes' numbers."""
    names = {name: table[name].map(lambda index: classes[index]) for name in ("label", "neighbour_label")}
    return table.assign(**names)


def _write(path: Path, table: pd.DataFrame) -> None:
    with written_whole(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")
