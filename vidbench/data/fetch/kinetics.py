"""Kinetics clips out of the archives that the CVDF hosts: which ones, from where, and what came of it.

An archive is read as a stream and left as soon as enough wanted clips are out of it; none lies on the disk unless asked
for. `manifest.csv` says which clips a folder holds, `missing.csv` which ones the last fetch could not get.
"""

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from vidbench.data.classes import kinetics_classes
from vidbench.data.datasets.registry import ROOT
from vidbench.data.fetch.cvdf import (
    FOLDERS,
    REPLACEMENTS,
    SPLITS,
    Archive,
    annotated,
    archives_of,
    are_complete,
    mean_clip_bytes,
    of_classes,
)
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.harvest import Harvest
from vidbench.data.fetch.http import size_of
from vidbench.data.fetch.manifest import Manifest
from vidbench.data.fetch.missing import reason_of, write_missing
from vidbench.data.fetch.notes import keys_in
from vidbench.data.fetch.outcome import Harvested, KineticsFetch, Outcome
from vidbench.data.fetch.reconcile import reconcile
from vidbench.data.fetch.wanted import Wanted
from vidbench.data.staging import in_words_of_disk, make_folder, staging
from vidbench.utils import UserError, canonical_label, readable_bytes, seeded_place

log = logging.getLogger(__name__)
Say = Callable[[str], None]


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
        outcome = Outcome(fetch, len(every), len(wanted), len(have), len(have - every.keys()))
        complete = are_complete(fetch.version, fetch.split, fetch.folder)
        if len(have) < fetch.goal and not (complete and have >= wanted.keys()):
            archives = _archives(fetch, every)
            _check_room(fetch, len(wanted.keys() - have))
            with staging(fetch.folder) as room:
                harvest = Harvest(
                    fetch.folder, gate, room, every, have, class_folders=fetch.version == "700-2020",
                    complete=complete, keep_archives=fetch.keep_archives, max_bytes=fetch.max_bytes,
                    retry_failed=fetch.retry_failed, progress=fetch.progress,
                )  # fmt: skip
                if fetch.order == "random":
                    _sample(harvest, fetch, wanted, archives, say)
                else:
                    harvest.run(archives, wanted, fetch.goal, fetch.jobs)
                outcome.got = harvest.result
            outcome.here, outcome.unlisted = len(have), len(have - every.keys())
            if len(have) < fetch.goal:
                outcome.missing = _missing(fetch, gate, wanted, have, archives)
    return _noted(outcome, wanted)


def fetch_from_youtube(
    fetch: KineticsFetch, *, cookies: Path | None = None, sleep: tuple[float, float] = (5.0, 10.0)
) -> Outcome:
    """Fetch clips from YouTube, one by one, as `fetch` says, always in a seeded random order.

    Raises UserError for options that only archives have; what else ends it is in the outcome.
    """
    from vidbench.data.fetch.youtube import fetch_youtube  # its library is only needed here

    _refuse_archive_options(fetch)
    got = Harvested(received_bytes=None)
    every, wanted = _clips(fetch)
    with Gate(fetch.folder, Manifest(fetch.folder), fetch.workers, fetch.decode_timeout) as gate:
        before = reconcile(fetch.folder, gate, every, fetch.workers, fetch.progress)
        clips = sorted(wanted.values(), key=lambda clip: seeded_place(clip.key, fetch.seed))
        try:
            fetch_youtube(
                clips, fetch.folder, gate, cookies=cookies, sleep=sleep, retry_failed=fetch.retry_failed,
                num_videos=fetch.num_videos, progress=fetch.progress and sys.stderr.isatty(),
            )  # fmt: skip
        except (UserError, OSError) as problem:
            got.problem = problem
        rows = Manifest(fetch.folder).rows
        have = {key for key in wanted if key in rows and rows[key].status == "ok"}
    got.new = len(have - before)
    outcome = Outcome(fetch, len(every), len(wanted), len(have), got=got)
    if len(have) < fetch.goal:
        outcome.missing = {key: reason_of(rows.get(key), "not fetched") for key in sorted(wanted.keys() - have)}
    return _noted(outcome, wanted)


def kinetics_folder(version: str, split: str, data_dir: Path | None = None) -> Path:
    """Where clips of a split go, and where `--dataset kinetics` looks for them."""
    root = data_dir or ROOT / "data" / "raw" / "kinetics" / version / split
    return root / split if (root / split).is_dir() else root


def _noted(outcome: Outcome, wanted: dict[str, Wanted]) -> Outcome:
    """The outcome, when what is missing is written; a disk that is full by now is no reason to lose it."""
    folder = outcome.fetch.folder
    try:
        write_missing(folder, outcome.missing, {key: clip.label for key, clip in wanted.items()})
    except OSError as problem:
        outcome.got.problem = outcome.got.problem or in_words_of_disk(problem, folder)
    return outcome


def _clips(fetch: KineticsFetch) -> tuple[dict[str, Wanted], dict[str, Wanted]]:
    """All annotated clips, and those that are wanted."""
    make_folder(fetch.folder)
    _refuse_others(fetch)
    every = annotated(fetch.version, fetch.split, fetch.folder, fetch.base_url)
    complete = are_complete(fetch.version, fetch.split, fetch.folder)
    more = () if complete else kinetics_classes(fetch.version)
    return every, of_classes(every, fetch.classes, more)


def _refuse_archive_options(fetch: KineticsFetch) -> None:
    given = {
        "--max-bytes": fetch.max_bytes is not None, "--keep-archives": fetch.keep_archives,
        "--replacements": fetch.replacements, "--jobs": fetch.jobs > 1,
    }  # fmt: skip
    if flags := [flag for flag, is_given in given.items() if is_given]:
        verb = "goes" if len(flags) == 1 else "go"
        raise UserError(f"{' and '.join(flags)} {verb} with --source archives: YouTube gives one clip after the other")


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
        reasons[key] = reason_of(gate.manifest.rows.get(key), "in none of the archives" if known else "not fetched")
    return reasons
