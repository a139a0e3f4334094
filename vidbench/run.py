"""A whole command: score a data set into a run folder, or look at a few videos."""

import contextlib
import hashlib
import io
import json
import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidbench.arguments import EvaluateSettings, PredictSettings
from vidbench.commands import in_words, parse_settings
from vidbench.data.datasets import Dataset, shard_of
from vidbench.data.datasets.tables import video_files
from vidbench.data.images import frame_files, is_frame
from vidbench.data.leaks import find_leaks
from vidbench.data.load import Failure, Sample
from vidbench.data.process import resize_short_side
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.machine import peak_memory_mb
from vidbench.metrics import ranking
from vidbench.predict import collect, evaluate, score
from vidbench.prepare import list_videos, load_classifier, loader_of, match_classes
from vidbench.report import Enough, confident_mistakes, environment, record_of, summary, timing_of, write_files
from vidbench.results import RunFolder, StoredRun, hold, read_run, write_argfile
from vidbench.utils import UserError, printable, sha256_of

if TYPE_CHECKING:
    from vidbench.models import Classifier
    from vidbench.models.spec import Spec

log = logging.getLogger(__name__)
SHOWN_FRAMES, SHOWN_SIDE = 12, 112  # of a clip in report.html
SAME_RUN = (  # settings that make two starts the same run; batch size, engine, workers, cache and timeouts may differ
    *("dataset", "split", "fold", "population", "classes", "seed", "shard"),
    *("precision", "runtime", "top_n", "frame_order", "distinct_frames", "frames_fps", "predict_only"),
)


def evaluate_run(settings: EvaluateSettings, progress: bool = False, model: "Classifier | None" = None) -> dict:
    """Score a data set as the settings say and write `results/<run>/`; returns the report.

    `model` is one that `load_classifier` gave for these settings, where it is loaded already. A stopped run goes on
    where it stopped. Raises UserError for whatever the user can mend; KeyboardInterrupt passes through, with all
    rows so far on the disk.
    """
    here = settings.engine == "local"
    if not here:
        from vidbench.cluster import check_cluster

        check_cluster(settings.ray_address)  # before a model is loaded
    found, videos = list_videos(settings)
    began = time.perf_counter()
    model = model or load_classifier(settings if here else _without_gpu(settings), videos)
    startup = time.perf_counter() - began
    videos, outside = match_classes(videos, found, model.spec.classes, settings.predict_only)
    record = facts(settings, model, found, outside, videos)
    videos = shard_of(videos, settings.shard)
    folder = settings.results_dir / run_name(settings, model.spec.name)
    listed = [video.video_id for video in videos]
    with RunFolder(
        folder,
        identity_of(settings, model),
        model.spec.classes,
        settings.top_n,
        listed,
        record,
        model.spec.protocol.views,
        settings.overwrite,
    ) as run:
        write_argfile(folder, settings)
        enough = Enough(settings.until, videos, run)
        todo = [video for video in videos if video.video_id not in run.done and not enough.reached()]
        if run.done:
            log.info("%d of %d videos are scored already", len(run.done), len(videos))
        began, before = time.perf_counter(), len(run.done)
        loader = (_score_here if here else _score_on_cluster)(settings, todo, model, enough, progress)
        waited, about = (0.0, {}) if here else (loader.startup_seconds, loader.about)
        earlier = run.earlier.get("timing", {})  # a start that was killed left none: its videos are not timed
        timing = timing_of(
            earlier.get("seconds", 0.0) + time.perf_counter() - began - waited,
            earlier.get("videos", 0) + len(run.done) - before,
            model.spec.protocol.views,
            startup_seconds=startup + waited,
            peak_memory_mb={"process": peak_memory_mb(), "largest_worker": loader.peak_worker_memory_mb},
            cache={name: earlier.get("cache", {}).get(name, 0) + more for name, more in loader.cache_counts.items()},
            **({"cluster": about} if about else {}),
        )
        if loader.cache_problem:
            record["dataset"]["notes"].append(f"clips were not cached ({loader.cache_problem})")
        report = run.finish(lambda stored: summary(record, stored, timing))
        stored = read_run(folder)
        write_files(stored, mistake_clips(settings, stored, videos))
    return report | {"folder": str(folder)}


def _without_gpu(settings: EvaluateSettings) -> EvaluateSettings:
    """The settings for the model that only the driver has: the GPUs are for Ray's model workers."""
    return replace(settings, cuda=False, gpus_per_worker=None)


def _score_here(settings: EvaluateSettings, videos: list[Video], model: "Classifier", enough: Enough, progress: bool):
    """Score the videos in this process; returns the loader that read them."""
    loader = loader_of(settings, videos, model.spec.protocol)
    looks = {name: getattr(settings, name) for name in ("frame_order", "distinct_frames", "seed")}
    evaluate(model, loader, top_n=settings.top_n, progress=progress, sink=enough, enough=enough.reached, **looks)
    return loader


