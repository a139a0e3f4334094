"""The contact sheet of a check: videos as strips of frames with captions, two a row, to look over."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidbench.checking.findings import ALONE, DOUBLES, Check, Checked
from vidbench.data.load import Sample, VideoLoader
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.utils import printable, written_whole

ROWS = 30  # of doubles and groups, at most; of a video a class, too
A_KIND = 8  # videos of one kind of finding
FRAMES, SIDE = 4, 128  # of a strip: frames, pixels of each
GAP, LINE = 12, 18  # pixels
SMALL, LARGE = 12, 16  # points
CAPTION = FRAMES * SIDE
PAPER, INK, FAINT = "#ffffff", "#222222", "#dddddd"


@dataclass(frozen=True)
class Picture:
    """A video of a sheet, and what stands above it."""

    video: Video
    caption: str


Row = tuple[Picture, ...]


def pages(check: Check) -> list[tuple[str, list[Row]]]:
    """[(heading, rows of one or two pictures)]: doubles and shared groups, flagged videos; else a video a class."""
    pairs, flagged = _pairs(check), _flagged(check)
    parts = []
    if pairs:
        parts.append((_heading("doubles, and groups in two splits", len(pairs), ROWS), pairs[:ROWS]))
    if flagged:
        number = sum(any(kind in ALONE for kind, _ in one.findings) for one in check.videos)
        parts.append((_heading("flagged videos", number, len(flagged)), _in_twos(flagged)))
    if not parts:
        firsts = {one.video.label or "": one for one in reversed(check.videos)}
        shown = [Picture(one.video, f"{label}  {one.name}".strip()) for label, one in sorted(firsts.items())]
        parts.append(
            (_heading("nothing was found; a video a class", len(shown), 2 * ROWS), _in_twos(shown[: 2 * ROWS]))
        )
    return parts


def _pairs(check: Check) -> list[Row]:
    rows: list[Row] = []
    for kind in DOUBLES:
        for *both, pair in check.pairs_of_kind(kind):
            rows.append(tuple(Picture(one.video, f"{pair.kind}, {pair.overlap:.0%}: {one.name}") for one in both))
    for group, places in check.shared.items():
        first = {check.videos[place].video.split: check.videos[place] for place in reversed(places)}
        rows.append(
            tuple(Picture(one.video, f"group {group}: {one.name}") for one in sorted(first.values(), key=_name)[:2])
        )
    return rows


def _flagged(check: Check) -> list[Picture]:
    """At most `A_KIND` videos of each kind of finding."""
    shown: dict[str, Picture] = {}
    for kind in ALONE:
        for one in check.of_kind(kind)[:A_KIND]:
            words = "; ".join(text for found, text in one.findings if found in ALONE)
            shown[one.name] = Picture(one.video, f"{words}: {one.name}")
    return list(shown.values())


def _name(one: Checked) -> str:
    return one.name


def _heading(title: str, number: int, most: int) -> str:
    return f"{title}: the first {most} of {number:,}" if number > most else f"{title}: {number:,}"


def _in_twos(pictures: list[Picture]) -> list[Row]:
    return [tuple(pictures[at : at + 2]) for at in range(0, len(pictures), 2)]


def draw_sheet(
    parts: Sequence[tuple[str, Sequence[Row]]],
    folder: Path,
    workers: int | None = None,
    decode_timeout: float = 60.0,
    frames_fps: float = 25.0,
) -> Path:
    """Write `folder/sheet.png`: under each heading its rows of one or two videos; returns its path.

    parts: [(heading, rows)]. A video that cannot be read is a grey strip. The page grows with its rows; how many
    there are is for the caller to bound.
    """
    videos = list({id(picture.video): picture.video for _, rows in parts for row in rows for picture in row}.values())
    protocol = Protocol(num_frames=FRAMES, resize="square_pad", resize_to=(SIDE, SIDE), crop=None)
    loader = VideoLoader(videos, protocol, workers=workers, decode_timeout=decode_timeout, frames_fps=frames_fps)
    strips = {
        id(video): np.concatenate(list(found.views()[0]), axis=1) if isinstance(found, Sample) else None
        for video, found in zip(videos, loader, strict=True)
    }
    row_height = 2 * LINE + SIDE + GAP
    height = GAP + sum(LINE + GAP + row_height * len(rows) for _, rows in parts)
    page = Image.new("RGB", (3 * GAP + 2 * CAPTION, height), PAPER)
    draw = ImageDraw.Draw(page)
    top = GAP
    for heading, rows in parts:
        draw.text((GAP, top), printable(heading), INK, _font(LARGE))
        top += LINE + GAP
        for row in rows:
            for column, picture in enumerate(row):
                _draw(page, draw, picture, strips[id(picture.video)], (GAP + column * (CAPTION + GAP), top))
            top += row_height
    path = folder / "sheet.png"
    with written_whole(path, "wb") as file:
        page.save(file, format="PNG")
    return path


def _draw(page: Image.Image, draw: ImageDraw.ImageDraw, picture: Picture, strip, place: tuple[int, int]) -> None:
    left, top = place
    for number, line in enumerate(wrapped(printable(picture.caption), _font(SMALL), CAPTION)):
        draw.text((left, top + number * LINE), line, INK, _font(SMALL))
    if strip is None:
        draw.rectangle((left, top + 2 * LINE, left + CAPTION, top + 2 * LINE + SIDE), FAINT)
    else:
        page.paste(Image.fromarray(strip), (left, top + 2 * LINE))


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """At most two lines of at most `width` pixels; what does not fit is left out in the middle."""
    if font.getlength(text) <= width:
        return [text]
    cut = len(text)
    while font.getlength(text[:cut]) > width:
        cut -= 1
    rest = text[cut:]
    while font.getlength(rest) > width:
        rest = "…" + rest[2:]
    return [text[:cut], rest]


def _font(points: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # its DejaVu Sans has more letters than Pillow's own font

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", points)
