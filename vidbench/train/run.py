"""A whole run of scripts/train.py: settings → `runs/<name>/`."""

import logging
import time

from vidbench.arguments import TrainSettings
from vidbench.data.train_loader import TrainingLoader
from vidbench.machine import peak_memory_mb
from vidbench.models import load_model, network_classifier
from vidbench.train.devices import Devices, find_devices
from vidbench.train.export import export_run
from vidbench.train.figures import draw_figures
from vidbench.train.folder import FollowedFolder, TrainingFolder
from vidbench.train.loop import Training, fit, validation
from vidbench.train.probe import fit_probe
from vidbench.train.scoring import score_splits, score_table
from vidbench.train.setup import Run, facts, identity_of, prepare_run, run_name, val_loader
from vidbench.train.tracking import Tracker, trackers_of
from vidbench.train.trained import export_only, score_only
from vidbench.utils import UserError, readable_seconds

log = logging.getLogger(__name__)


def train_run(settings: TrainSettings, progress: bool = False, devices: Devices | None = None) -> dict:
    """Train as the settings say; returns the report. A stopped run goes on where it was saved last.

    In another process than the first, which writes the folder, the report is empty.

    Raises UserError for whatever the user can mend; KeyboardInterrupt passes through, with the last save on the disk.
    """
    if settings.val_only or settings.test_only:
        return score_only(settings, progress)
    if settings.export_only:
        return export_only(settings)
    devices = devices or find_devices(settings)
    progress = progress and devices.is_first
    run = prepare_run(settings, devices, progress)
    with _open_folder(run) as folder:
        record = facts(run)
        folder.begin(settings, record)
        trackers = trackers_of(settings, folder.folder, record) if devices.is_first else []
        learn = _probe if settings.probe else _fit
        outcome = learn(run, folder, trackers, progress)
        if not devices.is_first:
            return {}
        return _conclude(settings, folder, trackers, record | outcome, progress)


def _open_folder(run: Run) -> TrainingFolder:
    settings, devices = run.settings, run.devices
    folder = settings.runs_dir / run_name(settings)
    opened = None
    if devices.is_first:
        overwrite = settings.overwrite or settings.fast_dev_run
        opened = TrainingFolder(folder, identity_of(run), overwrite, settings.resume)
    devices.wait("folder")  # the others see what is left of it
    return opened or FollowedFolder(folder)


def _probe(run: Run, folder: TrainingFolder, trackers: list[Tracker], progress: bool) -> dict:
    """Fit the last layer alone; returns what the report says of it."""
    began = time.monotonic()
    told = fit_probe(run, folder.folder, progress)
    return told | {"timing": {"seconds": round(time.monotonic() - began, 1), "peak_memory_mb": peak_memory_mb()}}


def _fit(run: Run, folder: TrainingFolder, trackers: list[Tracker], progress: bool) -> dict:
    """Train; returns what the report says of it."""
    settings, devices, network = run.settings, run.devices, run.start.network
    with devices.scope():
        classifier = network_classifier(network, run.spec)
        training = Training(network, classifier, run.plan, folder.read_progress(), devices.strategy)
    _resume(folder, training, run.loader)
    began, videos = time.monotonic(), val_loader(run)

    def on_epoch(row: dict, best: bool) -> None:
        folder.save_epoch(training, run.spec, best, settings.save_every)
        for tracker in trackers:
            tracker.epoch(row)

    fit(
        training,
        run.loader,
        lambda: validation(classifier, videos, devices.gather),
        on_step=lambda: folder.save_state(training, settings.save_minutes),
        on_epoch=on_epoch,
        progress=progress,
    )
    return _outcome(training, run, time.monotonic() - began)


def _resume(folder: TrainingFolder, training: Training, loader: TrainingLoader) -> None:
    """Go on from the last save, where there is one, and say so."""
    if not folder.has_state:
        return
    folder.restore(training)
    state = training.progress
    loader.adopt(state.failures, state.replaced)
    step = f", step {state.step + 1} of {len(loader)}" if state.step else ""
    if state.epoch >= training.plan.epochs:
        log.warning("%s is trained already, %d epochs; --overwrite starts anew", folder.folder, state.epoch)
    else:
        log.warning("going on with %s at epoch %d%s, from its last save", folder.folder, state.epoch + 1, step)


def _outcome(training: Training, run: Run, seconds: float) -> dict:
    """What the report says of the training itself."""
    state = training.progress
    unreadable = len(state.failures)
    return {
        "epochs": state.epoch,
        "best": state.best,
        "history": state.history,
        "counts": {
            "listed": len(run.data.train),
            "missing": run.data.missing,
            "unreadable": unreadable,
            "replaced_clips": state.replaced,
            "left_over_an_epoch": run.loader.clips_an_epoch % run.loader.batch_size,
        },
        "timing": {
            "seconds": round(sum(row["seconds"] for row in state.history), 1),
            "this_start": round(seconds, 1),
            "peak_memory_mb": peak_memory_mb(),
        },
    }


def _conclude(
    settings: TrainSettings, folder: TrainingFolder, trackers: list[Tracker], report: dict, progress: bool
) -> dict:
    """Score the best model, export it, draw, and write the report."""
    best = folder.folder / "best.keras"
    report |= score_splits(settings, folder.folder, best, progress)
    try:
        report["export"] = export_run(settings, load_model(best), folder.folder, report)
    except UserError as problem:  # what was trained is there all the same
        log.warning("not exported: %s", problem)
        report["export"] = {"error": str(problem)}
    report["status"] = "done"
    folder.write_report(report)
    files = [folder.folder / name for name in ("best.keras", "best.json", "history.csv", "report.json")]
    if report.get("history"):
        files += draw_figures(settings, folder.folder, report["history"])
    for tracker in trackers:
        tracker.finish(report, files)
    return report | {"folder": str(folder.folder)}


def train_table(report: dict) -> str:
    """The report as the lines that a run prints at its end."""
    lines = []
    if best := report.get("best"):
        seconds = readable_seconds(report["timing"]["seconds"])
        lines.append(f"{report['epochs']} epochs in {seconds}; the best is epoch {best['epoch']}")
        counts = report["counts"]
        if counts["unreadable"]:
            lines.append(
                f"  note: {counts['unreadable']:,} of {counts['listed']:,} training videos cannot be read, other clips "
                f"stood in {counts['replaced_clips']:,} times: failures.csv says why"
            )
    if probe := report.get("probe"):
        seconds = readable_seconds(report["timing"]["seconds"])
        lines.append(
            f"a linear head on {probe['features']} features of {report['counts']['listed']:,} videos in {seconds}: "
            f"held-out {probe['held_out_top1']:.1%}; {probe['suspects']} labels are doubtful, see suspects.csv"
        )
    lines += [f"{kind} written to {path}" for kind, path in report.get("export", {}).items() if kind != "error"]
    lines.append(score_table({split: report[split] for split in ("val", "test") if split in report}))
    return "\n".join([*filter(None, lines), f"  written to {report['folder']}"])