def _score_on_cluster(
    settings: EvaluateSettings, videos: list[Video], model: "Classifier", enough: Enough, progress: bool
):
    """Score the videos over Ray; returns the scorer, which tells what a loader tells."""
    from vidbench.cluster import ClusterScorer

    scorer = ClusterScorer(settings, videos, model, enough.reached)
    with contextlib.closing(iter(scorer)) as outcomes:
        collect(outcomes, model.spec.classes, top_n=settings.top_n, total=len(scorer), progress=progress, sink=enough)
    return scorer


def report_now(folder: Path) -> tuple[dict, str]:
    """The report of a run as it stands, finished or not, and what became of its files, in words.

    `per_class.csv`, `confusion.csv`, `report.md` and `report.html` are written anew unless another process writes to
    the folder, or nobody may; a page whose clips are not here any more stays as it is. What an unfinished run has
    scored is a random sample of it: its order is seeded. Raises UserError where there is no run.
    """
    run = read_run(folder)
    record = record_of(run.report)
    views = run.report["protocol"]["clips"] * run.report["protocol"]["crops"]
    timing = run.report.get("timing") or timing_of(0.0, 0, views)
    run = replace(run, report=run.report | summary(record, run, timing))
    try:
        lock = hold(run.folder)
    except UserError:
        return run.report, "the run goes on: nothing was written"
    except OSError as problem:
        return run.report, f"nothing was written: {in_words(problem)}"
    try:
        clips, gone = _clips_now(run)
        write_files(run, clips, page=not gone or not (run.folder / "report.html").is_file())
    finally:
        lock.release()
    told = f"; its clips are not here ({gone}): report.html is as it was" if gone else ""
    return run.report, f"written to {folder}{told}"


def _clips_now(run: StoredRun) -> tuple[dict[str, np.ndarray], str]:
    """The clips of a run's mistakes, and why there are none where its data, or its argfile, is not there any more."""
    if not confident_mistakes(run):
        return {}, ""
    try:
        with contextlib.redirect_stderr(io.StringIO()) as usage:
            settings = parse_settings(EvaluateSettings, [f"@{run.folder / 'config.txt'}"])
        clips = mistake_clips(settings, run, list_videos(settings)[1])
    except UserError as problem:
        return {}, str(problem)
    except SystemExit:
        return {}, in_words(UserError(f"config.txt: {usage.getvalue()}"))
    return clips, "" if clips else "none of their videos can be read"


def mistake_clips(settings: EvaluateSettings, run: StoredRun, videos: list[Video]) -> dict[str, np.ndarray]:
    """{video_id: frames (T, h, w, 3) uint8} of a run's most confident mistakes: the first clip, small.

    Its frames are in their own order. A video that cannot be read any more is left out.
    """
    wanted = {run.predictions["video_id"][row] for row in confident_mistakes(run)}
    shown = [video for video in videos if video.video_id in wanted]
    if not shown:
        return {}
    clips = {}
    for item in loader_of(settings, shown, Protocol.from_dict(run.report["protocol"])):
        if isinstance(item, Sample):
            frames = item.clip().frames
            picked = np.linspace(0, len(frames) - 1, min(len(frames), SHOWN_FRAMES)).round().astype(int)
            clips[item.video.video_id] = np.stack([resize_short_side(frames[index], SHOWN_SIDE) for index in picked])
    return clips


def run_name(settings: EvaluateSettings, model_name: str) -> str:
    """The run's folder: `--name`, or model, dataset, version and split (and the shard)."""
    if settings.name:
        return settings.name
    parts = [Path(model_name).stem if "/" in model_name else model_name, settings.dataset]
    if own := settings.csv or (settings.data_dir if settings.dataset in ("folder", "frames") else None):
        parts.append(Path(own).resolve().stem)
    if settings.annotations:  # the file is always called annotations.json: its folder says more
        parts.append(settings.annotations.resolve().parent.name)
    if settings.dataset == "kinetics":
        parts.append(settings.kinetics_version or "400")
    if settings.dataset in ("ucf101", "hmdb51"):
        parts.append(f"fold{settings.fold}")
    parts.append(settings.split)
    if settings.shard:
        parts.append(f"shard{settings.shard[0]}of{settings.shard[1]}")
    return "-".join(parts)


