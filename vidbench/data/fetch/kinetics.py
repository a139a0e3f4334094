"""Kinetics clips out of the archives that the CVDF hosts: which ones, from where, and what came of it.

An archive is read as a stream and left as soon as enough wanted clips are out of it; none lies on the disk unless asked
for. `manifest.csv` says which clips a folder holds, `missing.csv` which ones the last fetch could not get.
"""

import csv
import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidbench.data.datasets.registry import ROOT
from vidbench.data.fetch.cvdf import (
    CVDF,
    FOLDERS,
    REPLACEMENTS,
    SPLITS,
    Archive,
    annotated,
    archives_of,
    check_split,
    mean_clip_bytes,
    of_classes,
)
from vidbench.data.fetch.gate import ASIDE, Gate
from vidbench.data.fetch.harvest import Harvest, Harvested, keys_in
from vidbench.data.fetch.http import size_of
from vidbench.data.fetch.manifest import Manifest, Row
from vidbench.data.fetch.reconcile import reconcile
from vidbench.data.fetch.staging import staging
from vidbench.data.fetch.wanted import Wanted
from vidbench.machine import usable_cpus
from vidbench.utils import UserError, canonical_label, printable, readable_bytes, seeded_place, written_whole

log = logging.getLogger(__name__)
MISSING = "missing.csv"
MOST_VERIFIERS = 8
Say = Callable[[str], None]


@dataclass(frozen=True)
class KineticsFetch:
    """What is wanted of Kinetics, and how it is fetched.

    num_videos: until so many clips are in the folder, those that lie there counted; 0: all. classes: of these only.
    order: "first" reads archives in a seeded order, clips as they come; "random" takes a seeded random sample of the
    annotated clips. base_url: of a mirror, laid out as CVDF's host. max_bytes: received by one call, at most.
    replacements: Kinetics-400's, for corrupt train clips. retry_failed: also clips that were bad before.
    """

    version: str
    split: str
    folder: Path
    num_videos: int = 0
    classes: Sequence[str] = ()
    seed: int = 0
    order: str = "first"
    jobs: int = 1
    base_url: str = CVDF
    replacements: bool = False
    keep_archives: bool = False
    max_bytes: float | None = None
    retry_failed: bool = False
    decode_timeout: float = 60.0
    progress: bool = True

    def __post_init__(self):
        check_split(self.version, self.split)
        if self.order not in ("first", "random"):
            raise UserError(f"the order must be first or random, got {self.order!r}")
        if self.replacements and (self.version, self.split) != ("400", "train"):
            raise UserError("--replacements are clips of Kinetics-400's train split")
        if not self.base_url.endswith("/"):
            object.__setattr__(self, "base_url", f"{self.base_url}/")

    @property
    def goal(self) -> float:
        """How many clips are enough."""
        return self.num_videos or float("inf")

    @property
    def workers(self) -> int:
        """Processes that verify clips."""
        return max(self.jobs, min(MOST_VERIFIERS, usable_cpus()))


@dataclass
class Outcome:
    """What a fetch came to: `annotated` clips in all, `wanted` of the chosen classes, `here` verified ones of these."""

    fetch: KineticsFetch
    annotated: int
    wanted: int
    here: int
    got: Harvested = field(default_factory=Harvested)
    missing: dict[str, str] = field(default_factory=dict)  # key → why

    def lines(self) -> list[str]:
        """What to tell, the counts first."""
        of = self.fetch.num_videos or self.wanted
        name = f"kinetics-{self.fetch.version} {self.fetch.split}"
        lines = [
            f"{name}: {self.here:,} of {of:,} clips are here and verified ({self.wanted:,} annotated"
            + (f" in these classes, {self.annotated:,} in all" if self.fetch.classes else "")
            + f"); {self.got.new:,} new, {readable_bytes(self.got.received_bytes)} received"
        ]
        if self.got.bad:
            lines.append(f"bad, put aside in {ASIDE}: {_some(self.got.bad)}")
        if self.got.refused:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.got.refused.items()))
            lines.append(f"refused in archives: {kinds}")
        lines += [f"archive not read to its end: {problem}" for problem in self.got.problems]
        if self.missing:
            lines.append(f"missing {len(self.missing):,}, named in {MISSING}: {_some(self.missing)}")
        return [printable(line) for line in lines]

    def check(self) -> None:
        """Raise UserError or OSError where fewer clips are here than were asked for, and this is why."""
        if self.here >= self.fetch.goal:
            return
        if self.got.problem:
            raise self.got.problem
        if self.got.problems:
            raise UserError(f"{self.got.problems[0]}; what was fetched is kept, the same call goes on")


