"""UCF-101 and HMDB51 with their official three folds."""

import re
from pathlib import Path

from vidbench.data.datasets.registry import ROOT, Dataset, dataset, listed
from vidbench.data.datasets.tables import existing, video_files
from vidbench.data.records import Video
from vidbench.utils import NoSplit, UserError, unknown

UCF101_NAME = re.compile(r"v_(.+)_(g\d+)_c\d+")  # class, recording of that class, clip of that recording
HMDB51_TAGS = r"[hulf]_(?:cm|nm)_np\d_(?:fr|ba|le|ri)_(?:bad|med|goo)_\d+"  # behind source and class


@dataset("ucf101")
def ucf101(data_dir: Path | None, split: str = "val", fold: int = 1) -> Dataset:
    """UCF-101 with an official fold (1–3): `val` and `test` are the fold's test list, `train` its train list.

    Videos `v_<Class>_gNN_cNN.avi` lie at any depth below `data/raw/ucf101/`, the split files `testlist01.txt` …
    beside or below. A group is one recording: class and gNN.
    """
    root = existing(data_dir or ROOT / "data" / "raw" / "ucf101", "ucf101")
    listing = _one_file(root, f"{_fold_list(split)}list{_fold(fold):02d}.txt")
    paths = {path.name: path for path in video_files(root)}
    videos = []
    for line in _lines(listing):
        name = re.sub(r"\s+\d+$", "", line).rsplit("/", 1)[-1]  # train lists add the class number
        parts = UCF101_NAME.fullmatch(Path(name).stem)
        if not parts:
            raise UserError(f"{listing}: {line!r} is no UCF-101 name")
        label, group = parts[1], f"{parts[1]}_{parts[2]}"
        videos.append(Video(Path(name).stem, paths.get(name), label, split, group=group))
    return _folded("ucf101", split, fold, videos)


@dataset("hmdb51")
def hmdb51(data_dir: Path | None, split: str = "val", fold: int = 1) -> Dataset:
    """HMDB51 with an official fold (1–3): `val` and `test` are the fold's test list, `train` its train list.

    Videos lie at any depth below `data/raw/hmdb51/`, the files `<class>_test_split<fold>.txt` beside or below:
    1 trains, 2 tests, 0 is unused. A group is one source video: the name before the class and the tags.
    """
    root = existing(data_dir or ROOT / "data" / "raw" / "hmdb51", "hmdb51")
    listings = sorted(root.rglob(f"*_test_split{_fold(fold)}.txt"))
    if not listings:
        raise NoSplit(f"dataset hmdb51: no *_test_split{fold}.txt below {root}")
    mark = "1" if _fold_list(split) == "train" else "2"
    paths = {path.name: path for path in video_files(root)}
    videos = []
    for listing in listings:
        label = listing.name.removesuffix(f"_test_split{fold}.txt")
        for line in _lines(listing):
            name, _, use = line.rpartition(" ")
            if use == mark:
                group = name.split(f"_{label}_")[0]
                stem = name.strip().removesuffix(".avi")
                videos.append(Video(f"{label}/{stem}", paths.get(name.strip()), label, split, group=group))
    return _folded("hmdb51", split, fold, videos)


def _folded(name: str, split: str, fold: int, videos: list[Video]) -> Dataset:
    notes = (f"{name} has no validation split: {split} is the test list of fold {fold}",) if split == "val" else ()
    return listed(name, split, videos, notes)


def _fold(fold: int) -> int:
    if fold not in (1, 2, 3):
        raise UserError(f"fold must be 1, 2 or 3, got {fold}")
    return fold


def _fold_list(split: str) -> str:
    if split not in ("train", "val", "test"):
        raise unknown("split", split, ("train", "val", "test"))
    return "train" if split == "train" else "test"


def _one_file(root: Path, name: str) -> Path:
    found = sorted(root.rglob(name))
    if not found:
        raise NoSplit(f"no {name} below {root}")
    return found[0]


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
