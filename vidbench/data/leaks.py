"""Videos that a model may have seen in training: Kinetics' versions share most of theirs.

68 % of the ids of Kinetics-400's val split stand in 600's val split, and most of it lies in the train split of
700-2020: an accuracy across versions measures memory too.
"""

from collections.abc import Iterable
from pathlib import Path

from vidbench.data.datasets.kinetics import annotation_table
from vidbench.data.datasets.registry import ROOT
from vidbench.data.datasets.tables import kinetics_rows
from vidbench.data.records import Video
from vidbench.utils import UserError

FOLDER = Path("data", "raw", "kinetics")
ID_LENGTH = 11  # of a YouTube id, with which a Kinetics key begins


def find_leaks(
    videos: Iterable[Video], dataset: str, split: str, trained_on: Iterable[str], roots: Iterable[Path] = ()
) -> list[dict]:
    """How many videos stand in the train splits of other versions of Kinetics, by YouTube id.

    dataset, trained_on: names such as "kinetics-400". roots: folders of versions, searched after `data/raw/kinetics`
    of the repository: `<root>/700-2020/train/train.csv`. Returns a dict for each train split with something to say:
    {"seen": "kinetics-700-2020 train", "videos": 12,345, None where it cannot be counted, "reason": why not}.
    """
    videos, leaks = list(videos), []
    for name in trained_on:
        seen = f"{name} train"
        if name == dataset:
            if split == "train":
                leaks.append({"seen": seen, "videos": len(videos), "reason": None})
            continue
        if not (name.startswith("kinetics-") and dataset.startswith("kinetics-")):
            continue
        known, problem = _train_ids(name.removeprefix("kinetics-"), [ROOT / FOLDER, *roots])
        if known is None:
            leaks.append({"seen": seen, "videos": None, "reason": problem})
        elif number := sum(video.video_id[:ID_LENGTH] in known for video in videos):
            leaks.append({"seen": seen, "videos": number, "reason": None})
    return leaks


def _train_ids(version: str, roots: list[Path]) -> tuple[set[str] | None, str | None]:
    for root in roots:
        if table := annotation_table(root / version / "train", "train"):
            try:
                known = {key[:ID_LENGTH] for key, _ in kinetics_rows(table)}
            except UserError as problem:
                return None, str(problem)
            return (known, None) if known else (None, f"{table} is empty")
    return None, f"its annotations are not here ({FOLDER / version / 'train' / 'train.csv'})"
