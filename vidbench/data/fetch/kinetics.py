"""Bytes from elsewhere: Kinetics clips out of the archives that the CVDF hosts, and single files.

An archive is read as a stream and left as soon as enough wanted clips are out of it; none lies on the disk.
`manifest.csv` (key, status, bytes, sha256) says which clips a subset is.
"""

import csv
import http.client
import logging
import posixpath
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from vidbench.data.datasets.kinetics import KINETICS_NAME, KINETICS_VERSIONS
from vidbench.data.datasets.tables import read_table
from vidbench.utils import UserError, sha256_of, unknown, written_whole

log = logging.getLogger(__name__)
CVDF = "https://s3.amazonaws.com/kinetics/"
FOLDERS = {"400": ("400", "k400"), "600": ("600", "k600"), "700-2020": ("700_2020", "k700_2020")}
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20
MANIFEST_COLUMNS = ["key", "status", "bytes", "sha256"]


def fetch_kinetics(
    version: str, split: str, folder: Path, *, num_videos: int, seed: int = 0, base_url: str = CVDF
) -> int:
    """Fetch clips and annotations of a split until `num_videos` clips lie in `folder`; returns how many do.

    Archives are taken in a seeded order. Clips that lie there already count and are not fetched again. Each
    clip lands whole or not at all, and is noted in `manifest.csv`.
    Raises UserError for an unknown version or split, or when the network does not answer.
    """
    if version not in FOLDERS:
        raise unknown("Kinetics version", version, KINETICS_VERSIONS)
    if split not in ("train", "val", "test"):
        raise unknown("split", split, ("train", "val", "test"))
    folder.mkdir(parents=True, exist_ok=True)
    place, prefix = FOLDERS[version]
    lying = {path.stem: path for path in folder.rglob("*.mp4") if KINETICS_NAME.fullmatch(path.stem)}
    for key in sorted(lying.keys() - _noted(folder / "manifest.csv")):  # placed by hand, or killed in between
        _note(folder / "manifest.csv", lying[key])
    have = set(lying)
    if len(have) >= num_videos:
        return len(have)
    suffix = "txt" if version == "600" and split != "test" else "csv"  # K600's CSVs are incomplete
    _fetch_file(f"{base_url}{place}/annotations/{split}.{suffix}", folder / f"{split}.{suffix}")
    archives = _text(f"{base_url}{place}/{split}/{prefix}_{split}_path.txt").split("\n")
    archives = [line.strip() for line in archives if line.strip()]
    for number in np.random.default_rng(seed).permutation(len(archives)):
        for path in _clips_of(archives[number], folder, have):
            have.add(path.stem)
            _note(folder / "manifest.csv", path)
            if len(have) >= num_videos:
                return len(have)
    return len(have)


def fetch_file(url: str, target: Path, tries: int = 3) -> None:
    """Fetch one file to `target`, whole or not at all, with a progress bar.

    What has come lies in `<target>.part` meanwhile; a dropped connection, or the next call, goes on behind it where
    the server allows. Raises UserError when nothing answers, or when it drops `tries` times.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for _ in range(tries):
        if _fetch_part(url, part):
            part.replace(target)
            return
    raise UserError(f"{url} stopped {tries} times before its end; what was fetched is kept, the same call goes on")


def _fetch_part(url: str, part: Path) -> bool:
    """Append to `part` what it lacks of the file, as far as the connection lasts; whether it is whole now."""
    have = part.stat().st_size if part.exists() else 0
    try:
        response = _request(url, {"Range": f"bytes={have}-"} if have else {})
    except (OSError, http.client.HTTPException) as problem:
        if not have or getattr(problem, "code", None) != 416:
            raise _unreachable(url, problem) from None
        if problem.headers.get("Content-Range") == f"bytes */{have}":
            return True  # nothing was missing
        part.unlink()  # the server has no bytes there: what lies here is of another file
        return False
    with response:
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            if response.status == 206:  # another part than the one asked for
                part.unlink()
                return False
            have = 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=posixpath.basename(url), disable=None)
        with bar, part.open("ab" if have else "wb") as file:
            while chunk := _read(response, url):
                file.write(chunk)
                bar.update(len(chunk))
    return chunk is not None and (total is None or part.stat().st_size == total)


def _read(response, url: str) -> bytes | None:
    """The next bytes, b"" at the end, None where the connection broke."""
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as problem:
        log.info("%s: %s", url, problem)
        return None


def _clips_of(url: str, folder: Path, have: set[str]) -> Iterator[Path]:
    """The clips of an archive that are not on the disk yet, one at a time, as they come out of the stream."""
    log.info("reading %s", url)
    try:
        with _opened(url) as response, tarfile.open(fileobj=response, mode="r|*") as archive:
            for member in archive:
                name = posixpath.basename(member.name)
                stem = name.removesuffix(".mp4")
                wanted = member.isfile() and member.size > 0 and KINETICS_NAME.fullmatch(stem) and stem not in have
                if not wanted:  # folders, AppleDouble files, empty clips, clips that are here
                    continue
                parent = posixpath.basename(posixpath.dirname(member.name))
                target = folder / parent / name if _has_class_folders(url) and parent else folder / name
                with written_whole(target, "wb") as file:
                    shutil.copyfileobj(archive.extractfile(member), file)
                yield target
    except (tarfile.TarError, OSError, EOFError, zlib.error) as problem:
        raise UserError(f"{url}: {problem}; what was fetched is kept, the same call goes on") from None


def _has_class_folders(url: str) -> bool:
    """Whether the archives of this address hold class folders that carry the label (700-2020 train and val)."""
    return "/700_2020/" in url and "/test/" not in url


def _fetch_file(url: str, target: Path) -> None:
    if not target.exists():
        text = _text(url)
        with written_whole(target) as file:
            file.write(text)


def _text(url: str) -> str:
    with _opened(url) as response:
        return response.read().decode("utf-8")


def _opened(url: str):
    try:
        return _request(url)
    except (OSError, http.client.HTTPException) as problem:
        raise _unreachable(url, problem) from None


def _request(url: str, headers: dict[str, str] | None = None):
    parts = urllib.parse.urlsplit(url)
    address = parts._replace(path=urllib.parse.quote(urllib.parse.unquote(parts.path))).geturl()
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers or {}), timeout=TIMEOUT_SECONDS)


def _unreachable(url: str, problem: Exception) -> UserError:
    return UserError(f"{url} cannot be reached: {getattr(problem, 'reason', None) or problem}")


def _noted(manifest: Path) -> set[str]:
    return {row["key"] for row in read_table(manifest, {"key"})} if manifest.is_file() else set()


def _note(manifest: Path, path: Path) -> None:
    new = not manifest.exists()
    with manifest.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(MANIFEST_COLUMNS)
        writer.writerow([path.stem, "ok", path.stat().st_size, sha256_of(path)])
