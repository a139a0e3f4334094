"""The official lists of UCF-101 and HMDB51: which clips there are, of which class, in which fold."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vidbench.data.datasets.splits import UCF101_NAME
from vidbench.data.datasets.tables import visible_files
from vidbench.data.fetch.members import DamagedError, members
from vidbench.utils import UserError

LARGEST_LIST = 1 << 20  # bytes; the longest official list has half a megabyte
FILE_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*\.avi")
CLASS_NAME = re.compile(r"\w[\w -]*")


@dataclass(frozen=True)
class Folds:
    """How a data set is published.

    addresses: of "archive" and "splits"; lists: what their files are called; needed: of each fold;
    lists_folder: where the authors' archive has them
    """

    addresses: Mapping[str, str]
    lists: re.Pattern
    needed: re.Pattern
    lists_folder: str


FOLDS = {  # the authors' addresses, from their pages; they were not tried here
    "ucf101": Folds(
        {
            "archive": "https://www.crcv.ucf.edu/data/UCF101/UCF101.rar",
            "splits": "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",
        },
        re.compile(r"classInd\.txt|(?:train|test)list0[123]\.txt"),
        re.compile(r"(train|test)list0([123])\.txt"),
        "ucfTrainTestlist",
    ),
    "hmdb51": Folds(
        {
            "archive": "https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10/hmdb51_org.rar",
            "splits": "https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10/test_train_splits.rar",
        },
        re.compile(r"\w[\w -]*_test_split[123]\.txt"),
        re.compile(r"(\w[\w -]*)_test_split([123])\.txt"),
        "testTrainMulti_7030_splits",
    ),
}


def bring_lists(name: str, folder: Path, source: Path, parts: Path) -> None:
    """Take the official lists out of an archive or a folder; raises UserError where it lacks some."""
    for member in members(source, parts, depth=0):
        if member.plain and FOLDS[name].lists.fullmatch(member.name):
            part = parts / member.name
            try:
                member.copy_to(part)
            except DamagedError as problem:
                raise UserError(f"{source}: {member.path} is damaged: {problem}") from None
            if part.stat().st_size <= LARGEST_LIST:
                target = folder / FOLDS[name].lists_folder / member.name
                target.parent.mkdir(exist_ok=True)
                part.replace(target)
    if lacking := lists_lacking(name, folder):
        raise UserError(f"{source} lacks official lists of {name}: {', '.join(lacking[:6])}")


def lists_beside(name: str, archive: Path | None, addresses) -> Path | None:
    """Where a folder of clips has the lists too, as they are or in the authors' archive."""
    if archive is None or not archive.is_dir():
        return None
    if not lists_lacking(name, archive):
        return archive
    packed = archive / posixpath.basename(addresses["splits"])
    return packed if packed.is_file() else None


def lists_lacking(name: str, folder: Path) -> list[str]:
    """Which lists are not below a folder, of those that all three folds need."""
    found = [match.groups() for path in visible_files(folder) if (match := FOLDS[name].needed.fullmatch(path.name))]
    if name == "ucf101":
        needed = [(half, fold) for half in ("train", "test") for fold in "123"]
        return [f"{half}list0{fold}.txt" for half, fold in needed if (half, fold) not in found]
    classes = sorted({label for label, _ in found}) or ["<class>"]
    return [f"{label}_test_split{fold}.txt" for label in classes for fold in "123" if (label, fold) not in found]


def wanted_clips(name: str, folder: Path) -> dict[str, str]:
    """{file name: class} of every clip that the lists in a folder name; raises UserError for a line that is no clip."""
    wanted = {}
    for path in visible_files(folder):
        if match := FOLDS[name].needed.fullmatch(path.name):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.strip():
                    file, label = _clip(name, line.strip(), match[1])
                    if not FILE_NAME.fullmatch(file) or not CLASS_NAME.fullmatch(label):
                        raise UserError(f"{path}: {line!r} names no clip of {name}")
                    wanted[file] = label
    return wanted


def _clip(name: str, line: str, label: str) -> tuple[str, str]:
    """(file name, class) in a line of a list.

    >>> _clip("ucf101", "Archery/v_Archery_g08_c01.avi 3", "train"), _clip("hmdb51", "old_man_wave_f_0.avi 1", "wave")
    (('v_Archery_g08_c01.avi', 'Archery'), ('old_man_wave_f_0.avi', 'wave'))
    """
    file = re.sub(r"\s+\d+$", "", line)  # the number of the class, or the clip's use
    if name == "hmdb51":
        return file, label
    file = file.rsplit("/", 1)[-1]
    parts = UCF101_NAME.fullmatch(file.removesuffix(".avi"))
    return file, parts[1] if parts else ""


def listed_clips(folder: Path) -> dict[str, str]:
    """{stem: class} of the clips that official lists in a folder name, whichever data set they are of; {} for none."""
    for name in FOLDS:
        try:
            if wanted := wanted_clips(name, folder):
                return {Path(file).stem: label for file, label in wanted.items()}
        except UserError:  # a list that is none
            continue
    return {}
