"""A whole run of scripts/train.py: settings → `runs/<name>/`."""

import logging
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np

from vidbench.arguments import TrainSettings
from vidbench.commands import in_words
from vidbench.data.train_loader import TrainingLoader
from vidbench.machine import peak_memory_mb
from vidbench.models import load_model, network_classifier
from vidbench.train.devices import Devices, find_devices
from vidbench.train.export import export_run
from vidbench.train.figures import draw_figures
from vidbench.train.folder import FollowedFolder, TrainingFolder
from vidbench.train.loop import Training, check_readable, fit, is_over, validation
from vidbench.train.probe import fit_probe
from vidbench.train.scoring import score_splits, score_table
from vidbench.train.setup import Run, facts, identity_of, prepare_run, run_name, val_loader
from vidbench.train.tracking import Tracker, trackers_of
from vidbench.train.trained import export_only, score_only
from vidbench.utils import UserError, canonical_label, readable_seconds

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
        if _is_finished(run, folder):
            ways_on = "--overwrite starts anew, more --epochs go on, --export-only exports again"
            log.warning("%s is finished; %s", folder.folder, ways_on)
            return folder.earlier | {"folder": str(folder.folder)} if devices.is_first else {}
        check_readable(val_loader(run), devices.gather)  # before the folder is this run's: another split may be chosen
        record = facts(run)
        folder.begin(settings, record)
        trackers = trackers_of(settings, folder.folder, record) if devices.is_first else []
        outcome = _probe(run, folder, progress) if settings.probe else _fit(run, folder, trackers, progress)
        devices.leave()
        return _conclude(settings, folder, trackers, record | outcome, progress) if devices.is_first else {}


def _is_finished(run: Run, folder: TrainingFolder) -> bool:
    """Whether nothing is left to do: trained to the plan's end, or probed, then scored and reported."""
    if folder.earlier.get("status") != "done":
        return False
    state = folder.read_progress()
    return state is None or is_over(state, run.plan)


def _open_folder(run: Run) -> TrainingFolder:
    """The run's folder; all processes but the first see it as that one leaves it."""
    settings, devices = run.settings, run.devices
    folder = settings.runs_dir / run_name(settings)
    overwrite = settings.overwrite or settings.fast_dev_run
    given = [Path(name) for name in (settings.model, settings.weights) if name and Path(name).is_file()]
    if overwrite and folder.resolve() in (path.resolve().parent for path in given):
        raise UserError(
            f"{folder} holds the weights to begin with, which --overwrite would remove: choose another --name"
        )
    if devices.is_first:
        opened = TrainingFolder(folder, identity_of(run), overwrite, settings.resume)
        devices.wait("the run's folder is opened")
        return opened
    devices.wait("the run's folder is opened")
    return FollowedFolder(folder, overwrite)


def _probe(run: Run, folder: TrainingFolder, progress: bool) -> dict:
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
    began, videos, unread = time.monotonic(), val_loader(run), unread_classes(run, training.progress.failures)

    def on_epoch(row: dict, best: bool) -> None:
        nonlocal unread
        before, unread = unread, unread_classes(run, _failed_anywhere(run))
        if (new := [name for name in unread if name not in before]) and devices.is_first:
            log.warning("no training video of %s can be read: nothing is learnt of it", ", ".join(new))
        for tracker in trackers:
            try:
                tracker.epoch(row)
            except Exception as problem:  # a server that is away must not end hours of training
                log.warning("%s: %s", type(tracker).__name__, in_words(problem))
        folder.save_epoch(training, run.spec, best, settings.save_every)  # last: after a kill the epoch is told again

    fit(
        training,
        run.loader,
        lambda: validation(classifier, videos, devices.gather),
        on_step=lambda: folder.save_state(training, settings.save_minutes),
        on_epoch=on_epoch,
        progress=progress,
    )
    _share_failures(run, training)
    return _outcome(training, run, time.monotonic() - began)


