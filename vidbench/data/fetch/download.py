"""One file from an address to this disk, whole or not at all; what has come of it waits for the next call."""

import contextlib
import json
import posixpath
from collections.abc import Callable
from pathlib import Path

from tqdm.auto import tqdm

from vidbench.data.fetch.http import Changed, Meter, Stream, Unreachable
from vidbench.utils import UserError, readable_bytes, written_whole

CHANGES = 3  # of a file while it is fetched, before it is given up
PIECE_BYTES = 1 << 16


def fetch_file(
    url: str,
    target: Path,
    *,
    check: Callable[[Path], None] = lambda path: None,
    meter: Meter | None = None,
    progress: bool = True,
) -> None:
    """Fetch one file to `target`, whole or not at all, with a progress bar.

    What has come lies in `<target>.part` meanwhile, and the server's words on which file it is (size, ETag or
    Last-Modified) in `<target>.part.json`: after a dropped connection, or in the next call, the fetching goes on behind
    it, and begins anew where another file lies there now.
    check: raises UserError where the finished file is not what was wanted; then it is removed
    meter: asked and told of all bytes
    Raises Unreachable when nothing answers, or when connections bring nothing new.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    note = target.with_name(f"{target.name}.part.json")
    for left in reversed(range(CHANGES)):
        try:
            _fetch_rest(url, part, note, meter, progress)
            break
        except Changed:
            part.unlink(missing_ok=True)
            if not left:
                raise
        except Unreachable as problem:
            have, _ = _begun(part, note)
            kept = f"; the {readable_bytes(have)} that came are kept" if have else ""
            raise Unreachable(f"{problem}{kept}", problem.status) from None
    try:
        check(part)
    except UserError:
        part.unlink()
        note.unlink(missing_ok=True)
        raise
    part.replace(target)
    note.unlink(missing_ok=True)


def bytes_of(target: Path) -> int:
    """How many bytes of `target` lie here already, unfinished."""
    with contextlib.suppress(OSError):
        return target.with_name(f"{target.name}.part").stat().st_size
    return 0


def _fetch_rest(url: str, part: Path, note: Path, meter: Meter | None, progress: bool) -> None:
    """Append to `part` what it lacks. Raises Unreachable; Changed where `part` is of another file."""
    position, known = _begun(part, note)
    if position and position == known["size"]:
        return
    with _stream(url, meter, position, known) as stream:
        if not position:  # in this order, so that bytes never lie beside words on another file
            part.unlink(missing_ok=True)
            with written_whole(note) as file:
                json.dump({"size": stream.size, "version": stream.version}, file)
        name, quiet = posixpath.basename(url), None if progress else True  # None: no bar where there is no terminal
        bar = tqdm(total=stream.size, initial=position, unit="B", unit_scale=True, desc=name, disable=quiet)
        with bar, part.open("ab") as file:
            while piece := stream.read(PIECE_BYTES):
                file.write(piece)
                bar.update(len(piece))


def _begun(part: Path, note: Path) -> tuple[int, dict]:
    """How much of which file has come; nothing where nobody knows which file it is, or it is too long to be it."""
    try:
        have, words = part.stat().st_size, json.loads(note.read_text(encoding="utf-8"))
        known = {"size": words["size"], "version": str(words["version"])}
        fits = have <= known["size"] if known["size"] is not None else bool(known["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}
    return (have, known) if have and fits else (0, {})


def _stream(url: str, meter: Meter | None, position: int, known: dict) -> Stream:
    try:
        return Stream(url, meter, position, **known)
    except Unreachable as problem:
        if position and problem.status == 416:  # no bytes there: the file is shorter than what came
            raise Changed(str(problem), 416) from None
        raise
