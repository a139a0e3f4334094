"""The videos of a run: what it learns from, what chooses the best epoch, what is scored at the end."""

import logging
from dataclasses import dataclass

from vidbench.arguments import TrainSettings
from vidbench.data.datasets import select
from vidbench.data.datasets.demo import DEMO_CLIPS, demo_folder
from vidbench.data.records import Video
from vidbench.machine import usable_cpus
from vidbench.prepare import find_dataset
from vidbench.utils import UserError, canonical_label

log = logging.getLogger(__name__)
FAST_CLIPS = 64


@dataclass(frozen=True)
class TrainingData:
    """Videos of a run in their seeded order; `classes` are the training videos', as the data names them."""

    train: list[Video]
    val: list[Video]
    classes: tuple[str, ...]
    source_notes: tuple[str, ...] = ()  # what a reader must know of the data set
    notes: tuple[str, ...] = ()  # and of this choice from it
    missing: int = 0  # labelled training videos that are not on this disk


def find_data(settings: TrainSettings, progress: bool = False) -> TrainingData:
    """The train and val videos that the settings mean; the demo's train clips are drawn where they are not there yet.

    Raises UserError where a split is missing, or val and train share no class.
    """
    elsewhere = None
    if settings.dataset == "demo" and settings.data_dir is None and settings.train_split == "train":
        count = settings.num_videos or (FAST_CLIPS if settings.fast_dev_run else DEMO_CLIPS)
        elsewhere = demo_folder(count, settings.workers or usable_cpus(), progress)
    train, val = find_dataset(settings, settings.train_split, elsewhere), find_dataset(settings, settings.val_split)
    if settings.test_split:
        find_dataset(settings, settings.test_split)  # that it is there is known before hours of training
    labelled = [video for video in train.videos if video.label is not None]
    found = [video for video in labelled if video.path is not None and video.path.exists()]
    if missing := len(labelled) - len(found):
        log.warning("%d of %d training videos are not on this disk: the run goes without them", missing, len(labelled))
    chosen = select(
        found,
        classes=settings.classes,
        num_videos=settings.num_videos,
        seed=settings.seed,
    )
    if not chosen:
        raise UserError(f"dataset {settings.dataset}: split {settings.train_split} has no labelled videos here")
    labels = {canonical_label(video.label) for video in chosen}
    classes = tuple(name for name in train.classes if canonical_label(name) in labels)
    if len(classes) < 2:
        raise UserError(f"there is one class, {classes[0]!r}: a classifier needs two to tell apart")
    judged = [video for video in val.videos if video.label and canonical_label(video.label) in labels]
    if not judged:
        raise UserError(f"no video of split {settings.val_split} has a class of split {settings.train_split}")
    if {place_of(video) for video in val.videos} <= {place_of(video) for video in train.videos}:
        raise UserError("train and val are the same files: scripts/split.py makes a split, --annotations FILE takes it")
    of_source, leaks = tuple(dict.fromkeys((*train.notes, *val.notes))), _leaks(chosen, judged)
    for leak in leaks:
        log.warning("note: %s", leak)
    return TrainingData(chosen, select(judged, seed=settings.seed), classes, of_source, (*of_source, *leaks), missing)


def place_of(video: Video) -> tuple:
    """What a video shows: a file, or a part of one."""
    return video.path, video.start_seconds, video.end_seconds


def _leaks(train: list[Video], val: list[Video]) -> list[str]:
    """A note on recordings, or files, that stand in both."""
    shared = {video.group for video in train if video.group} & {video.group for video in val}
    files = {place_of(video) for video in train} & {place_of(video) for video in val}
    found = [(shared, "recordings"), (files, "files")]
    return [f"{len(both)} {what} stand in train and in val: its accuracy is too high" for both, what in found if both]
