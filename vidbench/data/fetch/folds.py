"""UCF-101 and HMDB51 with their lists of folds: out of the archives that the authors publish, or that the user has."""

import logging
import posixpath
import re
import shutil
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tqdm.auto import tqdm

from vidbench.data.datasets.tables import video_files
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.lists import FOLDS, bring_lists, lists_beside, lists_lacking, wanted_clips
from vidbench.data.fetch.manifest import Manifest, Row
from vidbench.data.fetch.members import DamagedError, Member, has_extractor, is_archive, members, no_extractor
from vidbench.data.fetch.missing import reason_of, write_missing
from vidbench.data.staging import make_folder, staging
from vidbench.utils import UserError, unknown

log = logging.getLogger(__name__)
PUBLISHED = ".published"  # where downloaded archives lie until all clips are out of them


def fetch_folds(
    name: str,
    folder: Path,
    *,
    archive: Path | None = None,
    splits: Path | None = None,
    progress: bool = False,
    jobs: int = 1,
    addresses: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Fill `folder` with the clips of "ucf101" or "hmdb51", as `<Class>/<name>.avi`, and with its official lists.

    Only clips that the lists name come in, each verified; they and what was wrong with others are noted in the
    manifest, by the files' stems, and `missing.csv` names those that are not here, with the reason. Clips that are
    verified already are not read again; a killed call is completed by the next one.

    archive: .rar (also one of .rar files), .zip, .tar or .tar.gz with the clips, or a folder, which is left as it is;
        None: what lies in `folder` is verified, and what lacks is fetched from the authors
    splits: the lists, likewise; None: those in `folder`, else in a folder `archive`, else the authors'
    jobs: processes that verify. addresses: of "archive" and "splits", instead of the authors'

    Returns counts: expected, found, verified, bad, missing (of the clips that the lists name); refused (names in an
    archive that point out of it, and links). Raises UserError where lists or clips cannot be had: it says what to
    download from where; TLS is never switched off.
    """
    if name not in FOLDS:
        raise unknown("data set with folds", name, FOLDS)
    for given in (archive, splits):
        if given is not None and not given.exists():
            raise UserError(f"no such file or folder: {given}")
    addresses = {**FOLDS[name].addresses, **(addresses or {})}
    make_folder(folder)
    with staging(folder, alone="folds") as parts:
        if lists_lacking(name, folder):
            lists = splits or lists_beside(name, archive, addresses) or _published(name, folder, "splits", addresses)
            bring_lists(name, folder, lists, parts)
        wanted = wanted_clips(name, folder)
        try:
            with _Run(folder, wanted, jobs, progress) as run:
                run.verify_lying()
                if run.lacking:
                    source = archive or _published(name, folder, "archive", addresses)
                    run.take(source, parts)
        finally:
            _write_missing(folder, wanted)
    counts = run.counts()
    if counts["verified"] == counts["expected"]:
        shutil.rmtree(folder / PUBLISHED, ignore_errors=True)
    return counts


class _Run:
    """One call: which clips are `wanted`, {file name: class}, which are `lacking` still, what became of the others.

    Use as a context manager; `take` reads one file after the other while `jobs` processes verify.
    """

    def __init__(self, folder: Path, wanted: dict[str, str], jobs: int, progress: bool):
        self.folder, self.wanted, self.jobs, self.progress = folder, wanted, jobs, progress
        self.manifest = Manifest(folder)
        self.lacking = {name for name in wanted if not self._is_verified(Path(name).stem)}
        self.verified, self.refused = len(wanted) - len(self.lacking), 0
        self.bad: set[str] = set()  # came, from wherever, and were no clips
        self._pending: deque[tuple[str, Future[Row]]] = deque()

    def __enter__(self) -> "_Run":
        with ExitStack() as stack:
            self._gate = stack.enter_context(Gate(self.folder, self.manifest, workers=self.jobs))
            self._threads = stack.enter_context(ThreadPoolExecutor(self.jobs))
            bar = tqdm(total=len(self.wanted), initial=self.verified, unit="clip", disable=not self.progress)
            self._bar = stack.enter_context(bar)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem) -> None:
        with self._stack:
            for _, waiting in self._pending:
                waiting.cancel()

    def counts(self) -> dict[str, int]:
        """What became of the clips, in numbers."""
        found = self.verified + len(self.bad)
        return {
            "expected": len(self.wanted),
            "found": found,
            "verified": self.verified,
            "bad": len(self.bad),
            "missing": len(self.wanted) - found,
            "refused": self.refused,
        }

    def verify_lying(self) -> None:
        """Verify the clips that lie in the folder without a row, wherever below it; bad ones are put aside."""
        lying = {path.name: path for path in video_files(self.folder) if path.name in self.lacking}
        for name, path in lying.items():
            self._admit(name, path, path, "here")
        self._settle(0)
        self.lacking -= lying.keys() - self.bad  # the bad ones may come again, out of an archive
        for name in sorted(self.lacking - lying.keys()):
            row = self.manifest.rows.get(Path(name).stem)
            if row and row.status == "ok":
                self._gate.note(Row(row.key, row.label, row.source, status="gone", reason="the file lies here no more"))

    def take(self, source: Path, parts: Path) -> None:
        """Let in the clips of an archive or a folder that lack; raises UserError where it has none of them."""
        lacked, refused = len(self.lacking), set()
        for member in members(source, parts):
            if not member.plain:
                log.info("%s: %r is refused: a link, or a name that points out of the archive", source, member.path)
                self.refused += 1
                refused.add(re.split(r"[/\\]", member.path)[-1])
            elif member.name in self.lacking:
                self.lacking.remove(member.name)
                self._take(member, parts / member.name, source.name)
            if not self.lacking:
                break
        self._settle(0)
        none = lacked == len(self.lacking) == len(self.wanted)
        for name in sorted(refused & self.lacking):
            reason = "refused: a link, or a name that points out of the archive"
            self._fail(name, source.name, reason)
        if none:
            raise UserError(f"{source} has none of the {lacked:,} clips that the lists name")

    def _take(self, member: Member, part: Path, source: str) -> None:
        name = member.name
        try:
            member.copy_to(part)
        except DamagedError as problem:
            self._fail(name, source, f"damaged there: {problem}")
            return
        self._admit(name, part, self.folder / self.wanted[name] / name, source)

    def _fail(self, name: str, source: str, reason: str) -> None:
        """A clip that an archive names and that cannot be had."""
        self._gate.note(Row(Path(name).stem, self.wanted[name], source, status="failed", reason=reason))
        self.bad.add(name)
        self.lacking.discard(name)

    def _admit(self, name: str, part: Path, target: Path, source: str) -> None:
        """Have a file verified while the next one is read; not more than two a process wait for it."""
        self._settle(2 * self.jobs - 1)
        known = {"key": Path(name).stem, "label": self.wanted[name], "source": source}
        self._pending.append((name, self._threads.submit(self._gate.admit, part, target, **known)))

    def _settle(self, left: int) -> None:
        """Count results until not more than `left` are awaited."""
        while len(self._pending) > left:
            name, waiting = self._pending.popleft()
            if waiting.result().status == "ok":
                self.verified += 1
                self.bad.discard(name)
                self._bar.update()
            else:
                self.bad.add(name)

    def _is_verified(self, key: str) -> bool:
        row = self.manifest.rows.get(key)
        if row is None or row.status != "ok":
            return False
        path = self.folder / row.path
        return path.is_file() and path.stat().st_size == row.bytes


def _write_missing(folder: Path, wanted: dict[str, str]) -> None:
    rows, labels = Manifest(folder).rows, {Path(name).stem: label for name, label in wanted.items()}
    lacking = [key for key in labels if key not in rows or rows[key].status != "ok"]
    write_missing(
        folder, {key: reason_of(rows.get(key), "not in what was given or fetched") for key in lacking}, labels
    )


def _published(name: str, folder: Path, what: str, addresses: Mapping[str, str]) -> Path:
    """The authors' archive of clips or of lists, downloaded; raises UserError that says how to do without."""
    from vidbench.data.fetch import fetch_file  # the package itself, complete only after its modules

    address = addresses[what]
    path = folder / PUBLISHED / posixpath.basename(address)
    try:
        if address.endswith(".rar") and not has_extractor():
            raise no_extractor(posixpath.basename(address))
        if not path.is_file():
            fetch_file(address, path)
        if not is_archive(path):
            path.unlink()
            raise UserError(f"what {address} sends is no archive")
    except UserError as problem:
        files = {what: posixpath.basename(address) for what, address in addresses.items()}
        raise UserError(
            f"{problem}. By hand: download {addresses['archive']} and {addresses['splits']} with a browser (TLS is "
            f"never switched off here), then: scripts/fetch.py {name} --archive {files['archive']} "
            f"--splits {files['splits']}"
        ) from None
    return path
