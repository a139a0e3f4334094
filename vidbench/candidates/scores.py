"""The scores of one video's frames: appended to a file as they come, so that a scan goes on after a kill."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from vidbench.candidates.stream import Damage
from vidbench.utils import written_whole

REASON_BYTES = 120


@dataclass(frozen=True, eq=False)
class FrameScores:
    """What was seen in a video.

    times: (N,) float64 seconds, sorted; scores: (N, C) float32, calibrated probabilities; seconds: the video's length
    """

    times: np.ndarray
    scores: np.ndarray
    damaged: tuple[Damage, ...]
    seconds: float


def stamp_of(path: Path) -> dict:
    """What tells that a file is still the same, without reading it: its size and when it was written."""
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


class Growing:
    """`<id>.part`: a line of JSON, the stamp of the video, then a row a frame or damaged stretch. A context manager.

    A file with another stamp begins anew; a row that was cut short by a kill is dropped, and
    damage behind the last frame, which is met again.
    """

    def __init__(self, path: Path, num_classes: int, stamp: dict):
        self.row = np.dtype(
            [("start", "f8"), ("end", "f8"), ("scores", "f4", (num_classes,)), ("reason", f"S{REASON_BYTES}")]
        )
        self.path, self._head = path, json.dumps(stamp).encode() + b"\n"
        rows = self._read()
        frames = np.flatnonzero(rows["reason"] == b"")
        self._kept = rows[: frames[-1] + 1] if len(frames) else rows[:0]  # damage at the end will be met again
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path, "wb") as file:
            file.write(self._head + self._kept.tobytes())
        self._file = path.open("ab")

    def __enter__(self) -> "Growing":
        return self

    def __exit__(self, *problem) -> None:
        self._file.close()

    @property
    def last(self) -> float | None:
        """The time of the last frame that was scored, None for none."""
        return float(self._kept["start"][-1]) if len(self._kept) else None

    def add_frames(self, times: Sequence[float], scores: np.ndarray) -> None:
        """Append (B,) times with their (B, C) scores; they are in the file when this returns."""
        rows = np.zeros(len(times), self.row)
        rows["start"], rows["end"], rows["scores"] = times, times, scores
        self._append(rows)

    def add_damage(self, damage: Damage) -> None:
        """Append a damaged stretch."""
        rows = np.zeros(1, self.row)
        rows["start"], rows["end"] = damage.start, damage.end
        rows["reason"] = damage.reason.encode()[:REASON_BYTES]
        self._append(rows)

    def finished(self, seconds: float) -> FrameScores:
        """All that was appended, now that the video has been read to its end."""
        rows = self._read()
        frames, lost = rows[rows["reason"] == b""], rows[rows["reason"] != b""]
        damaged = [
            Damage(float(row["start"]), float(row["end"]), row["reason"].decode("utf-8", "replace")) for row in lost
        ]
        return FrameScores(frames["start"].copy(), frames["scores"].copy(), tuple(damaged), seconds)

    def _append(self, rows: np.ndarray) -> None:
        self._file.write(rows.tobytes())
        self._file.flush()

    def _read(self) -> np.ndarray:
        data = self.path.read_bytes() if self.path.is_file() else b""
        body = data[len(self._head) :] if data.startswith(self._head) else b""
        return np.frombuffer(body[: len(body) // self.row.itemsize * self.row.itemsize], self.row)


def write_scores(path: Path, found: FrameScores, classes: Sequence[str], stamp: dict) -> None:
    """Write `times`, `scores`, `classes`, `damaged` (M, 2), `reasons`, `seconds` and the video's stamp as `.npz`."""
    with written_whole(path, "wb") as file:
        np.savez_compressed(
            file,
            times=found.times,
            scores=found.scores,
            classes=np.array(classes),
            damaged=np.array([(item.start, item.end) for item in found.damaged]).reshape(-1, 2),
            reasons=np.array([item.reason for item in found.damaged], dtype=str),
            seconds=found.seconds,
            stamp=json.dumps(stamp),
        )


def read_scores(path: Path, stamp: dict | None = None) -> FrameScores | None:
    """The inverse of `write_scores`; None where there is no such file, or another video's `stamp` in it."""
    try:
        with np.load(path) as held:
            if stamp is not None and json.loads(str(held["stamp"])) != stamp:
                return None
            damaged = zip(held["damaged"].tolist(), held["reasons"].tolist(), strict=True)
            lost = tuple(Damage(*stretch, reason) for stretch, reason in damaged)
            return FrameScores(held["times"], held["scores"], lost, float(held["seconds"]))
    except (FileNotFoundError, BadZipFile, KeyError, ValueError):
        return None
