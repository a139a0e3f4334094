"""Models that are trained already: scored or exported again, without training."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments import TrainSettings
from vidbench.models import load_model
from vidbench.models.registry import ARCHITECTURES
from vidbench.runtimes import hide_gpus
from vidbench.train.export import export_run
from vidbench.train.scoring import score_splits
from vidbench.train.setup import run_name
from vidbench.utils import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A trained model, and where what is made of it goes.

    model, weights: as `load_model` takes them
    folder: the run's that the model is of, else the folder of all runs
    prefix: of the names there: none for a run's best model, "last-" for its `last.keras`, else `run_name` and a dash,
        so that no model's results stand where another's are looked for
    """

    model: str
    weights: str | None
    folder: Path
    prefix: str = ""


def score_only(settings: TrainSettings, progress: bool) -> dict:
    """Score a split with a trained model, see `trained_model`."""
    found = trained_model(settings)
    results = score_splits(settings, found.folder, found.model, progress, found.weights, found.prefix)
    split = "val" if settings.val_only else "test"
    return results | {"folder": str(found.folder / f"{found.prefix}{split}")}


def export_only(settings: TrainSettings) -> dict:
    """Export a trained model, see `trained_model`."""
    if not settings.cuda:
        hide_gpus()
    found = trained_model(settings)
    model = load_model(found.model, weights=found.weights)
    report, name = {}, f"{found.prefix}export"
    if (found.folder / "report.json").is_file():
        report = json.loads((found.folder / "report.json").read_text(encoding="utf-8"))
    return {"export": export_run(settings, model, found.folder, report, name), "folder": str(found.folder / name)}


def trained_model(settings: TrainSettings) -> Trained:
    """The run's `best.keras` where `--model` and `--weights` are what that run began with, as its config.txt has them;
    else what they name, where that is a model, not an architecture alone; else, where neither a run nor a model was
    asked for, that of the run whose val accuracy is highest.

    Raises UserError where there is none.
    """
    path, run = Path(settings.model), settings.runs_dir / run_name(settings)
    if (run / "best.keras").is_file() and _began_with(run) == (settings.model, settings.weights):
        return Trained(str(run / "best.keras"), None, run)
    if path.suffix == ".keras" and path.is_file() and (path.parent / "report.json").is_file():
        prefix = "" if path.name == "best.keras" else f"{path.stem}-"
        return Trained(settings.model, settings.weights, path.parent, prefix)
    if settings.weights or settings.model not in ARCHITECTURES:
        return Trained(settings.model, settings.weights, settings.runs_dir, f"{run.name}-")
    if not (run / "best.keras").is_file():
        asked = settings.name is not None or settings.model != TrainSettings.model
        found = None if asked else best_run(settings.runs_dir)
        if found is None:
            raise UserError(f"there is no trained model {run / 'best.keras'}: give --name RUN, or --model FILE.keras")
        log.warning("taking the best run, %s", found)
        run = found
    return Trained(str(run / "best.keras"), None, run)


def _began_with(run: Path) -> tuple[str, str | None] | None:
    """`--model` and `--weights` of a run, None where its report does not tell."""
    try:
        told = json.loads((run / "report.json").read_text(encoding="utf-8"))["settings"]
        return told["model"], told["weights"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
