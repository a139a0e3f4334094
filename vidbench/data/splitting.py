"""Videos of one's own → train, val and test: stratified by class, no recording in two of them, no file moved."""

import contextlib
import logging
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from tqdm.auto import tqdm

from vidbench.data.balance import assign
from vidbench.data.datasets import DATASETS
from vidbench.data.datasets.annotated import TABLES, Recipe, check_free, write_annotations
from vidbench.data.datasets.kinetics import KINETICS_NAME
from vidbench.data.datasets.splits import HMDB51_TAGS, UCF101_NAME
from vidbench.data.datasets.tables import read_table, video_files
from vidbench.data.doubles import connected, copies, find_doubles
from vidbench.data.images import is_frame
from vidbench.data.load import Failure
from vidbench.data.looks import Looks, looks_of
from vidbench.data.records import Video
from vidbench.utils import UserError

SPLITS = tuple(TABLES)  # train, val, test
AUTO = "auto"  # as --group-by: by what videos look like, too
log = logging.getLogger(__name__)


def split_folder(
    root: Path,
    out: Path,
    *,
    gt_csv: Path | None = None,
    ratios: Sequence[float] = (80, 10, 10),
    group_by: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
    **looking,
) -> list[Video]:
    """Split the videos below `root` and write `annotations.json` and its tables into `out`; returns the videos.

    group_by: see `with_groups`; "auto" decodes the videos and keeps doubles together, see `joined_by_looks`
    looking: options of `looks_of`
    No video is moved. Raises UserError for whatever the user can mend; nothing is written then.
    """
    if gt_csv and gt_csv.resolve() in [(out / name).resolve() for name in TABLES.values()]:
        raise UserError(f"{gt_csv} would be overwritten: choose another --out")
    videos = videos_below(root, gt_csv)
    if group_by == AUTO:
        check_free(out, overwrite)
        seen = list(tqdm(looks_of(videos, **looking), total=len(videos), disable=not progress, unit="video"))
        videos = joined_by_looks(with_groups(videos), seen)
    else:
        videos = with_groups(videos, group_by)
    videos = split_videos(videos, ratios, seed)
    write_annotations(out, root, videos, Recipe(seed, tuple(ratios), group_by), overwrite)
    warn_of_copies(videos)
    return videos


# ------------------------------------------------------------------ what there is to split


def videos_below(root: Path, gt_csv: Path | None = None) -> list[Video]:
    """The labelled videos of `root/<class>/*`, files or folders of frames; with `gt_csv` the rows of that table.

    Sorted by id, which is the path below `root`; `split` and `group` are still None. The table names folders of
    frames, as the data set `frames` reads it; a row whose folder is not there is a video too.
    Raises UserError: no such folder, split already, videos without a class, names that no table can hold.
    """
    if not root.is_dir():
        raise UserError(f"no such folder: {root}")
    if gt_csv:
        videos = _rows_of(root, gt_csv)
    else:
        if splits := [name for name in SPLITS if (root / name).is_dir()]:
            raise UserError(f"{root} is split already ({', '.join(splits)}): name a folder of class folders")
        paths = {file.parent if is_frame(file) else file for file in video_files(root)}
        videos = [_video(path, path.relative_to(root)) for path in paths]
    if not videos:
        raise UserError(f"no videos in {root}")
    if loose := sorted(video.video_id for video in videos if video.label is None):
        wanted = f"a label for each row of {gt_csv}" if gt_csv else f"{root}/<class>/<video>"
        raise UserError(f"{len(loose)} of {len(videos)} videos have no class, e.g. {loose[0]!r}: wanted {wanted}")
    for video in videos:
        if not (_fits_a_table(video.video_id) and _fits_a_table(video.label)):
            raise UserError(f"a table cannot hold this name, rename it: {video.label!r} {video.video_id!r}")
    return sorted(videos, key=lambda video: video.video_id)


def _video(path: Path, place: Path) -> Video:
    return Video(place.as_posix(), path, place.parts[0] if len(place.parts) > 1 else None)


