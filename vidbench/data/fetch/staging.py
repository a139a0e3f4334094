"""Where a process writes what is not finished yet; what killed processes left there is swept out."""

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

INCOMING = ".incoming"  # hidden, so that no data set lists what lies there


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder of this process alone, inside `folder`, that is gone after the block.

    A lock that a killed process no longer holds tells its leavings from the work of one that is alive.
    """
    root = folder / INCOMING
    root.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex[:12]
    own = FileLock(root / f"{name}.lock")
    with FileLock(root / "all.lock"):  # else another process could sweep between the making and the locking
        own.acquire()
        _sweep(root, name)
        (root / name).mkdir()
    try:
        yield root / name
    finally:
        with FileLock(root / "all.lock"):
            _remove(root, name)
            own.release()


def _sweep(root: Path, own: str) -> None:
    for path in root.glob("*.lock"):
        if path.stem in (own, "all"):
            continue
        with contextlib.suppress(Timeout), FileLock(path, timeout=0):
            _remove(root, path.stem)


def _remove(root: Path, name: str) -> None:
    shutil.rmtree(root / name, ignore_errors=True)
    (root / f"{name}.lock").unlink(missing_ok=True)
