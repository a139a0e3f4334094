"""What lies in an archive (.rar, .zip, .tar, .tar.gz …), in the archives inside it, or in a folder: one file at a time.

Nothing is ever written under a name that an archive gives.
"""

import gzip
import logging
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vidbench.data.datasets.tables import visible_files
from vidbench.utils import UserError, extra_module

log = logging.getLogger(__name__)
EXTRACTORS = "unrar, unar, 7-Zip or bsdtar (libarchive-tools)"
INSIDE = (".rar", ".zip", ".tar", ".tgz", ".tar.gz")  # archives in archives, by their names
MAGIC = {".rar": b"Rar!", ".zip": b"PK", ".tar.gz": b"\x1f\x8b", ".tar.xz": b"\xfd7zXZ", ".tar.bz2": b"BZh"}
DEPTH = 2  # of archives in each other
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)
UNREADABLE = (NotImplementedError, RuntimeError)  # zipfile's words for a method that it lacks and for a password


class DamagedError(Exception):
    """Bytes in an archive that cannot be read; the message is a reason that a person understands."""


@dataclass(frozen=True)
class Member:
    """A file in an archive or a folder.

    path: there, with `/`. plain: whether it is a regular file whose path stays below the archive; open_it: its bytes
    """

    path: str
    plain: bool
    open_it: Callable[[], IO[bytes]]

    @property
    def name(self) -> str:
        """Without the folders."""
        return self.path.rsplit("/", 1)[-1]

    def copy_to(self, target: Path) -> None:
        """Write its bytes to `target`; raises DamagedError, and UserError where an extractor is missing."""
        rarfile = _rarfile()
        try:
            with self.open_it() as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
        except rarfile.RarCannotExec:
            raise no_extractor(self.path) from None
        except (*DAMAGE, *UNREADABLE, rarfile.Error) as problem:
            raise DamagedError(str(problem) or type(problem).__name__) from None


def members(source: Path, parts: Path, depth: int = DEPTH) -> Iterator[Member]:
    """The files of an archive or a folder, in its order, those of archives inside it too; folders are left out.

    A member must be copied before the next is asked for. Archives inside archives lie in the folder `parts` meanwhile;
    one that cannot be read costs its own members alone. Raises UserError where `source` itself cannot be read.
    """
    try:
        yield from _members(source, parts, depth)
    except DamagedError as problem:
        raise UserError(f"{source}: {problem}") from None


def is_archive(path: Path) -> bool:
    """Whether a file is an archive of a kind that is read here, by its content."""
    rarfile = _rarfile()
    return rarfile.is_rarfile(path) or zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def has_extractor() -> bool:
    """Whether one of the programs is here that unpack compressed members of a .rar."""
    rarfile = _rarfile()
    try:
        rarfile.tool_setup(force=True)
    except rarfile.RarCannotExec:
        return False
    return True


def no_extractor(what: str) -> UserError:
    """The error for want of such a program."""
    return UserError(
        f"{what} is packed in a .rar and no program that unpacks it is here: install {EXTRACTORS}, or unpack the "
        "archive elsewhere and give the folder"
    )


def _members(source: Path, parts: Path, depth: int) -> Iterator[Member]:
    for member in _files(source):
        if not (depth and member.plain and member.name.lower().endswith(INSIDE)):
            yield member
            continue
        copy = source / member.path if source.is_dir() else parts / f"inside-{depth}"
        try:
            if not source.is_dir():
                member.copy_to(copy)
            yield from _members(copy, parts, depth - 1)
        except DamagedError as problem:
            log.warning("%s in %s cannot be read: %s", member.path, source.name, problem)
        finally:
            if not source.is_dir():
                copy.unlink(missing_ok=True)


def _files(source: Path) -> Iterator[Member]:
    if source.is_dir():
        for path in visible_files(source):
            yield Member(path.relative_to(source).as_posix(), path.is_file(), lambda path=path: path.open("rb"))
        return
    rarfile = _rarfile()
    try:
        if rarfile.is_rarfile(source):
            yield from _rar_files(source)
        elif zipfile.is_zipfile(source):
            yield from _zip_files(source)
        elif tarfile.is_tarfile(source):
            yield from _tar_files(source)
        else:
            raise DamagedError(_what_is_wrong(source))
    except (*DAMAGE, rarfile.Error) as problem:
        raise DamagedError(f"the archive is damaged: {problem}; what came before is kept") from None


def _what_is_wrong(source: Path) -> str:
    """Why a file is no archive: it begins as one, or not even that."""
    with source.open("rb") as file:
        begin = file.read(6)
    for kind, magic in MAGIC.items():
        if begin.startswith(magic):
            return f"it begins as a {kind} does, but is damaged or cut off: download it again"
    return "no archive: .rar, .zip, .tar and .tar.gz are read, and folders"


def _rar_files(source: Path) -> Iterator[Member]:
    with _rarfile().RarFile(source) as box:
        if box.is_solid():
            log.warning("%s is solid, each file means unpacking those before it: better unpack it yourself", source)
        for info in box.infolist():
            if not info.is_dir():
                plain = info.is_file() and not info.file_redir and _stays_below(info.filename)
                yield Member(info.filename, plain, lambda info=info: box.open(info))


def _zip_files(source: Path) -> Iterator[Member]:
    with zipfile.ZipFile(source) as box:
        for info in box.infolist():
            if not info.is_dir():
                kind = stat.S_IFMT(info.external_attr >> 16)
                plain = kind in (0, stat.S_IFREG) and _stays_below(info.filename)
                yield Member(info.filename.replace("\\", "/"), plain, lambda info=info: box.open(info))


def _tar_files(source: Path) -> Iterator[Member]:
    with tarfile.open(source, "r:*") as box:
        for info in box:
            if not info.isdir():
                plain = info.isreg() and _stays_below(info.name)
                yield Member(info.name, plain, lambda info=info: box.extractfile(info))


def _rarfile():
    return extra_module("rarfile", "fetch")


def _stays_below(path: str) -> bool:
    """Whether a path in an archive points to a place below it, read by anybody's rules.

    >>> [_stays_below(path) for path in ("a/b.avi", "./a", "/a", "a/../../b", "C:\\\\b", "..\\\\b")]
    [True, True, False, False, False, False]
    """
    return not re.match(r"[/\\]|[A-Za-z]:", path) and ".." not in re.split(r"[/\\]", path)