def identity_of(settings: EvaluateSettings, model: "Classifier") -> dict:
    """What makes two starts the same run. Batch size, engine, workers, cache and timeouts are not part of it."""
    identity = {name: _plain(getattr(settings, name)) for name in SAME_RUN}
    for name in ("list", "exclude_ids", "label_map", "csv", "gt_csv", "annotations"):
        path = getattr(settings, name)
        identity[name] = sha256_of(path) if path else None
    return identity | {
        "data_dir": str(Path(settings.data_dir).resolve()) if settings.data_dir else None,
        "model": model.spec.name,
        "runtime": model.runtime,
        "calibration": model.conversion.get("calibration_key"),
        "model_classes": hashlib.sha256(json.dumps(model.spec.classes).encode()).hexdigest(),
        "weights_sha256": model.weights_sha256,
        "kinetics_version": (settings.kinetics_version or "400") if settings.dataset == "kinetics" else None,
        "protocol": model.spec.protocol.to_dict(),
        "value_range": list(model.spec.value_range),
        "mean_std": [model.spec.mean, model.spec.std],
    }


def facts(settings: EvaluateSettings, model: "Classifier", found: Dataset, outside: dict, videos: list[Video]) -> dict:
    """The part of the report that is known before the first video is scored; videos: of the whole run, no shard."""
    version = f" {settings.kinetics_version or '400'}" if settings.dataset == "kinetics" else ""
    title = f"{found.name}{version} {found.split}"
    notes = list(found.notes)
    if settings.dataset == "frames" or _has_folders_of_frames(found):
        notes.append(f"frames are taken to run at {settings.frames_fps:g} a second (assumed)")
    if problem := model.conversion.get("not_kept"):
        notes.append(f"the converted model was not kept ({problem})")
    spec = model.spec
    above = list(Path(settings.data_dir).resolve().parents[:2]) if settings.data_dir else []
    return {
        "model": {
            "name": spec.name,
            "domain": spec.domain,
            "classes": len(spec.classes),
            "runtime": model.runtime,
            "conversion": model.conversion,
            "weights_sha256": model.weights_sha256,
            "value_range": list(spec.value_range),
            "mean_std": [spec.mean, spec.std] if spec.mean else None,
            "published": [asdict(row) for row in spec.published],
            "overridden": _overridden(spec),
            "trained_on": list(spec.trained_on),
            "provenance": spec.provenance,
        },
        "dataset": {
            "name": found.name,
            "id": settings.dataset_id,
            "title": title,
            "classes": len(found.classes),
            "notes": notes,
            "leaks": find_leaks(videos, settings.dataset_id, found.split, spec.trained_on, above),
        },
        "split": found.split,
        "settings": {name: _plain(value) for name, value in asdict(settings).items()},
        "protocol": spec.protocol.to_dict(),
        "counts": {"population": found.population | outside},
        "environment": environment(),
    }


def _overridden(spec: "Spec") -> dict:
    own = {name: value for name, value in spec.overridden.items() if name != "classes"}
    if "protocol" in own:
        own["protocol"] = own["protocol"].to_dict()
    return own | ({"classes": True} if "classes" in spec.overridden else {})


def _has_folders_of_frames(found: Dataset) -> bool:
    """Whether a data set that may hold files and folders has a folder; the others are not looked at, for speed."""
    return found.name in ("csv", "annotations") and any(video.path and video.path.is_dir() for video in found.videos)


def predict_files(settings: PredictSettings) -> list[dict]:
    """The likeliest classes of one's own videos: one dict a video, with `predictions` or an `error`.

    The settings' `videos` are video files, folders of videos, folders of frames. Raises UserError where there
    is no video at all. Nothing is cached unless a cache folder is named.
    """
    if missing := [path for path in settings.videos if not Path(path).exists()]:
        raise UserError(f"no such file or folder: {missing[0]}")
    videos = [video for path in settings.videos for video in _videos_below(Path(path))]
    if not videos:
        raise UserError(f"no videos in {', '.join(map(str, settings.videos))}")
    model = load_classifier(settings, videos)
    loader = loader_of(
        replace(settings, cache=settings.cache and settings.cache_dir is not None), videos, model.spec.protocol
    )
    outcomes = score(
        model,
        loader,
        frame_order=settings.frame_order,
        distinct_frames=settings.distinct_frames,
        seed=settings.seed,
    )
    answers = []
    for outcome in outcomes:
        answer: dict = {
            "video": printable(outcome.video.video_id),
            "model": model.spec.name,
            "domain": model.spec.domain,
        }
        if isinstance(outcome, Failure):
            answer["error"] = outcome.reason
        else:
            answer["seconds"] = round(outcome.sample.info.seconds, 2)
            answer["predictions"] = [
                {"class": model.spec.classes[index], "probability": float(outcome.probabilities[index])}
                for index in ranking(outcome.probabilities)[: settings.top_n]
            ]
        answers.append(answer)
    return answers


def _videos_below(path: Path) -> list[Video]:
    """A file is a video, so is a folder of frames; in any other folder every file and every folder of frames is."""
    if not path.is_dir() or frame_files(path):
        return [Video(str(path), path)]
    files = list(video_files(path))
    places = {file.parent for file in files if is_frame(file)}
    videos = [file for file in files if not is_frame(file)] + sorted(places)
    return [Video(str(place), place) for place in videos]


def _plain(value):
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
