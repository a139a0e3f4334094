"""Models that are trained already: scored or exported again, without training."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vidbench.arguments import TrainSettings
from vidbench.data.protocol import Protocol
from vidbench.models import load_model
from vidbench.models.registry import ARCHITECTURES
from vidbench.results import differences
from vidbench.runtimes import hide_gpus
from vidbench.train.export import export_run
from vidbench.train.scoring import DATA, score_splits, told_protocol
from vidbench.train.setup import plain_settings, run_name
from vidbench.utils import UserError

log = logging.getLogger(__name__)
PATHS = ("data_dir", "csv", "gt_csv", "annotations", "label_map")


@dataclass(frozen=True)
class Trained:
    """A trained model, and where what is made of it goes.

    model, weights: as `load_model` takes them
    folder: the run's that the model is of, else (or where `--name` names another one) the folder of all runs
    prefix: of the names there: none for a run's best model, "last-" for its `last.keras`, else `run_name` and a dash,
        so that no model's results stand where another's are looked for; "other-" after it for scores on other data
        than the run's own, or under another protocol
    """

    model: str
    weights: str | None
    folder: Path
    prefix: str = ""


def score_only(settings: TrainSettings, progress: bool) -> dict:
    """Score a split with a trained model, see `trained_model`."""
    found = _beside_its_own(trained_model(settings), settings)
    results = score_splits(settings, found.folder, found.model, progress, found.weights, found.prefix)
    split = "val" if settings.val_only else "test"
    return results | {"folder": str(found.folder / f"{found.prefix}{split}")}


def export_only(settings: TrainSettings) -> dict:
    """Export a trained model, see `trained_model`."""
    if not settings.cuda:
        hide_gpus()
    found = trained_model(settings)
    model = load_model(found.model, weights=found.weights)
    report, name = _report_of(found.folder), f"{found.prefix}export"
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
    of_a_run = path.suffix == ".keras" and path.is_file() and (path.parent / "report.json").is_file()
    if of_a_run and settings.name in (None, path.resolve().parent.name):
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
    told = _report_of(run).get("settings", {})
    return (told["model"], told["weights"]) if {"model", "weights"} <= told.keys() else None


def _report_of(run: Path) -> dict:
    """The report of a run, {} where there is none that can be read."""
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _beside_its_own(found: Trained, settings: TrainSettings) -> Trained:
    """The same; where other data or another protocol are asked for than the run's, results stand beside its own."""
    if not (told := list(_unlike(_report_of(found.folder), settings))):
        return found
    beside = replace(found, prefix=f"{found.prefix}other-")
    split = "val" if settings.val_only else "test"
    log.warning("not as in the run: %s; scores go to %s", "; ".join(told), beside.folder / f"{beside.prefix}{split}")
    return beside


def _unlike(report: dict, settings: TrainSettings) -> Iterator[str]:
    """What differs from the data and the protocol of the run whose report this is; flags that are not given do not."""
    before, now = report.get("settings", {}), plain_settings(settings)
    for name in (*DATA, "val_split" if settings.val_only else "test_split"):
        if name in before and _comparable(name, before) != _comparable(name, now):
            there, here = (json.dumps(told[name], ensure_ascii=False) for told in (before, now))
            yield f"{name} is {there} there and {here} here"  # whole: two paths may differ in their ends alone
    if "protocol" in report:
        own = Protocol.from_dict(report["protocol"])
        asked = own.override(**told_protocol(settings))
        yield from differences({"protocol": own.to_dict()}, {"protocol": asked.to_dict()})


def _comparable(name: str, told: dict):
    """A plain setting, with one spelling for a path and for the usual test split."""
    if name in PATHS and told[name]:
        return str(Path(told[name]).resolve())
    return told[name] or "test" if name == "test_split" else told[name]


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
