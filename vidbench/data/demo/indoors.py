"""Rooms and gyms: for each a base (wall and floor) and what stands in one cell of it."""

import numpy as np

from vidbench.data.demo.brush import shade, tint
from vidbench.data.demo.sheet import BOTTOM, CELL, TOP, Sheet, planks


def room_base(sheet: Sheet, horizon: int, rng: np.random.Generator) -> dict:
    """Wall, skirting board and wooden floor; returns the colours that the cells share."""
    wall = tint(rng, (0.08, 0.45), (0.6, 0.92))
    floor = (rng.uniform(105, 160), rng.uniform(78, 110), rng.uniform(52, 80))
    sheet.band(TOP, horizon, shade(wall, 1.06), shade(wall, 0.92))
    planks(sheet, horizon, floor, rng)
    sheet.box(sheet.left - 5, horizon - 12, sheet.right + 5, horizon, shade(wall, 1.18), shade(wall, 0.75))
    return {"wall": wall, "wood": shade(floor, 0.7)}


def room_cell(sheet: Sheet, x: int, horizon: int, style: dict, rng: np.random.Generator) -> None:
    """Two things along the wall."""
    for place in (x + rng.integers(10, 50), x + rng.integers(180, 220)):
        ROOM_THINGS[rng.integers(len(ROOM_THINGS))](sheet, int(place), horizon, style, rng)


def _pictures(sheet, x, horizon, style, rng) -> None:
    for _ in range(int(rng.integers(1, 3))):
        wide, high = rng.uniform(40, 72), rng.uniform(36, 60)
        left, top = x + rng.uniform(0, 50), rng.uniform(20, 120)
        paint = tint(rng, (0.2, 0.6), (0.4, 0.9))
        sheet.box(left, top, left + wide, top + high, paint, style["wood"])
        sheet.polygon(
            [(left, top + high), (left + wide * 0.4, top + high * 0.45), (left + wide, top + high)], shade(paint, 0.7)
        )


def _window(sheet, x, horizon, style, rng) -> None:
    top, low = 26, rng.uniform(140, 170)
    sheet.box(x + 14, top, x + 106, low, (196, 224, 244), (236, 232, 224))
    sheet.polygon(
        [(x + 14, low), (x + 14, low - 34), (x + 60, low - 50), (x + 106, low - 26), (x + 106, low)], (136, 176, 122)
    )
    sheet.line(x + 60, top, x + 60, low, 5, (236, 232, 224))
    sheet.line(x + 14, (top + low) / 2, x + 106, (top + low) / 2, 5, (236, 232, 224))
    cloth = tint(rng, (0.2, 0.55), (0.55, 0.9))
    for left, right, inner in ((x - 4, x + 24, x + 14), (x + 124, x + 96, x + 106)):
        sheet.polygon([(left, top - 10), (right, top - 10), (inner, low + 12), (left, low + 12)], cloth)
    sheet.line(x - 10, top - 11, x + 130, top - 11, 5, style["wood"])


def _shelf(sheet, x, horizon, style, rng) -> None:
    top = horizon - rng.integers(140, 190)
    sheet.box(x, top, x + 96, horizon + 6, shade(style["wood"], 0.8), style["wood"])
    for row in np.linspace(top + 46, horizon - 4, 3):
        left = x + 4.0
        while left < x + 84:
            wide, high = rng.uniform(6, 12), rng.uniform(22, 36)
            sheet.box(left, row - high, left + wide, row, tint(rng, (0.3, 0.7), (0.4, 0.85)))
            left += wide + (1.5 if rng.random() < 0.85 else 14)
        sheet.line(x, row + 2, x + 96, row + 2, 4, style["wood"])


def _plant(sheet, x, horizon, style, rng) -> None:
    middle, foot = x + 40, horizon + 14
    green = (rng.uniform(50, 90), rng.uniform(120, 160), rng.uniform(60, 90))
    for angle in np.linspace(-1.0, 1.0, 7):
        reach = rng.uniform(60, 100)
        tip = (middle + reach * np.sin(angle), foot - 36 - reach * np.cos(angle))
        sheet.polygon(
            [(middle - 5, foot - 34), (tip[0] - 14 * np.cos(angle), tip[1] + 26), tip, (middle + 5, foot - 34)],
            shade(green, rng.uniform(0.75, 1.15)),
        )
    pot = tint(rng, (0.3, 0.6), (0.5, 0.85))
    sheet.polygon([(middle - 22, foot - 36), (middle + 22, foot - 36), (middle + 15, foot), (middle - 15, foot)], pot)


def _lamp(sheet, x, horizon, style, rng) -> None:
    cloth = tint(rng, (0.1, 0.5), (0.8, 1.0))
    sheet.line(x + 40, horizon + 10, x + 40, 110, 5, (60, 56, 54))
    sheet.polygon([(x + 22, 80), (x + 58, 80), (x + 74, 128), (x + 6, 128)], cloth)
    sheet.line(x + 22, horizon + 11, x + 58, horizon + 11, 6, (60, 56, 54))


