"""Is a video file there, and is it whole? What can be told without decoding it."""

import stat
from pathlib import Path


class DecodeError(Exception):
    """A video that cannot be used; the message is a reason that a person understands.

    stage: "find" (no such file), "open" (no readable video), "decode" (damaged), "sample" (too short).
    """

    def __init__(self, reason: str, stage: str = "decode"):
        super().__init__(reason)
        self.stage = stage


def check_file(path: Path) -> None:
    """Raise DecodeError unless `path` is a regular file with something in it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DecodeError("missing file", "find") from None
    except OSError as problem:
        raise DecodeError(f"unreadable file: {problem.strerror}", "open") from None
    if not stat.S_ISREG(status.st_mode):  # reading a pipe could wait for ever
        raise DecodeError("not a regular file", "open")
    if status.st_size == 0:
        raise DecodeError("empty file", "open")


def missing_bytes(path: Path, stream) -> int:
    """How many bytes a cut-off file lacks, as far as its own index or segment size tells; 0 for a whole one.

    A file that ends between two packets decodes without any error, so this is the only sign.
    """
    size = path.stat().st_size
    ends = [entry.pos + entry.size for entry in stream.index_entries]
    needed = max([*ends, _matroska_end(path)], default=0)
    return max(0, needed - size)


def _matroska_end(path: Path) -> int:
    """Where the Segment of a Matroska or WebM file says that it ends; 0 for other files or an open end."""
    with path.open("rb") as file:
        head = file.read(256)
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return 0
    size, after = _ebml_size(head, 4)
    segment = after + size
    if head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return 0
    size, after = _ebml_size(head, segment + 4)
    return 0 if size < 0 else after + size


def _ebml_size(data: bytes, at: int) -> tuple[int, int]:
    """(size, offset behind it) of an EBML variable-length integer; -1 where all bits are set (unknown)."""
    if at >= len(data) or data[at] == 0:
        return -1, at
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (-1 if value == (1 << 7 * length) - 1 else value), at + length
