"""Archives → verified clips: several threads read archives until enough clips are out."""

import contextlib
import functools
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from vidbench.data.fetch.archives import DAMAGED, EMPTY, Member, clips_in, is_archive
from vidbench.data.fetch.cvdf import Archive
from vidbench.data.fetch.download import bytes_of, fetch_file
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.http import Stream, Unreachable, size_of
from vidbench.data.fetch.manifest import Row
from vidbench.data.fetch.notes import NOTES, keys_in, note_keys
from vidbench.data.fetch.outcome import Harvested
from vidbench.data.fetch.traffic import SpentError, Traffic
from vidbench.data.fetch.wanted import Wanted
from vidbench.data.staging import in_words_of_disk
from vidbench.utils import UserError, canonical_label, readable_bytes

log = logging.getLogger(__name__)
KEPT = "archives"
RESERVE_BYTES = 1 << 20  # of the disk: for the manifest's rows
MOST_IN_A_ROW = 5  # archives that cannot be read, before it is taken for something that concerns them all
LAST_SECONDS = 2.0  # that a thread gets to finish its clip after Ctrl-C
TELL_SECONDS = 0.5  # between two updates of the bar
WAIT_SECONDS = 0.2  # between two looks at what other threads and processes did


class Enough(Exception):
    """No more is needed, or possible: a thread ends."""