def _rows_of(root: Path, gt_csv: Path) -> list[Video]:
    if any("split" in row for row in read_table(gt_csv, {"folder_name", "label"})):
        raise UserError(f"{gt_csv} is split already, by its column split")
    rows = DATASETS["frames"](root, "all", gt_csv=gt_csv).videos
    if missing := [video.path for video in rows if not video.path.exists()]:
        log.warning("%d of %d folders of %s are not there, e.g. %s", len(missing), len(rows), gt_csv, missing[0])
    if strangers := [video.path for video in rows if not video.path.is_relative_to(root)]:
        raise UserError(f"{gt_csv}: {strangers[0]} does not lie below {root}")
    videos = [Video(video.path.relative_to(root).as_posix(), video.path, video.label) for video in rows]
    for name, count in Counter(video.video_id for video in videos).items():
        if count > 1:
            raise UserError(f"{gt_csv}: the folder {name} stands twice")
    return videos


def _fits_a_table(text: str) -> bool:
    """Whether a UTF-8 CSV gives a cell back as it was: cells are stripped, and line ends become `\\n`."""
    with contextlib.suppress(UnicodeEncodeError):
        return bool(text.encode()) and text == text.strip() and "\r" not in text
    return False


# ------------------------------------------------------------------ which videos belong together


def with_groups(videos: Iterable[Video], group_by: str | None = None) -> list[Video]:
    """The videos with the recording that each comes from as their `group`.

    It is what the regular expression `group_by` finds in a video's path below the root: its first group, else the
    whole match. Without one it is what names as in UCF-101, HMDB51 or Kinetics tell, else None: the video is a
    recording of its own. Raises UserError where `group_by` finds nothing.
    """
    videos = list(videos)
    if group_by is None:
        return [replace(video, group=known_group(Path(video.video_id).name, video.label)) for video in videos]
    pattern = re.compile(group_by)
    found = [pattern.search(video.video_id) for video in videos]
    groups = [match and match[min(1, pattern.groups)] for match in found]
    if missed := [video.video_id for video, group in zip(videos, groups, strict=True) if not group]:
        raise UserError(f"--group-by {group_by!r} finds nothing in {len(missed)} of {len(videos)} paths: {missed[0]!r}")
    return [replace(video, group=group) for video, group in zip(videos, groups, strict=True)]


def joined_by_looks(videos: Sequence[Video], seen: Sequence[Looks | Failure]) -> list[Video]:
    """The videos with one group for all that are doubles of each other (`find_doubles`) or have a group in common.

    seen: what each looks like; one that cannot be read keeps the group it has, and is warned of. A joined group has
    the name that sorts first of its videos' groups, else of their ids.
    """
    failed = [found for found in seen if isinstance(found, Failure)]
    if failed:
        told = f"{failed[0].video.video_id} ({failed[0].reason})"
        log.warning(
            "%d of %d videos cannot be read and are grouped by name alone, e.g. %s", len(failed), len(seen), told
        )
    doubles, crowded = find_doubles(videos, [None if isinstance(found, Failure) else found for found in seen])
    if crowded:
        log.warning("parts of pictures that more than a hundred videos share were not compared: %d", crowded)
    pairs = [(pair.first, pair.second) for pair in doubles]
    first_of: dict[str, int] = {}
    for place, video in enumerate(videos):
        if video.group is not None:
            pairs.append((first_of.setdefault(video.group, place), place))
    parts: dict[int, list[int]] = defaultdict(list)
    for place, root in enumerate(connected(len(videos), pairs)):
        parts[root].append(place)
    joined = list(videos)
    for places in parts.values():
        if len(places) > 1:
            named = [videos[place].group for place in places if videos[place].group is not None]
            name = min(named or [videos[place].video_id for place in places])
            for place in places:
                joined[place] = replace(videos[place], group=name)
    return joined


