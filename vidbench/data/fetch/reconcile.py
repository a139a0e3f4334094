"""A folder and its manifest brought to agree: before a fetch, and after a process that was killed."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from vidbench.data.datasets.kinetics import KINETICS_NAME
from vidbench.data.datasets.tables import video_files
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.manifest import Row
from vidbench.data.fetch.wanted import Wanted
from vidbench.utils import sha256_of

log = logging.getLogger(__name__)
HERE = "here"  # the source of a clip that lay in the folder


def reconcile(folder: Path, gate: Gate, clips: dict[str, Wanted], workers: int = 1, progress: bool = True) -> set[str]:
    """Verify and note the clips that lie in `folder` without a row, or otherwise than their row says.

    Rows whose file is gone are noted as "gone". A file that is no clip is put aside, unless it lies outside of the
    folder, behind a link. Returns the keys of all clips that are there and verified.
    """
    files = {path.stem: path for path in video_files(folder) if KINETICS_NAME.fullmatch(path.stem)}
    gate.news()
    rows = dict(gate.manifest.rows)
    there = {key for key, row in rows.items() if row.status == "ok" and _is_there(folder, row, files)}
    for key, row in rows.items():
        if row.status == "ok" and key not in there and key not in files:
            gate.note(Row(key, row.label, row.source, status="gone", reason="the file lies here no more"))
    unnoted = sorted(files.keys() - there)
    inside = folder.resolve()

    def admit(key: str) -> Row:
        path, clip = files[key], clips.get(key) or Wanted.of(key, None)
        old = rows.get(key)
        moved = old is not None and old.status == "ok" and old.sha256 == sha256_of(path)
        source = old.source if moved else HERE
        aside = path.parent.resolve().is_relative_to(inside)
        return gate.admit(
            path, path, key=key, label=clip.label, source=source, seconds=clip.seconds or None, aside=aside
        )

    for row in _each(admit, unnoted, workers, progress):
        if row.status == "ok":
            there.add(row.key)
        else:
            log.warning("%s: %s", row.path, row.reason)
    return there


def _is_there(folder: Path, row: Row, files: dict[str, Path]) -> bool:
    """Whether the file of a row lies where it says, with as many bytes; older manifests say no place."""
    path = folder / row.path if row.path else files.get(row.key)
    try:
        return path is not None and path.is_file() and row.bytes in (None, path.stat().st_size)
    except OSError:
        return False


def _each(work, keys: list[str], workers: int, progress: bool):
    """What `work` gives for each key, with several at once and a bar; an interrupt drops those not begun."""
    pool = ThreadPoolExecutor(workers)
    quiet = None if progress and keys else True  # None: no bar where there is no terminal
    try:
        yield from tqdm(pool.map(work, keys), total=len(keys), desc="verifying", unit="clip", disable=quiet)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
