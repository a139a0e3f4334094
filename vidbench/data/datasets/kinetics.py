"""Kinetics 400, 600 and 700-2020 as the CVDF hosts them."""

import re
from collections import Counter
from pathlib import Path

from vidbench.data.classes import kinetics_classes
from vidbench.data.datasets.registry import ROOT, Dataset, dataset
from vidbench.data.datasets.tables import existing, kinetics_rows, read_table, video_files
from vidbench.data.records import Video
from vidbench.utils import UserError, canonical_label, unknown

KINETICS_VERSIONS = ("400", "600", "700-2020")
REPLACEMENTS = "replacement_for_corrupted_k400"
KINETICS_NAME = re.compile(r".{11}_\d{6}_\d{6}")


@dataset("kinetics")
def kinetics(data_dir: Path | None, split: str = "val", version: str = "400", population: str | None = None) -> Dataset:
    """Kinetics 400, 600 or 700-2020 under `data/raw/kinetics/<version>/<split>/`, in any of CVDF's layouts.

    Clips lie at any depth and are named `{id}_{start:06d}_{end:06d}.mp4`; the annotations `<split>.csv` (also
    `.txt` for 600, preferred there because its CSV is incomplete) lie beside them. With a fetch manifest its
    verified clips are listed, else the annotations; `population` "annotations" or "found" overrides.
    """
    if str(version) == "700":
        raise UserError("Kinetics-700 is here in its 2020 version: --kinetics-version 700-2020")
    if str(version) not in KINETICS_VERSIONS:
        raise unknown("Kinetics version", str(version), KINETICS_VERSIONS)
    root = data_dir or ROOT / "data" / "raw" / "kinetics" / str(version) / split
    root = existing(root / split if (root / split).is_dir() else root, "kinetics")
    labels = {}
    if table := annotation_table(root, split):
        labels = dict(kinetics_rows(table))
    clips = [path for path in video_files(root) if KINETICS_NAME.fullmatch(path.stem)]
    clips.sort(key=lambda path: path.parent.name == REPLACEMENTS)  # last: they stand for corrupt ones of the same name
    paths = {path.stem: path for path in clips}
    noted = _noted(root / "manifest.csv") if (root / "manifest.csv").is_file() else None
    manifest = None if noted is None else {key: row for key, row in noted.items() if row["status"] == "ok"}
    if population == "annotations" and not labels:
        raise UserError(f"--population annotations: no {split}.csv or {split}.txt in {root}")
    if population == "found" or (population is None and manifest is None and not labels):
        keys = list(paths)
    elif manifest is not None and population is None:
        keys = list(manifest)
    else:
        keys = list(labels)
    classes = kinetics_classes(str(version).split("-")[0])
    known = _class_folders(paths, root, classes)
    known |= {key: row["label"] for key, row in (noted or {}).items() if row.get("label")}
    known |= {key: label for key, label in labels.items() if label}
    videos = [Video(key, paths.get(key), known.get(key), split, group=key[:11]) for key in keys]
    counts = {"annotations": len(labels), "found": len(paths)} | _coverage(labels, noted)
    notes = () if labels or not videos else (f"no annotation file {split}.csv: labels come from folders",)
    classes = classes if any(video.label for video in videos) else ()
    return Dataset("kinetics", split, tuple(videos), classes, counts, notes)


def annotation_table(root: Path, split: str) -> Path | None:
    """The annotation table of a split: K600's `.txt` is complete where its `.csv` is not, so it goes first."""
    for place in (root, root.parent, root.parent / "annotations"):
        for suffix in (".txt", ".csv"):
            if (place / f"{split}{suffix}").is_file():
                return place / f"{split}{suffix}"
    return None


def _noted(manifest: Path) -> dict[str, dict[str, str]]:
    """{key: row} of a fetch manifest; the last row of a key counts."""
    return {row["key"]: row for row in read_table(manifest, {"key", "status"})}


def _coverage(labels: dict, noted: dict[str, dict[str, str]] | None) -> dict[str, int]:
    """How many clips a manifest has verified, and what became of the other annotated ones."""
    if noted is None:
        return {}
    verified = {key for key, row in noted.items() if row["status"] == "ok"}
    lacking = Counter(noted[key]["status"] if key in noted else "" for key in labels.keys() - verified)
    known = {status: lacking.pop(status) for status in ("bad", "failed") if status in lacking}
    return {"verified": len(verified), **known, "never fetched": lacking.total()}


def _class_folders(paths: dict[str, Path], root: Path, classes: tuple[str, ...]) -> dict[str, str]:
    """{key: label} of the clips that lie in a class folder (700-2020's layout), not flat or in a part folder."""
    names = {canonical_label(name): name for name in classes}
    folders = {key: canonical_label(path.parent.name) for key, path in paths.items() if path.parent != root}
    return {key: names[folder] for key, folder in folders.items() if folder in names}