def known_group(name: str, label: str) -> str | None:
    """The recording that a file name tells, by the rules of UCF-101, HMDB51 and Kinetics; None for other names.

    >>> known_group("v_Archery_g01_c02.avi", "Archery"), known_group("RATRACE_wave_f_nm_np1_fr_goo_37.avi", "wave")
    ('Archery_g01', 'RATRACE')
    """
    stem = re.sub(r"\.\w+$", "", name)
    if match := UCF101_NAME.fullmatch(stem):
        return f"{match[1]}_{match[2]}"
    if match := re.fullmatch(rf"(.+?)_{re.escape(label)}_{HMDB51_TAGS}", stem):
        return match[1]
    return stem[:11] if KINETICS_NAME.fullmatch(stem) else None


def group_name(video: Video) -> str:
    """A video's recording; its id where it is a recording of its own."""
    return video.group or video.video_id


# ------------------------------------------------------------------ which group goes where


def split_videos(videos: Iterable[Video], ratios: Sequence[float] = (80, 10, 10), seed: int = 0) -> list[Video]:
    """The videos, in their order, with a `split` each: train, val or test, in the given ratios (0: no such split).

    Every class is in every split, in ratios as near to these as whole groups allow; no group is in two. It depends
    on ids, labels, groups, ratios and seed alone, in whole numbers: the same everywhere, whatever the order.
    Raises UserError for classes with fewer groups than there are splits.
    """
    videos = list(videos)
    names = [name for name, ratio in zip(SPLITS, ratios, strict=False) if ratio]
    exact = [Fraction(str(ratio)) for ratio in ratios if ratio]
    whole = [int(ratio * math.lcm(*(ratio.denominator for ratio in exact))) for ratio in exact]
    groups: dict[str, Counter] = defaultdict(Counter)
    for video in videos:
        groups[group_name(video)][video.label] += 1
    _check_sizes(groups, len(names))
    place = assign(groups, [ratio // math.gcd(*whole) for ratio in whole], seed)
    for label in sorted({video.label for video in videos}):
        if missing := set(range(len(names))) - {place[group] for group in groups if label in groups[group]}:
            raise UserError(f"no split was found that has {label!r} in {names[min(missing)]} too and cuts no group")
    return [replace(video, split=names[place[group_name(video)]]) for video in videos]


def _check_sizes(groups: dict[str, Counter], parts: int) -> None:
    sizes = Counter(label for content in groups.values() for label in content)
    if small := sorted(label for label, size in sizes.items() if size < parts):
        counts = {label: sum(content[label] for content in groups.values()) for label in small}
        told = ", ".join(f"{label!r} has {sizes[label]} (videos: {counts[label]})" for label in small)
        raise UserError(f"too small to split: each class needs {parts} groups, one a split, and {told}")


# ------------------------------------------------------------------ what to know of it


def warn_of_copies(videos: Iterable[Video]) -> None:
    """Log the files that stand under two labels, and those that stand in two splits."""
    found = list(copies(videos))
    for attribute, meaning in (("label", "under different labels"), ("split", "in two splits")):
        twice = [same for same in found if len({getattr(video, attribute) for video in same}) > 1]
        if twice:
            named = "; ".join(" = ".join(video.video_id for video in same[:3]) for same in twice[:5])
            log.warning("the same file stands %s, %d times: %s%s", meaning, len(twice), named, " …" * (len(twice) > 5))


def split_table(videos: Iterable[Video]) -> str:
    """What each split holds: videos, their share, groups, classes, and the fewest and most videos of a class."""
    videos = list(videos)
    lines = [f"{'split':6} {'videos':>8} {'share':>7} {'groups':>8} {'classes':>8}  videos a class"]
    for name in SPLITS:
        part = [video for video in videos if video.split == name]
        if sizes := sorted(Counter(video.label for video in part).values()):
            groups = len({group_name(video) for video in part})
            share = f"{len(part) / len(videos):.1%}"
            span = f"{sizes[0]:,} to {sizes[-1]:,}"
            lines.append(f"{name:6} {len(part):8,} {share:>7} {groups:8,} {len(sizes):8,}  {span}")
    return "\n".join(lines)
