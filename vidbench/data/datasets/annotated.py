"""`annotations.json` and its three tables: a split of one's own videos, written by scripts/split.py, read here."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidbench.data.datasets.registry import Dataset, dataset, listed, unique
from vidbench.data.records import Video
from vidbench.utils import NoSplit, UserError, written_whole

SCHEMA = 1
ANNOTATIONS = "annotations.json"
TABLES = {"train": "train.csv", "val": "val.csv", "test": "test.csv"}
COLUMNS = ("path", "label", "group", "split")


@dataclass(frozen=True)
class Recipe:
    """How a split was made; the same recipe and the same videos give the same split."""

    seed: int
    ratios: tuple[float, ...]  # of train, val and test; test may be left out
    group_by: (
        str | None
    )  # a regular expression, "auto" (names and looks); None: the rules of UCF-101, HMDB51 and Kinetics, else the file


@dataset("annotations")
def annotations(data_dir: Path | None, split: str = "val", annotations: Path | None = None) -> Dataset:
    """One split of the `annotations.json` that scripts/split.py wrote.

    Paths are relative to `data_dir`, else to the root that the file names; a video's id is its path. The classes
    are those of all splits together.
    """
    if annotations is None:
        raise UserError("dataset annotations needs --annotations FILE")
    file = Path(annotations)
    record = _read(file)
    try:
        root = Path(data_dir) if data_dir else file.resolve().parent / record["root"]
        classes = tuple(map(str, record["classes"]))
        videos = [_video(row, root) for row in record["videos"]]
    except KeyError as missing:
        raise UserError(f"{file} is no annotations file of split.py: it lacks {missing}") from None
    except (TypeError, ValueError, AttributeError) as problem:
        raise UserError(f"{file} is no annotations file of split.py: {problem}") from None
    unique(videos, file)
    if split not in (splits := {video.split: None for video in videos}):
        raise NoSplit(f"{file} has no videos of split {split!r}; it has {', '.join(splits)}: choose one of them")
    return listed("annotations", split, [video for video in videos if video.split == split], classes=classes)


def _read(file: Path) -> dict:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        schema = record["schema"]
    except FileNotFoundError:
        raise UserError(f"no such file: {file}") from None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{file} is no annotations file of split.py ({type(problem).__name__}: {problem})") from None
    if schema != SCHEMA:
        raise UserError(f"{file} has schema {schema}, this version of vidbench reads {SCHEMA}")
    return record


def _video(row: dict, root: Path) -> Video:
    path, start, end = root / row["path"], row.get("start"), row.get("end")
    part = "" if start is None and end is None else f"#{start or 0:g}-{'' if end is None else f'{end:g}'}"
    known = path if path.exists() else None
    return Video(row["path"] + part, known, row["label"], row["split"], start, end, row.get("group"))


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Raise UserError where `folder` holds one of the files of a split already, unless `overwrite`."""
    there = [name for name in (ANNOTATIONS, *TABLES.values()) if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(f"{folder} holds {' and '.join(there)} already: choose another --out, or --overwrite")


def write_annotations(
    folder: Path, root: Path, videos: Sequence[Video], recipe: Recipe, overwrite: bool = False
) -> None:
    """Write `annotations.json`, and `train.csv`, `val.csv`, `test.csv` with what of it each split has, into `folder`.

    The videos have a label, a split, and their path below `root` as id. `root` is kept relative to `folder`; the
    tables' paths are relative to the tables, as the data set `csv` takes them. Raises UserError where one of the
    files is there already, unless `overwrite`.
    """
    check_free(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    relative = Path(os.path.relpath(root.resolve(), folder.resolve()))
    for split, name in TABLES.items():
        with written_whole(folder / name) as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for video in videos:
                if video.split == split:
                    path = (relative / video.video_id).as_posix()
                    table.writerow([path, video.label, video.group or "", split])
    record = {
        "schema": SCHEMA,
        "root": relative.as_posix(),
        "seed": recipe.seed,
        "ratios": list(recipe.ratios),
        "group_by": recipe.group_by,
        "classes": sorted({video.label for video in videos}),
        "videos": [
            {"path": video.video_id, "label": video.label, "group": video.group, "split": video.split}
            for video in videos
        ],
    }
    with written_whole(folder / ANNOTATIONS) as file:
        json.dump(record, file, indent=1, ensure_ascii=False)
        file.write("\n")
