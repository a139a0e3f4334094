"""How large the NumPy cache may become: the files that were used longest ago go first.

A file's time of modification is the time of its last use: a hit sets it anew, the time of access is not to be
trusted (most disks are mounted to update it once a day, if at all). So the folder itself says what goes first, for
any number of processes, and a process that is killed leaves nothing behind that has to be mended. What one adds to a
running total under a lock, `size`; the folder is gone through only when the total passes the limit and at the start
of a run. It then shrinks to nine tenths, so that the next time is far off.

A file that is memory-mapped when it goes is still whole for whoever mapped it, on Linux and macOS; its bytes are free
when the last mapping is gone. `size.lock` and `index.sqlite` are not counted.

Least recently used is the right rule for data sets that take turns. One data set, larger than the limit and read from
its beginning to its end again and again, finds nothing: each clip goes just before it is wanted. Let the limit
exceed the data set, or leave the cache off.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock

from vidbench.utils import readable_bytes

KINDS = ("clips", "features", "looks")
SHRUNK = 0.9  # of the limit: what is left when something had to go
LOCK_SECONDS = 10.0  # an addition takes milliseconds, going through 100,000 files a second


def note_use(path: Path) -> None:
    """Set a file's time of last use to now; a cache that cannot be written stays as it is."""
    with contextlib.suppress(OSError):
        os.utime(path)


def check_fits(num_bytes: int, max_bytes: int | None) -> None:
    """Raise OSError where one file alone is larger than the cache may be."""
    if max_bytes is not None and num_bytes > max_bytes:
        room = readable_bytes(max_bytes)
        raise OSError(errno.EFBIG, f"one clip takes {readable_bytes(num_bytes)}, the cache may take {room}")


def note_added(cache_dir: Path, path: Path, num_bytes: int, max_bytes: int) -> int:
    """Count a file that has just been written, and remove old ones where the limit is passed; returns bytes removed.

    The file itself stays. Raises OSError (filelock's Timeout is one) where the folder cannot be locked.
    """
    with _locked(cache_dir):
        total = _noted(cache_dir)
        if total is not None and (total := total + num_bytes) <= max_bytes:
            _note(cache_dir, total)
            return 0
        return _shrink(cache_dir, max_bytes, path)


def start(cache_dir: Path, max_bytes: int) -> int:
    """Count the folder anew, for processes without a limit do not, and bring it below the limit; bytes removed."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _locked(cache_dir):
        return _shrink(cache_dir, max_bytes)


def _shrink(cache_dir: Path, max_bytes: int, kept: Path | None = None) -> int:
    """Remove the oldest files but `kept`, where there are too many bytes; note how many are left, return the rest."""
    files = sorted(_files(cache_dir))
    total = before = sum(size for _, size, _ in files)
    if total > max_bytes:
        for _, size, name in files:
            if total <= SHRUNK * max_bytes:
                break
            if kept is None or name != str(kept):
                Path(name).unlink(missing_ok=True)
                total -= size
    _note(cache_dir, total)
    return before - total


def _files(cache_dir: Path) -> Iterator[tuple[int, int, str]]:
    """(time of last use in ns, bytes, name) of each whole file; what goes meanwhile is left out."""
    for kind in KINDS:
        with contextlib.suppress(FileNotFoundError):
            for folder in os.scandir(cache_dir / kind):
                for entry in os.scandir(folder.path):
                    if entry.name.endswith(".npy") and not entry.name.startswith("."):
                        with contextlib.suppress(FileNotFoundError):
                            stat = entry.stat()
                            yield stat.st_mtime_ns, stat.st_size, entry.path


def _locked(cache_dir: Path) -> AcquireReturnProxy:
    return FileLock(cache_dir / "size.lock").acquire(LOCK_SECONDS, poll_interval=0.002)


def _noted(cache_dir: Path) -> int | None:
    """The running total, or None where there is none or a process died while it wrote it."""
    try:
        number, unit = (cache_dir / "size").read_text().split(" ")
        return int(number) if unit == "bytes\n" else None
    except (OSError, ValueError):
        return None


def _note(cache_dir: Path, total: int) -> None:
    (cache_dir / "size").write_text(f"{total} bytes\n")
