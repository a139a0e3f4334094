"""What is wrong with videos, each alone and beside the others."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from vidbench.arguments import CheckSettings
from vidbench.checking.listing import recording
from vidbench.data.decode import VideoInfo
from vidbench.data.doubles import Double, find_doubles
from vidbench.data.load import Failure
from vidbench.data.looks import Looks
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.utils import UserError

ALONE = (
    "missing", "unreadable", "too short", "one frame", "frozen", "black", "one colour", "odd rate", "odd size",
    "odd shape", "odd length",
)  # fmt: skip
DOUBLES = ("double across splits", "double under another label", "double within a split")  # the worst first
GROUPS = "group in two splits"
STILL = 24  # of 255: no spot of a frozen video changes more; stills at CRF 42 flicker by 16, JHMDB's clips change by 77
STILL_SECONDS = 0.5  # of a shorter video nothing is said
MOST = 0.9  # of its frames make a video black, or one colour
ODD = {"odd rate": 1.5, "odd size": 2.0, "odd shape": 2.0, "odd length": 4.0}  # × or ÷ the median, and more, is odd
ODD_OF = 5  # a median of fewer videos makes none odd
NAMED = 5  # doubles that a row of check.csv names; pairs.csv has all


@dataclass(eq=False)
class Checked:
    """One video: what it looks like, or why it cannot be read, and [(kind, words)] of what was found."""

    video: Video
    looks: Looks | None
    failure: Failure | None
    findings: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The video's id behind its split: ids may stand in several splits."""
        return f"{self.video.split}/{self.video.video_id}"

    @property
    def status(self) -> str:
        """ "ok", "missing" or "unreadable"."""
        return "ok" if self.looks else "missing" if self.failure.stage == "find" else "unreadable"


@dataclass(frozen=True, eq=False)
class Check:
    """What was found.

    videos: all, in the order of their splits and ids; doubles: pairs of their places; shared: {recording: places of
    videos} of recordings that stand in two splits; crowded: bands that were not compared, see `find_doubles`
    notes: what a reader must know
    """

    name: str
    videos: list[Checked]
    doubles: list[Double]
    shared: dict[str, list[int]]
    crowded: int
    notes: list[str]

    @property
    def splits(self) -> list[str]:
        """The names of the splits, in their order."""
        return list(dict.fromkeys(one.video.split for one in self.videos))

    def of_kind(self, kind: str) -> list[Checked]:
        """The videos with a finding of a kind."""
        return [one for one in self.videos if any(found == kind for found, _ in one.findings)]

    def pairs_of_kind(self, kind: str) -> list[tuple[Checked, Checked, Double]]:
        """The doubles of one of the kinds `DOUBLES`."""
        pairs = [(self.videos[pair.first], self.videos[pair.second], pair) for pair in self.doubles]
        return [found for found in pairs if double_kind(found[0].video, found[1].video) == kind]


def double_kind(one: Video, other: Video) -> str:
    """Which of `DOUBLES` two videos that show the same are."""
    if one.split != other.split:
        return DOUBLES[0]
    return DOUBLES[1] if one.label != other.label else DOUBLES[2]


def examine(
    name: str,
    videos: Sequence[Video],
    seen: Sequence[Looks | Failure],
    enough: Callable[[VideoInfo], str | None] = lambda info: None,
    notes: Sequence[str] = (),
) -> Check:
    """All findings of videos of which `seen` says what each looks like, or why it cannot be read.

    enough: says in words, of a video, why it is too short, None where it is not
    """
    rows = [
        Checked(video, None, found) if isinstance(found, Failure) else Checked(video, found, None)
        for video, found in zip(videos, seen, strict=True)
    ]
    for row in rows:
        row.findings += _alone(row, enough)
    _add_odd(rows)
    doubles, crowded = find_doubles(videos, [row.looks for row in rows])
    _add_doubles(rows, doubles)
    shared = _shared_recordings(rows)
    for group, places in shared.items():
        for place in places:
            others = sorted({rows[p].video.split for p in places} - {rows[place].video.split})
            rows[place].findings.append((GROUPS, f"group {group!r} is in {' and '.join(others)} too"))
    return Check(name, rows, doubles, shared, crowded, list(notes))


