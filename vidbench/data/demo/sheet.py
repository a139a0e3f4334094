"""The paper that scenes are drawn on."""

from itertools import pairwise

import numpy as np

from vidbench.data.demo.brush import Color, disc, fill, limb, shade

CELL = 340  # pixels of one cell of a scene
TOP, BOTTOM = -80, 470  # the rows that a sheet covers: more than a frame, for zoom and shake


class Sheet:
    """A part of a scene on which one draws in scene coordinates: `image` begins at column `left`, row `TOP`."""

    def __init__(self, left: int, right: int):
        self.left = left
        self.right = right
        self.image = np.zeros((BOTTOM - TOP, right - left, 3), np.uint8)

    def polygon(self, points, color: Color) -> None:
        fill(self.image, np.asarray(points, float) - (self.left, TOP), color)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color, edge: Color | None = None) -> None:
        """A filled rectangle, with a frame of 3 pixels where `edge` is given."""
        if edge is not None:
            self.polygon([(x0 - 3, y0 - 3), (x1 + 3, y0 - 3), (x1 + 3, y1 + 3), (x0 - 3, y1 + 3)], edge)
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        disc(self.image, np.array([x - self.left, y - TOP]), radius, color)

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float, color: Color) -> None:
        shift = np.array([self.left, TOP])
        limb(self.image, np.array([x0, y0]) - shift, np.array([x1, y1]) - shift, width / 2, width / 2, color)

    def band(self, y0: float, y1: float, top: Color, bottom: Color) -> None:
        """Fill rows y0 to y1 with a gradient."""
        rows = np.linspace(np.array(top), np.array(bottom), max(int(y1) - int(y0), 1))
        self.image[int(y0) - TOP : int(y1) - TOP] = rows[:, None]


def planks(sheet: Sheet, horizon: int, color: Color, rng: np.random.Generator) -> None:
    """A wooden floor that narrows towards the wall."""
    sheet.band(horizon, BOTTOM, shade(color, 0.82), shade(color, 1.1))
    rows = horizon + (BOTTOM - horizon) * np.linspace(0, 1, 8) ** 1.7
    for row, below in pairwise(rows):
        sheet.line(sheet.left - 5, row, sheet.right + 5, row, 1.5, shade(color, 0.68))
        start = sheet.left // 170 * 170 + rng.integers(0, 170)
        for x in range(int(start), sheet.right, 170):
            sheet.line(x, row, x - 8, below, 1.5, shade(color, 0.68))
