"""`manifest.csv`: which clips a folder holds, where each came from, and why others could not be had.

Rows are appended, the last of a key counts: a process that is killed leaves at most half a row at the end, which the
next reader leaves out and the next writer cuts off. Several processes may write at once. Images have such a table too,
with rows of another kind (`vidbench.candidates.album`).
"""

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath

from filelock import FileLock

from vidbench.utils import UserError, printable, written_whole

NAME = "manifest.csv"
STATUSES = ("ok", "bad", "failed", "gone")


@dataclass(frozen=True)
class Row:
    """One clip.

    status: "ok", it lies at `path` below the folder and was verified; "bad", what came is no clip and was put aside,
        to `path`; "failed", it could not be had; "gone", it was "ok" and lies there no more. reason: in words
    source: where it came from: an address, or "here" for a file that lay there. bytes, sha256: of the file; frames,
        fps, width, height: what it holds, None where it could not be decoded
    """

    key: str
    label: str = ""
    source: str = ""
    bytes: int | None = None
    sha256: str = ""
    frames: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    status: str = "ok"
    reason: str = ""
    path: str = ""


COLUMNS = [item.name for item in fields(Row)]
NUMBERS = {int | None: int, float | None: float}
PLACES = {"path", "file"}  # columns of what lies below the folder


class Manifest:
    """The manifest of a folder: `rows`, {key: Row}, as far as this process has read; `add` writes one row more.

    `news` are the rows that were read, not written, since somebody emptied it: at first all of them.
    kind: a dataclass of rows with `key` and `status` among texts and numbers that may be None; name: of the file
    Raises UserError for a file of that name that is no manifest, or that holds what is none.
    """

    def __init__(self, folder: Path, kind: type = Row, name: str = NAME):
        self.path = Path(folder) / name
        self.rows: dict = {}
        self.news: list = []
        self._kind, self._columns = kind, [item.name for item in fields(kind)]
        self._lock = FileLock(self.path.with_name(f".{self.path.stem}.lock"))
        self._read_bytes = 0  # of the file, that are in `rows`
        self.refresh()

    def refresh(self) -> None:
        """Read what other processes have added."""
        try:
            self._refresh()
        except csv.Error as problem:
            raise UserError(
                f"{self.path} is no manifest: {problem}; set it aside, and the clips are noted anew"
            ) from None

    def _refresh(self) -> None:
        try:
            with self.path.open("rb") as file:
                header = file.readline()
                names = _cells(header)
                if names and not {"key", "status"} <= set(names):
                    raise UserError(
                        f"{self.path} is no manifest: it lacks the columns key and status; set it aside, and the clips "
                        "are noted anew"
                    )
                if file.seek(0, 2) < self._read_bytes:  # it was written anew
                    self.rows, self._read_bytes = {}, 0
                file.seek(max(self._read_bytes, len(header)))
                text = file.read()
        except FileNotFoundError:
            self.rows, self._read_bytes = {}, 0
            return
        whole = text[: text.rfind(b"\n") + 1]
        for line in csv.reader(io.StringIO(whole.decode("utf-8", "replace"), newline="")):
            if len(line) == len(names):
                row = _row(self._kind, dict(zip(names, line, strict=True)))
                self.rows[row.key] = row
                self.news.append(row)
        self._read_bytes = max(self._read_bytes, len(header)) + len(whole)

    def add(self, row) -> None:
        """Append a row, whole, whoever else writes; older manifests get the columns that they lack first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self.refresh()
            if not self._is_current():
                self._write_anew()
            with self.path.open("r+b") as file:
                file.truncate(self._read_bytes)  # half a row that a killed process left
                file.seek(self._read_bytes)
                data = _line(row)
                file.write(data)
            self.rows[row.key] = row
            self._read_bytes += len(data)

    def compact(self) -> None:
        """Write the file anew with one row a key, sorted."""
        with self._lock:
            self.refresh()
            self._write_anew()

    def _is_current(self) -> bool:
        try:
            with self.path.open("rb") as file:
                return _cells(file.readline()) == self._columns
        except FileNotFoundError:
            return False

    def _write_anew(self) -> None:
        data = _cells_line(self._columns) + b"".join(_line(self.rows[key]) for key in sorted(self.rows))
        with written_whole(self.path, "wb") as file:
            file.write(data)
        self._read_bytes = len(data)


def _row(kind: type, cells: dict[str, str]):
    values: dict = {}
    for item in fields(kind):
        text, number = cells.get(item.name, ""), NUMBERS.get(item.type)
        try:
            values[item.name] = number(text) if number else text
        except ValueError:
            values[item.name] = None
    for name in PLACES & values.keys():
        place = PurePosixPath(values[name])
        if place.is_absolute() or ".." in place.parts:  # nothing outside of the folder is ever touched
            values[name] = ""
    return kind(**values)


def _line(row) -> bytes:
    values = ["" if value is None else printable(str(value)) for value in asdict(row).values()]
    return _cells_line(values)


def _cells_line(values: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8-sig", "replace").strip()]), [])  # Excel puts a mark in front
