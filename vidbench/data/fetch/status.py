"""A fetched folder against its manifest: is everything still there, and what is lacking?"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from vidbench.data.datasets.kinetics import annotation_table
from vidbench.data.datasets.tables import kinetics_rows, video_files
from vidbench.data.decode import probe
from vidbench.data.fetch.cvdf import SPLITS
from vidbench.data.fetch.gate import ASIDE
from vidbench.data.fetch.harvest import KEPT
from vidbench.data.fetch.lists import listed_clips
from vidbench.data.fetch.manifest import NAME, Manifest, Row
from vidbench.data.integrity import DecodeError
from vidbench.data.workers import worker_pool
from vidbench.typeset import as_text
from vidbench.utils import UserError, sha256_of

NO_LABEL = "(no label)"


@dataclass
class Verified:
    """What a check of a folder found; each list holds one line a clip, and is empty where all is well."""

    verified: int = 0
    missing: list[str] = field(default_factory=list)  # noted as there, gone
    changed: list[str] = field(default_factory=list)  # other bytes than noted, or no longer decodable
    unreadable: list[str] = field(default_factory=list)  # files and folders that may or can not be read
    unnoted: list[str] = field(default_factory=list)  # lies there without a row

    @property
    def problems(self) -> list[str]:
        """One line a problem."""
        kinds = {
            "missing": self.missing, "changed": self.changed, "unreadable": self.unreadable,
            "not in the manifest": self.unnoted,
        }  # fmt: skip
        return [f"{kind}: {line}" for kind, lines in kinds.items() for line in lines]


def verify_folder(
    folder: Path,
    deep: bool = False,
    workers: int = 1,
    timeout: float = 60.0,
    progress: bool = True,
    put_aside: bool = False,
) -> Verified:
    """Compare the clips of a folder with its manifest: sizes and SHA-256. deep: decode each to its end, too.

    put_aside: move what changed into `.rejected` and note it as gone, so that the next fetch gets it anew; otherwise
    nothing is written. Raises UserError where there is no manifest.
    """
    rows = _rows(folder)
    noted = {key: row for key, row in rows.items() if row.status == "ok"}
    found, good = Verified(), {}
    files = _files(folder, lambda problem: found.unreadable.append(f"{problem.filename}  {problem.strerror}"))
    places = {key: folder / row.path if row.path else files.get(key) for key, row in noted.items()}
    changed: dict[str, str] = {}
    quiet = None if progress else True  # None: no bar where there is no terminal
    for key in tqdm(sorted(noted), desc="verifying", unit="clip", disable=quiet):
        path = places[key]
        try:
            if path is None or not path.is_file():
                found.missing.append(f"{key}  {noted[key].path}".rstrip())
            elif why := _change(path, noted[key]):
                changed[key] = why
            else:
                good[key] = path
        except OSError as problem:
            found.unreadable.append(f"{key}  {problem.strerror}")
    if deep:
        changed |= _undecodable(good, workers, timeout, progress)
    found.changed = [f"{key}  {why}" for key, why in changed.items()]
    found.verified = len(good.keys() - changed.keys())
    if put_aside:
        manifest = Manifest(folder)
        for key, why in changed.items():
            _put_aside(folder, manifest, noted[key], places[key], why)
    known = {path for path in places.values() if path} | {folder / row.path for row in rows.values() if row.path}
    found.unnoted = [path.relative_to(folder).as_posix() for path in files.values() if path not in known]
    return found


def status_of(folder: Path, by_class: bool = False) -> str:
    """How many clips of a folder are expected, found, verified, missing and failed, as a table, and why they failed.

    expected: clips that annotations or official lists beside them name, where there are some. by_class: a row a class.
    Raises UserError where there is no manifest.
    """
    rows, labels = _rows(folder), _expected(folder)
    files = _files(folder)
    label_of = {key: labels.get(key) or (rows[key].label if key in rows else "") for key in labels.keys() | rows}
    groups: dict[str, list[str]] = {"all": sorted(label_of)}
    if by_class:
        groups = {}
        for key in sorted(label_of):
            groups.setdefault(label_of[key] or NO_LABEL, []).append(key)
    header = ["class" if by_class else "", "expected", "found", "verified", "missing", "bad", "failed"]
    table = [_counts(name, keys, labels, rows, files) for name, keys in sorted(groups.items())]
    reasons = Counter(_kind(row) for row in rows.values() if row.status in ("bad", "failed"))
    lines = [as_text(header, table)]
    lines += [f"  {kind}: {count:,}" for kind, count in sorted(reasons.items())]
    if unlisted := sum(bool(labels) and row.status == "ok" and key not in labels for key, row in rows.items()):
        lines.append(f"  verified, and not among the expected: {unlisted:,}")
    if aside := sum(1 for path in (folder / ASIDE).glob("*") if path.is_file()):
        lines.append(f"  put aside in {ASIDE}: {aside:,}")
    return "\n".join(lines)


def kept_in(folder: Path) -> int:
    """How many verified clips a folder holds, as its manifest says."""
    return sum(row.status == "ok" for row in Manifest(folder).rows.values()) if (folder / NAME).is_file() else 0


def _rows(folder: Path) -> dict[str, Row]:
    if not (folder / NAME).is_file():
        raise UserError(f"{folder} has no {NAME}: it is written by scripts/fetch.py")
    return Manifest(folder).rows


def _files(folder: Path, onerror: Callable[[OSError], None] = lambda problem: None) -> dict[str, Path]:
    kept = folder / KEPT
    return {path.stem: path for path in video_files(folder, onerror) if kept not in path.parents}


def _put_aside(folder: Path, manifest: Manifest, row: Row, path: Path, why: str) -> None:
    """Out of the way with a file that is no longer what its row says; what lies behind a link stays where it is."""
    if path.parent.resolve().is_relative_to(folder.resolve()):
        (folder / ASIDE).mkdir(exist_ok=True)
        path.replace(folder / ASIDE / path.name)
        manifest.add(Row(row.key, row.label, row.source, status="gone", reason=f"put aside: {why}"))


def _expected(folder: Path) -> Mapping[str, str | None]:
    """{key: label} of the clips that annotations of Kinetics, or the lists of a data set with folds, name.

    Of Kinetics' splits the folder's name says which, else what lies in it.
    """
    for split in (folder.resolve().name, *SPLITS):
        table = annotation_table(folder, split) if split in SPLITS else None
        if table and (split == folder.resolve().name or table.parent == folder):
            return dict(kinetics_rows(table))
    return listed_clips(folder)


def _change(path: Path, row: Row) -> str:
    """How a file differs from its row, "" where it does not."""
    size = path.stat().st_size
    if row.bytes is not None and size != row.bytes:
        return f"{size:,} bytes instead of {row.bytes:,}"
    return "other bytes than noted (sha256)" if row.sha256 and sha256_of(path) != row.sha256 else ""


def _undecodable(paths: dict[str, Path], workers: int, timeout: float, progress: bool) -> dict[str, str]:
    """{key: reason} of the files that do not decode to their end."""
    bad, quiet = {}, None if progress else True
    with worker_pool(workers) as pool:
        futures = {key: pool.schedule(probe, args=(path,), timeout=timeout) for key, path in paths.items()}
        for key, future in tqdm(futures.items(), desc="decoding", unit="clip", disable=quiet):
            try:
                future.result()
            except DecodeError as problem:
                bad[key] = str(problem)
            except Exception as problem:  # too slow, or the decoder crashed
                bad[key] = f"not decoded: {type(problem).__name__}"
    return bad


def _counts(name: str, keys: list[str], labels: dict, rows: dict[str, Row], files: dict[str, Path]) -> list[str]:
    status = Counter(rows[key].status for key in keys if key in rows)
    gone = {key for key in keys if key in rows and rows[key].status == "ok" and key not in files}  # and not noted yet
    status["ok"] -= len(gone)
    status["gone"] += len(gone)
    expected = sum(key in labels for key in keys)
    lacking = sum(key in labels and (key not in rows or rows[key].status == "gone" or key in gone) for key in keys)
    found = sum(key in files for key in keys)
    missing = lacking if labels else status["gone"]
    cells = (found, status["ok"], missing, status["bad"], status["failed"])
    return [name, f"{expected:,}" if labels else "?", *(f"{number:,}" for number in cells)]


def _kind(row: Row) -> str:
    """A reason without its numbers: "failed, private", "bad, lasts N s instead of N s"."""
    words = re.sub(r"\d[\d.,]*", "N", row.reason.split(":")[0])
    return f"{row.status}, {words}"
