"""Where files lie while they come: a hidden folder inside the folder that they go to."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vidbench.utils import UserError


@contextmanager
def parts_folder(folder: Path, name: str) -> Iterator[Path]:
    """A new hidden folder below `folder`, gone after the block; what killed processes left there goes first.

    One process at a time holds the parts of that `name`: a second would sweep the first one's away.
    Raises UserError while another does, and where the disk becomes full in the block.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{name}.lock", timeout=0):
            for left in folder.glob(f".{name}-*"):
                shutil.rmtree(left, ignore_errors=True)
            # A new name each time: a program that a killed process left running finds its folder gone.
            parts = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
            try:
                yield parts
            finally:
                shutil.rmtree(parts, ignore_errors=True)
    except Timeout:
        raise UserError(f"another process fetches into {folder}; wait for its end") from None
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full(folder) from None
        raise


def full(folder: Path) -> UserError:
    """The error for a disk without room."""
    return UserError(f"the disk of {folder} is full; what was fetched is kept, the same call goes on")
