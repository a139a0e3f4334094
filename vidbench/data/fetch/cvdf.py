"""What the CVDF hosts of Kinetics: which clips are annotated, and which archives hold them."""

import logging
import posixpath
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vidbench.data.classes import kinetics_classes
from vidbench.data.datasets.kinetics import KINETICS_VERSIONS, annotation_table
from vidbench.data.datasets.tables import kinetics_rows
from vidbench.data.fetch.http import Unreachable, fetch_text, text_of
from vidbench.data.fetch.wanted import CLIP_KEY, Wanted
from vidbench.utils import UserError, canonical_label, unknown

log = logging.getLogger(__name__)
CVDF = "https://s3.amazonaws.com/kinetics/"
FOLDERS = {"400": ("400", "k400"), "600": ("600", "k600"), "700-2020": ("700_2020", "k700_2020")}
SPLITS = ("train", "val", "test")
REPLACEMENTS = "400/replacement_for_corrupted_k400.tgz"  # about 1,390 clips, all of train
SIZES = {  # (bytes, clips) in the archives
    ("400", "train"): (370e9, 241_258), ("400", "val"): (30e9, 19_881), ("400", "test"): (56e9, 38_685),
    ("600", "train"): (648e9, 427_549), ("600", "val"): (43e9, 29_793), ("600", "test"): (88e9, 72_924),
    ("700-2020", "train"): (603e9, 534_073), ("700-2020", "val"): (48e9, 33_914), ("700-2020", "test"): (59e9, 64_260),
}  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """One archive; label: of all its clips, where an archive holds one class."""

    url: str
    label: str | None = None

    @property
    def name(self) -> str:
        """Its file name."""
        return posixpath.basename(urllib.parse.unquote(urllib.parse.urlsplit(self.url).path))


def check_split(version: str, split: str) -> None:
    """Raise UserError for a version or a split that does not exist."""
    if version not in FOLDERS:
        raise unknown("Kinetics version", version, KINETICS_VERSIONS)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)


def mean_clip_bytes(version: str, split: str) -> float:
    """How many bytes a clip of a split takes in its archives, on average."""
    size, clips = SIZES[version, split]
    return size / clips


def annotated(version: str, split: str, folder: Path, base_url: str = CVDF) -> dict[str, Wanted]:
    """{key: clip} of all annotated clips; the table is fetched into the folder unless it lies there, or beside it.

    Raises UserError where it can be neither found nor fetched.
    """
    table = annotation_table(folder, split)
    suffixes = ("txt", "csv") if version == "600" and split != "test" else ("csv",)  # K600's CSVs are incomplete
    if table is None or table.suffix not in (".txt", f".{suffixes[0]}"):
        try:
            table = _fetched_table(f"{base_url}{FOLDERS[version][0]}/annotations/", folder, split, suffixes)
        except Unreachable:
            if table is None:
                raise
    rows = dict(kinetics_rows(table))
    clips = {key: Wanted.of(key, label) for key, label in rows.items() if CLIP_KEY.fullmatch(key)}
    if left := len(rows) - len(clips):
        log.warning("%s: %d rows are left out, their ids are none of YouTube's", table, left)
    if not clips:
        raise UserError(f"{table} names no clips; remove it, and it is fetched anew")
    return clips


def are_complete(version: str, split: str, folder: Path) -> bool:
    """Whether the annotations that `annotated` read have all clips: K600's CSVs, the second choice, lack about half."""
    table = annotation_table(folder, split)
    return version != "600" or split == "test" or (table is not None and table.suffix == ".txt")


def _fetched_table(place: str, folder: Path, split: str, suffixes: tuple[str, ...]) -> Path:
    for suffix in suffixes:
        table = folder / f"{split}.{suffix}"
        try:
            _place_table(f"{place}{table.name}", table)
            break
        except Unreachable as problem:
            if suffix == suffixes[-1] or problem.status not in (403, 404):
                raise
    return table


def _place_table(url: str, table: Path) -> None:
    """Fetch an annotation table; what is none, a hot spot's page, never lies under its name."""
    new = table.with_name(f".{table.name}.new")
    fetch_text(url, new)
    try:
        if not list(kinetics_rows(new)):
            raise UserError("it names no clips")
        new.replace(table)
    except UserError as problem:
        why = str(problem).removeprefix(f"{new}, ")
        raise UserError(f"{url} answered with something else than an annotation table: {why}") from None
    finally:
        new.unlink(missing_ok=True)


def of_classes(clips: dict[str, Wanted], classes: Iterable[str], more: Iterable[str] = ()) -> dict[str, Wanted]:
    """The clips of some classes, of all for none; raises UserError for a class that no clip has, and `more` lacks."""
    chosen = {canonical_label(name) for name in classes}
    if not chosen:
        return clips
    known = {canonical_label(clip.label): clip.label for clip in clips.values() if clip.label}
    known |= {canonical_label(name): name for name in more}
    if not known:
        raise UserError("the annotations of this split hold no labels: --classes cannot choose among them")
    for name in sorted(chosen - known.keys()):
        raise unknown("class", name, known.values())
    return {key: clip for key, clip in clips.items() if canonical_label(clip.label) in chosen}


def archives_of(version: str, split: str, labels: set[str], base_url: str = CVDF) -> list[Archive]:
    """The archives of a split, in the published order. Raises UserError where their list cannot be had.

    labels: all that the annotations have. K600's train and val archives are named after a class, those of 700-2020
    after its place in the sorted list.
    """
    place, prefix = FOLDERS[version]
    listing = f"{base_url}{place}/{split}/{prefix}_{split}_path.txt"
    lines = [line.strip() for line in text_of(listing).splitlines() if line.strip()]
    if not lines or not all(line.startswith(("http://", "https://")) for line in lines):
        first = lines[0][:60] if lines else "nothing"
        raise UserError(f"{listing} answered with something else than a list of archives: {first}")
    urls = [_based(line, f"{place}/{split}/", base_url) for line in lines]
    if version == "400" or split == "test":
        return [Archive(url) for url in urls]
    ordered, classes = sorted(labels), kinetics_classes(version.split("-")[0])
    if len(ordered) != len(urls):  # the annotations are not complete
        ordered = list(classes)
    by_name = {canonical_label(label): label for label in (*classes, *labels)}
    return [Archive(url, _label_of(Archive(url).name, by_name, ordered)) for url in urls]


def _based(line: str, place: str, base_url: str) -> str:
    """The address of an archive below the base address, whatever host the list names; https stays https."""
    _, found, name = line.rpartition(place)
    if base_url != CVDF and found:
        return f"{base_url}{place}{name}"
    return line.replace("http://", "https://", 1) if base_url.startswith("https://") else line


def _label_of(name: str, by_name: dict[str, str], ordered: list[str]) -> str | None:
    """The class that an archive is named after; None where nobody knows: it may hold any."""
    stem = name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")
    if label := by_name.get(canonical_label(stem)):
        return label
    number = stem.rpartition("_")[2]
    return ordered[int(number) - 1] if number.isdecimal() and 1 <= int(number) <= len(ordered) else None