def fetch_kinetics(version: str, split: str, folder: Path, *, num_videos: int, **options) -> int:
    """Fetch clips and annotations of a split until `num_videos` clips lie in `folder`; returns how many do.

    options: the other fields of `KineticsFetch`. Fewer clips than asked for are no error where there are no more.
    Raises UserError for an unknown version or split, when the network does not answer, or an archive is broken and
    clips are lacking for it; what was fetched until then is kept.
    """
    outcome = fetch_from_archives(KineticsFetch(version, split, Path(folder), num_videos, **options))
    outcome.check()
    return outcome.here


def fetch_from_archives(fetch: KineticsFetch, say: Say = log.info) -> Outcome:
    """Fetch clips as `fetch` says; `say` is told what a random order will cost.

    Raises UserError where the annotations or the list of archives cannot be had; what happens later is in the outcome.
    """
    every, wanted = _clips(fetch)
    with Gate(fetch.folder, Manifest(fetch.folder), fetch.workers, fetch.decode_timeout) as gate:
        have = _counted(reconcile(fetch.folder, gate, every, fetch.workers, fetch.progress), gate, every, fetch)
        outcome = Outcome(fetch, len(every), len(wanted), len(have))
        if len(have) < fetch.goal and not have >= wanted.keys():
            archives = _archives(fetch, every)
            _check_room(fetch, len(wanted.keys() - have))
            with staging(fetch.folder) as room:
                harvest = Harvest(
                    fetch.folder, gate, room, every, have, class_folders=fetch.version == "700-2020",
                    keep_archives=fetch.keep_archives, max_bytes=fetch.max_bytes, retry_failed=fetch.retry_failed,
                    progress=fetch.progress,
                )  # fmt: skip
                if fetch.order == "random":
                    _sample(harvest, fetch, wanted, archives, say)
                else:
                    harvest.run(archives, wanted, fetch.goal, fetch.jobs)
                outcome.got = harvest.result
            outcome.here = len(have)
            if len(have) < fetch.goal:
                outcome.missing = _missing(fetch, gate, wanted, have, archives)
    _write_missing(fetch.folder, outcome.missing, wanted)
    return outcome


def fetch_from_youtube(
    fetch: KineticsFetch, *, cookies: Path | None = None, sleep: tuple[float, float] = (5.0, 10.0)
) -> Outcome:
    """Fetch clips from YouTube, one by one, as `fetch` says; its archive options do not matter."""
    from vidbench.data.fetch.youtube import fetch_youtube  # its library is only needed here

    every, wanted = _clips(fetch)
    with Gate(fetch.folder, Manifest(fetch.folder), fetch.workers, fetch.decode_timeout) as gate:
        before = reconcile(fetch.folder, gate, every, fetch.workers, fetch.progress)
        clips = sorted(wanted.values(), key=lambda clip: seeded_place(clip.key, fetch.seed))
        fetch_youtube(
            clips, fetch.folder, gate, cookies=cookies, sleep=sleep, retry_failed=fetch.retry_failed,
            num_videos=fetch.num_videos, progress=fetch.progress and sys.stderr.isatty(),
        )  # fmt: skip
        rows = Manifest(fetch.folder).rows
        have = {key for key in wanted if key in rows and rows[key].status == "ok"}
    outcome = Outcome(fetch, len(every), len(wanted), len(have), Harvested(new=len(have - before)))
    if len(have) < fetch.goal:
        outcome.missing = {key: _reason(rows.get(key), "not fetched") for key in sorted(wanted.keys() - have)}
    _write_missing(fetch.folder, outcome.missing, wanted)
    return outcome


def kinetics_folder(version: str, split: str, data_dir: Path | None = None) -> Path:
    """Where clips of a split go, and where `--dataset kinetics` looks for them."""
    root = data_dir or ROOT / "data" / "raw" / "kinetics" / version / split
    return root / split if (root / split).is_dir() else root


def _clips(fetch: KineticsFetch) -> tuple[dict[str, Wanted], dict[str, Wanted]]:
    """All annotated clips, and those that are wanted."""
    fetch.folder.mkdir(parents=True, exist_ok=True)
    _refuse_others(fetch)
    every = annotated(fetch.version, fetch.split, fetch.folder, fetch.base_url)
    return every, of_classes(every, fetch.classes)


def _refuse_others(fetch: KineticsFetch) -> None:
    """Raise UserError for a folder that holds clips of another version or split, as their sources tell."""
    places = {f"/{place}/{split}/": (version, split) for version, (place, _) in FOLDERS.items() for split in SPLITS}
    own = f"/{FOLDERS[fetch.version][0]}/{fetch.split}/"
    for row in Manifest(fetch.folder).rows.values():
        for place, (version, split) in places.items():
            if place != own and place in row.source and own not in row.source:
                raise UserError(
                    f"{fetch.folder} holds clips of kinetics-{version} {split}: one folder is one split, choose "
                    "another --data-dir"
                )


