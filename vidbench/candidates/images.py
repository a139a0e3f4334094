"""Pictures of actions in a folder a class: out of a search for openly licensed ones, or frames of clips that are there.

What a call did is kept at any moment: the next one goes on, and downloads nothing twice, neither what was taken nor
what was not.
"""

import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pebble import ThreadPool
from tqdm.auto import tqdm

from vidbench.candidates.actions import Action, read_actions
from vidbench.candidates.album import NAME, Album, ImageRow
from vidbench.candidates.download import Downloads
from vidbench.candidates.from_clips import Taking, background_clips, labelled_clips, take_frames
from vidbench.candidates.openverse import PUBLIC, Found, Openverse
from vidbench.candidates.stills import Refused, Still, checked_still
from vidbench.data.fetch.manifest import Manifest
from vidbench.data.records import Video
from vidbench.data.staging import staging
from vidbench.machine import usable_cpus
from vidbench.utils import UserError

PAGES = ".searches"  # answers of the search: hidden, so that no data set lists them
WORK = "images"
NUMBER, MIN_SIDE, MOST_BYTES = 100, 200, 20e6  # of a search, unless the settings say otherwise


@dataclass(frozen=True)
class ImageSearch:
    """How pictures are searched for and fetched.

    licenses: of `openverse.LICENSES`, none for all; min_side: pixels; max_image_bytes, timeout: bytes and seconds of
    one picture; retry_rejected: look again at what was not taken before
    """

    base_url: str = PUBLIC
    licenses: tuple[str, ...] = ()
    num_workers: int = 8
    min_side: int = MIN_SIDE
    max_image_bytes: float = MOST_BYTES
    timeout: float = 60.0
    retry_rejected: bool = False


@dataclass
class Outcome:
    """What a folder holds after a call. wanted: action → how many pictures, None for as many as there are.

    here, new: action → pictures, of which new ones; rejected, failed: reason → pictures, of the whole folder
    """

    folder: Path
    wanted: dict[str, int | None]
    here: Counter = field(default_factory=Counter)
    new: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """For people."""
        width = max(map(len, self.wanted), default=0)
        lines = []
        for name, wanted in self.wanted.items():
            count = f"{self.here[name]:,}" + ("" if wanted is None else f" of {wanted:,}")
            few = wanted is not None and self.here[name] < wanted
            lines.append(f"{name:<{width}}  {count} images, {self.new[name]:,} new" + (": no more were found" * few))
        for title, reasons, more in (
            ("not taken", self.rejected, ""),
            ("did not come", self.failed, "; the same command asks again"),
        ):
            if reasons:
                words = ", ".join(f"{kind} {count:,}" for kind, count in reasons.most_common())
                lines.append(f"{title}: {words}{more}")
        return [*lines, f"in {self.folder}; {NAME} says where each is from, and why others are not there"]

    def check(self) -> None:
        """Raise UserError where no picture is there at all."""
        if not any(self.here[name] for name in self.wanted):
            raise UserError(f"not one image could be had; {self.folder / NAME} says why")


def make_images(settings, base_url: str | None = None, say: Callable[[str], None] = print) -> Outcome:
    """What scripts/candidates.py images does, from its settings (`vidbench.arguments.candidates_images`)."""
    folder, number = settings.out_path, settings.images_per_action
    actions = read_actions(settings.actions) if settings.actions else []
    clips: list[Video] = []
    if settings.from_clips:
        names = [action.name for action in actions]
        clips += labelled_clips(settings.from_clips, settings.dataset, settings.split, names)
    if settings.background:
        clips += background_clips(settings.background)
    parts = []
    if actions and not settings.from_clips:
        same = ("licenses", "num_workers", "timeout", "retry_rejected")
        search = ImageSearch(
            base_url or PUBLIC,
            min_side=settings.min_side or MIN_SIDE,
            max_image_bytes=settings.max_image_bytes or MOST_BYTES,
            **{name: getattr(settings, name) for name in same},
        )
        parts.append(search_images(folder, actions, number or NUMBER, search, say))
    if clips:
        same = ("frames_per_clip", "decode_timeout", "frames_fps", "retry_rejected")
        taking = Taking(
            workers=min(settings.num_workers, usable_cpus()),
            min_side=settings.min_side or 0,
            **{name: getattr(settings, name) for name in same},
        )
        parts.append(images_from_clips(folder, clips, number, taking, settings.seed))
    for earlier in parts[:-1]:  # the last one counts the whole folder
        parts[-1].wanted, parts[-1].new = earlier.wanted | parts[-1].wanted, earlier.new + parts[-1].new
    return parts[-1]


