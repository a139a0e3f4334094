"""Pictures made of pixels, quick enough for a slider to redraw: what a model takes of a video, and what it answers."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidbench.metrics import ranking
from vidbench.utils import canonical_label
from vidbench.visualize.style import PLAIN, RIGHT, UNSURE, WRONG

HEIGHT = 240  # of a frame in a picture, pixels
MARGIN = 16
MIN_WIDTH = 620
BARS_WIDTH, ROW = 360, 46
FAINT, INK = "#b0b0b0", "#222222"
WORDS = {"parse_math": False, "va": "center", "color": INK}  # a class may be named with $


def took(num_frames: int, indices: np.ndarray) -> np.ndarray:
    """(num_frames,) int: how often each frame of a video is taken; indices: (clips, T) as `Protocol.indices` gives.

    >>> took(4, np.array([[0, 2, 2]])).tolist()
    [1, 0, 2, 0]
    """
    return np.bincount(np.ravel(indices), minlength=num_frames)


def taken_and_seen(
    frame: np.ndarray,
    boxes: Sequence[tuple[float, float, float, float]],
    view: np.ndarray,
    indices: np.ndarray,
    num_frames: int,
    current: int,
    seconds: float,
) -> np.ndarray:
    """One frame with what the model crops of it, that crop as the model gets it, and the video's time line.

    frame: (H, W, 3) uint8; boxes: (left, top, right, bottom) as fractions of it; view: (h, w, 3) uint8, the crop;
    indices: (clips, T) the frames that are taken of `num_frames`; current: which of them `frame` is; seconds: of
    the video. Returns (height, width, 3) uint8.
    """
    left, right = _framed(frame, boxes), _as_high(view)
    line = _time_line(indices, num_frames, current, seconds, max(MIN_WIDTH, left.width + right.width + 3 * MARGIN))
    page = Image.new("RGB", (line.width, HEIGHT + line.height + 2 * MARGIN + 18), "white")
    page.paste(left, (MARGIN, MARGIN + 18))
    page.paste(right, (left.width + 2 * MARGIN, MARGIN + 18))
    page.paste(line, (0, HEIGHT + 2 * MARGIN + 18))
    pen, size = ImageDraw.Draw(page), f"{view.shape[1]} by {view.shape[0]} pixels"
    pen.text((MARGIN, MARGIN - 4), f"frame {current} of {num_frames}, and its crop", INK, _font())
    pen.text((left.width + 2 * MARGIN, MARGIN - 4), f"what the model gets: {size}", INK, _font())
    return np.asarray(page)


def _font():
    return ImageFont.load_default(13)  # Pillow brings it


def _as_high(frame: np.ndarray) -> Image.Image:
    """The frame HEIGHT pixels high: enlarged pixels stay visible as such."""
    width = max(1, round(frame.shape[1] * HEIGHT / frame.shape[0]))
    method = Image.Resampling.NEAREST if frame.shape[0] < HEIGHT else Image.Resampling.BILINEAR
    return Image.fromarray(frame).resize((width, HEIGHT), method)


def _framed(frame: np.ndarray, boxes: Sequence[tuple[float, float, float, float]]) -> Image.Image:
    """The frame, dark where no box lies, and the boxes' outlines."""
    picture = _as_high(frame)
    mask = Image.new("L", picture.size, 255)
    places = []
    for left, top, right, bottom in boxes:
        place = np.array([left * picture.width, top * HEIGHT, right * picture.width, bottom * HEIGHT]).round()
        places.append(np.clip(place, 0, (picture.width - 1, HEIGHT - 1) * 2).tolist())
        ImageDraw.Draw(mask).rectangle(places[-1], fill=0)
    picture.paste(Image.new("RGB", picture.size), mask=mask.point(lambda value: value * 6 // 10))
    for place in places:
        ImageDraw.Draw(picture).rectangle(place, outline="white", width=4)
        ImageDraw.Draw(picture).rectangle(place, outline=WRONG, width=2)
    return picture


def _time_line(indices: np.ndarray, num_frames: int, current: int, seconds: float, width: int) -> Image.Image:
    """A row of ticks a clip: long where a frame is taken; a triangle marks the current frame."""
    rows, high = len(indices), 26 if len(indices) <= 3 else 8
    bottom = 14 + rows * high
    line = Image.new("RGB", (width, bottom + 46), "white")
    pen = ImageDraw.Draw(line)
    step = (width - 2 * MARGIN) / max(1, num_frames)
    thick = max(1, min(4, int(step) - 1))
    for row, clip in enumerate(indices):
        low, counts = 14 + (row + 1) * high, took(num_frames, clip)
        for index, count in enumerate(counts):
            x = int(MARGIN + (index + 0.5) * step)
            tall = high - 3 if count else high // 3
            color = FAINT if count == 0 else PLAIN if count == 1 else WRONG
            pen.rectangle((x - thick // 2, low - tall, x - thick // 2 + thick - 1, low - 1), fill=color)
    x = MARGIN + (current + 0.5) * step
    pen.polygon([(x - 6, 1), (x + 6, 1), (x, 11)], fill=INK)
    pen.line((x, 11, x, bottom), fill=INK)
    pen.text((MARGIN, bottom + 4), "0 s", INK, _font())
    pen.text((width - MARGIN, bottom + 4), f"{seconds:.2f} s", INK, _font(), anchor="ra")
    counts = took(num_frames, indices)
    words = ((PLAIN, f"taken: {(counts == 1).sum()}"), (WRONG, f"more than once: {(counts > 1).sum()}"))
    x = MARGIN
    for color, text in (*words, (FAINT, f"left out: {(counts == 0).sum()}")):
        pen.rectangle((x, bottom + 28, x + 9, bottom + 37), fill=color)
        pen.text((x + 15, bottom + 24), text, INK, _font())
        x += 40 + pen.textlength(text, _font())
    return line


def verdict(probabilities: np.ndarray, classes: Sequence[str], reject: float = 0.0, truth: str | None = None) -> str:
    """The likeliest class in words; below `reject` it is no answer.

    >>> verdict(np.array([0.4, 0.6]), ["sit", "stand"], reject=0.7)
    'not sure enough: stand 60.0 % (an answer needs 70 %)'
    """
    best = int(np.argmax(probabilities))
    said = f"{classes[best]} {100 * probabilities[best]:.1f} %"
    if probabilities[best] < reject:
        return f"not sure enough: {said} (an answer needs {100 * reject:.0f} %)"
    if truth is None:
        return said
    return f"{said}: {'right' if _same(classes[best], truth) else f'wrong, it is {truth}'}"


def answer(
    frames: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    heading: str = "",
    truth: str | None = None,
    reject: float = 0.0,
    top: int = 5,
    height: int = HEIGHT,
    bars: int = BARS_WIDTH,
) -> np.ndarray:
    """A clip beside bars of its `top` likeliest classes, the true one in green: (T, height, width, 3) uint8.

    frames: (T, H, W, 3) uint8 RGB; probabilities: (C,) of `classes`; heading: a line above the bars, what the model
    has seen; reject: the probability that an answer needs, a line. All is grey where none reaches it. height, bars:
    how high the frames and how wide the bars are, pixels.
    """
    wide = max(1, round(frames.shape[2] * height / frames.shape[1]))
    clips = [np.asarray(Image.fromarray(frame).resize((wide, height), Image.Resampling.BICUBIC)) for frame in frames]
    lines = textwrap.wrap(heading, (wide + bars) // 7)
    above = 34 + 17 * len(lines)
    figure, axis = _blank_page(wide + bars + 3 * MARGIN, above + height + MARGIN)
    for number, text in enumerate(lines):
        axis.text(MARGIN, 14 + 17 * number, text, fontsize=8.5, **WORDS)
    said = verdict(probabilities, classes, reject, truth)
    axis.text(MARGIN, above - 17, said, fontsize=10.5, weight="bold", **WORDS)
    _bars(axis, (wide + 2 * MARGIN, above, bars), probabilities, classes, truth, reject, top)
    pages = np.repeat(_pixels(figure)[None], len(clips), axis=0)
    pages[:, above : above + height, MARGIN : MARGIN + wide] = clips
    return pages


def card(lines: Sequence[str], width: int = 720) -> np.ndarray:
    """Lines of text, wrapped, as a picture (height, width, 3) uint8: where there is nothing else to show."""
    wrapped = [part for text in lines for part in textwrap.wrap(text, width // 7)]
    figure, axis = _blank_page(width, 2 * MARGIN + 20 * len(wrapped))
    for number, text in enumerate(wrapped):
        axis.text(MARGIN, MARGIN + 10 + 20 * number, text, fontsize=9, **WORDS)
    return _pixels(figure)


def _same(name: str, truth: str | None) -> bool:
    return truth is not None and canonical_label(name) == canonical_label(truth)


def _blank_page(width: int, height: int):
    """A figure and an axis that is measured in pixels from the top left."""
    from matplotlib.figure import Figure  # half a second that importing must not cost

    figure = Figure((width / 100, height / 100), dpi=100, facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axis.set_axis_off()
    return figure, axis


def _pixels(figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _bars(axis, place: tuple[int, int, int], probabilities, classes, truth, reject: float, top: int) -> None:
    """A name, a number and a bar each for the `top` likeliest; place: left, top and width in pixels."""
    (left, above, long), unsure = place, probabilities.max() < reject
    for row, index in enumerate(ranking(probabilities)[:top]):
        y, share, true = above + ROW * row, float(probabilities[index]), _same(classes[index], truth)
        name = textwrap.shorten(classes[index], long // 11, placeholder=" …")
        bold = {"weight": "bold"} if true else {}
        axis.text(left, y + 9, f"{name} (true)" if true else name, fontsize=9, **bold, **WORDS)
        axis.text(left + long, y + 9, f"{100 * share:.1f} %", fontsize=9, ha="right", **bold, **WORDS)
        axis.barh(y + 25, long, 12, left=left, color="#ececec")
        axis.barh(y + 25, long * share, 12, left=left, color=RIGHT if true else UNSURE if unsure else PLAIN)
        if reject:
            axis.vlines(left + long * reject, y + 16, y + 34, INK, linewidth=1.5)
