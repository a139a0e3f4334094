"""A tar archive, read as a stream: its clips, one at a time; whatever else it holds is left alone.

No name or link of an archive decides where anything is written: a member is its base name, its size and its bytes.
"""

import gzip
import io
import posixpath
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidbench.data.fetch.wanted import CLIP_KEY

CLIP_NAME = re.compile(rf"({CLIP_KEY.pattern})\.mp4")
GZIP = b"\x1f\x8b"  # how such a file begins
EMPTY = "empty clip"
CLIP_BYTES = 1 << 29  # more than any ten seconds take
HEADER_BYTES = 1 << 20  # more than any name takes: tarfile keeps headers in memory
BUFFER_BYTES = 1 << 16
TAIL_BYTES = 1 << 24  # of zeros, at most, that are read behind the last member
DAMAGED = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)  # what a broken archive raises


@dataclass(frozen=True, eq=False)
class Member:
    """A clip in an archive: its key, the name of the folder around it, its size; `copy_to` before the next one.

    refusal: why it is not touched, "" where it may be. key: "" where what is refused has no clip's name
    """

    key: str
    folder: str
    bytes: int
    data: BinaryIO | None
    refusal: str = ""

    def copy_to(self, path: Path) -> None:
        """Write its bytes to a file. Raises one of DAMAGED where the archive ends before them."""
        with path.open("xb") as file:
            shutil.copyfileobj(self.data, file, BUFFER_BYTES)
        if path.stat().st_size != self.bytes:
            raise tarfile.ReadError("unexpected end of data")


def is_archive(path: Path) -> bool:
    """Whether a file begins as a tar archive does, gzipped or not."""
    with path.open("rb") as file:
        return _begins_an_archive(file.read(tarfile.BLOCKSIZE))


def _begins_an_archive(data: bytes) -> bool:
    if data.startswith(GZIP):
        return True
    try:
        tarfile.TarInfo.frombuf(data, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def clips_in(stream: io.RawIOBase) -> Iterator[Member]:
    """The clips of a tar archive, gzipped or not, in their order, and whatever in it is refused.

    AppleDouble files (`._*`), folders and files that are no clips are passed over. Raises one of DAMAGED, after
    the clips before the damage.
    """
    buffered = io.BufferedReader(stream, BUFFER_BYTES)
    begin = buffered.peek(tarfile.BLOCKSIZE)[: tarfile.BLOCKSIZE]
    if len(begin) == tarfile.BLOCKSIZE and not _begins_an_archive(begin):
        raise tarfile.ReadError("what is there is no archive")
    gzipped = begin.startswith(GZIP)
    bounded = _Bounded(gzip.GzipFile(fileobj=buffered) if gzipped else buffered)
    with tarfile.open(fileobj=bounded, mode="r|" if gzipped else "r|*", tarinfo=_Header) as archive:
        while (member := archive.next()) is not None:
            bounded.left = member.size + HEADER_BYTES
            archive.members = []  # else it keeps them all
            found, refusal = CLIP_NAME.fullmatch(posixpath.basename(member.name)), _refusal(member)
            if refusal:
                yield Member(found[1] if found else "", "", member.size, None, refusal)
            elif member.isfile() and found:
                folder = posixpath.basename(posixpath.dirname(member.name))
                yield Member(found[1], folder, member.size, archive.extractfile(member))
    rest = bounded.file
    for _ in range(TAIL_BYTES // BUFFER_BYTES):  # to gzip's checksum: it stands behind the end that tar sees
        if not rest.read(BUFFER_BYTES):
            return


def _refusal(member: tarfile.TarInfo) -> str:
    """Why a member is not touched, "" where it may be."""
    if member.issym() or member.islnk():
        return "link"
    if member.isdev():
        return "device or pipe"
    if member.name.startswith("/"):
        return "absolute path"
    if ".." in member.name.split("/"):
        return "path with .."
    if member.issparse():
        return "sparse file"
    if member.isfile() and member.size > CLIP_BYTES:
        return "too large for a clip"
    if member.isfile() and member.size == 0 and CLIP_NAME.fullmatch(posixpath.basename(member.name)):
        return EMPTY
    return ""


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            return super().frombuf(buf, encoding, errors)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # the archive's end
            raise
        except tarfile.HeaderError as problem:  # behind the first member, tarfile would take it for the end, too
            raise tarfile.ReadError(f"damaged: {problem}") from None


class _Bounded:
    """A file of which no more than `left` bytes are read: headers that would fill the memory end the archive."""

    def __init__(self, file):
        self.file, self.left = file, HEADER_BYTES

    def read(self, most: int) -> bytes:
        data = self.file.read(most)
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError(f"a header of more than {HEADER_BYTES:,} bytes")
        return data
