"""Settings → the videos, the model and the loader that they mean."""

import csv
import inspect
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vidbench.arguments import DataSettings, EvaluateSettings, LoadingSettings, ModelSettings
from vidbench.data.datasets import DATASETS, ROOT, Dataset, load_dataset, select
from vidbench.data.load import VideoLoader
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.machine import usable_cpus
from vidbench.utils import UserError, canonical_label

if TYPE_CHECKING:
    from vidbench.models import Classifier

log = logging.getLogger(__name__)


def list_videos(settings: EvaluateSettings) -> tuple[Dataset, list[Video]]:
    """The data set and the videos of the whole run, before it is cut into shards, in their seeded order.

    Raises UserError where there are none.
    """
    found = find_dataset(settings, settings.split)
    if settings.exclude_ids:
        found = _without(found, set(read_keys(settings.exclude_ids)))
    videos = select(
        found.videos,
        keys=read_keys(settings.list) if settings.list else (),
        classes=settings.classes,
        num_videos=settings.num_videos,
        seed=settings.seed,
    )
    if not videos:
        raise UserError(f"dataset {settings.dataset}: no video is left of {len(found.videos)}")
    return found, videos


def find_dataset(settings: DataSettings, split: str, data_dir: Path | None = None) -> Dataset:
    """One split of the settings' data set, from `data_dir` where it lies elsewhere than the settings say."""
    options = {
        "version": settings.kinetics_version or "400",
        "population": settings.population,
        "fold": settings.fold,
        "gt_csv": settings.gt_csv,
        "csv_path": settings.csv,
        "annotations": settings.annotations,
    }
    known = inspect.signature(DATASETS[settings.dataset]).parameters if settings.dataset in DATASETS else {}
    return load_dataset(
        settings.dataset,
        split,
        data_dir or settings.data_dir,
        label_map=settings.label_map,
        **{name: value for name, value in options.items() if name in known},
    )


def _without(found: Dataset, ids: set[str]) -> Dataset:
    """The data set less the videos whose id, or YouTube id, is among `ids`."""
    videos = tuple(video for video in found.videos if video.video_id not in ids and video.group not in ids)
    if len(videos) == len(found.videos):
        log.warning("none of the %d ids to exclude is a video here", len(ids))
    return replace(found, videos=videos, population=found.population | {"excluded": len(found.videos) - len(videos)})


def read_keys(path: Path) -> list[str]:
    """The ids of a published list: one a line, or the column video_id or youtube_id of a CSV; `#` lines are skipped."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: {getattr(problem, 'strerror', None) or problem}") from None
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    keys, header = lines, next(csv.reader(lines[:1]), [])
    if column := next((name for name in ("video_id", "youtube_id") if name in header), None):
        keys = [row[header.index(column)] for row in csv.reader(lines[1:]) if len(row) > header.index(column)]
    if not keys:
        raise UserError(f"{path} is empty")
    return keys


def load_classifier(settings: ModelSettings, videos: Sequence[Video] = ()) -> "Classifier":
    """The model of the settings under their protocol, on the device, the runtime and in the precision they ask for.

    videos: those to be scored; a conversion to another runtime is checked with some of them, and never calibrated
        with any
    """
    from vidbench.models import load_model  # TensorFlow takes seconds to import: not before the data is found
    from vidbench.runtimes import hide_gpus

    if not settings.cuda:
        hide_gpus()
    classes = None
    if settings.model_classes:
        classes = tuple(read_keys(settings.model_classes))
    model = load_model(
        settings.model_name,
        weights=settings.weights,
        classes=classes,
        precision=settings.loaded_precision,
        value_range=settings.value_range,
    )
    model.set_batch_size(settings.batch_size)
    protocol = model.spec.protocol.override(
        settings.num_frames, settings.frame_rate, settings.views, settings.resize_type, settings.short_videos
    )
    if settings.distinct_frames and settings.distinct_frames > protocol.num_frames:
        raise UserError(f"--distinct-frames {settings.distinct_frames}: a view has {protocol.num_frames} frames")
    model.spec = model.spec.with_protocol(protocol)
    model.check_view(protocol.num_frames, protocol.frame_size)
    from vidbench.calibration import on_runtime  # after the models: they hold back what TensorFlow says at first

    return on_runtime(model, settings, videos)


def match_classes(
    videos: list[Video], found: Dataset, model_classes: tuple[str, ...], predict_only: bool
) -> tuple[list[Video], dict]:
    """The videos whose class the model knows (and the unlabelled ones), and what was left out, in numbers.

    Names are compared canonically. Raises UserError when labelled videos share no class with the model.
    """
    known = {canonical_label(name) for name in model_classes}
    labelled = [video for video in videos if video.label is not None]
    if predict_only or not labelled:
        return videos, {}
    kept = [video for video in videos if video.label is None or canonical_label(video.label) in known]
    left = len(videos) - len(kept)
    if left == len(labelled):
        raise UserError(
            f"the model knows none of the data's classes: it has {', '.join(model_classes[:4])} …, the data "
            f"{', '.join(found.classes[:4])} …; --label-map renames (evaluate.py --predict-only scores without labels)"
        )
    if not left:
        return kept, {}
    unknown = sorted({video.label for video in labelled if canonical_label(video.label) not in known})
    names = ", ".join(unknown[:5]) + (" …" if len(unknown) > 5 else "")
    log.warning("videos left out, because the model does not know their class: %d (%s)", left, names)
    return kept, {"outside the model's classes": left}


def cache_folder(settings: LoadingSettings) -> Path:
    """Where the settings' cache lies."""
    return settings.cache_dir or ROOT / "data" / "cache"


def loader_of(settings: ModelSettings, videos: list[Video], protocol: Protocol) -> VideoLoader:
    """The loader that reads videos under a protocol as the settings say."""
    return VideoLoader(
        videos,
        protocol,
        cache_dir=cache_folder(settings) if settings.cache else None,
        overwrite_cache=settings.overwrite_cache,
        cache_max_bytes=settings.cache_max_bytes,
        workers=settings.workers or usable_cpus(),
        decode_timeout=settings.decode_timeout,
        ahead=settings.batch_size + (settings.workers or usable_cpus()),
        frames_fps=settings.frames_fps,
    )
