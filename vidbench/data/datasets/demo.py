"""The synthetic clips that ship with the kit."""

from pathlib import Path

from vidbench.data.datasets.registry import ROOT, Dataset, dataset, listed
from vidbench.data.datasets.tables import existing, kinetics_rows, read_table, video_files
from vidbench.data.records import Video
from vidbench.utils import NoSplit

DEMO_CLIPS = 2400  # of the train split, as the demo model has seen it


@dataset("demo")
def demo(data_dir: Path | None, split: str = "val") -> Dataset:
    """The synthetic clips that ship with the kit: drawn figures, eight actions (`vidbench.data.demo`)."""
    root = existing(data_dir or ROOT / "data" / "demo", "demo")
    if not (root / f"{split}.csv").is_file():
        raise NoSplit(f"{root} has no split {split!r}: val ships, vidbench.data.demo.draw_dataset draws others")
    groups = {row["video_id"]: row["group"] for row in read_table(root / "attributes.csv", {"video_id", "group"})}
    rows = list(kinetics_rows(root / f"{split}.csv"))
    paths = {path.stem: path for path in video_files(root / split)}
    videos = [Video(key, paths.get(key), label, split, group=groups.get(key)) for key, label in rows]
    return listed("demo", split, videos, ("synthetic: drawn figures, not filmed people",))


def demo_folder(count: int = DEMO_CLIPS, workers: int = 1, progress: bool = False) -> Path:
    """The folder with `count` train clips of the demo, drawn on first demand (a quarter of a second each a core)."""
    from vidbench.data.demo import demo_specs, draw_dataset  # OpenCV takes time to import

    folder = ROOT / "data" / "cache" / ("demo_train" if count == DEMO_CLIPS else f"demo_train_{count}")
    if not (folder / "train.csv").is_file():
        draw_dataset(folder, demo_specs("train", count), "train", workers, progress)
    return folder