def search_images(
    folder: Path,
    actions: Sequence[Action],
    number: int,
    search: ImageSearch | None = None,
    say: Callable[[str], None] = print,
    wait: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Search for each action's pictures and fetch them to `folder/<action>/<id>.jpg|.png`, until `number` are there.

    A picture counts once it is whole and decodes; of pictures that show the same (by their perceptual hash, mirrored
    or not, under whichever action) the first stays. `folder/images.csv` has a row for each picture that was looked at.
    say: is told of waits that the search asks for; wait: how to wait
    Raises UserError where the search ends it all, or another process works on the folder; what came is kept.
    """
    search = search or ImageSearch()
    with _album(folder) as album, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of files that are a little wrong, by any thread
        openverse = Openverse(album.folder / PAGES, search.base_url, search.licenses, say, wait)
        pool = ThreadPool(max_workers=search.num_workers)  # its threads end with the process, also where one waits
        try:
            for action in actions:
                _fill(album, action, number, openverse, search, pool)
        except UserError as problem:
            kept = sum(album.counts.values())
            raise UserError(f"{problem}; {kept:,} images are kept in {folder}, the same command goes on") from None
        finally:
            pool.stop()
        return _outcome(album, {action.name: number for action in actions})


def images_from_clips(
    folder: Path, clips: Sequence[Video], number: int | None = None, taking: Taking | None = None, seed: int = 0
) -> Outcome:
    """Put frames of labelled clips to `folder/<class>/<clip>_<milliseconds>.jpg`, spread over each clip.

    number: of pictures of each class, None for all. Frames that show the same as another are left out, as are those of
    a single colour. The rows of `folder/images.csv` name the clip and its recording, so that a split can keep them
    together.
    """
    with _album(folder) as album:
        take_frames(album, clips, number, taking or Taking(), seed)
        return _outcome(album, dict.fromkeys(sorted({video.label for video in clips}), number))


def kept_in(folder: Path) -> int:
    """How many pictures a folder holds, as its table says."""
    there = (Path(folder) / NAME).is_file()
    return sum(row.status == "ok" for row in Manifest(folder, ImageRow, NAME).rows.values()) if there else 0


@contextmanager
def _album(folder: Path):
    """The album of a folder, for this process alone; its table is sorted in the end."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, and the images go into a folder")
    with staging(folder, WORK) as parts:
        album = Album(folder, parts)
        yield album
        album.table.compact()


def _outcome(album: Album, wanted: dict[str, int | None]) -> Outcome:
    return Outcome(album.folder, wanted, album.counts, album.new, album.reasons("rejected"), album.reasons("failed"))


def _fill(album: Album, action: Action, number: int, openverse: Openverse, search: ImageSearch, pool) -> None:
    """Fetch an action's pictures until `number` are there or the search has no more; the best results first.

    What was asked for comes in before an error of the search ends it.
    """
    downloads = Downloads(search.max_image_bytes, search.timeout)
    results, problem = openverse.images(action.query), None
    pending: deque = deque()
    asked: set[str] = set()  # pages that are fetched one after the other may share results
    bar = tqdm(total=number, initial=album.counts[action.name], desc=action.name, unit="image", disable=None)
    with bar:
        while album.counts[action.name] < number:
            while results and len(pending) < min(2 * search.num_workers, number - album.counts[action.name]):
                try:
                    found = next(results, None)
                except UserError as end:
                    found, problem = None, end
                if found is None:
                    results = None
                elif (row := _new_row(album, action, found, search)) and row.key not in asked:
                    asked.add(row.key)
                    left = album.left_by_a_kill(row.key)
                    task = (downloads, row.url, search.min_side)
                    pending.append((row, left or pool.schedule(_fetched, args=task)))
            if not pending:
                break
            row, picture = pending.popleft()
            try:
                bar.update(album.keep(row, picture if isinstance(picture, Still) else picture.result()))
            except Refused as why:
                album.refuse(row, why)
    if problem:
        raise problem


def _fetched(downloads: Downloads, url: str, min_side: int) -> Still:
    """A thread's task."""
    return checked_still(downloads.fetch(url), min_side)


def _new_row(album: Album, action: Action, found: Found, search: ImageSearch) -> ImageRow | None:
    """The row of a result that is worth a download; None for one that is known, or that its words rule out."""
    facts = asdict(found)
    name, mature = facts.pop("id"), facts.pop("mature")
    sound = name.isascii() and name.replace("-", "").isalnum() and len(name) <= 64
    group = f"{found.source}: {found.creator}" if found.creator else name
    row = ImageRow(f"{action.name}/{name[:64]}", action=action.name, query=action.query, group=group, **facts)
    if album.known(row.key, search.retry_rejected):
        return None
    try:
        if not sound:
            raise Refused("bad result", "its id can be no file's name")
        if mature:
            raise Refused("mature content")
        if search.licenses and found.license.lower() not in search.licenses:
            raise Refused("other license", found.license or "none told")
    except Refused as why:
        album.refuse(row, why)
        return None
    return row
