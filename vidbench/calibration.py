"""Settings → the runtime they mean, with real clips to check it by, and other ones that int8 is calibrated with."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidbench.arguments import DataSettings, ModelSettings
from vidbench.convert import Calibration, convert, default_runtime
from vidbench.data.cache import identity
from vidbench.data.datasets import select
from vidbench.data.datasets.demo import demo_folder
from vidbench.data.datasets.tables import video_files
from vidbench.data.load import Sample
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.machine import usable_cpus
from vidbench.prepare import cache_folder, find_dataset, loader_of
from vidbench.runtimes.devices import check_precision
from vidbench.utils import UserError

if TYPE_CHECKING:
    from vidbench.models import Classifier

CHECKED_CLIPS = 4
OTHER_SPLITS = ("train", "val", "test")  # in the order in which they are looked for calibration clips
DEMO_CLIPS = 64  # of the demo's train split, drawn where int8 needs them

log = logging.getLogger(__name__)


def on_runtime(model: "Classifier", settings: ModelSettings, videos: Sequence[Video]) -> "Classifier":
    """`model` on the runtime and in the precision of the settings, converted where that is another than its own.

    videos: those to be scored; a few of them are what a conversion is checked with, int8 is calibrated with others.
    Raises UserError for a runtime that cannot run it, and see `convert`.
    """
    wanted = settings.runtime or (
        default_runtime(settings.precision) if model.runtime == "tensorflow" else model.runtime
    )
    if wanted == model.runtime and model.precision == settings.precision:
        return model
    check_precision(settings.precision, wanted)
    if model.runtime != "tensorflow" or wanted == "tensorflow":
        raise UserError(
            f"{model.spec.name} runs on {model.runtime} in {model.precision}, not on {wanted} in {settings.precision}"
        )
    if wanted == "jax":
        why = "is no Keras network" if model.network is None else "was loaded for TensorFlow: set KERAS_BACKEND=jax"
        raise UserError(f"--runtime jax runs Keras networks: {model.spec.name} {why}")
    calibration = find_calibration(settings, videos, model.spec.protocol) if settings.precision == "int8" else None

    def clips() -> np.ndarray:
        return first_clips(settings, videos, model.spec.protocol, CHECKED_CLIPS)

    return convert(model, wanted, settings.precision, cache_folder(settings) / "converted", clips, calibration)


def is_converted(settings: ModelSettings) -> bool:
    """Whether the model of the settings is converted after it is loaded, unless it is a file for that runtime."""
    return (settings.runtime or default_runtime(settings.precision)) not in ("tensorflow", "jax")


def loaded_precision(settings: ModelSettings) -> str:
    """The precision in which the model of the settings is loaded: float32 where it is converted afterwards."""
    return "float32" if is_converted(settings) or settings.precision == "int8" else settings.precision


def first_clips(settings: ModelSettings, videos: Sequence[Video], protocol: Protocol, count: int) -> np.ndarray:
    """(count or fewer, T, H, W, 3) uint8: the first view of the first videos that can be read.

    Raises UserError where none can.
    """
    views = []
    present = [video for video in videos if video.path is not None and video.path.exists()]
    loader = loader_of(replace(settings, cache=False), present, replace(protocol, clips=1, crops=1))
    for item in loader:
        views += [item.views()[0]] if isinstance(item, Sample) else []
        if len(views) == count:
            break
    if not views:
        raise UserError("none of the videos can be read: a converted model is checked, and calibrated, with real clips")
    return np.stack(views)


def find_calibration(settings: ModelSettings, scored: Sequence[Video], protocol: Protocol) -> Calibration:
    """The clips that int8 is calibrated with: of `--calibration-dir`, else of another split of the same data set.

    No video that is scored, and none of its recording, is among them. Raises UserError where there are none.
    """
    title, found = _candidates(settings)
    ids = {video.video_id for video in scored} | {video.group for video in scored if video.group}
    places = {video.path.resolve() for video in scored if video.path}
    free = [
        video
        for video in found
        if video.path.exists() and not {video.video_id, video.group} & ids and video.path.resolve() not in places
    ]
    count = settings.calibration_clips
    chosen = select(free, num_videos=count, seed=settings.seed)
    if not chosen:
        why = f"all {len(found)} of {title} are scored" if found else f"there are none in {title}"
        raise UserError(f"int8 needs clips to calibrate with, other ones than are scored; {why}: --calibration-dir DIR")
    if len(found) > len(free):
        log.info("%d videos of %s are scored, or not here: not calibrated with", len(found) - len(free), title)
    known = [identity(video.path, cache_folder(settings)) for video in chosen]
    key = hashlib.sha256(" ".join([*known, repr(protocol)]).encode()).hexdigest()
    return Calibration(
        f"{len(chosen)} clips of {title}", key, lambda: first_clips(settings, chosen, protocol, len(chosen))
    )


def _candidates(settings: ModelSettings) -> tuple[str, list[Video]]:
    """Where calibration clips come from, in words, and the videos there."""
    if settings.calibration_dir:
        folder = Path(settings.calibration_dir)
        if not folder.is_dir():
            raise UserError(f"--calibration-dir {folder} is no folder")
        return str(folder), [Video(file.stem, file) for file in video_files(folder)]
    if not isinstance(settings, DataSettings):
        raise UserError("int8 needs clips to calibrate with, other ones than are scored: --calibration-dir DIR")
    for split, found in _other_splits(settings):
        if found:
            return f"{settings.dataset} {split}", found
    raise UserError(
        f"int8 needs clips to calibrate with, and no other split of {settings.dataset} is here: --calibration-dir DIR"
    )


def _other_splits(settings: DataSettings) -> Iterator[tuple[str, list[Video]]]:
    for split in OTHER_SPLITS:
        if split != settings.split:
            try:
                videos = find_dataset(settings, split).videos
            except UserError:  # there is no such split, or it is not on this disk
                continue
            yield split, [video for video in videos if video.path is not None]
    if settings.dataset == "demo" and settings.split != "train":
        drawn = find_dataset(settings, "train", demo_folder(DEMO_CLIPS, settings.workers or usable_cpus()))
        yield "train", list(drawn.videos)
