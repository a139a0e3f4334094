"""Settings → the runtime they mean, with real clips to check it by, and other ones that int8 is calibrated with."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidbench.arguments import DataSettings, ModelSettings
from vidbench.convert import Calibration, convert
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
MOST_WORDS = 24  # of a file's name that are looked at
DEMO_CLIPS = 64  # of the demo's train split, drawn where int8 needs them

log = logging.getLogger(__name__)


def on_runtime(model: "Classifier", settings: ModelSettings, videos: Sequence[Video]) -> "Classifier":
    """`model` on the runtime and in the precision of the settings, converted where that is another than its own.

    videos: those to be scored; a few of them are what a conversion is checked with, int8 is calibrated with others.
    Raises UserError for a runtime that cannot run it, and see `convert`.
    """
    usual = settings.converted_to if model.runtime == "tensorflow" else None
    wanted = settings.runtime or usual or model.runtime
    if wanted == model.runtime and model.precision == settings.precision:
        return model
    check_precision(settings.precision, wanted)
    if model.runtime != "tensorflow" or wanted == "tensorflow":
        hint = "; without KERAS_BACKEND=jax it can be" if model.runtime == "jax" else ""
        raise UserError(
            f"{model.spec.name} runs on {model.runtime} in {model.precision}, not on {wanted} in {settings.precision}"
            f"{hint}"
        )
    if wanted == "jax":
        why = "is no Keras network" if model.network is None else "was loaded for TensorFlow: set KERAS_BACKEND=jax"
        raise UserError(f"--runtime jax runs Keras networks: {model.spec.name} {why}")
    calibration = find_calibration(settings, videos, model.spec.protocol) if settings.precision == "int8" else None

    def clips() -> np.ndarray:
        return first_clips(settings, videos, model.spec.protocol, CHECKED_CLIPS)

    return convert(model, wanted, settings.precision, cache_folder(settings) / "converted", clips, calibration)


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

    No video that is scored is among them, nor a copy of one, nor one of its recording. Raises UserError where there
    are none.
    """
    title, found = _candidates(settings)
    cache = cache_folder(settings)
    places = {video.path.resolve() for video in scored if video.path}
    recordings = {name for video in scored for name in (video.video_id, video.group) if name}
    free = [
        video
        for video in found
        if video.path.exists() and not _recordings(video) & recordings and video.path.resolve() not in places
    ]
    is_copy = _copies_of(scored, cache)
    others = (video for video in select(free, seed=settings.seed) if not is_copy(video))
    chosen = list(islice(others, settings.calibration_clips))
    if not chosen:
        why = f"all {len(found)} of {title} are scored, or not here" if found else f"there are none in {title}"
        raise UserError(f"int8 needs clips to calibrate with, other ones than are scored; {why}: --calibration-dir DIR")
    if len(found) > len(free):
        log.info("%d videos of %s are scored, or not here: not calibrated with", len(found) - len(free), title)
    known = [identity(video.path, cache) for video in chosen]
    key = hashlib.sha256(" ".join([*known, repr(protocol)]).encode()).hexdigest()
    return Calibration(title, key, lambda: first_clips(settings, chosen, protocol, len(chosen)))


def _recordings(video: Video) -> set[str]:
    """What may name the recording of a video; of a file of no data set, any words of its name that stand together.

    Kinetics' clips begin with the id of theirs, UCF101's hold class and gNN, HMDB51's begin with the source's name.
    """
    if video.group:
        return {video.video_id, video.group}
    words = video.path.stem.split("_")
    ends = combinations(range(min(len(words), MOST_WORDS) + 1), 2)
    return {video.video_id, *("_".join(words[first:last]) for first, last in ends)}


def _copies_of(scored: Sequence[Video], cache: Path) -> Callable[[Video], bool]:
    """What tells whether a file has the bytes of one that is scored; only files of the same size are read."""
    sizes = defaultdict(list)
    for video in scored:
        if video.path and video.path.is_file():
            sizes[video.path.stat().st_size].append(video.path)

    def is_copy(video: Video) -> bool:
        same = sizes[video.path.stat().st_size] if video.path.is_file() else []
        return bool(same) and identity(video.path, cache) in {identity(path, cache) for path in same}

    return is_copy


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
