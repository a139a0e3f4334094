"""Clips → animated PNGs, which move in notebooks and still do in saved ones."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidbench.utils import written_whole

CAPTION_LINE = 13  # pixels
ALMOST_WHITE = 246  # of 255, in all three channels


def tile(clips: np.ndarray, columns: int) -> np.ndarray:
    """(N, T, H, W, 3) uint8 → (T, rows * H, columns * W, 3): clips side by side, row after row; gaps stay black."""
    number, frames, height, width, channels = clips.shape
    rows = -(-number // columns)
    full = np.zeros((rows * columns, frames, height, width, channels), clips.dtype)
    full[:number] = clips
    grid = full.reshape(rows, columns, frames, height, width, channels)
    return grid.transpose(2, 0, 3, 1, 4, 5).reshape(frames, rows * height, columns * width, channels)


def apng(frames: np.ndarray, fps: float, colors: int = 128) -> bytes:
    """Frames (T, H, W, 3) uint8 RGB as an endless animated PNG with one palette of `colors` (2 to 256)."""
    sample = Image.fromarray(np.concatenate(list(frames[:: max(1, len(frames) // 4)])))
    palette = white_kept(sample.quantize(colors, kmeans=3))  # a plain median cut turns light skin white
    pages = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    options = {"append_images": pages[1:], "duration": round(1000 / fps), "loop": 0, "optimize": True}
    pages[0].save(file, format="PNG", save_all=True, **options)
    return file.getvalue()


def white_kept(picture: Image.Image) -> Image.Image:
    """The same picture, whose palette's whitish colours are white: a page's ground must not be tinted."""
    colors = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
    colors[(colors >= ALMOST_WHITE).all(axis=1)] = 255
    picture.putpalette(colors.tobytes())
    return picture


def save_apng(frames: np.ndarray, path: Path, fps: float, colors: int = 128) -> None:
    """Write `apng(frames, fps, colors)` to a file."""
    with written_whole(path, "wb") as file:
        file.write(apng(frames, fps, colors))


def captioned(clips: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """(N, T, H, W, 3) uint8 clips, each with its caption (one line or more) in black on white below: a higher H."""
    lines = max(len(caption.split("\n")) for caption in captions)
    strips = []
    for caption in captions:
        image = Image.new("RGB", (clips.shape[3], lines * CAPTION_LINE + 4), "white")
        ImageDraw.Draw(image).multiline_text((2, 0), caption, "black", ImageFont.load_default(CAPTION_LINE - 2))
        strips.append(np.broadcast_to(np.asarray(image), (clips.shape[1], image.height, image.width, 3)))
    return np.concatenate([clips, np.stack(strips)], axis=2)
