"""Still images in a folder a class: which there are, which come from one source, and how they become pixels."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vidbench.data.balance import assign
from vidbench.data.datasets.kinetics import KINETICS_NAME
from vidbench.data.datasets.tables import read_table, visible_files
from vidbench.data.images import is_frame
from vidbench.data.splitting import known_group
from vidbench.utils import UserError, canonical_label, written_whole

log = logging.getLogger(__name__)
TABLE = "images.csv"  # beside the class folders: columns file and group
NONE = "none of these"  # the class of frames that show no action that is looked for


@dataclass(frozen=True)
class Picture:
    """One labelled still image; pictures of one `group` come from one source: a video, a photographer's page."""

    path: Path
    label: str
    group: str


def list_pictures(root: Path) -> list[Picture]:
    """The JPEG and PNG files of `root/<class>/*`, sorted, each with its group.

    The group is what `root/images.csv` says (columns `file` and `group`), else what the file's name tells: the
    recording of names as in UCF-101, HMDB51 and Kinetics, else the name without its last number, as frames of one clip
    have it (`clip-7_0012.jpg`). Where that leaves a class with a single group, each of its pictures is a group of its
    own, which is logged.

    Raises UserError: no such folder, fewer than two classes, a class with fewer than two pictures.
    """
    if not root.is_dir():
        raise UserError(f"no such folder: {root}")
    told = _told_groups(root)
    pictures = []
    for path in visible_files(root):
        place = path.relative_to(root)
        if is_frame(path) and len(place.parts) > 1:
            group = told.get(place.as_posix()) or source_of(path.name, place.parts[0])
            pictures.append(Picture(path, place.parts[0], group))
    counts = Counter(picture.label for picture in pictures)
    if len(counts) < 2:
        raise UserError(f"{root} must hold an image folder for each of two classes or more, it has {len(counts)}")
    if few := [label for label, count in counts.items() if count < 2]:
        raise UserError(f"each class needs two pictures or more: {', '.join(few)} has one")
    return _parted(pictures)


def source_of(name: str, label: str) -> str:
    """What the pictures of one source share in their names.

    >>> [source_of(name, "run") for name in ("clip-7_0012.jpg", "abcdefghijk_000010_000020_0003.jpg", "12.jpg")]
    ['clip-7', 'abcdefghijk', 'run/12']
    """
    stem = name.rpartition(".")[0]
    bare = re.sub(r"[ _.-]*(?:frame|img)?[ _.-]*\d+$", "", stem, flags=re.IGNORECASE)
    if KINETICS_NAME.fullmatch(stem) or KINETICS_NAME.fullmatch(bare):
        return stem[:11]
    if not bare:  # a number alone, which other classes' pictures may have too, tells nothing
        return f"{label}/{stem}"
    return known_group(bare, label) or bare


def _told_groups(root: Path) -> dict[str, str]:
    """{path below `root`: group} of `root/images.csv`, where it is there and has such columns."""
    if not (root / TABLE).is_file():
        return {}
    rows = read_table(root / TABLE, {"file", "group"})
    return {row["file"]: row["group"] for row in rows if row["file"] and row["group"]}


def _parted(pictures: list[Picture]) -> list[Picture]:
    groups = defaultdict(set)
    for picture in pictures:
        groups[picture.label].add(picture.group)
    single = {label for label, names in groups.items() if len(names) == 1}
    for label in sorted(single):
        log.warning("the names of %r tell no sources apart: each picture is taken for a source of its own", label)
    return [replace(item, group=str(item.path)) if item.label in single else item for item in pictures]


def split_pictures(pictures: Sequence[Picture], held_out: float, seed: int = 0) -> tuple[list[Picture], list[Picture]]:
    """(to learn from, held out), stratified by class; no group is on both sides.

    held_out: about this share of the pictures, above 0 and below 1.
    """
    groups: dict[str, Counter] = defaultdict(Counter)
    for picture in pictures:
        groups[picture.group][picture.label] += 1
    share = round(100 * held_out)
    side = assign(groups, [100 - share, share], seed)
    parts = [[picture for picture in pictures if side[picture.group] == number] for number in (0, 1)]
    for part, words in zip(parts, ("to learn from", "held out"), strict=True):
        if missing := {item.label for item in pictures} - {item.label for item in part}:
            raise UserError(
                f"no picture of {', '.join(sorted(missing))} is {words}: it needs more sources, or pictures"
            )
    return parts[0], parts[1]


def squeezed(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 → (size, size, 3): the whole picture, whatever its shape, since an action may be at its edge."""
    shrinks = min(image.shape[:2]) >= size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def class_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The class names in the order of a classifier's outputs: sorted, `NONE` last."""
    return tuple(sorted(set(labels), key=lambda name: (is_none(name), name)))


def is_none(label: str) -> bool:
    """Whether a class is that of frames without an action, however it is written: `none_of_these`."""
    return canonical_label(label) == NONE


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as JPEG, whole or not at all."""
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    with written_whole(path, "wb") as file:
        file.write(data.tobytes())


def write_names(path: Path, classes: Sequence[str]) -> None:
    """Write class names, one a line, in the order of a classifier's outputs."""
    with written_whole(path) as file:
        file.write("".join(f"{name}\n" for name in classes))


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line; raises UserError where there are none."""
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} is no readable list of class names: {problem}") from None
    if not names:
        raise UserError(f"{path} names no class")
    return names
