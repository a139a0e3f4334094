"""Clips beside what a model says of them; pictures for notebooks, with words for those who cannot see them."""

import io
import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from vidbench.visualize.moving import apng, tile, white_kept
from vidbench.visualize.style import PLAIN, RIGHT, new_figure

DPI = 100
WHITE = 255


def shown(picture, alt: str, fps: float = 6.0, colors: int = 64):
    """A picture for a notebook, which a saved page still shows, with `alt` to be read aloud in its place.

    picture: a figure, pixels (H, W, 3) uint8 RGB, or frames (T, H, W, 3) that shall move, `fps` a second, in so many
    `colors`. The words are kept in the output's metadata, which a figure that a cell returns as it is does not have.
    nbconvert's template "classic" reads them out; its other templates, JupyterLab and GitHub have no place for them
    yet, so the prose beside a picture says what to see, too. Raises ValueError where they are empty.
    """
    from IPython.display import Image as Shown  # only notebooks have IPython

    if not alt.strip():
        raise ValueError("a picture needs words for those who cannot see it, got an empty alt")
    moves = isinstance(picture, np.ndarray) and picture.ndim == 4
    data = apng(picture, fps, colors) if moves else _small_png(picture)
    return Shown(data=data, format="png", alt=alt)


def as_pixels(figure) -> np.ndarray:
    """A figure as (H, W, 3) uint8, 100 pixels an inch."""
    with Image.open(io.BytesIO(_png(figure))) as picture:
        return np.array(picture.convert("RGB"))


def playing_bars(
    frames: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    truth: str | None = None,
    domain: str | None = None,
) -> np.ndarray:
    """(T, H, W, 3) uint8: a clip that plays beside bars of its classes' probabilities, likeliest first.

    frames: (T, h, w, 3) uint8, enlarged to a height of about 240. probabilities: (C,), of which the first eight are
    shown. The bar of `truth` is green, and its name is marked; `domain` says above the bars what the model has seen.
    """
    clip = _enlarged(frames, 240 / frames.shape[1])
    lines = textwrap.wrap(f"The model has seen: {domain}", 68) if domain else []
    high = clip.shape[1] + 20 * len(lines)
    bars = _bars(probabilities[:8], list(labels)[:8], truth, (460, high), "\n".join(lines))
    clip = np.stack([_padded(frame, high) for frame in clip])
    return np.concatenate([clip, np.repeat(bars[None], len(clip), axis=0)], axis=2)


def playing_variants(
    clips: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], titles: Sequence[str], top: int = 3
) -> np.ndarray:
    """(T, H, W, 3) uint8: clips that play side by side, each above its likeliest classes.

    clips: (N, T, h, w, 3) uint8; probabilities: (N, C) in the order of `classes`; titles: one a clip.
    """
    above = tile(np.stack([_enlarged(clip, 240 / clip.shape[2]) for clip in clips]), len(clips))
    wide = above.shape[2] // len(clips)
    columns = []
    for shares, title in zip(probabilities, titles, strict=True):
        best = np.argsort(-shares, kind="stable")[:top]
        columns.append(_bars(shares[best], [classes[index] for index in best], None, (wide, 130), title, inside=True))
    below = np.concatenate(columns, axis=1)
    return np.concatenate([above, np.repeat(below[None], len(above), axis=0)], axis=1)


def bouncing_ball(num_frames: int = 60, height: int = 192, width: int = 256) -> np.ndarray:
    """(T, H, W, 3) uint8: an orange ball that bounces across a blue ground. Nobody acts in it."""
    frames = np.full((num_frames, height, width, 3), (30, 60, 110), np.uint8)
    for index, frame in enumerate(frames):
        share = index / num_frames
        across = 30 + (width - 60) * abs(1 - 2 * share)
        up = 40 + 100 * abs(np.sin(4 * np.pi * share))
        cv2.circle(frame, (round(across), round(height - up)), 18, (240, 160, 40), -1, cv2.LINE_AA)
    return frames


def _bars(
    probabilities: np.ndarray,
    labels: Sequence[str],
    truth: str | None,
    size: tuple[int, int],
    title: str,
    inside: bool = False,
) -> np.ndarray:
    """(H, W, 3) uint8 of `size` (width, height): bars of probabilities with their names, `inside` the bars or left."""
    figure, (axis,) = new_figure(1, 1, (size[0] / DPI, size[1] / DPI))
    rows = np.arange(len(labels))
    colors = [RIGHT if name == truth else PLAIN for name in labels]
    axis.barh(rows, probabilities, color=colors, alpha=0.45 if inside else 1)
    names = [f"✓ {name}" if name == truth else name for name in labels]
    if inside:
        for row, name, share in zip(rows, names, probabilities, strict=True):
            axis.text(0.02, row, f"{name}  {share:.0%}", va="center", fontsize=9)
        axis.set_yticks([])
    else:
        axis.set_yticks(rows, names, fontsize=9)
        for row, share in zip(rows, probabilities, strict=True):
            fits = share < 0.87  # beside the bar, else in it
            color, place = ("black", share + 0.01) if fits else ("white", 0.88)
            axis.text(place, row, f"{share:.0%}", va="center", fontsize=8, color=color)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.5, 1], ["0", "50", "100 %"], fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return as_pixels(figure)


def _small_png(picture, colors: int = 256) -> bytes:
    """A figure, or pixels, as a PNG with a palette: half the bytes or less, no difference that one would notice."""
    pixels = picture if isinstance(picture, np.ndarray) else as_pixels(picture)
    file = io.BytesIO()
    picture = Image.fromarray(pixels).quantize(colors, kmeans=1, dither=Image.Dither.NONE)
    white_kept(picture).save(file, "PNG", optimize=True)
    return file.getvalue()


def _png(figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, facecolor="white")
    return file.getvalue()


def _enlarged(frames: np.ndarray, factor: float) -> np.ndarray:
    """(T, h, w, 3) → (T, k * h, k * w, 3), k the whole number next to `factor`: pixels stay visible, files small."""
    times = max(1, round(factor))
    return frames.repeat(times, axis=1).repeat(times, axis=2)


def _padded(frame: np.ndarray, height: int) -> np.ndarray:
    """(h, W, 3) → (height, W, 3), with white above."""
    return np.pad(frame, ((height - len(frame), 0), (0, 0), (0, 0)), constant_values=WHITE)
