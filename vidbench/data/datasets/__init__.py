"""Name → list of videos and their classes. A data set is one function in one file of this folder.

Nothing is decoded here: a listing reads file names and annotation tables only.
"""

import importlib
import logging
import pkgutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from vidbench.data.datasets.registry import DATASETS, ROOT, Dataset, dataset
from vidbench.data.datasets.tables import read_rows
from vidbench.data.records import Video
from vidbench.utils import NoSplit, UserError, canonical_label, printable, seeded_place, unknown

__all__ = ["DATASETS", "ROOT", "Dataset", "dataset", "load_dataset", "read_label_map", "select", "shard_of"]

log = logging.getLogger(__name__)

for _module in pkgutil.iter_modules(__path__):  # a new data set is one new file
    importlib.import_module(f"{__name__}.{_module.name}")


def load_dataset(name: str, split: str = "val", data_dir: Path | None = None, **options) -> Dataset:
    """List a data set: `demo`, `kinetics`, `ucf101`, `hmdb51`, `folder`, `frames`, `csv` or `annotations`.

    options: what the data set takes of `version`, `fold`, `csv_path`, `gt_csv`, `annotations`, `population`,
    `label_map`.
    Raises UserError: unknown name, no such folder, nothing in it.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    label_map = options.pop("label_map", None)
    found = DATASETS[name](Path(data_dir) if data_dir else None, split, **options)
    if not found.videos:
        raise NoSplit(f"dataset {name}: no videos in split {split!r} of {data_dir or 'its folder'}")
    if label_map:
        names = read_label_map(label_map)
        known = {canonical_label(video.label) for video in found.videos if video.label is not None}
        if unused := sorted(names.keys() - known):
            log.warning("%s: the data has no label %s", label_map, ", ".join(map(repr, unused)))
        found = _renamed(found, names)
    videos = (
        replace(video, video_id=printable(video.video_id), label=video.label and printable(video.label))
        for video in found.videos
    )
    ordered = tuple(sorted(videos, key=lambda video: video.video_id))
    return replace(found, videos=ordered, classes=tuple(map(printable, found.classes)))


def select(
    videos: Iterable[Video],
    *,
    classes: Iterable[str] = (),
    keys: Iterable[str] = (),
    num_videos: int = 0,
    seed: int = 0,
) -> list[Video]:
    """The videos of one run, in their seeded order.

    A video's place depends on its id and the seed alone, so the same `num_videos` are the same videos on every
    machine, and more of them extend the list. `keys` (ids of a published list) and `classes` filter first;
    `num_videos` 0 takes all.
    Raises UserError for a class or a key that no video has.
    """
    videos = list(videos)
    if keys := list(dict.fromkeys(keys)):
        by_id = {video.video_id: video for video in videos}
        if missing := [key for key in keys if key not in by_id]:
            raise UserError(f"{len(missing)} of {len(keys)} listed keys are no videos here, e.g. {missing[0]!r}")
        videos = [by_id[key] for key in keys]
    if wanted := {canonical_label(name) for name in classes}:
        known = {canonical_label(video.label): video.label for video in videos if video.label is not None}
        for name in sorted(wanted - known.keys()):
            raise unknown("class", name, known.values())
        videos = [v for v in videos if v.label is not None and canonical_label(v.label) in wanted]
    ordered = sorted(videos, key=lambda video: seeded_place(video.video_id, seed))
    if num_videos:
        ordered = ordered[:num_videos]
    return ordered


def shard_of(items: list, shard: tuple[int, int] | None) -> list:
    """Every n-th item from the i-th, for shard (i, n) counted from 1; all of them for None.

    >>> shard_of(["a", "b", "c", "d", "e"], (2, 3))
    ['b', 'e']
    """
    return items if shard is None else items[shard[0] - 1 :: shard[1]]


def read_label_map(path: Path) -> dict[str, str]:
    """{canonical label: new label} from a CSV of two columns, from and to; a header `from,to` is skipped."""
    rows = [row for row in read_rows(path) if row]
    if any(len(row) != 2 for row in rows):
        raise UserError(f"{path}: a label map has two columns, from and to")
    return {canonical_label(old): new.strip() for old, new in rows if (old, new) != ("from", "to")}


def _renamed(found: Dataset, names: dict[str, str]) -> Dataset:
    def rename(label):
        return names.get(canonical_label(label), label) if label is not None else None

    videos = tuple(replace(video, label=rename(video.label)) for video in found.videos)
    return replace(found, videos=videos, classes=tuple(dict.fromkeys(map(rename, found.classes))))
