"""UCF-101 and HMDB51 with their lists of folds: out of the archives that the authors publish, or that the user has."""

import logging
import posixpath
import re
import shutil
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from vidbench.data.datasets.splits import UCF101_NAME
from vidbench.data.datasets.tables import video_files, visible_files
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.manifest import Manifest, Row
from vidbench.data.fetch.members import DamagedError, has_extractor, is_archive, members, no_extractor
from vidbench.data.fetch.parts import parts_folder
from vidbench.utils import UserError, unknown

log = logging.getLogger(__name__)
PUBLISHED = ".published"  # where downloaded archives lie until all clips are out of them
LARGEST_LIST = 1 << 20  # bytes; the longest official list has half a megabyte
FILE_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*\.avi")
CLASS_NAME = re.compile(r"\w[\w -]*")


@dataclass(frozen=True)
class Folds:
    """How a data set is published.

    addresses: of "archive" and "splits"; lists: what their files are called; needed: of each fold;
    lists_folder: where the authors' archive has them
    """

    addresses: Mapping[str, str]
    lists: re.Pattern
    needed: re.Pattern
    lists_folder: str


FOLDS = {  # the authors' addresses, from their pages; they were not tried here
    "ucf101": Folds(
        {
            "archive": "https://www.crcv.ucf.edu/data/UCF101/UCF101.rar",
            "splits": "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",
        },
        re.compile(r"classInd\.txt|(?:train|test)list0[123]\.txt"),
        re.compile(r"(train|test)list0([123])\.txt"),
        "ucfTrainTestlist",
    ),
    "hmdb51": Folds(
        {
            "archive": "https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10/hmdb51_org.rar",
            "splits": "https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10/test_train_splits.rar",
        },
        re.compile(r"\w[\w -]*_test_split[123]\.txt"),
        re.compile(r"(\w[\w -]*)_test_split([123])\.txt"),
        "testTrainMulti_7030_splits",
    ),
}


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
    manifest, by the files' stems. Clips that are verified already are not read again; a killed call is completed by
    the next one.

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
    with parts_folder(folder, name) as parts:
        _bring_lists(name, folder, splits, archive, parts, addresses)
        with _Run(folder, _wanted(name, folder), jobs, progress) as run:
            run.verify_lying()
            if run.lacking:
                source = archive or _published(name, folder, "archive", addresses)
                run.take(source, parts)
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

    def take(self, source: Path, parts: Path) -> None:
        """Let in the clips of an archive or a folder that lack; raises UserError where it has none of them."""
        lacked = len(self.lacking)
        for member in members(source, parts):
            if not member.plain:
                log.warning("%s: %r is refused: a link, or a name that points out of the archive", source, member.path)
                self.refused += 1
            elif member.name in self.lacking:
                self.lacking.remove(member.name)
                self._take(member, parts / member.name, source.name)
            if not self.lacking:
                break
        self._settle(0)
        if lacked == len(self.lacking) == len(self.wanted):
            raise UserError(f"{source} has none of the {lacked:,} clips that the lists name")

    def _take(self, member, part: Path, source: str) -> None:
        name = member.name
        try:
            member.copy_to(part)
        except DamagedError as problem:
            row = Row(Path(name).stem, self.wanted[name], source, status="failed", reason=f"damaged there: {problem}")
            self._gate.note(row)
            self.bad.add(name)
            return
        self._admit(name, part, self.folder / self.wanted[name] / name, source)

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


def _bring_lists(name: str, folder: Path, splits: Path | None, archive: Path | None, parts: Path, addresses) -> None:
    """See to it that the official lists lie in the folder."""
    if not _lists_lacking(name, folder):
        return
    source = splits or _lists_beside(name, archive, addresses) or _published(name, folder, "splits", addresses)
    for member in members(source, parts, depth=0):
        if member.plain and FOLDS[name].lists.fullmatch(member.name):
            part = parts / member.name
            try:
                member.copy_to(part)
            except DamagedError as problem:
                raise UserError(f"{source}: {member.path} is damaged: {problem}") from None
            if part.stat().st_size <= LARGEST_LIST:
                target = folder / FOLDS[name].lists_folder / member.name
                target.parent.mkdir(exist_ok=True)
                part.replace(target)
    if lacking := _lists_lacking(name, folder):
        raise UserError(f"{source} lacks official lists of {name}: {', '.join(lacking[:6])}")


def _lists_beside(name: str, archive: Path | None, addresses) -> Path | None:
    """Where a folder of clips has the lists too, as they are or in the authors' archive."""
    if archive is None or not archive.is_dir():
        return None
    if not _lists_lacking(name, archive):
        return archive
    packed = archive / posixpath.basename(addresses["splits"])
    return packed if packed.is_file() else None


def _lists_lacking(name: str, folder: Path) -> list[str]:
    """Which lists are not below a folder, of those that all three folds need."""
    found = [match.groups() for path in visible_files(folder) if (match := FOLDS[name].needed.fullmatch(path.name))]
    if name == "ucf101":
        needed = [(half, fold) for half in ("train", "test") for fold in "123"]
        return [f"{half}list0{fold}.txt" for half, fold in needed if (half, fold) not in found]
    classes = sorted({label for label, _ in found}) or ["<class>"]
    return [f"{label}_test_split{fold}.txt" for label in classes for fold in "123" if (label, fold) not in found]


def _wanted(name: str, folder: Path) -> dict[str, str]:
    """{file name: class} of every clip that the lists in a folder name; raises UserError for a line that is no clip."""
    wanted = {}
    for path in visible_files(folder):
        if match := FOLDS[name].needed.fullmatch(path.name):
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.strip():
                    file, label = _clip(name, line.strip(), match[1])
                    if not FILE_NAME.fullmatch(file) or not CLASS_NAME.fullmatch(label):
                        raise UserError(f"{path}: {line!r} names no clip of {name}")
                    wanted[file] = label
    return wanted


def _clip(name: str, line: str, label: str) -> tuple[str, str]:
    """(file name, class) in a line of a list.

    >>> _clip("ucf101", "Archery/v_Archery_g08_c01.avi 3", "train"), _clip("hmdb51", "old_man_wave_f_0.avi 1", "wave")
    (('v_Archery_g08_c01.avi', 'Archery'), ('old_man_wave_f_0.avi', 'wave'))
    """
    file = re.sub(r"\s+\d+$", "", line)  # the number of the class, or the clip's use
    if name == "hmdb51":
        return file, label
    file = file.rsplit("/", 1)[-1]
    parts = UCF101_NAME.fullmatch(file.removesuffix(".avi"))
    return file, parts[1] if parts else ""


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
