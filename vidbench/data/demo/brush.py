"""Colours, and soft-edged shapes drawn at sixteenths of a pixel."""

import colorsys

import cv2
import numpy as np

Color = tuple[float, float, float]  # RGB, 0 to 255
SUBPIXEL = 4  # bits: OpenCV draws at sixteenths of a pixel, so nothing jumps while it moves


def tint(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    """A random hue with saturation and value (0 to 1) from the given ranges."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return 255 * red, 255 * green, 255 * blue


def shade(color: Color, factor: float) -> Color:
    """The colour darker (factor below 1) or lighter (above 1)."""
    return tuple(min(255.0, channel * factor) for channel in color)


def fill(image: np.ndarray, points: np.ndarray, color: Color) -> None:
    """Fill a polygon, (N, 2) pixels, with soft edges."""
    fixed = np.round(np.asarray(points) * (1 << SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(image, [fixed], color, cv2.LINE_AA, SUBPIXEL)


def disc(image: np.ndarray, center: np.ndarray, radius: float, color: Color) -> None:
    """Fill a circle."""
    x, y = np.round(np.asarray(center) * (1 << SUBPIXEL)).astype(int).tolist()
    cv2.circle(image, (x, y), round(radius * (1 << SUBPIXEL)), color, -1, cv2.LINE_AA, SUBPIXEL)


def limb(image: np.ndarray, start: np.ndarray, end: np.ndarray, wide: float, narrow: float, color: Color) -> None:
    """Fill a rounded, tapered bar from `start` (radius `wide`) to `end` (radius `narrow`), in pixels."""
    along = end - start
    normal = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
    sides = [start + normal * wide, end + normal * narrow, end - normal * narrow, start - normal * wide]
    disc(image, start, wide, color)
    disc(image, end, narrow, color)
    fill(image, np.stack(sides), color)
