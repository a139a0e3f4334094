"""Which videos are checked: the splits of a data set that are there."""

import contextlib
from dataclasses import replace
from pathlib import Path

from vidbench.arguments import CheckSettings
from vidbench.data.datasets import DATASETS, Dataset, select
from vidbench.data.records import Video
from vidbench.data.splitting import known_group
from vidbench.prepare import find_dataset
from vidbench.utils import NoSplit, UserError, unknown

SPLITS = ("train", "val", "test")
WHOLE = "all"  # the one split of data that are not split
MAY_BE_WHOLE = ("folder", "frames", "csv")  # data sets that give every split all videos where they are not split


def list_splits(settings: CheckSettings) -> tuple[dict[str, list[Video]], list[str]]:
    """{split: its videos} of the splits that the settings name, else of those that are there; and notes on them.

    Data that are not split are one split, "all". Raises UserError where there is none, or a named one is not there.
    """
    if settings.dataset not in DATASETS:
        raise unknown("dataset", settings.dataset, DATASETS)
    whole = _whole(settings)
    if whole and settings.splits not in ((), (WHOLE,)):
        raise UserError(f"dataset {settings.dataset} is not split here: leave out --splits")
    found, notes = ({WHOLE: whole}, ["not split into train and val"]) if whole else _found(settings)
    notes += [note for one in found.values() for note in one.notes]
    chosen = {"classes": settings.classes, "num_videos": settings.num_videos, "seed": settings.seed}
    splits = {}
    for split, one in found.items():
        picked = {video.video_id for video in select(one.videos, **chosen)}
        splits[split] = [replace(video, split=split) for video in one.videos if video.video_id in picked]
    if not any(splits.values()):
        raise UserError(f"dataset {settings.dataset}: no video is left")
    return splits, list(dict.fromkeys(notes))


def _whole(settings: CheckSettings) -> Dataset | None:
    """The data set where it is not split: then it gives its videos under any name."""
    if settings.dataset in MAY_BE_WHOLE:
        with contextlib.suppress(UserError):
            return find_dataset(settings, WHOLE)
    return None


def _found(settings: CheckSettings) -> tuple[dict[str, Dataset], list[str]]:
    found: dict[str, Dataset] = {}
    problems: dict[str, NoSplit] = {}
    for split in settings.splits or SPLITS:
        try:
            found[split] = find_dataset(settings, split)
        except NoSplit as problem:
            problems[split] = problem
    if (settings.splits and problems) or not found:
        problem = problems.get("val") or next(iter(problems.values()))
        raise problem
    notes = [f"no split {split}: {problem}" for split, problem in problems.items()]
    for split, other in _listed_twice(settings.dataset, found):
        del found[split]
        notes.append(f"{split} lists the videos of {other}: checked as {other}")
    return found, notes


def _listed_twice(name: str, found: dict[str, Dataset]) -> list[tuple[str, str]]:
    """(split, other split) where the one is no split of its own but the way a data set lists the other.

    UCF-101 and HMDB51 have one test list, which is their val and test. Where Kinetics' clips lie flat, a split
    without a table lists the clips of all.
    """
    if name in ("ucf101", "hmdb51"):
        return [("test", "val")] if {"val", "test"} <= found.keys() else []
    files = {split: {video.path for video in one.videos if video.path} for split, one in found.items()}
    labelled = [split for split, one in found.items() if any(video.label for video in one.videos)]
    pairs = [(split, other) for split in found for other in labelled if split not in labelled]
    covered = [(split, other) for split, other in pairs if name == "kinetics" and files[split] & files[other]]
    if name == "kinetics" and not labelled:
        first, *rest = found
        covered = [(split, first) for split in rest if files[split] == files[first]]
    return list({split: (split, other) for split, other in covered}.values())


def recording(video: Video) -> str | None:
    """What recording a video comes from: its group, else what its name tells, else the file that it is a part of."""
    if video.group or video.label is None:
        return video.group
    named = known_group(Path(video.video_id.split("#")[0]).name, video.label)
    part = video.start_seconds is not None or video.end_seconds is not None
    return named or (str(video.path) if part else None)
