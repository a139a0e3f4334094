"""`missing.csv`: which clips the last fetch could not get, and why."""

import csv
from collections.abc import Mapping
from pathlib import Path

from vidbench.data.fetch.manifest import Row
from vidbench.utils import printable, written_whole

MISSING = "missing.csv"


def write_missing(folder: Path, missing: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """Write the file, one row a clip of `missing`, {key: reason}; remove it where nothing is."""
    if not missing:
        (folder / MISSING).unlink(missing_ok=True)
        return
    with written_whole(folder / MISSING) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "label", "reason"])
        writer.writerows([key, printable(labels[key]), printable(missing[key])] for key in sorted(missing))


def reason_of(row: Row | None, otherwise: str) -> str:
    """Why a clip is missing, as its row says; `otherwise` where that says nothing."""
    if row is None or row.status not in ("bad", "failed"):
        return otherwise
    return f"bad: {row.reason}" if row.status == "bad" else row.reason


def in_short(named: Mapping[str, str], most: int = 5) -> str:
    """The first few of {key: reason}."""
    shown = ", ".join(f"{key} ({why})" for key, why in list(named.items())[:most])
    return shown + (f", ... ({len(named):,} in all)" if len(named) > most else "")
