"""What archives turned out to hold, for later fetches."""

import json
from collections.abc import Sequence
from pathlib import Path

from vidbench.data.fetch.cvdf import Archive
from vidbench.utils import written_whole

NOTES = ".archives"  # notes, and locks: hidden, so that no data set lists it


def keys_in(folder: Path, archive: Archive) -> list[str] | None:
    """The keys of an archive's clips, None where it was never read to its end."""
    try:
        note = json.loads(_note_of(folder, archive).read_text(encoding="utf-8"))
        return list(note["keys"]) if note["url"] == archive.url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note_keys(folder: Path, archive: Archive, keys: Sequence[str]) -> None:
    """Note what an archive holds that was read to its end."""
    with written_whole(_note_of(folder, archive)) as file:
        json.dump({"url": archive.url, "keys": list(keys)}, file)


def _note_of(folder: Path, archive: Archive) -> Path:
    return folder / NOTES / f"{archive.name}.json"