def _alone(row: Checked, enough: Callable[[VideoInfo], str | None]) -> Iterable[tuple[str, str]]:
    """What can be said of a video without the others."""
    seen = row.looks
    if seen is None:
        yield row.status, f"{row.status}: {row.failure.reason}" if row.status == "unreadable" else "missing"
        return
    if short := enough(seen.info):
        yield "too short", f"too short: {short}"
    if seen.info.num_frames == 1:
        yield "one frame", "one frame"
    if (share := seen.black.mean()) >= MOST:
        yield "black", f"black: {share:.0%} of its frames are"
    elif (share := seen.plain.mean()) >= MOST:
        yield "one colour", f"one colour: {share:.0%} of its frames are"
    elif seen.change <= STILL and seen.info.num_frames > 1 and seen.info.seconds >= STILL_SECONDS:
        yield "frozen", "frozen: nothing moves"


def _add_odd(rows: list[Checked]) -> None:
    readable = [row for row in rows if row.looks]
    if len(readable) < ODD_OF:
        return
    for kind, (value, words) in MEASURES.items():
        usual = median(value(row.looks.info) for row in readable)
        for row in readable:
            ratio = value(row.looks.info) / usual
            if not 1 / ODD[kind] < ratio < ODD[kind]:
                middle = min(readable, key=lambda row: abs(value(row.looks.info) - usual)).looks.info
                row.findings.append((kind, f"{kind}: {words(row.looks.info)}, usual is {words(middle)}"))


MEASURES: dict[str, tuple[Callable[[VideoInfo], float], Callable[[VideoInfo], str]]] = {
    "odd rate": (lambda info: info.fps, lambda info: f"{info.fps:.4g} frames a second"),
    "odd size": (lambda info: min(info.width, info.height), lambda info: f"{info.width}×{info.height}"),
    "odd shape": (lambda info: info.width / info.height, lambda info: f"{info.width}×{info.height}"),
    "odd length": (lambda info: info.seconds, lambda info: f"{info.seconds:.3g} s"),
}


def _add_doubles(rows: list[Checked], doubles: Iterable[Double]) -> None:
    others: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
    for pair in doubles:
        kind = double_kind(rows[pair.first].video, rows[pair.second].video)
        words = {"exact": "the same file as", "near": "near double of", "mirrored": "mirrored double of"}[pair.kind]
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            others[one].append((DOUBLES.index(kind), kind, f"{words} {rows[other].name}"))
    for place, found in others.items():
        found.sort()
        rows[place].findings += [(kind, words) for _, kind, words in found[:NAMED]]
        if len(found) > NAMED:
            rows[place].findings.append((found[NAMED][1], f"and of {len(found) - NAMED} more: pairs.csv"))


def _shared_recordings(rows: Sequence[Checked]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if group := recording(row.video):
            places[group].append(place)
    return {name: found for name, found in sorted(places.items()) if len({rows[p].video.split for p in found}) > 1}


def enough_frames(settings: CheckSettings) -> Callable[[VideoInfo], str | None]:
    """What says of a video why it is too short for the model, or for so many frames; None where it is not."""
    if not (settings.model or settings.num_frames):
        if settings.frame_rate:
            raise UserError("--frame-rate goes with --model or --num-frames")
        return lambda info: None
    name = settings.model or f"--num-frames {settings.num_frames}"
    protocol = _protocol_of(settings).override(settings.num_frames, settings.frame_rate)

    def too_short(info: VideoInfo) -> str | None:
        needed = protocol.frames_needed(info.fps)
        return f"{info.num_frames} frames, {name} takes {needed}" if info.num_frames < needed else None

    return too_short


def _protocol_of(settings: CheckSettings) -> Protocol:
    if not settings.model:
        return Protocol()
    from vidbench.models import spec_of  # Keras takes seconds to import
    from vidbench.models.spec import read_spec

    path = Path(settings.model)
    if path.suffix != ".keras":
        return spec_of(settings.model).protocol
    if not path.with_suffix(".json").is_file():
        raise UserError(f"there is no {path.with_suffix('.json')}: say --num-frames in place of --model")
    return read_spec(path.with_suffix(".json"), path).protocol
