"""Small helpers that more than one module needs and that know nothing of videos."""

import difflib
import hashlib
import importlib
import re
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO


class UserError(ValueError):
    """Something that the user can mend; commands print it as one line and end with status 1."""


class NoSplit(UserError):
    """A data set that has no such split."""


def unknown(kind: str, name: str, choices: Iterable[str], error: type[UserError] = UserError) -> UserError:
    """The error for a name that is not among `choices`: it lists them and guesses what was meant.

    >>> str(unknown("model", "i3", ["demo", "i3d"]))
    "unknown model 'i3'; did you mean 'i3d'? choose from demo, i3d"
    """
    choices = sorted(map(str, choices))
    close = difflib.get_close_matches(str(name), choices, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(choices[:30]) + (f" … ({len(choices)} in all)" if len(choices) > 30 else "")
    return error(f"unknown {kind} {name!r}; {guess}choose from {listed}")


def extra_module(name: str, extra: str) -> ModuleType:
    """A library that only some users need, imported; where it is missing, UserError says which pip extra brings it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise UserError(f"{missing.name} is not here; it comes with: pip install -e .[{extra}]") from None


def canonical_label(name: str) -> str:
    """One spelling for a class name: no case, no quotes, composed accents, `_` and runs of spaces become one space.

    >>> canonical_label(' "Climb_Stairs"  ')
    'climb stairs'
    """
    bare = re.sub(r"[\"'`’]", "", unicodedata.normalize("NFC", name))
    return re.sub(r"[\s_]+", " ", bare).strip().casefold()


def printable(text: str) -> str:
    """`text` with whatever a CSV file or a terminal could not hold, such as bytes that are no UTF-8, escaped.

    File names may hold anything; ids and labels are made of them.

    >>> printable("a\\nb\\udcff ☃")
    'a\\\\nb\\\\xff ☃'
    """
    known = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in known)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seeded_place(name: str, seed: int) -> bytes:
    """A key that sorts names in a random order: it depends on the name and the seed alone, on every machine."""
    return hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest()


@contextmanager
def written_whole(path: Path, mode: str = "w", **options) -> Iterator[IO]:
    """Open a file that appears under `path` only when the block ends well, so no reader sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "b" not in mode:
        options = {"encoding": "utf-8", "newline": "", **options}
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with part.open(mode.replace("w", "x"), **options) as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def readable_bytes(count: float) -> str:
    """A number of bytes for people, in powers of 1,000.

    >>> readable_bytes(3_612_345), readable_bytes(193e9)
    ('3.6 MB', '193.0 GB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:,.1f} TB"


def readable_seconds(seconds: float) -> str:
    """A time for people.

    >>> readable_seconds(12.34), readable_seconds(400), readable_seconds(40_000)
    ('12 seconds', '6.7 minutes', '11.1 hours')
    """
    if seconds < 1:
        return "under a second"
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:,.1f} hours"
