"""Where a process writes what is not finished yet; what killed processes left there is swept out."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vidbench.utils import UserError

INCOMING = ".incoming"  # hidden, so that no data set lists what lies there


@contextlib.contextmanager
def staging(folder: Path, alone: str = "") -> Iterator[Path]:
    """A new folder of this process alone, inside `folder`, that is gone after the block.

    A lock that a killed process no longer holds tells its leavings from the work of one that is alive.
    alone: the name of a work that one process at a time does in `folder`: UserError while another does it.
    Raises UserError where the disk becomes full in the block.
    """
    root = folder / INCOMING
    root.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex[:12]  # a new one each time: a program that a killed process left finds its folder gone
    own = FileLock(root / f"{name}.lock")
    with _held(folder, root, alone), _disk_errors(folder):
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


def make_folder(folder: Path) -> None:
    """Make sure that a folder is there and may be written; raises UserError or OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} must not be written: choose another --data-dir")


def in_words_of_disk(problem: Exception, folder: Path) -> Exception:
    """The clear line for a disk that is full, any other problem as it is."""
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return full(folder)
    return problem


def full(folder: Path) -> UserError:
    """The error for a disk without room."""
    return UserError(f"the disk of {folder} is full; what was fetched is kept, the same call goes on")


@contextlib.contextmanager
def _held(folder: Path, root: Path, work: str) -> Iterator[None]:
    if not work:
        yield
        return
    try:
        held = FileLock(root / f"{work}.alone").acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process fetches into {folder}; wait for its end") from None
    with held:
        yield


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if (clear := in_words_of_disk(problem, folder)) is problem:
            raise
        raise clear from None


def _sweep(root: Path, own: str) -> None:
    for path in root.glob("*.lock"):
        if path.stem in (own, "all"):
            continue
        with contextlib.suppress(Timeout), FileLock(path, timeout=0):
            _remove(root, path.stem)


def _remove(root: Path, name: str) -> None:
    shutil.rmtree(root / name, ignore_errors=True)
    (root / f"{name}.lock").unlink(missing_ok=True)