def _door(sheet, x, horizon, style, rng) -> None:
    paint = shade(style["wood"], rng.uniform(0.9, 1.5))
    sheet.box(x + 6, horizon - 190, x + 92, horizon, paint, shade(paint, 0.6))
    for top in (horizon - 178, horizon - 88):
        sheet.box(x + 20, top, x + 78, top + 74, shade(paint, 1.12), shade(paint, 0.8))
    sheet.disc(x + 82, horizon - 92, 4, (220, 200, 120))


ROOM_THINGS = (_pictures, _pictures, _window, _shelf, _plant, _lamp, _door)


def gym_base(sheet: Sheet, horizon: int, rng: np.random.Generator) -> dict:
    """Panelled wall with pads, floor with a line; returns the colours that the cells share."""
    wall = tint(rng, (0.03, 0.2), (0.72, 0.92))
    pad = tint(rng, (0.4, 0.75), (0.4, 0.75))
    floor = (rng.uniform(180, 215), rng.uniform(138, 160), rng.uniform(84, 110))
    sheet.band(TOP, horizon, wall, shade(wall, 0.94))
    for x in range(sheet.left // 40 * 40, sheet.right, 40):
        sheet.line(x, TOP, x, horizon, 1.5, shade(wall, 0.9))
    sheet.box(sheet.left - 5, horizon - 62, sheet.right + 5, horizon, pad, shade(pad, 0.7))
    planks(sheet, horizon, floor, rng)
    line = tint(rng, (0.5, 0.9), (0.6, 0.95))
    row = horizon + rng.integers(30, 70)
    sheet.line(sheet.left - 5, row, sheet.right + 5, row, 6, line)
    return {"pad": pad, "line": line, "wood": shade(floor, 0.75)}


def gym_cell(sheet: Sheet, x: int, horizon: int, style: dict, rng: np.random.Generator) -> None:
    """Seams of the pads, a line across the floor and two things along the wall."""
    for left in range(x, x + CELL, 85):
        sheet.line(left + 40, horizon - 60, left + 40, horizon - 2, 2, shade(style["pad"], 0.75))
    sheet.polygon([(x + 40, horizon), (x + 47, horizon), (x - 35, BOTTOM), (x - 60, BOTTOM)], style["line"])
    for place in (x + rng.integers(5, 40), x + rng.integers(175, 210)):
        GYM_THINGS[rng.integers(len(GYM_THINGS))](sheet, int(place), horizon, style, rng)


def _bars(sheet, x, horizon, style, rng) -> None:
    for row in range(34, horizon - 8, 19):
        sheet.line(x + 4, row, x + 112, row, 6, style["wood"])
    for column in (x + 4, x + 58, x + 112):
        sheet.line(column, 24, column, horizon, 9, shade(style["wood"], 0.8))


def _hoop(sheet, x, horizon, style, rng) -> None:
    sheet.box(x + 10, 20, x + 112, 92, (246, 246, 246), (60, 60, 70))
    sheet.box(x + 42, 46, x + 80, 78, (246, 246, 246), (208, 70, 50))
    for left, low in ((x + 40, x + 50), (x + 52, x + 57), (x + 64, x + 64), (x + 82, x + 72)):
        sheet.line(left, 86, low, 122, 2, (226, 226, 226))
    sheet.line(x + 38, 85, x + 84, 85, 6, (222, 96, 40))


def _panes(sheet, x, horizon, style, rng) -> None:
    for column in range(3):
        left = x + 4 + 42 * column
        sheet.box(left, 14, left + 36, 84, (206, 230, 242), (120, 126, 132))


def _bench(sheet, x, horizon, style, rng) -> None:
    for column in (x + 16, x + 112):
        sheet.line(column, horizon - 26, column, horizon + 8, 8, shade(style["wood"], 0.6))
    sheet.box(x, horizon - 36, x + 128, horizon - 24, style["wood"], shade(style["wood"], 0.7))


def _balls(sheet, x, horizon, style, rng) -> None:
    for row in (horizon - 64, horizon - 22):
        for column in range(4):
            color = tint(rng, (0.5, 0.85), (0.6, 0.95))
            sheet.disc(x + 18 + 28 * column, row - 13, 13, color)
            sheet.disc(x + 14 + 28 * column, row - 17, 4, shade(color, 1.3))
        sheet.line(x, row + 2, x + 120, row + 2, 5, (80, 84, 92))
    for column in (x, x + 120):
        sheet.line(column, horizon - 84, column, horizon + 4, 5, (80, 84, 92))


GYM_THINGS = (_bars, _hoop, _panes, _bench, _balls)
