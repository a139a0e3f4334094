"""Models that are trained already: scored or exported again, without training."""

import json
import logging
from pathlib import Path

from vidbench.arguments import TrainSettings
from vidbench.models import load_model
from vidbench.train.export import export_run
from vidbench.train.scoring import score_splits
from vidbench.train.setup import run_name
from vidbench.utils import UserError

log = logging.getLogger(__name__)


def score_only(settings: TrainSettings, progress: bool) -> dict:
    """Score a split with a trained model, see `trained_model`."""
    folder, best = trained_model(settings)
    return score_splits(settings, folder, best, progress) | {"folder": str(folder)}


def export_only(settings: TrainSettings) -> dict:
    """Export a trained model, see `trained_model`; with `--weights`, an architecture with these."""
    if settings.weights:
        folder, model = settings.runs_dir / run_name(settings), load_model(settings.model, weights=settings.weights)
    else:
        folder, best = trained_model(settings)
        model = load_model(best)
    folder.mkdir(parents=True, exist_ok=True)
    report = {}
    if (folder / "report.json").is_file():
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {"export": export_run(settings, model, folder, report), "folder": str(folder)}


def trained_model(settings: TrainSettings) -> tuple[Path, Path]:
    """(folder to write to, model file): what `--model FILE.keras` names, else the run's `best.keras`, else, where no
    run of that name is there and none was asked for, the run's whose val accuracy is the highest.

    Raises UserError where there is none.
    """
    named, folder = Path(settings.model), settings.runs_dir / run_name(settings)
    if named.suffix == ".keras":
        if not named.is_file():
            raise UserError(f"there is no model file {named}")
        return (named.parent if (named.parent / "report.json").is_file() else folder), named
    if (folder / "best.keras").is_file():
        return folder, folder / "best.keras"
    if settings.name is None and (found := best_run(settings.runs_dir)):
        log.warning("taking the best run, %s", found)
        return found, found / "best.keras"
    raise UserError(f"there is no trained model {folder / 'best.keras'}: give --name RUN, or --model FILE.keras")


def best_run(runs_dir: Path) -> Path | None:
    """The folder of the finished run with the highest val accuracy, None where there is none."""
    found = []
    for path in sorted(runs_dir.glob("*/report.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            found.append((report["val"]["metrics"]["top1"]["value"], path.parent))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # unfinished, or no report of ours
    found = [(value, folder) for value, folder in found if (folder / "best.keras").is_file()]
    return max(found)[1] if found else None
