"""A whole run of scripts/train.py: settings → `runs/<name>/`."""

import logging
import time
from pathlib import Path

import keras

from vidbench.arguments import TrainSettings
from vidbench.data.train_loader import TrainingLoader
from vidbench.machine import peak_memory_mb
from vidbench.models import network_classifier
from vidbench.train.data import find_data
from vidbench.train.devices import Devices, find_devices
from vidbench.train.figures import draw_figures
from vidbench.train.folder import FollowedFolder, TrainingFolder
from vidbench.train.loop import Training, fit, validation
from vidbench.train.network import set_sync_bn, start_from
from vidbench.train.scoring import score_splits, score_table
from vidbench.train.setup import (
    facts,
    identity_of,
    plan_of,
    protocols_of,
    run_name,
    run_spec,
    training_loader,
    val_loader,
)
from vidbench.train.tracking import trackers_of
from vidbench.utils import UserError, readable_seconds

log = logging.getLogger(__name__)


def train_run(settings: TrainSettings, progress: bool = False, devices: Devices | None = None) -> dict:
    """Train as the settings say; returns the report. A stopped run goes on where it was saved last.

    In another process than the first, which writes the folder, the report is empty.

    Raises UserError for whatever the user can mend; KeyboardInterrupt passes through, with the last save on the disk.
    """
    if settings.val_only or settings.test_only:
        return _score_only(settings, progress)
    devices = devices or find_devices(settings)
    plan = plan_of(settings)
    devices.check(plan.batch_size, plan.accumulate)
    progress = progress and devices.is_first
    data = find_data(settings, progress)
    keras.utils.set_random_seed(settings.seed)  # fresh weights, and dropout's generators
    with devices.scope():
        start = start_from(settings.model, data.classes, settings.weights, settings.dropout, settings.precision)
    if settings.sync_bn and devices.strategy:
        set_sync_bn(start.network.layers, True)
    protocol, train_protocol = protocols_of(settings, start.spec)
    spec = run_spec(settings, start, protocol, data)
    spec.check_frames(train_protocol.num_frames)
    loader = training_loader(settings, plan, data.train, spec.classes, train_protocol, devices)
    identity = identity_of(settings, plan, data, spec, loader)
    with _open_folder(settings, identity, devices) as folder:
        record = facts(settings, plan, data, start, loader)
        folder.begin(settings, record)
        trackers = trackers_of(settings, folder.folder, record) if devices.is_first else []
        with devices.scope():
            classifier = network_classifier(start.network, spec)
            training = Training(start.network, classifier, plan, folder.read_progress(), devices.strategy)
        _resume(folder, training, loader)
        began, videos = time.monotonic(), val_loader(settings, data.val, spec.protocol, devices)

        def on_epoch(row: dict, best: bool) -> None:
            folder.save_epoch(training, spec, best, settings.save_every)
            for tracker in trackers:
                tracker.epoch(row)

        fit(
            training,
            loader,
            lambda: validation(classifier, videos, devices.gather),
            on_step=lambda: folder.save_state(training, settings.save_minutes),
            on_epoch=on_epoch,
            progress=progress,
        )
        if not devices.is_first:
            return {}
        report = record | _outcome(training, loader, data.missing, time.monotonic() - began)
        report |= score_splits(settings, folder.folder, folder.folder / "best.keras", progress)
        folder.write_report(report)
        files = [folder.folder / name for name in ("best.keras", "best.json", "history.csv", "report.json")]
        files += draw_figures(settings, folder.folder, training.progress.history)
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
    lines.append(score_table({split: report[split] for split in ("val", "test") if split in report}))
    return "\n".join([*lines, f"  written to {report['folder']}"])


def _open_folder(settings: TrainSettings, identity: dict, devices: Devices) -> TrainingFolder:
    folder = settings.runs_dir / run_name(settings)
    if devices.is_first:
        opened = TrainingFolder(folder, identity, settings.overwrite or settings.fast_dev_run, settings.resume)
        devices.wait("folder")
        return opened
    devices.wait("folder")
    return FollowedFolder(folder)


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


def _outcome(training: Training, loader: TrainingLoader, missing: int, seconds: float) -> dict:
    """What the report says of the training itself."""
    state = training.progress
    unreadable = len(state.failures)
    return {
        "status": "done",
        "epochs": state.epoch,
        "best": state.best,
        "history": state.history,
        "counts": {
            "listed": len(loader.videos),
            "missing": missing,
            "unreadable": unreadable,
            "replaced_clips": state.replaced,
            "left_over_an_epoch": loader.clips_an_epoch % loader.batch_size,
        },
        "timing": {
            "seconds": round(sum(row["seconds"] for row in state.history), 1),
            "this_start": round(seconds, 1),
            "peak_memory_mb": peak_memory_mb(),
        },
    }


def _score_only(settings: TrainSettings, progress: bool) -> dict:
    """Score a split with the run's best model, or with `--model FILE.keras` where there is no run."""
    folder = settings.runs_dir / run_name(settings)
    scores = score_splits(settings, folder, trained_model(settings), progress)
    return scores | {"folder": str(folder)}


def trained_model(settings: TrainSettings) -> Path:
    """The model that a run left: its `best.keras`, else what `--model` names.

    Raises UserError where neither is there.
    """
    best = settings.runs_dir / run_name(settings) / "best.keras"
    if best.is_file():
        return best
    named = Path(settings.model)
    if named.suffix == ".keras" and named.is_file():
        return named
    raise UserError(f"there is no trained model {best}: give --name RUN, or --model FILE.keras")
