"""Candidates that a person has looked at: decisions, kept in a file as they are made, and the data set made of them."""

import csv
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidbench.candidates.actions import folder_name
from vidbench.candidates.peaks import Candidate
from vidbench.candidates.tables import SPLIT, read_candidates
from vidbench.data.datasets.tables import read_table
from vidbench.data.records import Video
from vidbench.data.splitting import split_videos, warn_of_copies
from vidbench.utils import UserError, canonical_label, printable, written_whole

log = logging.getLogger(__name__)
TABLE = "review.csv"
COLUMNS = ("key", "label", "decision")
ACCEPT, REJECT, RELABEL = "accept", "reject", "relabel"


@dataclass(frozen=True)
class Decision:
    """What a person says of one candidate: its clip shows `label` (accept, relabel), or does not count (reject)."""

    key: str
    label: str
    decision: str

    def __post_init__(self):
        if self.decision not in (ACCEPT, REJECT, RELABEL):
            raise UserError(f"a decision is {ACCEPT}, {REJECT} or {RELABEL}, got {self.decision!r} for {self.key}")
        if self.decision != REJECT:
            folder_name(self.label)


def accept(candidate: Candidate) -> Decision:
    """The clip shows what the scan took it for."""
    return Decision(candidate.key, candidate.label, ACCEPT)


def reject(candidate: Candidate) -> Decision:
    """The clip is of no use."""
    return Decision(candidate.key, candidate.label, REJECT)


def relabel(candidate: Candidate, label: str) -> Decision:
    """The clip shows another class; with the scan's own label that is `accept`. Raises UserError for no class's name.

    >>> relabel(Candidate("waving", "demo0123abc", 7, 17, 0.9), "clapping").decision
    'relabel'
    """
    same = canonical_label(label) == canonical_label(candidate.label)
    return accept(candidate) if same else Decision(candidate.key, folder_name(label.strip()), RELABEL)


def candidates_in(scan_folder: Path) -> list[Candidate]:
    """The candidates of a finished scan, by video and time. Raises UserError where there are none."""
    table = Path(scan_folder) / f"{SPLIT}.csv"
    if not table.is_file():
        raise UserError(f"{scan_folder} holds no scan: there is no {table.name} in it")
    if not (found := read_candidates(table)):
        raise UserError(f"{table} has no candidate: scan with a lower --threshold")
    return found


def clip_of(scan_folder: Path, key: str) -> Path:
    """Where the clip of a candidate lies."""
    return Path(scan_folder) / SPLIT / f"{key}.mp4"


def read_decisions(scan_folder: Path) -> dict[str, Decision]:
    """{key: decision} of the folder's `review.csv`, the last one of each candidate; empty where there is no file.

    Raises UserError for a file that is no such table.
    """
    place = Path(scan_folder) / TABLE
    if not place.is_file():
        return {}
    rows = read_table(place, set(COLUMNS))
    return {row["key"]: Decision(row["key"], row["label"], row["decision"]) for row in rows}


def keep_decisions(scan_folder: Path, decisions: Mapping[str, Decision]) -> None:
    """Write `review.csv` anew, whole or not at all, in the order of the decisions."""
    with written_whole(Path(scan_folder) / TABLE) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows((item.key, item.label, item.decision) for item in decisions.values())


def write_reviewed(
    scan_folder: Path,
    decisions: Mapping[str, Decision],
    out_dir: Path,
    ratios: Sequence[float] = (70, 30),
    seed: int = 0,
) -> list[Video]:
    """Link the accepted and relabelled clips to `out_dir/<split>/<class>/<key>.mp4`: what `--dataset folder` reads.

    The clips of one source video are all in one split; ratios: of train, val and test, see `split_videos`. Clips
    that lie on another disk are copied. A decision on a clip that a later scan no longer has is left out, and logged.
    Returns the videos, with their `split` and, as `group`, the source.

    Raises UserError, with nothing written: no clip is left, `out_dir` is not empty, or the sources are too few.
    """
    scan_folder, out_dir = Path(scan_folder), Path(out_dir)
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise UserError(f"{out_dir} is not empty: choose another folder")
    by_key = {item.key: item for item in candidates_in(scan_folder)}
    taken = [item for item in decisions.values() if item.decision != REJECT]
    gone = [item.key for item in taken if item.key not in by_key or not clip_of(scan_folder, item.key).is_file()]
    if gone:
        log.warning("%d reviewed clips are in the scan no longer, e.g. %s: left out", len(gone), printable(gone[0]))
    spelled: dict[str, str] = {}  # "Waving" and "waving" are one class, and on some disks one folder
    videos = [
        Video(
            item.key,
            clip_of(scan_folder, item.key),
            spelled.setdefault(canonical_label(item.label), item.label),
            group=by_key[item.key].youtube_id,
        )
        for item in taken
        if item.key not in gone
    ]
    if not videos:
        raise UserError("no clip was accepted: there is nothing to learn from")
    placed = split_videos(videos, ratios, seed)
    part = out_dir.with_name(f".{out_dir.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a call that was killed
    for video in placed:
        _link(video.path, part / _place(video))
    if out_dir.exists():
        out_dir.rmdir()
    part.rename(out_dir)
    placed = [replace(video, path=out_dir / _place(video)) for video in placed]
    warn_of_copies(placed)
    return placed


def _place(video: Video) -> Path:
    return Path(video.split, video.label, video.path.name)


def _link(source: Path, target: Path) -> None:
    """A second name of the same bytes: a scan that removes its own leaves this one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
