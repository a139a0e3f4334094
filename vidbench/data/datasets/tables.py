"""Reading file names and annotation tables, whatever their header and delimiter."""

import csv
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from vidbench.utils import NoSplit, UserError

NOT_VIDEOS = (".txt", ".csv", ".json", ".md")


def video_files(root: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Every regular file below `root` that may be a video, in sorted order; hidden files and folders are not.

    onerror: is told of folders that must not be read; None: they raise OSError.
    """
    for path in visible_files(root, onerror):
        if path.suffix and path.suffix.lower() not in NOT_VIDEOS:
            yield path


def visible_files(root: Path, onerror: Callable[[OSError], None] | None = None) -> list[Path]:
    """Every regular file below `root`, sorted; linked folders are entered, once each, hidden ones are not.

    A link to a file that is gone is listed too, so that it is reported missing. A folder that must not be read raises
    OSError, unless `onerror` is there to be told.
    """
    found, entered = [], set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=onerror or _raise):
        place = os.path.realpath(folder)
        folders[:] = [] if place in entered else [name for name in folders if not name.startswith(".")]
        if place not in entered:
            paths = (Path(folder, name) for name in files if not name.startswith("."))
            found += [path for path in paths if _is_listed(path)]
        entered.add(place)
    return sorted(found)


def _is_listed(path: Path) -> bool:
    try:
        return path.is_file() or (path.is_symlink() and not path.exists())
    except OSError:  # nobody may look at it: whoever reads it says so
        return True


def _raise(problem: OSError):
    raise problem


def read_rows(path: Path) -> list[list[str]]:
    """All rows of a delimited table, the delimiter (comma, semicolon, tab) sniffed from its first line."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} is not a readable table: {problem}") from None
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as problem:
        raise UserError(f"{path} is not a readable table: {problem}") from None


def read_table(path: Path, needed: set[str]) -> list[dict[str, str]]:
    """The rows of a table with a header as dicts, values stripped; raises UserError when a column is missing."""
    rows = read_rows(path)
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if missing := sorted(needed - set(header)):
        raise UserError(
            f"{path} lacks the column {', '.join(missing)}; its first line names {', '.join(header) or 'none'}"
        )
    filled = (row + [""] * (len(header) - len(row)) for row in rows[1:] if any(row))
    return [dict(zip(header, (value.strip() for value in row), strict=False)) for row in filled]


def rows_of_split(path: Path, needed: set[str], split: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of the rows of one split, or of all where the table has no column `split`.

    Raises UserError for a row whose split is empty: it would count in every split.
    """
    rows = read_table(path, needed)
    splits = {row.get("split", split) for row in rows}
    if rows and split not in splits | {""}:
        raise NoSplit(f"{path} has no rows of split {split!r}; it has {', '.join(sorted(splits))}: choose one of them")
    for number, row in enumerate(rows, start=2):
        if row.get("split") == "":
            raise UserError(f"{path}, line {number}: the split is empty")
        if row.get("split", split) == split:
            yield number, row


def kinetics_rows(path: Path) -> Iterator[tuple[str, str | None]]:
    """(key, label or None) of every row of a Kinetics annotation file, whatever its header.

    The key is `{id}_{start:06d}_{end:06d}`: the id alone is not unique in Kinetics-600. A file without a
    header is read in the published order, with the label first where there are five columns or more.
    """
    rows = [[value.strip() for value in row] for row in read_rows(path) if any(row)]
    header = [name.lower() for name in rows[0]] if rows else []
    if "youtube_id" in header:
        rows = rows[1:]
    else:
        order = ["label", "youtube_id", "time_start", "time_end", "split"]
        header = order if rows and len(rows[0]) >= 5 else order[1:]
    for number, row in enumerate(rows, start=2):
        values = dict(zip(header, row, strict=False))
        try:
            start, end = (int(float(values[name])) for name in ("time_start", "time_end"))
            key = f"{values['youtube_id']}_{start:06d}_{end:06d}"
        except (KeyError, ValueError, OverflowError):
            raise UserError(f"{path}, line {number}: no youtube_id, time_start and time_end: {row}") from None
        yield key, values.get("label") or None


def existing(path: Path | None, name: str) -> Path:
    if path is None:
        raise UserError(f"dataset {name} needs --data-dir DIR")
    if not path.is_dir():
        raise NoSplit(f"dataset {name}: no such folder: {path}; data/README.md says what goes where")
    return path