def _counted(there: set[str], gate: Gate, every: dict[str, Wanted], fetch: KineticsFetch) -> set[str]:
    """The clips that count: of the chosen classes, and labelled where the split's labels are public."""
    chosen = {canonical_label(name) for name in fetch.classes}
    labelled = any(clip.label for clip in every.values())

    def counts(key: str) -> bool:
        label = every[key].label if key in every else gate.manifest.rows[key].label
        if chosen:
            return canonical_label(label) in chosen
        return key in every or bool(label) or not labelled

    return {key for key in there if counts(key)}


def _archives(fetch: KineticsFetch, every: dict[str, Wanted]) -> list[Archive]:
    """The archives that may hold wanted clips, in their seeded order; the replacements come last."""
    labels = {clip.label for clip in every.values() if clip.label}
    chosen = {canonical_label(name) for name in fetch.classes}
    archives = [
        archive
        for archive in archives_of(fetch.version, fetch.split, labels, fetch.base_url)
        if not chosen or archive.label is None or canonical_label(archive.label) in chosen
    ]
    archives.sort(key=lambda archive: seeded_place(archive.name, fetch.seed))
    return archives + [Archive(f"{fetch.base_url}{REPLACEMENTS}")] * fetch.replacements


def _sample(
    harvest: Harvest, fetch: KineticsFetch, wanted: dict[str, Wanted], archives: list[Archive], say: Say
) -> None:
    """The first clips of a seeded order, wherever they lie; the next ones take the places of those that are lacking."""
    ordered = sorted(wanted, key=lambda key: seeded_place(key, fetch.seed))
    asked: set[str] = set()
    while harvest.result.problem is None:
        left = [key for key in ordered if key not in harvest.have and key not in asked]
        lacking = int(min(fetch.goal - len(harvest.have), len(left)))
        if lacking <= 0:
            return
        chosen = {key: wanted[key] for key in left[:lacking]}
        needed = [archive for archive in archives if _may_hold(fetch.folder, archive, chosen)]
        if not asked:
            say(_cost(needed, len(chosen)))
        harvest.run(needed, chosen, len(harvest.have) + len(chosen), fetch.jobs)
        asked |= chosen.keys()


def _may_hold(folder: Path, archive: Archive, chosen: dict[str, Wanted]) -> bool:
    """Whether some chosen clip can be in an archive, as far as its class or an earlier reading tells."""
    if (held := keys_in(folder, archive)) is not None:
        return not chosen.keys().isdisjoint(held)
    return archive.label is None or any(clip.label == archive.label for clip in chosen.values())


def _cost(archives: list[Archive], clips: int) -> str:
    sizes = [size_of(archive.url) for archive in archives]
    known = sum(size for size in sizes if size is not None)
    unsaid = f", and {sizes.count(None):,} archives of unknown size" if None in sizes else ""
    return f"{clips:,} clips at random: up to {readable_bytes(known)} in {len(archives):,} archives{unsaid}"


def _check_room(fetch: KineticsFetch, lacking: int) -> None:
    """Raise UserError where the disk has no room for the clips that are lacking, at their mean size."""
    mean = mean_clip_bytes(fetch.version, fetch.split)
    needed = min(lacking, fetch.goal) * mean
    free = shutil.disk_usage(fetch.folder).free
    if free < min(needed, fetch.max_bytes or needed):
        raise UserError(
            f"{readable_bytes(free)} are free in {fetch.folder}, {min(lacking, fetch.goal):,.0f} clips take about "
            f"{readable_bytes(needed)}: fetch fewer (--num-videos), or elsewhere (--data-dir)"
        )


def _missing(
    fetch: KineticsFetch, gate: Gate, wanted: dict[str, Wanted], have: set[str], archives: list[Archive]
) -> dict[str, str]:
    """{key: why} of the wanted clips that are not here."""
    unread = {archive.label for archive in archives if keys_in(fetch.folder, archive) is None}
    reasons = {}
    for key in sorted(wanted.keys() - have):
        known = unread.isdisjoint((None, wanted[key].label))
        reasons[key] = _reason(gate.manifest.rows.get(key), "in none of the archives" if known else "not fetched")
    return reasons


def _reason(row: Row | None, otherwise: str) -> str:
    if row is None or row.status not in ("bad", "failed"):
        return otherwise
    return f"bad: {row.reason}" if row.status == "bad" else row.reason


def _write_missing(folder: Path, missing: dict[str, str], wanted: dict[str, Wanted]) -> None:
    if not missing:
        (folder / MISSING).unlink(missing_ok=True)
        return
    with written_whole(folder / MISSING) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "label", "reason"])
        writer.writerows([key, printable(wanted[key].label), printable(why)] for key, why in missing.items())


def _some(named: dict[str, str], most: int = 5) -> str:
    """The first few of {key: reason}."""
    shown = ", ".join(f"{key} ({why})" for key, why in list(named.items())[:most])
    return shown + (f", … ({len(named):,} in all)" if len(named) > most else "")
