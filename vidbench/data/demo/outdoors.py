"""Streets and parks: for each a base (sky and ground) and what stands in one cell of it."""

from itertools import pairwise

import numpy as np

from vidbench.data.demo.brush import shade, tint
from vidbench.data.demo.sheet import BOTTOM, CELL, TOP, Sheet


def street_base(sheet: Sheet, horizon: int, rng: np.random.Generator) -> dict:
    """Sky and paving; returns the colours that the cells share."""
    sky = tint(rng, (0.0, 0.01), (0.86, 0.98))
    sheet.band(TOP, horizon, (120 + 0.1 * sky[0], 175, 235), (225, 238, 248))
    stone = shade((172, 168, 162), rng.uniform(0.75, 1.1))
    sheet.band(horizon, BOTTOM, shade(stone, 0.9), shade(stone, 1.05))
    rows = horizon + (BOTTOM - horizon) * np.array([0.12, 0.3, 0.56, 0.9])
    for row in rows:
        sheet.line(sheet.left - 5, row, sheet.right + 5, row, 2, shade(stone, 0.8))
    for x in range(sheet.left // 85 * 85, sheet.right + 200, 85):
        sheet.line(x, horizon, x - 60, BOTTOM, 2, shade(stone, 0.8))
    return {"stone": stone}


def street_cell(sheet: Sheet, x: int, horizon: int, style: dict, rng: np.random.Generator) -> None:
    """A row of houses, at times a parked car and a road sign."""
    left = x
    while left < x + CELL - 20:
        wide = min(int(rng.integers(90, 175)), x + CELL - left)
        wide = x + CELL - left if x + CELL - left - wide < 80 else wide
        _house(sheet, left, left + wide, horizon, rng)
        left += wide
    if rng.random() < 0.45:
        _car(sheet, x + int(rng.integers(0, 120)), horizon + 6, rng)
    if rng.random() < 0.4:
        column = x + int(rng.integers(190, 320))
        sheet.line(column, horizon + 8, column, 150, 5, (110, 112, 116))
        sheet.disc(column, 140, 20, (240, 240, 240))
        sheet.disc(column, 140, 16, tint(rng, (0.7, 0.9), (0.6, 0.85)))


def _house(sheet: Sheet, left: int, right: int, horizon: int, rng: np.random.Generator) -> None:
    """A house front: rows of windows, a door or a shop with an awning below."""
    wall = tint(rng, (0.12, 0.5), (0.45, 0.85))
    top = rng.integers(-70, 90)
    sheet.box(left, top, right, horizon, wall)
    sheet.box(left - 2, top - 8, right + 2, top, shade(wall, 0.7))
    glass = shade((150, 185, 205), rng.uniform(0.5, 1.15))
    columns = max(2, (right - left) // 38)
    step = (right - left) / columns
    for row in range(int(top) + 18, horizon - 100, 48):
        for column in range(columns):
            x = left + step * (column + 0.5)
            sheet.box(x - 9, row, x + 9, row + 28, glass, shade(wall, 1.25))
    if rng.random() < 0.5:
        sheet.box(left + 10, horizon - 62, right - 10, horizon - 8, shade(glass, 0.8), shade(wall, 0.55))
        cloth, stripes = tint(rng, (0.5, 0.85), (0.6, 0.9)), max(4, (right - left) // 18)
        edges = np.linspace(left + 4, right - 4, stripes + 1)
        for number, (x0, x1) in enumerate(pairwise(edges)):
            sheet.box(x0, horizon - 86, x1, horizon - 64, cloth if number % 2 else (240, 236, 228))
    else:
        door = left + (right - left) * rng.uniform(0.3, 0.7)
        sheet.box(door - 17, horizon - 76, door + 17, horizon, shade(wall, 0.45), shade(wall, 1.25))


def _car(sheet: Sheet, x: int, foot: int, rng: np.random.Generator) -> None:
    paint = tint(rng, (0.3, 0.85), (0.45, 0.9))
    sheet.polygon(
        [
            (x, foot - 14),
            (x + 4, foot - 36),
            (x + 34, foot - 42),
            (x + 56, foot - 66),
            (x + 118, foot - 66),
            (x + 140, foot - 42),
            (x + 166, foot - 36),
            (x + 170, foot - 14),
        ],
        paint,
    )
    sheet.polygon([(x + 44, foot - 42), (x + 60, foot - 61), (x + 86, foot - 61), (x + 86, foot - 42)], (176, 206, 222))
    sheet.polygon(
        [(x + 92, foot - 42), (x + 92, foot - 61), (x + 115, foot - 61), (x + 130, foot - 42)], (176, 206, 222)
    )
    for wheel in (x + 38, x + 134):
        sheet.disc(wheel, foot - 13, 15, (34, 34, 38))
        sheet.disc(wheel, foot - 13, 7, (170, 172, 176))


def park_base(sheet: Sheet, horizon: int, rng: np.random.Generator) -> dict:
    """Sky and grass, at times a path; returns the colours that the cells share."""
    warm = rng.uniform(0, 1)
    sheet.band(TOP, horizon, (110 + 60 * warm, 176, 236 - 30 * warm), (214 + 30 * warm, 234, 246 - 20 * warm))
    grass = (rng.uniform(90, 130), rng.uniform(150, 180), rng.uniform(66, 96))
    sheet.band(horizon, BOTTOM, shade(grass, 0.82), shade(grass, 1.08))
    row, wide = horizon + rng.uniform(30, 60), rng.uniform(34, 56)
    if rng.random() < 0.6:
        sheet.box(sheet.left - 5, row, sheet.right + 5, row + wide, (206, 188, 150), shade((206, 188, 150), 0.85))
    return {"grass": grass}


def park_cell(sheet: Sheet, x: int, horizon: int, style: dict, rng: np.random.Generator) -> None:
    """A hill, a cloud, trees and bushes, at times a bench."""
    hill = shade(style["grass"], rng.uniform(0.62, 0.78))
    xs = np.linspace(x, x + CELL, 24)
    rise = rng.uniform(14, 46) * np.sin(np.pi * (xs - x) / CELL) ** 2 + 8
    sheet.polygon([(x, horizon), *zip(xs, horizon - rise, strict=True), (x + CELL, horizon)], hill)
    if rng.random() < 0.7:
        middle, row = x + rng.uniform(60, 280), rng.uniform(10, 80)
        for dx, dy, radius in ((-34, 6, 15), (-12, -2, 22), (14, 0, 19), (36, 7, 13)):
            sheet.disc(middle + dx, row + dy, radius, (248, 250, 252))
    for place in np.sort(rng.uniform(20, CELL - 20, int(rng.integers(1, 4)))):
        (_tree, _tree, _fir, _bush)[rng.integers(4)](sheet, x + place, horizon + rng.uniform(2, 12), rng)
    if rng.random() < 0.3:
        wood, left = (126, 88, 56), x + rng.uniform(20, 200)
        for row in (horizon - 44, horizon - 30, horizon - 14):
            sheet.line(left, row, left + 110, row, 8, wood)
        for column in (left + 12, left + 98):
            sheet.line(column, horizon - 44, column, horizon + 14, 6, shade(wood, 0.6))


def _tree(sheet: Sheet, x: float, foot: float, rng: np.random.Generator) -> None:
    green = (rng.uniform(46, 110), rng.uniform(105, 150), rng.uniform(40, 70))
    high, size = rng.uniform(60, 110), rng.uniform(34, 56)
    sheet.line(x, foot, x, foot - high, 13, (104, 74, 50))
    for dx, dy, radius, light in (
        (-0.6, 0.1, 0.75, 0.85),
        (0.6, 0.15, 0.75, 0.8),
        (0, -0.45, 0.95, 1.0),
        (-0.2, -0.7, 0.45, 1.14),
    ):
        sheet.disc(x + dx * size, foot - high - (0.35 - dy) * size, radius * size, shade(green, light))


def _fir(sheet: Sheet, x: float, foot: float, rng: np.random.Generator) -> None:
    green = (rng.uniform(30, 60), rng.uniform(86, 120), rng.uniform(56, 80))
    high = rng.uniform(130, 200)
    sheet.line(x, foot, x, foot - 30, 11, (92, 66, 46))
    for part, wide in ((0.0, 44), (0.28, 36), (0.54, 26)):
        base, tip = foot - 22 - high * part, foot - 22 - high * (part + 0.46)
        sheet.polygon([(x - wide, base), (x, tip), (x + wide, base)], shade(green, 0.85 + 0.4 * part))


def _bush(sheet: Sheet, x: float, foot: float, rng: np.random.Generator) -> None:
    green = (rng.uniform(70, 120), rng.uniform(120, 160), rng.uniform(56, 90))
    for dx, dy, radius in ((-24, -14, 20), (22, -12, 19), (0, -24, 25)):
        sheet.disc(x + dx, foot + dy, radius, shade(green, 0.9 - dy / 200))
