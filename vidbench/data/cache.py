"""The NumPy cache: one memory-mapped file a clip, and an index of the files that were seen.

A cache file is a `.npy` array, here of frames, followed by a JSON footer, the footer's length and a mark:

    [.npy header, frames (U, h, w, 3) uint8] [JSON: times, indices, info, checksum] [length, 8 bytes] [MARK]

Its name is a hash of the video's content and of everything that changes a pixel, so a stale hit cannot happen;
it is written under another name and renamed, so no reader sees half of it; its checksum is checked when it is
read, and a damaged file is treated as absent. Nothing is compressed: `scripts/benchmark.py cache` shows what that
would cost. How large the cache may become is `vidbench.data.cache_limit`'s.
"""

import contextlib
import hashlib
import json
import logging
import sqlite3
import time
import zlib
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import av
import cv2
import numpy as np

from vidbench.data import cache_limit
from vidbench.data.decode import Decoded, VideoInfo
from vidbench.data.images import frame_files
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.utils import printable, sha256_of, written_whole

log = logging.getLogger(__name__)
MARK = b"VIDBENC1"
HASH_LIMIT_BYTES = 256 << 20  # larger files are known by size and times alone: hashing them costs seconds


def cache_key(video: Video, protocol: Protocol, frames_fps: float, cache_dir: Path, all_frames: bool = False) -> str:
    """64 hex digits that change with the file's content and with every parameter that changes a pixel.

    all_frames: the key of the whole video, of which only the pixels, not the choice of frames, are the protocol's
    """
    shown = protocol.to_dict()
    if all_frames:
        shown = {name: shown[name] for name in ("resize", "resize_to", "crop")} | {"sampling": "all"}
    facts = {
        "content": identity(video.path, cache_dir),
        "part": [video.start_seconds, video.end_seconds],
        "protocol": shown,
        "frames_fps": frames_fps if video.path.is_dir() else None,
        "libraries": [av.__version__, cv2.__version__, np.__version__],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def cache_path(cache_dir: Path, key: str, kind: str = "clips") -> Path:
    """Where the clip of a key lies; the first two digits spread 20,000 files over 256 folders.

    kind: one of `cache_limit.KINDS`: "clips", "features" for what `vidbench.probing` keeps, or "looks" for what
    `vidbench.data.looks` does.
    """
    return cache_dir / kind / key[:2] / f"{key}.npy"


def write_clip(path: Path, clip: Decoded, max_bytes: int | None = None, checksum: bool = True) -> int:
    """Write a clip, see `write_array`; raises OSError when there is no room."""
    facts = {
        "times": clip.times.tolist(),
        "indices": clip.indices.tolist(),
        "info": asdict(clip.info),
        "repeated": clip.repeated,
    }
    return write_array(path, clip.frames, facts, max_bytes, checksum)


def read_clip(path: Path, verify: bool = True) -> Decoded | None:
    """A cached clip with its frames memory-mapped, or None where there is none or it is damaged."""
    found = read_array(path, verify)
    if found is None:
        return None
    frames, facts = found
    try:
        return Decoded(
            frames=frames,
            times=np.array(facts["times"], np.float64),
            indices=np.array(facts["indices"], np.int64),
            info=VideoInfo(**facts["info"]),
            repeated=facts["repeated"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def write_array(path: Path, array: np.ndarray, facts: dict, max_bytes: int | None = None, checksum: bool = True) -> int:
    """Write an array with plain values about it as a cache file, whole; raises OSError when there is no room.

    max_bytes: of the cache that `path` is a `cache_path` of; returns how many bytes of older files had to go for it.
    checksum: without one the file cannot be verified: for one that is read at once.
    """
    array = np.ascontiguousarray(array)
    footer = json.dumps({**facts, "crc32": zlib.crc32(array) if checksum else None}).encode()
    num_bytes = array.nbytes + len(footer) + 144  # the header has 128, the end 16
    cache_limit.check_fits(num_bytes, max_bytes)
    with written_whole(path, "wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        file.write(footer + len(footer).to_bytes(8, "little") + MARK)
    return cache_limit.note_added(path.parents[2], path, num_bytes, max_bytes) if max_bytes is not None else 0


def read_array(path: Path, verify: bool = True) -> tuple[np.ndarray, dict] | None:
    """The memory-mapped array of a cache file and its facts, or None where there is none or it is damaged.

    verify: compare the checksum, which reads the whole file, and note that it was used
    """
    try:
        with path.open("rb") as file:
            file.seek(-16, 2)
            tail = file.read(16)
            if tail[8:] != MARK:
                return None
            length = int.from_bytes(tail[:8], "little")
            file.seek(-16 - length, 2)
            facts = json.loads(file.read(length))
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if verify:
            if zlib.crc32(array) != facts["crc32"]:
                return None
            cache_limit.note_use(path)
        return array, facts
    except (OSError, ValueError, KeyError, TypeError):
        return None


def identity(path: Path, cache_dir: Path) -> str:
    """What a file (or a folder of frames) contains, as a hash; looked up in the index where it did not change."""
    if path.is_dir():
        return hashlib.sha256("".join(map(sha256_of, frame_files(path))).encode()).hexdigest()
    stat = path.stat()
    stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    if stat.st_size > HASH_LIMIT_BYTES:
        return json.dumps([str(path.resolve()), *stamp])
    index = Index(cache_dir)
    known = index.lookup(path, stamp)
    if known is None:
        known = sha256_of(path)
        index.remember(path, stamp, known)
    return known


def open_folder(cache_dir: Path, max_bytes: int | None = None) -> int:
    """Make a cache folder ready for a run: sweep it, and bring it below its limit; returns how many bytes went.

    Swept is what killed writers left: files that were begun over a day ago and never finished. A folder that cannot
    be written is left alone: it costs time, never a result.
    """
    for kind in cache_limit.KINDS:
        for part in cache_dir.glob(f"{kind}/*/.*.part"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > 86_400:
                    part.unlink()
    if max_bytes is None:
        return 0
    try:
        return cache_limit.start(cache_dir, max_bytes)
    except OSError as problem:
        log.debug("the cache %s is out of use: %s", cache_dir, problem)
        return 0


class Index:
    """`index.sqlite`: what is known of each file, by path, size and times of change; shared by all commands.

    An index that cannot be read or written (a full disk, a network folder without locks) costs time, never a
    result: the content is then hashed anew.
    """

    TABLE = """CREATE TABLE IF NOT EXISTS videos (path TEXT PRIMARY KEY, stamp TEXT, sha256 TEXT,
               num_frames INTEGER, fps REAL, width INTEGER, height INTEGER, seconds REAL)"""

    def __init__(self, cache_dir: Path):
        self.file = cache_dir / "index.sqlite"

    def lookup(self, path: Path, stamp: list[int]) -> str | None:
        """The SHA-256 of a file that has not changed since it was remembered, else None."""
        rows = self._run("SELECT sha256 FROM videos WHERE path = ? AND stamp = ?", _row_key(path, stamp))
        return rows[0][0] if rows else None

    def info(self, path: Path) -> VideoInfo | None:
        """What a file held when it was last decoded to its end, or None where it has not been."""
        query = "SELECT num_frames, fps, width, height, seconds FROM videos WHERE path = ? AND num_frames > 0"
        rows = self._run(query, (_name(path),))
        return VideoInfo(*rows[0]) if rows else None

    def remember(self, path: Path, stamp: list[int], sha256: str) -> None:
        """Note a file's content; what was known of an earlier content is forgotten."""
        query = "INSERT OR REPLACE INTO videos (path, stamp, sha256) VALUES (?, ?, ?)"
        self._run(query, (*_row_key(path, stamp), sha256))

    def remember_info(self, path: Path, info: VideoInfo) -> None:
        """Note what decoding a file found."""
        query = "UPDATE videos SET num_frames=?, fps=?, width=?, height=?, seconds=? WHERE path=?"
        self._run(query, (info.num_frames, info.fps, info.width, info.height, info.seconds, _name(path)))

    def _run(self, query: str, values: tuple) -> list[tuple]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=30)) as base, base:
                base.execute(self.TABLE)
                return base.execute(query, values).fetchall()
        except (sqlite3.Error, OSError) as problem:
            log.debug("the index %s is out of use: %s", self.file, problem)
            return []


def _row_key(path: Path, stamp: list[int]) -> tuple[str, str]:
    return _name(path), json.dumps(stamp)


def _name(path: Path) -> str:
    return printable(str(path.resolve()))