def _failed_anywhere(run: Run) -> list[str]:
    """The ids of the training videos that some process could not read."""
    videos, failures = run.data.train, run.loader.failures
    counts = run.devices.gather(np.array([video.video_id in failures for video in videos], dtype=np.float32))
    return [video.video_id for video, count in zip(videos, counts, strict=True) if count]


def unread_classes(run: Run, failed: Collection[str]) -> list[str]:
    """The classes of which all training videos are among the failed ids."""
    read = {canonical_label(video.label) for video in run.data.train if video.video_id not in failed}
    return [name for name in run.spec.classes if canonical_label(name) not in read]


def _share_failures(run: Run, training: Training) -> None:
    """Know of the training videos that other processes could not read (what they replaced before a stop is lost)."""
    state = training.progress
    for name in _failed_anywhere(run):
        state.failures.setdefault(name, ["decode", "unreadable: see what another process said"])
    state.replaced = int(run.devices.gather(np.array([run.loader.replaced], dtype=np.float32))[0])


def _resume(folder: TrainingFolder, training: Training, loader: TrainingLoader) -> None:
    """Go on from the last save, where there is one, and say so."""
    if not folder.has_state:
        return
    folder.restore(training)
    state = training.progress
    loader.adopt(state.failures, state.replaced)
    step = f", step {state.step + 1} of {len(loader)}" if state.step else ""
    if training.is_over:
        log.warning("%s is trained already, %d epochs; what follows was not finished", folder.folder, state.epoch)
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
        "unread_classes": unread_classes(run, state.failures),
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
    except (UserError, OSError) as problem:  # what was trained is there all the same
        log.warning("not exported: %s", problem)
        report["export"] = {"error": str(problem)}
    report["status"] = "done"
    folder.write_report(report)
    files = [folder.folder / name for name in ("best.keras", "best.json", "history.csv", "report.json")]
    if report.get("history"):
        files += draw_figures(settings, folder.folder, report["history"])
    for tracker in trackers:
        try:
            tracker.finish(report, files)
        except Exception as problem:  # the run is done all the same
            log.warning("%s: %s", type(tracker).__name__, in_words(problem))
    return report | {"folder": str(folder.folder)}


def train_table(report: dict) -> str:
    """The report as the lines that a run prints at its end."""
    lines = []
    if best := report.get("best"):
        seconds = readable_seconds(report["timing"]["seconds"])
        lines.append(f"{report['epochs']} epochs in {seconds}; the best is epoch {best['epoch']}")
        lines += _unread_notes(report, f", other clips stood in {report['counts']['replaced_clips']:,} times")
    if probe := report.get("probe"):
        seconds, counts = readable_seconds(report["timing"]["seconds"]), report["counts"]
        lines.append(
            f"a linear head on {probe['features']} features of {counts['listed'] - counts['unreadable']:,} videos in "
            f"{seconds}: held-out {probe['held_out_top1']:.1%}; the folds contradict {probe['suspects']:,} labels: "
            "suspects.csv"
        )
        lines += _unread_notes(report)
    lines += [f"{kind} written to {path}" for kind, path in report.get("export", {}).items() if kind != "error"]
    lines.append(score_table({split: report[split] for split in ("val", "test") if split in report}))
    return "\n".join([*filter(None, lines), f"  written to {report['folder']}"])


def _unread_notes(report: dict, besides: str = "") -> list[str]:
    """What a reader must know of training videos that cannot be read."""
    counts, notes = report["counts"], []
    if counts["unreadable"]:
        notes = [
            f"  note: {counts['unreadable']:,} of {counts['listed']:,} training videos cannot be read{besides}: "
            "failures.csv says why"
        ]
    if classes := report.get("unread_classes"):
        notes.append(f"  note: no training video of {', '.join(classes)} can be read: nothing was learnt of it")
    return notes
