"""The folder of one run: rows reach the disk as they come, and a stopped run goes on where it stopped.

While a run goes on, four files grow, each row found again by its video's id: `predictions.csv`, `failures.csv`,
`videos.csv` (what each scored file held) and `scores.part` (all probabilities of every view). Failed videos are
tried again at the next start. When it ends they are put into the run's seeded order and `scores.part` becomes
`scores.npz`.
"""

import csv
import hashlib
import io
import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from vidbench.commands import as_argfile
from vidbench.data.decode import VideoInfo
from vidbench.data.load import Failure
from vidbench.predict import Outcome, prediction_row, row_names
from vidbench.utils import UserError, printable, sha256_of, written_whole

FAILURE_COLUMNS = ["video_id", "path", "stage", "reason"]
VIDEO_COLUMNS = ["video_id", "group", "repeated", *(item.name for item in fields(VideoInfo))]
TABLES = ("predictions.csv", "failures.csv", "videos.csv")
MADE_OF_ROWS = ("per_class.csv", "confusion.csv", "report.md", "report.html")
OUR_FILES = (*TABLES, "scores.part", "scores.npz", "report.json", "config.txt", "listed.txt", *MADE_OF_ROWS)
ID_BYTES = 16


class RunFolder:
    """`results/<run>/`, held by one process at a time.

    identity: what makes two starts the same run, as plain values. order: the ids of the listed videos. record:
    what `report.json` says until the run is finished. views: of each video. done: the ids that are scored already.
    earlier: the report of an earlier start, {} for none.

    Raises UserError when the folder holds another run (naming the settings that differ), videos outside `order`
    or something else, or when another process writes to it; the folder is then left as it was. Use as a context
    manager; call it with every outcome.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict,
        classes: tuple[str, ...],
        top_n: int,
        order: list[str],
        record: dict | None = None,
        views: int = 1,
        overwrite: bool = False,
        ways_out: str = "another --name, or --overwrite",
    ):
        self.folder = Path(folder)
        self.identity = json.loads(json.dumps(identity))
        self._ways_out = f"choose {ways_out}"
        self.classes, self.top_n, self.order = classes, min(top_n, len(classes)), order
        self._shape = views, len(classes)  # of one video's probabilities
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = hold(self.folder)
        try:
            self.earlier = {} if overwrite else self._same_run()
            kept = _Kept() if overwrite else _Kept.read(self.folder, self._shape)
            self._refuse_others(kept)
            self._clear(overwrite)
            self._write_json(
                {"status": "running", "identity": self.identity, "classes": self.classes, **(record or {})}
            )
            self._write_listing()
            self._reopen(kept)
            self.done = set(kept.predictions)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *problem) -> None:
        self.close()

    def close(self) -> None:
        """Close the files and let other processes in."""
        for file in (self._scores_file, *(file for file, _ in self._tables.values())):
            file.close()
        self._lock.release()

    def __call__(self, outcome: Outcome) -> None:
        """Write one outcome. A prediction's own row goes last: with it the video counts as done."""
        video = outcome.video
        if isinstance(outcome, Failure):
            path = printable(str(video.path or ""))
            self._append("failures.csv", [video.video_id, path, outcome.stage, printable(outcome.reason)])
            return
        decoded = outcome.sample.decoded
        info = [f"{value:.6g}" if isinstance(value, float) else value for value in astuple(decoded.info)]
        self._write_scores(video.video_id, outcome.views.astype(np.float16))
        self._append("videos.csv", [video.video_id, video.group or "", int(decoded.repeated), *info])
        self._append("predictions.csv", list(prediction_row(outcome, self.classes, self.top_n).values()))
        self.done.add(video.video_id)

    def adopt(self, folder: Path) -> None:
        """Take over all rows of another run's folder."""
        kept = _Kept.read(folder, self._shape)
        for key, row in kept.predictions.items():
            if key not in self.done:
                self._write_scores(key, kept.scores[_digest(key)])
                self._append("videos.csv", kept.videos[key])
                self._append("predictions.csv", row)
                self.done.add(key)
        for row in _whole_rows(folder / "failures.csv").values():
            self._append("failures.csv", row)

    def finish(self, report: Callable[["StoredRun"], dict]) -> dict:
        """Put all rows into the order of the listing and write the final files; returns the report.

        `report` makes it of the run. It is "partial", not "done", while listed videos are neither scored nor failed:
        a later start goes on.
        """
        place = {key: position for position, key in enumerate(self.order)}
        number = 0
        for name in TABLES:
            rows = run_table(self.folder / name)
            rows = rows.sort_values("video_id", key=lambda ids: ids.map(place), kind="stable", ignore_index=True)
            with written_whole(self.folder / name) as file:
                rows.to_csv(file, index=False, lineterminator="\n")
            number += 0 if name == "videos.csv" else len(rows)
        self._write_npz(list(_whole_rows(self.folder / "predictions.csv")))
        told = {"status": "done" if number == len(self.order) else "partial", "identity": self.identity}
        told |= report(_stored(self.folder, read_report(self.folder), self.classes, self._shape))
        told["files"] = {name: sha256_of(self.folder / name) for name in (*TABLES, "scores.npz", "listed.txt")}
        self._write_json(told)
        (self.folder / "scores.part").unlink(missing_ok=True)
        return told

    def _same_run(self) -> dict:
        """The report of an earlier start of this run, {} for none; UserError for anything else in the folder."""
        others = [path.name for path in self.folder.iterdir() if path.name != ".lock" and not _is_part(path)]
        if not (self.folder / "report.json").is_file():
            if others:
                raise UserError(f"{self.folder} holds no run of vidbench but {others[0]!r}: {self._ways_out}")
            return {}
        report = read_report(self.folder)
        before = report["identity"]
        if differing := list(differences(before, self.identity)):
            raise UserError(f"{self.folder} holds another run: {'; '.join(differing)}. To go on, {self._ways_out}")
        return report

    def _refuse_others(self, kept: "_Kept") -> None:
        if beyond := kept.predictions.keys() - set(self.order):
            raise UserError(
                f"{self.folder} holds {len(kept.predictions)} videos, {len(beyond)} of them outside these "
                f"{len(self.order)}: {self._ways_out}"
            )

    def _clear(self, overwrite: bool) -> None:
        """Remove what a killed start left half written and, to overwrite, our files; others' files stay."""
        for path in self.folder.iterdir():
            if _is_part(path) or (overwrite and path.name in OUR_FILES):
                path.unlink()

    def _reopen(self, kept: "_Kept") -> None:
        """Bring the files to the rows that are kept, each whole or not at all, and open them for more."""
        rows = {
            "predictions.csv": [row_names(self.top_n), *kept.predictions.values()],
            "failures.csv": [FAILURE_COLUMNS],
            "videos.csv": [VIDEO_COLUMNS, *(kept.videos[key] for key in kept.predictions)],
        }
        self._tables = {}
        for name in TABLES:
            with written_whole(self.folder / name) as file:
                csv.writer(file, lineterminator="\n").writerows(rows[name])
            file = (self.folder / name).open("a", encoding="utf-8", newline="")
            self._tables[name] = file, csv.writer(file, lineterminator="\n")
        with written_whole(self.folder / "scores.part", "wb") as file:
            file.writelines(_digest(key) + kept.scores[_digest(key)].tobytes() for key in kept.predictions)
        self._scores_file = (self.folder / "scores.part").open("ab")

    def _write_scores(self, key: str, probabilities: np.ndarray) -> None:
        self._scores_file.write(_digest(key) + probabilities.tobytes())
        self._scores_file.flush()

    def _write_npz(self, keys: list[str]) -> None:
        """`scores.npz`, a row at a time: with thirty views of 20,000 videos it is half a gigabyte."""
        scores = _read_scores(self.folder, self._shape)
        rows = [scores[_digest(key)] for key in keys]
        arrays = {"probabilities": ((len(keys), self._shape[1]), map(_mean, rows))}
        if self._shape[0] > 1:
            arrays["views"] = (len(keys), *self._shape), rows
        with written_whole(self.folder / "scores.npz", "wb") as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
            for name, names in (("video_ids", keys), ("classes", self.classes)):
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.array(names, dtype=np.str_), allow_pickle=False)
            for name, (shape, values) in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {"descr": "<f2", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(member, header)
                    for value in values:
                        member.write(value.tobytes())

    def _write_listing(self) -> None:
        with written_whole(self.folder / "listed.txt") as file:
            file.writelines(f"{key}\n" for key in self.order)

    def _append(self, name: str, row: list) -> None:
        file, writer = self._tables[name]
        writer.writerow(row)
        file.flush()

    def _write_json(self, record: dict) -> None:
        with written_whole(self.folder / "report.json") as file:
            json.dump(record, file, indent=1, ensure_ascii=False)
            file.write("\n")


def hold(folder: Path) -> FileLock:
    """The lock of a run's folder, taken; UserError where another process has it."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process is writing to {folder}") from None
    return lock


@dataclass(frozen=True)
class _Kept:
    """The rows of a folder that stand whole in all its files, by video id (the scores by its digest)."""

    predictions: dict[str, list[str]] = field(default_factory=dict)
    videos: dict[str, list[str]] = field(default_factory=dict)
    scores: dict[bytes, np.ndarray] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, shape: tuple[int, int]) -> "_Kept":
        predictions, videos = (_whole_rows(folder / name) for name in ("predictions.csv", "videos.csv"))
        scores = _read_scores(folder, shape)
        whole = {key: row for key, row in predictions.items() if key in videos and _digest(key) in scores}
        return cls(whole, videos, scores)


def run_table(path: Path) -> pd.DataFrame:
    """A table of a run; every value stays the text that it is, so that a label "NA" remains one."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def read_report(folder: Path) -> dict:
    """The `report.json` of a run; raises UserError where there is none or it is damaged."""
    try:
        report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
        if not isinstance(report["identity"], dict) or "status" not in report:
            raise ValueError("it has no identity")
    except FileNotFoundError:
        raise UserError(f"{folder} holds no run: it has no report.json") from None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UserError(
            f"{folder}/report.json is no report of a run ({problem}); the run's command with --overwrite starts anew"
        ) from None
    return report


@dataclass(frozen=True, eq=False)
class StoredRun:
    """What a run's folder holds, finished or not: the scored videos, row for row.

    predictions, failures, videos: the tables, all text; `predictions` and `videos` have the same rows
    probabilities: (N, C) float16, the mean over the views; views: (N, V, C) float16
    order: the ids of all listed videos, in the order in which they are scored
    """

    folder: Path
    report: dict
    predictions: pd.DataFrame
    failures: pd.DataFrame
    videos: pd.DataFrame
    classes: tuple[str, ...]
    probabilities: np.ndarray
    views: np.ndarray
    order: tuple[str, ...]


def read_run(folder: Path) -> StoredRun:
    """Read what `scripts/evaluate.py` wrote, also while it still writes: rows that do not stand whole are left out.

    Raises UserError where there is no run, and for a damaged one: rows of a finished run without their scores, files
    that cannot be read.
    """
    folder = Path(folder)
    report = read_report(folder)
    try:
        classes = _classes(folder, report)
        shape = report["protocol"]["clips"] * report["protocol"]["crops"], len(classes)
        return _stored(folder, report, classes, shape)
    except UserError:
        raise
    except KeyError as missing:
        raise UserError(f"{folder}/report.json lacks {missing}: another version of vidbench made it") from None
    except (BadZipFile, ValueError, EOFError) as problem:
        raise UserError(f"{folder} is damaged: {problem}") from None


def _stored(folder: Path, report: dict, classes: tuple[str, ...], shape: tuple[int, int]) -> StoredRun:
    kept = _Kept.read(folder, shape)
    rows = _whole_rows(folder / "predictions.csv")
    if report["status"] != "running" and (lost := rows.keys() - kept.predictions.keys()):
        raise UserError(
            f"{folder} is damaged: {len(lost)} predictions lack their scores, or their row of videos.csv, e.g. "
            f"{min(lost)!r}"
        )
    keys = list(kept.predictions)
    views = np.array([kept.scores[_digest(key)] for key in keys], np.float16).reshape(len(keys), *shape)
    columns = row_names((len(next(iter(rows.values()), ["", ""])) - 2) // 2)
    for row in kept.predictions.values():
        list(map(float, row[3::2]))  # the scores: ValueError for anything else
    return StoredRun(
        folder,
        report,
        pd.DataFrame(kept.predictions.values(), columns=columns, dtype=str),
        pd.DataFrame(_whole_rows(folder / "failures.csv").values(), columns=FAILURE_COLUMNS, dtype=str),
        pd.DataFrame([kept.videos[key] for key in keys], columns=VIDEO_COLUMNS, dtype=str),
        classes,
        views.mean(axis=1, dtype=np.float64).astype(np.float16),
        views,
        tuple((folder / "listed.txt").read_text(encoding="utf-8").split("\n")[:-1]),
    )


def _classes(folder: Path, report: dict) -> tuple[str, ...]:
    """The class names, in the order of the scores: an unfinished run has them in its report."""
    if (folder / "scores.npz").is_file():
        with (folder / "scores.npz").open("rb") as file, np.load(file, allow_pickle=False) as scores:
            return tuple(scores["classes"].tolist())
    if "classes" not in report:
        raise UserError(f"{folder} lacks scores.npz; start its command again")
    return tuple(report["classes"])


def _read_scores(folder: Path, shape: tuple[int, int]) -> dict[bytes, np.ndarray]:
    """{digest of the id: (V, C) float16, the shape}, of a finished run and of what came since."""
    scores = {}
    if (folder / "scores.npz").is_file():
        with (folder / "scores.npz").open("rb") as file, np.load(file, allow_pickle=False) as kept:
            rows = kept["views"] if "views" in kept else kept["probabilities"][:, None]
            if rows.shape[1:] == shape:
                scores = {_digest(key): row for key, row in zip(kept["video_ids"].tolist(), rows, strict=True)}
    part = folder / "scores.part"
    record = np.dtype([("digest", f"V{ID_BYTES}"), ("views", "<f2", shape)])
    if part.is_file() and (number := part.stat().st_size // record.itemsize):
        for row in np.memmap(part, record, "r", shape=(number,)):
            scores[row["digest"].tobytes()] = row["views"]
    return scores


def _mean(views: np.ndarray) -> np.ndarray:
    """(V, C) float16 → (C,) float16."""
    return views.mean(axis=0, dtype=np.float64).astype(np.float16)


def _whole_rows(path: Path) -> dict[str, list[str]]:
    """{video_id: row} of a table that may end in the middle of a row, as a killed process leaves it."""
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    header, *rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))) or [[]]
    return {row[0]: row for row in rows if len(row) == len(header)}


def write_argfile(folder: Path, settings) -> None:
    """`config.txt`: an argfile with which scripts/evaluate.py repeats a run."""
    with written_whole(folder / "config.txt") as file:
        file.write(f"# python scripts/evaluate.py @{shlex.quote(str(folder / 'config.txt'))}\n")
        file.write(as_argfile(replace(settings, overwrite=False, overwrite_cache=False)))


def _is_part(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".part")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()[:ID_BYTES]


def differences(before: dict, now: dict, inside: str = "", there: str = "there", here: str = "here") -> Iterator[str]:
    """What differs between two identities, field by field: "protocol clips is 10 there and 1 here"."""
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{inside}{key} ", there, here)
        elif old != new:
            yield f"{inside}{key} is {_short(old)} {there} and {_short(new)} {here}"


def _short(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
