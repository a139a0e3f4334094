"""The registry of data sets: name → function that lists one split."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vidbench.data.records import Video
from vidbench.utils import UserError

ROOT = Path(__file__).resolve().parents[3]  # the kit is installed editable: its data lies in the repository


@dataclass(frozen=True)
class Dataset:
    """The videos of one split, sorted by id, and the class names that their labels come from."""

    name: str
    split: str
    videos: tuple[Video, ...]
    classes: tuple[str, ...]
    population: dict = field(default_factory=dict)  # how many are annotated, found on this disk, verified
    notes: tuple[str, ...] = ()  # what a reader of the numbers must know


DATASETS: dict[str, Callable[..., Dataset]] = {}


def dataset(name: str):
    """Register `list_split(data_dir, split, **options) -> Dataset` under `name`."""

    def register(list_split: Callable[..., Dataset]) -> Callable[..., Dataset]:
        if name in DATASETS:
            raise ValueError(f"dataset {name!r} is already registered")
        DATASETS[name] = list_split
        return list_split

    return register


def listed(
    name: str, split: str, videos: list[Video], notes: tuple[str, ...] = (), classes: tuple[str, ...] = ()
) -> Dataset:
    """A data set whose videos are its annotations; the classes are its labels unless they are given."""
    classes = classes or tuple(sorted({video.label for video in videos if video.label}))
    population = {
        "annotations": len(videos),
        "found": sum(video.path is not None and video.path.exists() for video in videos),
    }
    return Dataset(name, split, tuple(videos), classes, population, notes)


def unique(videos: list[Video], where: Path) -> None:
    """Raise UserError where two videos of the table `where` have one id."""
    seen: set[str] = set()
    for video in videos:
        if video.video_id in seen:
            raise UserError(f"{where}: {video.video_id} stands twice")
        seen.add(video.video_id)