class Harvest:
    """Reads archives in threads, takes wanted clips out, and ends as soon as enough are there.

    annotated: all clips that are known, so that they are told from clips that the annotations lack (such are taken
    where the archive itself tells their class). have: the keys that are there; it grows. class_folders: clips go into a
    folder named after their class where the archive has one, and only then. complete: False where an archive of a class
    may hold more clips than are annotated. Several processes may work on one folder: each archive is read by one of
    them.
    """

    def __init__(
        self, folder: Path, gate: Gate, room: Path, annotated: dict[str, Wanted], have: set[str], *,
        class_folders: bool = False, complete: bool = True, keep_archives: bool = False, max_bytes: float | None = None,
        retry_failed: bool = False, progress: bool = True,
    ):  # fmt: skip
        self.folder, self.gate, self.room, self.annotated, self.have = folder, gate, room, annotated, have
        self.complete, self.keep_archives, self.progress = complete, keep_archives, progress
        labels = {clip.label for clip in annotated.values() if clip.label} if class_folders else set()
        self.folders = {canonical_label(name): name for name in labels if _is_plain(name)}
        self.tried = set() if retry_failed else _settled(gate)
        self.result = Harvested()
        self._flying: set[str] = set()  # keys that threads are taking
        self._change = threading.Condition()
        self._in_a_row = 0
        self.traffic = Traffic(max_bytes, self._heard)

    def run(self, archives: Iterable[Archive], wanted: dict[str, Wanted], goal: float, jobs: int = 1) -> None:
        """Read archives in their order, `jobs` at once, until `goal` clips are there; `result` says what came of it.

        Ctrl-C ends it; what was finished is kept.
        """
        self._queue, self.wanted, self.goal = deque(archives), wanted, goal
        self._labels = {archive.label for archive in self._queue}
        self._by_label: dict[str, list[str]] = {}
        for clip in wanted.values():
            self._by_label.setdefault(clip.label, []).append(clip.key)
        self._over = self.result.problem is not None
        self._told = time.monotonic()
        self.traffic.restart()
        total = len(wanted) if goal == float("inf") else int(goal)
        quiet = None if self.progress else True  # None: no bar where there is no terminal
        with tqdm(total=total, initial=len(self.have), unit="clip", disable=quiet) as self._bar:
            threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(jobs, len(self._queue)))]
            for thread in threads:
                thread.start()
            try:
                while alive := [thread for thread in threads if thread.is_alive()]:
                    alive[0].join(WAIT_SECONDS)
            finally:
                self._over = True
                for thread in threads:
                    thread.join(LAST_SECONDS)
                self._tell()
                self.result.received_bytes = self.traffic.received_bytes
        if isinstance(self.result.problem, SpentError):
            self.result.problem = self._spent()

    def _work(self) -> None:
        """A thread: one archive after the other."""
        with contextlib.suppress(Enough):
            while archive := self._next():
                try:
                    self._read_alone(archive)
                    self._in_a_row = 0
                except DAMAGED as problem:
                    kept = self.folder / KEPT / archive.name
                    hint = f"; remove {kept} to fetch it anew" if kept.is_file() else ""
                    self._give_up(f"{archive.url}: {problem}{hint}")
                except Unreachable as problem:
                    if problem.status is None:  # nobody answers: nor will they for the next archive
                        self._end(problem)
                    self._give_up(str(problem))
                except Enough:
                    raise
                except Exception as problem:
                    self._end(problem)

    def _next(self) -> Archive | None:
        with self._change:
            self._check()
            return self._queue.popleft() if self._queue else None

    def _check(self) -> None:
        """Raise Enough where it is."""
        if self._over or len(self.have) >= self.goal:
            raise Enough

    def _end(self, problem: Exception) -> None:
        """End all threads; the first problem is kept."""
        with self._change:
            if not self._over:
                self.result.problem, self._over = in_words_of_disk(problem, self.folder), True
            self._change.notify_all()
        raise Enough

    def _give_up(self, words: str) -> None:
        with self._change:
            log.info("%s", words)
            self.result.problems.append(words)
            self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            self._end(UserError(f"{MOST_IN_A_ROW} archives in a row could not be read, the last: {words}"))

    def _read_alone(self, archive: Archive) -> None:
        """Read an archive, unless another process is at it: then later."""
        notes = self.folder / NOTES
        notes.mkdir(exist_ok=True)
        try:
            alone = FileLock(notes / f"{archive.name}.lock").acquire(timeout=0)
        except Timeout:
            with self._change:
                self._hear()
                self._queue.append(archive)
                self._change.wait(WAIT_SECONDS)
            return
        with alone:
            with self._change:
                self._hear()
            held = keys_in(self.folder, archive)
            if (left := self._left(archive, held)) is None or left:
                self._read(archive, left)

    def _left(self, archive: Archive, held: list[str] | None) -> set[str] | None:
        """What may still be taken out of an archive, None where nobody can know before it is read."""
        keys = held
        if keys is None and archive.label is not None and self.complete:
            keys = self._by_label.get(archive.label)
        if keys is not None:
            return {key for key in keys if self._lacks(key, archive) and self._clip(key, archive.label)}
        if archive.label is None and not any(self._lacks(key, archive) for key in self.wanted):
            return set()
        return None

    def _lacks(self, key: str, archive: Archive) -> bool:
        return key not in self.have and (key, archive.url) not in self.tried

    def _clip(self, key: str, label: str | None) -> Wanted | None:
        """The wanted clip of that key; an archive's class stands in where the annotations lack the clip."""
        if key in self.annotated or label is None:
            return self.wanted.get(key)
        return Wanted.of(key, label)

    def _read(self, archive: Archive, left: set[str] | None) -> None:
        log.info("reading %s", archive.url)
        keys, refused = [], {}  # refused: key → why
        with self._opened(archive) as stream:
            for member in clips_in(stream):
                if member.key:
                    keys.append(member.key)
                if member.refusal:
                    with self._change:
                        self.result.refused[member.refusal] += 1
                    refused[member.key] = member.refusal
                    continue
                clip = self._clip(member.key, archive.label)
                if clip and self._claim(clip.key, archive):
                    self._take(member, clip, archive)
                if left is not None:
                    left.discard(member.key)
                    if not left:
                        break
        refused.pop("", None)  # what has no clip's name
        for key, why in refused.items():
            self._note_refused(self._clip(key, archive.label), why, archive)
        if left is None or left:  # it was read to its end
            note_keys(self.folder, archive, keys)

    def _note_refused(self, clip: Wanted | None, why: str, archive: Archive) -> None:
        """A row for a clip of which an archive has nothing but members that are not touched."""
        if clip is None or not self._lacks(clip.key, archive):
            return
        status, reason, size = ("bad", EMPTY, 0) if why == EMPTY else ("failed", f"refused: {why}", None)
        self.gate.note(Row(clip.key, clip.label, archive.url, bytes=size, status=status, reason=reason))
        with self._change:
            self.tried.add((clip.key, archive.url))
            self.result.bad[clip.key] = reason

    def _opened(self, archive: Archive):
        """The archive's bytes: from the disk where it was kept, else over the line."""
        kept = self.folder / KEPT / archive.name
        if self.keep_archives and not kept.is_file():
            self._check_room((size_of(archive.url) or 0) - bytes_of(kept))
            fetch_file(
                archive.url, kept, check=functools.partial(_check_archive, archive), meter=self.traffic, progress=False
            )
        return kept.open("rb", buffering=0) if kept.is_file() else Stream(archive.url, self.traffic)

    def _claim(self, key: str, archive: Archive) -> bool:
        """Whether this thread is to take a clip; waits while clips that others are taking may be enough."""
        with self._change:
            while True:
                self._hear()
                self._check()
                if key in self._flying or not self._lacks(key, archive):
                    return False
                if len(self.have) + len(self._flying) < self.goal:
                    self._flying.add(key)
                    return True
                self._change.wait(WAIT_SECONDS)

    def _take(self, member: Member, clip: Wanted, archive: Archive) -> None:
        """A clip that was claimed: out of the archive, through the gate, into the folder."""
        part = self.room / f"{clip.key}.mp4"
        try:
            self._check_room(member.bytes)
            member.copy_to(part)
            row = self.gate.admit(
                part, self._target(member), key=clip.key, label=clip.label, source=archive.url,
                seconds=clip.seconds or None,
            )  # fmt: skip
            with self._change:
                self.tried.add((clip.key, archive.url))
                if row.status == "ok":
                    self.have.add(clip.key)
                    self.result.bad.pop(clip.key, None)
                    self.result.new += 1
                    self._bar.update()
                else:
                    self.result.bad[clip.key] = row.reason
        finally:
            part.unlink(missing_ok=True)
            with self._change:
                self._flying.discard(clip.key)
                self._change.notify_all()

    def _target(self, member: Member) -> Path:
        """Where a clip goes. The key is its name; a folder around it counts only where it is a label."""
        label = self.folders.get(canonical_label(member.folder))
        return (self.folder / label if label else self.folder) / f"{member.key}.mp4"

    def _hear(self) -> None:
        """Take in what other processes did."""
        for row in self.gate.news():
            if row.status == "ok" and (row.key in self.wanted or self._is_unlisted(row)):
                self.have.add(row.key)
            elif row.status in ("bad", "failed"):
                self.tried.add((row.key, row.source))

    def _is_unlisted(self, row: Row) -> bool:
        """Whether a clip that the annotations lack came out of an archive of a wanted class."""
        return row.key not in self.annotated and bool(row.label) and row.label in self._labels

    def _check_room(self, needed: float) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed + RESERVE_BYTES:
            words = f"{readable_bytes(free)} are free in {self.folder}, {readable_bytes(needed)} more are needed"
            self._end(UserError(f"{words}; what was fetched is kept, the same command goes on"))

    def _spent(self) -> UserError:
        """The error for a call that ended at --max-bytes."""
        words = f"stopped at --max-bytes: {readable_bytes(self.result.received_bytes)} were received"
        if self.result.new or self.keep_archives:
            return UserError(f"{words}; what was fetched is kept, the same command goes on")
        return UserError(
            f"{words}, and no new clip was among them, nor would be the next time: raise --max-bytes, or use "
            "--keep-archives, which goes on where it stopped"
        )

    def _heard(self) -> None:
        """Bytes came over the line; raises Enough where no more are wanted."""
        with self._change:
            if time.monotonic() - self._told > TELL_SECONDS:
                self._tell()
            self._check()

    def _tell(self) -> None:
        """Bytes and their rate, behind the bar of the clips."""
        self._told = time.monotonic()
        self._bar.set_postfix_str(self.traffic.words())


def _settled(gate: Gate) -> set[tuple[str, str]]:
    """(key, address) of clips that are bad or refused in an archive: it would give the same again."""
    return {(key, row.source) for key, row in gate.manifest.rows.items() if row.status in ("bad", "failed")}


def _check_archive(archive: Archive, path: Path) -> None:
    """Raise Unreachable for a file that is no archive: a hot spot's page."""
    if not is_archive(path):
        raise Unreachable(f"{archive.url} answered with something else than an archive, which is not kept", 0)


def _is_plain(name: str) -> bool:
    """Whether a label may be the name of a folder."""
    return Path(name).name == name and not name.startswith(".") and len(name.encode()) < 200 and "\\" not in name
