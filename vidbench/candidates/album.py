"""A folder of pictures, a folder a class in it, and `images.csv`: where each is from, and why others are not there."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidbench.candidates.stills import Refused, Still, checked_still
from vidbench.data.doubles import MATCH_BITS
from vidbench.data.fetch.manifest import Manifest

NAME = "images.csv"


@dataclass(frozen=True)
class ImageRow:
    """One picture.

    key: `<action>/<name>`. status: "ok", it lies at `file` below the folder; "rejected", it was looked at and is not
        taken; "failed", it did not come this time; "gone", it was "ok" and somebody deleted it. reason: "kind: words"
    query, title, creator, license, license_version, license_url, landing_page, source, url: of a picture that was
        found, as the search says; landing_page: where its author shows it, url: the picture itself
    clip, seconds: of a frame: the video's id, and where in the video it is
    group: what a split should keep together: the recording of a frame, the author of a picture that was found
    width, height: in pixels; sha256: of the file; phash: 256 bits of its looks, as hex digits
    """

    key: str
    file: str = ""
    action: str = ""
    query: str = ""
    title: str = ""
    creator: str = ""
    license: str = ""
    license_version: str = ""
    license_url: str = ""
    landing_page: str = ""
    source: str = ""
    url: str = ""
    clip: str = ""
    group: str = ""
    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    sha256: str = ""
    phash: str = ""
    status: str = "ok"
    reason: str = ""


class Album:
    """The pictures of a folder, and what is known of others; one process at a time writes it.

    parts: a folder on the same disk for a file that is not finished.
    Raises UserError where the folder holds another `images.csv`.
    """

    def __init__(self, folder: Path, parts: Path):
        self.folder, self.parts = Path(folder), parts
        self.table = Manifest(folder, ImageRow, NAME)
        self.counts: Counter = Counter()  # action → pictures that are there
        self.new: Counter = Counter()  # action → pictures that came in this call
        self._files: list[str] = []
        self._hashes = np.zeros((0, 4), np.uint64)  # of `_files`, with room behind them
        self._by_sha256: dict[str, str] = {}
        for row in list(self.table.rows.values()):
            if row.status == "ok" and not (self.folder / row.file).is_file():
                self.table.add(replace(row, status="gone", reason="gone: deleted by hand"))
            elif row.status == "ok":
                self._remember(row, self._hash_of(row))

    def known(self, key: str, again: bool = False) -> bool:
        """Whether nothing is to be done for a picture: it is there, or it was looked at and not taken.

        again: rejected ones are not known.
        """
        row = self.table.rows.get(key)
        return row is not None and (row.status in ("ok", "gone") or (row.status == "rejected" and not again))

    def left_by_a_kill(self, key: str) -> Still | None:
        """A picture that lies in the folder without a row, since the process that put it there was killed."""
        for path in (self.folder / f"{key}{suffix}" for suffix in (".jpg", ".png")):
            if path.is_file():
                try:
                    return checked_still(path.read_bytes())
                except Refused:
                    path.unlink()
        return None

    def keep(self, row: ImageRow, picture: Still) -> bool:
        """Take a picture in, unless a picture of any action shows the same; writes the row either way."""
        row = replace(row, width=picture.width, height=picture.height, sha256=picture.sha256, phash=picture.phash)
        path = self.folder / f"{row.key}{picture.suffix}"
        if double := self._double(picture):
            path.unlink(missing_ok=True)  # a file without a row
            first, words = double
            other = not first.startswith(f"{row.action}/")
            words += f" {first}" + (", of another action" if other else "")
            self.refuse(row, Refused("under another action" if other else "duplicate", words))
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self.parts / path.name
        part.write_bytes(picture.data)
        part.replace(path)
        row = replace(row, file=path.relative_to(self.folder).as_posix(), status="ok", reason="")
        self.table.add(row)
        self._remember(row, picture.hashes[0])
        self.new[row.action] += 1
        return True

    def refuse(self, row: ImageRow, problem: Refused) -> None:
        """Note why a picture is not taken."""
        self.table.add(replace(row, status="failed" if problem.again else "rejected", reason=str(problem)))

    def reasons(self, status: str) -> Counter:
        """How many pictures have a status for each kind of reason."""
        rows = self.table.rows.values()
        return Counter(row.reason.partition(":")[0] for row in rows if row.status == status)

    def _double(self, picture: Still) -> tuple[str, str] | None:
        """The file that shows the same, and in which words; None where none does."""
        if first := self._by_sha256.get(picture.sha256):
            return first, "the same bytes as"
        if not self._files:
            return None
        known = self._hashes[: len(self._files)]
        differing = np.bitwise_count(known[:, None] ^ picture.hashes[None]).sum(axis=2, dtype=np.int64)
        place, mirrored = np.unravel_index(differing.argmin(), differing.shape)
        if differing[place, mirrored] > MATCH_BITS:
            return None
        return self._files[place], "nearly the mirror image of" if mirrored else "nearly the same as"

    def _hash_of(self, row: ImageRow) -> np.ndarray:
        """(4,) uint64 as the row says, or as the file does where somebody's spreadsheet changed the row."""
        try:
            return np.frombuffer(bytes.fromhex(row.phash), np.uint64).reshape(4)
        except ValueError:
            return checked_still((self.folder / row.file).read_bytes()).hashes[0]

    def _remember(self, row: ImageRow, hashes: np.ndarray) -> None:
        if len(self._files) == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros((len(self._hashes) + 256, 4), np.uint64)])
        self._hashes[len(self._files)] = hashes
        self._files.append(row.file)
        self._by_sha256.setdefault(row.sha256, row.file)
        self.counts[row.action] += 1
