"""The folder of one run: rows reach the disk as they come, and a stopped run goes on where it stopped.

While a run goes on, three files grow, each row found again by its video's id:
`predictions.csv`, `videos.csv` (what each scored file held) and `scores.part` (all probabilities).
When it ends they are put into the run's seeded order and `scores.part` becomes `scores.npz`.
"""

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from vidbench.data.decode import VideoInfo
from vidbench.data.load import Failure
from vidbench.predict import Outcome, Prediction, prediction_row, row_names
from vidbench.utils import UserError, written_whole

FAILURE_COLUMNS = ["video_id", "path", "stage", "reason"]
VIDEO_COLUMNS = ["video_id", "group", "repeated", *(item.name for item in fields(VideoInfo))]
TABLES = ("predictions.csv", "videos.csv")
OUR_FILES = (*TABLES, "failures.csv", "scores.part", "scores.npz", "report.json", "config.txt", "listed.txt")
ID_BYTES = 16


class RunFolder:
    """`results/<run>/`, held by one process at a time.

    identity: what makes two starts the same run, as plain values. order: the ids of the listed videos. record:
    what `report.json` says until the run is finished. done: the ids that are scored already.
    Raises UserError when the folder holds another run (naming the settings that differ), videos outside `order`
    or something else, or when another process writes to it. Use as a context manager; call it with every outcome.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict,
        classes: tuple[str, ...],
        top_n: int,
        order: list[str],
        record: dict | None = None,
        overwrite: bool = False,
    ):
        self.folder = Path(folder)
        self.identity = json.loads(json.dumps(identity))
        self.classes, self.top_n, self.order = classes, min(top_n, len(classes)), order
        self.failures: dict[str, list[str]] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"another process is writing to {self.folder}") from None
        try:
            started = {"status": "running", "identity": self.identity, **(record or {})}
            if not self._holds_this_run(overwrite):
                self._write_json(started)
            self.done = self._restore()
            if beyond := self.done - set(order):
                raise UserError(
                    f"{self.folder} holds {len(self.done)} videos, {len(beyond)} of them outside these {len(order)}: "
                    "choose another --name, or --overwrite"
                )
            self._write_json(started)
            self._scores_file = (self.folder / "scores.part").open("ab")
            self._tables = {name: self._appendable(name) for name in TABLES}
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
        """Write one outcome. The prediction's row goes last: with it the video counts as done."""
        if isinstance(outcome, Failure):
            video = outcome.video
            self.failures[video.video_id] = [video.video_id, str(video.path or ""), outcome.stage, outcome.reason]
            return
        self._write_scores(outcome)
        video, decoded = outcome.video, outcome.sample.decoded
        info = [f"{value:.6g}" if isinstance(value, float) else value for value in astuple(decoded.info)]
        self._append("videos.csv", [video.video_id, video.group or "", int(decoded.repeated), *info])
        row = prediction_row(outcome, self.classes, self.top_n)
        self._append("predictions.csv", list(row.values()))
        self.done.add(video.video_id)

    def finish(self, record: Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame], dict]) -> dict:
        """Put all rows into the order of the listing, write the final files, and the report that `record` makes
        of the predictions, failures and videos; returns the report."""
        predictions, videos = (read_rows(self.folder / name) for name in TABLES)
        failures = pd.DataFrame(
            [self.failures[key] for key in self.order if key in self.failures], columns=FAILURE_COLUMNS
        )
        place = {key: position for position, key in enumerate(self.order)}
        predictions, videos = (
            table.sort_values("video_id", key=lambda ids: ids.map(place), kind="stable", ignore_index=True)
            for table in (predictions, videos)
        )
        self._scores_file.flush()
        self._write_npz(predictions["video_id"].tolist())
        for name, table in (("predictions.csv", predictions), ("videos.csv", videos), ("failures.csv", failures)):
            with written_whole(self.folder / name) as file:
                table.to_csv(file, index=False, lineterminator="\n")
        with written_whole(self.folder / "listed.txt") as file:
            file.writelines(f"{key}\n" for key in self.order)
        report = {"status": "done", "identity": self.identity, **record(predictions, failures, videos)}
        self._write_json(report)
        (self.folder / "scores.part").unlink(missing_ok=True)
        return report

    def _holds_this_run(self, overwrite: bool) -> bool:
        held = self.folder / "report.json"
        others = [path.name for path in self.folder.iterdir() if path.name != ".lock"]
        if overwrite:
            for name in OUR_FILES:
                (self.folder / name).unlink(missing_ok=True)
            return False
        if not held.is_file():
            if others:
                raise UserError(f"{self.folder} holds no run of vidbench but {others[0]!r}: choose another --name")
            return False
        before = read_report(self.folder)["identity"]
        differing = [
            f"{key} is {_short(before.get(key))} there and {_short(self.identity.get(key))} here"
            for key in sorted(before.keys() | self.identity.keys())
            if before.get(key) != self.identity.get(key)
        ]
        if differing:
            raise UserError(
                f"{self.folder} holds another run: {'; '.join(differing)}. Choose another --name, or --overwrite"
            )
        return True

    def _restore(self) -> set[str]:
        """Keep the rows that stand whole in all three files; returns their ids."""
        predictions, videos = (_whole_rows(self.folder / name) for name in TABLES)
        scores = self._scores()
        done = {key for key in predictions if key in videos and _digest(key) in scores}
        for name, rows, header in (
            ("predictions.csv", predictions, row_names(self.top_n)),
            ("videos.csv", videos, VIDEO_COLUMNS),
        ):
            with written_whole(self.folder / name) as file:
                csv.writer(file, lineterminator="\n").writerows(
                    [header, *(row for key, row in rows.items() if key in done)]
                )
        with written_whole(self.folder / "scores.part", "wb") as file:
            for key in done:
                file.write(_digest(key) + scores[_digest(key)].tobytes())
        return done

    def _scores(self) -> dict[bytes, np.ndarray]:
        """{digest of the id: (C,) float16}, of a finished run and of what came since."""
        scores = {}
        if (self.folder / "scores.npz").is_file():
            with np.load(self.folder / "scores.npz", allow_pickle=False) as kept:
                pairs = zip(kept["video_ids"].tolist(), kept["probabilities"], strict=True)
                scores = {_digest(key): row for key, row in pairs}
        if (self.folder / "scores.part").is_file():
            width = ID_BYTES + 2 * len(self.classes)
            data = (self.folder / "scores.part").read_bytes()
            for begin in range(0, len(data) - width + 1, width):
                record = data[begin : begin + width]
                scores[record[:ID_BYTES]] = np.frombuffer(record[ID_BYTES:], np.float16)
        return scores

    def _write_scores(self, outcome: Prediction) -> None:
        probabilities = outcome.probabilities.astype(np.float16)
        self._scores_file.write(_digest(outcome.video.video_id) + probabilities.tobytes())
        self._scores_file.flush()

    def _write_npz(self, keys: list[str]) -> None:
        scores = self._scores()
        rows = [scores[_digest(key)] for key in keys]
        probabilities = np.stack(rows) if rows else np.zeros((0, len(self.classes)), np.float16)
        with written_whole(self.folder / "scores.npz", "wb") as file:
            np.savez_compressed(
                file,
                video_ids=np.array(keys, dtype=np.str_),
                classes=np.array(self.classes, dtype=np.str_),
                probabilities=probabilities,
            )

    def _appendable(self, name: str) -> tuple[IO[str], "csv.writer"]:
        file = (self.folder / name).open("a", encoding="utf-8", newline="")
        return file, csv.writer(file, lineterminator="\n")

    def _append(self, name: str, row: list) -> None:
        file, writer = self._tables[name]
        writer.writerow(row)
        file.flush()

    def _write_json(self, record: dict) -> None:
        with written_whole(self.folder / "report.json") as file:
            json.dump(record, file, indent=1, ensure_ascii=False)
            file.write("\n")


def read_rows(path: Path) -> pd.DataFrame:
    """A run's table; every value stays the text that it is, so that a label "NA" remains one."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def read_report(folder: Path) -> dict:
    """The `report.json` of a run; raises UserError where there is none or it is damaged."""
    try:
        return json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} holds no run: it has no report.json") from None
    except (OSError, ValueError) as problem:
        raise UserError(f"{folder}/report.json cannot be read: {problem}") from None


def _whole_rows(path: Path) -> dict[str, list[str]]:
    """{video_id: row} of a table that may end in the middle of a row, as a killed process leaves it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    whole = text[: text.rfind("\n") + 1]
    header, *rows = list(csv.reader(whole.splitlines(keepends=True))) or [[]]
    return {row[0]: row for row in rows if len(row) == len(header)}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()[:ID_BYTES]


def _short(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
