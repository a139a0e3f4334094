"""What a scan found, and its tables: candidates.csv in the form of Kinetics, failures.csv, damaged.csv."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidbench.candidates.peaks import Candidate
from vidbench.candidates.scores import FrameScores
from vidbench.candidates.sources import LongVideo
from vidbench.candidates.stream import Damage
from vidbench.data.datasets.tables import read_table
from vidbench.results import FAILURE_COLUMNS
from vidbench.utils import printable, written_whole

SPLIT = "candidates"  # of the table, and the folder of the clips: scripts take `--split candidates`
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split", "score")
DAMAGE_COLUMNS = ("youtube_id", "path", "start", "end", "reason")


@dataclass
class Scanned:
    """What came out: the candidates whose clips are there, each video's scores, and what could not be read."""

    candidates: list[Candidate] = field(default_factory=list)
    scores: dict[str, FrameScores] = field(default_factory=dict)
    failures: list[tuple[LongVideo, str, str]] = field(default_factory=list)  # video, stage, reason
    damaged: list[tuple[LongVideo, Damage]] = field(default_factory=list)


def read_candidates(path: Path) -> list[Candidate]:
    """The rows of a `candidates.csv`."""
    return [
        Candidate(row["label"], row["youtube_id"], int(row["time_start"]), int(row["time_end"]), float(row["score"]))
        for row in read_table(path, set(COLUMNS))
    ]


def write_tables(out_dir: Path, scanned: Scanned) -> None:
    """Write the three tables into `out_dir`, each whole or not at all."""
    rows = [
        (item.label, item.youtube_id, item.start, item.end, SPLIT, f"{item.score:.4f}") for item in scanned.candidates
    ]
    _write(out_dir / f"{SPLIT}.csv", COLUMNS, rows)
    rows = [
        (video.youtube_id, printable(str(video.path)), stage, printable(reason))
        for video, stage, reason in scanned.failures
    ]
    _write(out_dir / "failures.csv", FAILURE_COLUMNS, rows)
    rows = [
        (video.youtube_id, printable(str(video.path)), f"{item.start:.3f}", f"{item.end:.3f}", printable(item.reason))
        for video, item in scanned.damaged
    ]
    _write(out_dir / "damaged.csv", DAMAGE_COLUMNS, rows)


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
    with written_whole(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
